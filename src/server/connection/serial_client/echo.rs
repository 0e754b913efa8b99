//! The echo of the gateway's own answers on the line of a serial client.
//!
//! The answer to a write of one register *is* the request, so an echo taken for a request would be carried out again,
//! answered, and carried out again. So after an answer nothing is a request before it is known not to be an echo: what
//! comes while the answer is being sent is none, and what comes later is collected until it is seen what it is. It has no
//! clock; instants are arguments.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::line::Echo;
use crate::modbus::frame_at_front;
use crate::modbus::rtu::{ADU_MAX, crc_is_right, request_length};

/// Removes the echo, and finds out whether there is one.
#[derive(Debug)]
pub(super) struct OwnEcho {
    setting: Echo,
    /// Whether the adapter echoes; `None`: not known yet.
    verdict: Option<bool>,
    /// Requests in a row before which no echo came.
    absences: u32,
    /// When the last answer is on the wire in full.
    sent_until: Option<Instant>,
    /// The answer whose echo may come.
    watch: Option<Watch>,
}

/// The answer whose echo may come, and what has come since.
#[derive(Debug)]
struct Watch {
    sent: Bytes,
    /// The client may repeat its request, which equals the answer: no byte tells that from an echo.
    is_repeatable: bool,
    /// Bytes of the echo that came before a pause.
    matched: usize,
    /// Something came that may be what a fault left of the echo.
    has_remains: bool,
    collected: BytesMut,
    /// How many of these came while the answer was being sent.
    early: usize,
    /// When the last of these came.
    last_at: Instant,
    /// When a repetition is a request again.
    until: Instant,
}

/// Bytes that are no echo.
#[derive(Debug)]
pub(super) struct NoEcho {
    pub(super) bytes: BytesMut,
    /// When the last of them came.
    pub(super) at: Instant,
}

impl OwnEcho {
    pub(super) fn new(setting: Echo) -> Self {
        let verdict = match setting {
            Echo::Auto => None,
            Echo::On => Some(true),
            Echo::Off => Some(false),
        };
        Self { setting, verdict, absences: 0, sent_until: None, watch: None }
    }

    /// The answer `sent` to the frame `request` is on the wire until `sent_until`.
    pub(super) fn handle_sent(&mut self, sent: Bytes, request: &[u8], sent_until: Instant) {
        self.sent_until = Some(sent_until);
        let is_watched = match (self.setting, self.verdict) {
            (Echo::Off, _) => false,
            (Echo::On, _) | (Echo::Auto, None | Some(true)) => true,
            // An echo of another form is no request, and shows that there is one after all.
            (Echo::Auto, Some(false)) => request_length(&sent) != Some(sent.len()),
        };
        self.watch = is_watched.then(|| Watch {
            is_repeatable: sent == request,
            matched: 0,
            has_remains: false,
            collected: BytesMut::new(),
            early: 0,
            last_at: sent_until,
            until: sent_until + ECHO_PATIENCE,
            sent,
        });
    }

    /// Bytes have come. Returns what is no echo; the rest is kept until it is known.
    pub(super) fn strip(&mut self, bytes: &[u8], now: Instant) -> Option<NoEcho> {
        let is_early = self.sent_until.is_some_and(|end| now < end);
        let Some(watch) = &mut self.watch else {
            // Nobody may send while the answer is being sent.
            return (!is_early).then(|| NoEcho { bytes: bytes.into(), at: now });
        };
        watch.collected.extend_from_slice(bytes);
        watch.last_at = now;
        if is_early {
            watch.early = watch.collected.len();
        }
        self.sort(now)
    }

    /// Ends what came before a pause of `quiet`. Returns what of it is no echo.
    pub(super) fn end_pause(&mut self, quiet: Duration, now: Instant) -> Option<NoEcho> {
        let watch = self.watch.as_mut().filter(|watch| !watch.collected.is_empty())?;
        let at = watch.last_at;
        if now < at + quiet {
            return None;
        }
        let collected = watch.take();
        if watch.is_continued_by(&collected) {
            watch.matched += collected.len();
            return None;
        }
        // A frame whose function does not tell its length. Anything else is noise, or an echo that was damaged.
        let is_frame = crc_is_right(&collected) && !watch.has_sent(&collected);
        if is_frame {
            return Some(self.end_without_echo(collected, at));
        }
        watch.has_remains = true;
        None
    }

