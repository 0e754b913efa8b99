//! A line with meters on a pseudo terminal, precise to some microseconds; a thread of its own.
//!
//! Unlike the program's simulator it blocks, polls the clock when it matters, and records when bytes came and went. It
//! supports reads of registers by functions 0x03 and 0x04, which return the same. Source: MODBUS over Serial Line
//! V1.02, chapter 2.5.1.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use metergate::modbus::rtu;
use nix::fcntl::OFlag;
use nix::libc::O_NOCTTY;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use super::clock;

/// How the line keeps time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Bits per second, which also determine the silence.
    pub(crate) baud_rate: u32,
    /// Between the end of a request and the first bit of its reply. `None`: an unpaced line, where bytes
    /// take no time at all.
    pub(crate) turnaround: Option<Duration>,
}

impl Pace {
    /// The time `bytes` characters of ten bits take.
    pub(crate) fn wire_time(self, bytes: usize) -> Duration {
        rtu::wire_time(bytes, 10, self.baud_rate)
    }

    /// The silence required between two frames.
    pub(crate) fn silence(self) -> Duration {
        rtu::silence(self.baud_rate)
    }

    /// From one request to the next without any lost time, for reads of `quantity` registers.
    pub(crate) fn period(self, quantity: u16) -> Duration {
        self.silence()
            + self.wire_time(REQUEST_LENGTH)
            + self.turnaround.unwrap_or_default()
            + self.wire_time(reply_length(quantity))
    }
}

/// One request as received by the line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Unit, function, address and quantity, as on the line.
    #[allow(dead_code, reason = "the bench of the snapshot uses it, that of the line does not")]
    pub(crate) asked: [u8; ASKED_LENGTH],
    /// From the last byte before it, in either direction, to its first.
    pub(crate) gap: Option<Duration>,
    /// How late the line itself was with a piece of the reply before it.
    pub(crate) stall: Duration,
    /// When its first byte came.
    pub(crate) at: Instant,
    /// When the last byte of its reply was sent; `None` without a reply.
    pub(crate) answered: Option<Instant>,
}

impl Seen {
    /// From its first byte to the last of its reply.
    pub(crate) fn took(&self) -> Option<Duration> {
        Some(self.answered?.saturating_duration_since(self.at))
    }
}

/// The line, running until it is dropped.
pub(crate) struct Wire {
    device: PathBuf,
    clients_side: OwnedFd,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// The unit that does not answer; 0: all answer.
    dead: AtomicU8,
    seen: Mutex<Vec<Seen>>,
}

impl Wire {
    /// A line whose registers never change.
    pub(crate) fn start(pace: Pace) -> Self {
        Self::start_moving(pace, 0..0)
    }

    /// A line whose registers at these addresses change every second.
    pub(crate) fn start_moving(pace: Pace, moving: Range<u16>) -> Self {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let meters_side = posix_openpt(flags).expect("the system gives a pseudo terminal");
        unlockpt(&meters_side).expect("a new pseudo terminal can be unlocked");
        let device = PathBuf::from(ptsname_r(&meters_side).expect("a pseudo terminal has a name"));
        let clients_side = OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(&device);
        let clients_side = clients_side.expect("a pseudo terminal of ours can be opened");
        // Raw before it is opened: an echoing terminal would return requests as answers.
        let mut termios = tcgetattr(&clients_side).expect("it is a terminal");
        cfmakeraw(&mut termios);
        tcsetattr(&clients_side, SetArg::TCSANOW, &termios).expect("raw is allowed");
        let shared = Arc::new(Shared::default());
        let meters = Meters {
            terminal: OwnedFd::from(meters_side).into(),
            pace,
            moving,
            started: Instant::now(),
            shared: Arc::clone(&shared),
        };
        let thread = thread::spawn(move || meters.run());
        Self { device, clients_side: clients_side.into(), shared, thread: Some(thread) }
    }

    /// The device a client opens.
    pub(crate) fn device(&self) -> &Path {
        &self.device
    }

    /// The clients' side, for a client in this process.
    pub(crate) fn client(&self) -> File {
        self.clients_side.try_clone().expect("a descriptor is left").into()
    }

    /// Silences a unit; 0: none.
    pub(crate) fn kill(&self, unit: u8) {
        self.shared.dead.store(unit, Ordering::Relaxed);
    }

    /// The requests since the last call.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().expect("the line has not panicked"))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok(), "the line has panicked");
        }
    }
}

/// The thread of the line.
struct Meters {
    terminal: File,
    pace: Pace,
    moving: Range<u16>,
    started: Instant,
    shared: Arc<Shared>,
}

impl Meters {
    fn run(mut self) {
        clock::be_punctual();
        let (mut last_byte, mut stall) = (None, Duration::ZERO);
        while let Some((request, at)) = self.request(last_byte) {
            let end = match self.pace.turnaround {
                Some(_) => at + self.pace.wire_time(REQUEST_LENGTH),
                None => Instant::now(),
            };
            let gap = last_byte.map(|last| at.saturating_duration_since(last));
            let is_dead = request[0] == self.shared.dead.load(Ordering::Relaxed);
            let is_ignored = u16::from_be_bytes([request[2], request[3]]) >= IGNORED;
            let answer = if is_dead || is_ignored { None } else { Some(self.answer(&request, end)) };
            let answered = answer.map(|(last, _)| last);
            let asked = request.first_chunk().copied().expect("a request is longer than what it asks for");
            let seen = Seen { asked, gap, stall, at, answered };
            self.shared.seen.lock().expect("nobody panics with it").push(seen);
            last_byte = answered.or(Some(end));
            stall = answer.map_or(Duration::ZERO, |(_, stall)| stall);
        }
    }

