//! A unit on a pseudo terminal, in a thread of the test, that counts faster than any client can read.
//!
//! Each pair of registers at an even address holds the same 32-bit counter, high word first, taken once for
//! each transaction and written down. Around [`WRITABLE`] it has registers that keep what is written.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use metergate::modbus::rtu;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::terminal::Terminal;

/// Holds what was written last; its neighbours hold zero.
pub(crate) const WRITABLE: u16 = 300;

/// Registers from here on do not count.
const STILL_FROM: u16 = 200;

/// What a test may inspect while the unit works: the counter as a clock, and its requests and answers.
#[derive(Clone)]
pub(crate) struct Watch {
    begun: Instant,
    shared: Arc<Shared>,
}

impl Watch {
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What the counter holds now.
    pub(crate) fn now(&self) -> u32 {
        ticks(self.elapsed())
    }

    /// Requests that came over the line so far.
    pub(crate) fn requests(&self) -> usize {
        self.shared.counts.lock().unwrap().requests
    }

    /// Every counter the unit ever gave, one for each transaction.
    pub(crate) fn given(&self) -> HashSet<u32> {
        self.shared.counts.lock().unwrap().given.clone()
    }
}

/// Tenths of microseconds: the low word is full after 6.6 ms, the whole after seven minutes.
pub(crate) fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_nanos() / 100).expect("a test is over within seven minutes")
}

/// The unit, there until it is dropped.
pub(crate) struct CounterUnit {
    device: PathBuf,
    /// Keeps the terminal alive while no other process has it open.
    _clients_side: OwnedFd,
    watch: Watch,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: usize,
    given: HashSet<u32>,
}

impl CounterUnit {
    pub(crate) fn start() -> Self {
        let Terminal { far, device, held } = Terminal::open();
        let watch = Watch { begun: Instant::now(), shared: Arc::default() };
        let unit = Unit { terminal: far, watch: watch.clone(), written: 0 };
        let thread = thread::spawn(move || unit.run());
        Self { device, _clients_side: held, watch, thread: Some(thread) }
    }

    /// What the gateway opens.
    pub(crate) fn device(&self) -> &Path {
        &self.device
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }
}

impl Drop for CounterUnit {
    fn drop(&mut self) {
        self.watch.shared.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the unit has panicked");
    }
}

/// The thread of the unit.
struct Unit {
    terminal: File,
    watch: Watch,
    written: u16,
}

impl Unit {
    fn run(mut self) {
        while let Some(request) = self.request() {
            assert!(rtu::crc_is_right(&request), "not a request: {request:02x?}");
            let pdu = self.answer(&request[1..6]);
            self.terminal.write_all(&rtu::encode(request[0], &pdu)).unwrap();
        }
    }

    /// The next request, all of which have eight bytes here; `None` when the unit is to stop.
    fn request(&mut self) -> Option<[u8; 8]> {
        let mut request = [0; 8];
        let mut filled = 0;
        while filled < request.len() {
            let mut interest = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
            // Woken by bytes; the limit is only for the end of the test.
            let ready = poll(&mut interest, PollTimeout::from(50_u8)).unwrap();
            if self.watch.shared.stop.load(Ordering::Relaxed) {
                return None;
            }
            if ready > 0 {
                filled += self.terminal.read(&mut request[filled..]).unwrap();
            }
        }
        Some(request)
    }

    fn answer(&mut self, pdu: &[u8]) -> Vec<u8> {
        let word = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
        let (function, start, argument) = (pdu[0], word(1), word(3));
        let now = self.watch.now();
        let mut counts = self.watch.shared.counts.lock().unwrap();
        counts.requests += 1;
        if function == 0x06 {
            assert_eq!(start, WRITABLE, "only one register is written");
            self.written = argument;
            return pdu.to_vec();
        }
        assert_eq!(function, 0x03, "neither a read nor a write: {pdu:02x?}");
        counts.given.insert(now);
        let [high, low] = [now >> 16, now & 0xFFFF].map(|word| u16::try_from(word).unwrap());
        let register = |at: u16| match at {
            WRITABLE => self.written,
            STILL_FROM.. => 0,
            at if at % 2 == 0 => high,
            _ => low,
        };
        let values = (start..start + argument).flat_map(|at| register(at).to_be_bytes());
        [function, u8::try_from(argument * 2).unwrap()].into_iter().chain(values).collect()
    }
}
