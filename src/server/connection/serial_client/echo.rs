//! The echo of the gateway's own answers on the line of a serial client.
//!
//! The answer to a write of one register *is* the request, so an echo taken for a request would be carried out again.
//! What tells them apart is time: nobody may send before an answer has ended, and its echo comes by then or shortly
//! after. It has no clock; instants are arguments.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::line::Echo;
use crate::modbus::rtu::request_length;

/// Removes the echo, and finds out whether there is one.
#[derive(Debug)]
pub(super) struct OwnEcho {
    setting: Echo,
    /// Whether the adapter echoes; `None`: not known yet.
    verdict: Option<bool>,
    contrary: u32,
    watch: Option<Watch>,
}

/// The answer whose echo may come.
#[derive(Debug)]
struct Watch {
    sent: Bytes,
    matched: usize,
    until: Instant,
}

impl OwnEcho {
    pub(super) fn new(setting: Echo) -> Self {
        let verdict = match setting {
            Echo::Auto => None,
            Echo::On => Some(true),
            Echo::Off => Some(false),
        };
        Self { setting, verdict, contrary: 0, watch: None }
    }

    /// An answer is being sent; its echo begins before `until`.
    pub(super) fn handle_sent(&mut self, sent: Bytes, until: Instant) {
        let is_watched = match (self.setting, self.verdict) {
            (Echo::Off, _) => false,
            (Echo::On, _) | (Echo::Auto, None | Some(true)) => true,
            // A client may repeat what equals an answer; anything else that does is an echo.
            (Echo::Auto, Some(false)) => request_length(&sent) != Some(sent.len()),
        };
        self.watch = is_watched.then_some(Watch { sent, matched: 0, until });
    }

    /// Removes what is echo from the front of `bytes`. Returns the bytes that looked like an echo and are none, which
    /// come before the rest.
    pub(super) fn strip(&mut self, bytes: &mut &[u8]) -> Bytes {
        let Some(watch) = &mut self.watch else { return Bytes::new() };
        let left = &watch.sent[watch.matched..];
        let common = left.len().min(bytes.len());
        if left[..common] != bytes[..common] {
            let held = watch.sent.slice(..watch.matched);
            self.watch = None;
            return held;
        }
        watch.matched += common;
        *bytes = &bytes[common..];
        if watch.matched == watch.sent.len() {
            let is_clear = request_length(&watch.sent) != Some(watch.sent.len());
            self.watch = None;
            if is_clear {
                self.conclude(true);
            }
        }
        Bytes::new()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.watch.as_ref().map(|watch| watch.until)
    }

    /// No echo has come in time. Returns the bytes that looked like one.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Bytes {
        let Some(watch) = self.watch.take_if(|watch| watch.until <= now) else { return Bytes::new() };
        if watch.matched == 0 {
            self.conclude(false);
        }
        watch.sent.slice(..watch.matched)
    }

    /// An answer had, or had no echo, beyond doubt.
    fn conclude(&mut self, seen: bool) {
        if self.setting != Echo::Auto {
            return;
        }
        match self.verdict {
            Some(verdict) if verdict == seen => self.contrary = 0,
            Some(_) if self.contrary + 1 < VERDICTS_TO_CHANGE => self.contrary += 1,
            Some(_) | None => {
                self.verdict = Some(seen);
                self.contrary = 0;
            }
        }
    }
}

/// How long after the end of an answer its echo may begin to be read: adapters collect bytes for up to 16 ms.
pub(super) const ECHO_DELAY: Duration = Duration::from_millis(20);

/// Disagreeing verdicts in a row that change the verdict.
const VERDICTS_TO_CHANGE: u32 = 2;