    /// The next request and when its first byte came; `None` when the line is to stop.
    fn request(&mut self, last_byte: Option<Instant>) -> Option<([u8; REQUEST_LENGTH], Instant)> {
        // A client that keeps the silence sends right after it. That moment is polled, so that the gap measured is the
        // gap kept and not the time this thread takes to wake.
        let due = last_byte.map(|last| last + self.pace.silence());
        if let Some(due) = due {
            clock::sleep_until(due - WATCH_BEFORE);
        }
        let mut request = [0; REQUEST_LENGTH];
        let (mut filled, mut at) = (0, Instant::now());
        while filled < REQUEST_LENGTH {
            let read = self.terminal.read(&mut request[filled..]);
            let now = Instant::now();
            match read {
                Ok(count) => {
                    if filled == 0 {
                        at = now;
                    }
                    filled += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if due.is_none_or(|due| now >= due + WATCH_AFTER) {
                        self.wait_readable();
                    }
                }
                Err(error) => panic!("the line cannot be read: {error}"),
            }
            if self.shared.stop.load(Ordering::Relaxed) {
                return None;
            }
        }
        let is_read = [HOLDING, INPUT].contains(&request[1]);
        assert!(rtu::crc_is_right(&request) && is_read, "not a request: {request:02x?}");
        Some((request, at))
    }

    /// Waits for bytes, or for a moment, after which the caller checks whether to stop.
    fn wait_readable(&self) {
        let mut interest = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
        poll(&mut interest, PollTimeout::from(50_u8)).expect("a terminal can be polled");
    }

    /// Sends the reply as a UART does, a buffer of characters at a time, the last at its very end. Returns the instant
    /// right before the last piece, and the largest delay of a piece.
    fn answer(&mut self, request: &[u8; REQUEST_LENGTH], end: Instant) -> (Instant, Duration) {
        let adu = rtu::encode(request[0], &self.reply_pdu(request));
        let Some(turnaround) = self.pace.turnaround else {
            let now = Instant::now();
            self.terminal.write_all(&adu).expect("a reply fits a terminal's buffer");
            return (now, Duration::ZERO);
        };
        let begins = end + turnaround;
        let mut sent = 0;
        let (mut last, mut stall) = (begins, Duration::ZERO);
        for piece in adu.chunks(UART_BUFFER) {
            sent += piece.len();
            let due = begins + self.pace.wire_time(sent);
            clock::sleep_until(due);
            last = Instant::now();
            stall = stall.max(last - due);
            self.terminal.write_all(piece).expect("a reply fits a terminal's buffer");
        }
        (last, stall)
    }

    /// The reply of a unit: registers that identify unit and address, but for those that move.
    fn reply_pdu(&self, request: &[u8; REQUEST_LENGTH]) -> Vec<u8> {
        let start = u16::from_be_bytes([request[2], request[3]]);
        let quantity = u16::from_be_bytes([request[4], request[5]]);
        let mut pdu = registers(request[1], request[0], start, quantity);
        let second = self.started.elapsed().as_secs().to_be_bytes();
        for (at, register) in (start..).zip(pdu[2..].chunks_mut(2)) {
            if self.moving.contains(&at) {
                register[1] ^= second[second.len() - 1] & MOVING_BITS;
            }
        }
        pdu
    }
}

/// The PDU with which a unit answers a read of `quantity` registers from `start`.
pub(crate) fn registers(function: u8, unit: u8, start: u16, quantity: u16) -> Vec<u8> {
    let count = u8::try_from(quantity * 2).expect("at most 125 registers are asked for");
    let values = (start..start + quantity).flat_map(|at| (at ^ (u16::from(unit) << 8)).to_be_bytes());
    [function, count].into_iter().chain(values).collect()
}

/// The PDU that requests them.
pub(crate) fn read(function: u8, start: u16, quantity: u16) -> [u8; 5] {
    let ([a, b], [c, d]) = (start.to_be_bytes(), quantity.to_be_bytes());
    [function, a, b, c, d]
}

/// Bytes of the serial ADU that carries `quantity` registers.
pub(crate) fn reply_length(quantity: u16) -> usize {
    usize::from(quantity) * 2 + 2 + rtu::OVERHEAD
}

/// Bytes of a read's serial ADU ahead of its CRC.
pub(crate) const ASKED_LENGTH: usize = REQUEST_LENGTH - 2;

/// Bytes of the serial ADU of a read.
pub(crate) const REQUEST_LENGTH: usize = 8;

/// Read holding registers.
pub(crate) const HOLDING: u8 = 3;

/// Read input registers.
pub(crate) const INPUT: u8 = 4;

/// Reads that begin here or later are ignored.
pub(crate) const IGNORED: u16 = 0x8000;

/// Bits of a register that change: a float stays near what it was.
const MOVING_BITS: u8 = 0x07;

/// Characters a UART collects before it reports them.
const UART_BUFFER: usize = 16;

/// How long before and after the end of the silence the line is polled. No longer: the sender and the kernel need a
/// processor, too.
const WATCH_BEFORE: Duration = Duration::from_micros(50);
const WATCH_AFTER: Duration = Duration::from_micros(20);