    /// Gives up waiting for an echo that has not come. Must not be called while bytes may wait to be read.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.patience_until().is_some_and(|until| until <= now) {
            self.watch = None;
        }
    }

    /// When [`end_pause`](Self::end_pause) or [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn poll_timeout(&self, quiet: Duration) -> Option<Instant> {
        let watch = self.watch.as_ref()?;
        let pause = (!watch.collected.is_empty()).then(|| watch.last_at + quiet);
        pause.or_else(|| self.patience_until())
    }

    /// An echo that is expected is awaited until something else comes. One that may not exist is awaited for a while
    /// only: the client may repeat its write.
    fn patience_until(&self) -> Option<Instant> {
        let watch = self.watch.as_ref().filter(|watch| watch.collected.is_empty())?;
        (self.verdict != Some(true) && watch.is_repeatable).then_some(watch.until)
    }

    /// What has been collected may be an echo, the begin of one, or something else.
    fn sort(&mut self, now: Instant) -> Option<NoEcho> {
        let watch = self.watch.as_mut()?;
        if let Some(end) = watch.echo_end() {
            let behind = watch.collected.split_off(end.max(watch.early));
            self.absences = 0;
            // An answer came back that no client sends.
            if !watch.is_repeatable && self.setting == Echo::Auto {
                self.verdict = Some(true);
            }
            self.watch = None;
            return (!behind.is_empty()).then_some(NoEcho { bytes: behind, at: now });
        }
        if watch.is_continued_by(&watch.collected) {
            return None;
        }
        let late = &watch.collected[watch.early..];
        let is_frame = frame_at_front(late).is_some_and(|frame| !watch.has_sent(frame));
        if is_frame || self.verdict == Some(false) {
            let late = watch.take();
            return Some(self.end_without_echo(late, now));
        }
        // Longer than a glitch and an echo together: noise, of which the end is of interest.
        let surplus = watch.collected.len().saturating_sub(COLLECTED_MAX);
        watch.collected = watch.collected.split_off(surplus);
        watch.early = watch.early.saturating_sub(surplus);
        None
    }

    /// A frame has come that is no echo: the client has sent again, and no echo will come.
    fn end_without_echo(&mut self, bytes: BytesMut, at: Instant) -> NoEcho {
        let watch = self.watch.take();
        if watch.is_some_and(|watch| !watch.has_remains && watch.matched == 0) {
            self.absences += 1;
        }
        if self.setting == Echo::Auto && self.absences >= ABSENCES_TO_CONCLUDE {
            self.verdict = Some(false);
        }
        NoEcho { bytes, at }
    }
}

impl Watch {
    /// Where the echo ends in what has been collected, if it is whole. Noise of any kind may be in front.
    fn echo_end(&self) -> Option<usize> {
        let rest = &self.sent[self.matched..];
        if self.collected.starts_with(rest) {
            return Some(rest.len());
        }
        let length = self.sent.len();
        self.collected.windows(length).position(|bytes| bytes == self.sent).map(|start| start + length)
    }

    /// Whether these bytes continue the echo.
    fn is_continued_by(&self, bytes: &[u8]) -> bool {
        self.sent[self.matched..].starts_with(bytes)
    }

    /// Whether these bytes are a part of the answer, and so perhaps what is left of its echo.
    fn has_sent(&self, bytes: &[u8]) -> bool {
        self.sent.windows(bytes.len()).any(|part| part == bytes)
    }

    /// Takes what came after the answer was sent, and drops the rest.
    fn take(&mut self) -> BytesMut {
        let late = self.collected.split_off(self.early);
        self.has_remains |= self.early > 0;
        self.collected.clear();
        self.early = 0;
        late
    }
}

/// How long a repetition of the last write may be its echo while it is not known whether there is one: longer than
/// adapters and a busy machine delay bytes, and shorter than a client waits before it repeats a write that was answered.
pub(super) const ECHO_PATIENCE: Duration = Duration::from_millis(500);

/// Requests in a row without an echo before them that show that there is none: one may be lost.
const ABSENCES_TO_CONCLUDE: u32 = 3;

/// Bytes that are kept while they may still become an echo.
const COLLECTED_MAX: usize = 2 * ADU_MAX;
