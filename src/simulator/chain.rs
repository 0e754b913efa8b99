//! A chain of simulated meters on a pseudo terminal: the tasks and descriptors around [`Wire`].
//!
//! Owns the terminal pair and the clock. It decides nothing about requests or timing; `wire` does.

use std::fs::OpenOptions;
use std::future::pending;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::libc::O_NOCTTY;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{self, SetArg};
use rustix::termios::{OptionalActions, ioctl_tiocnxcl};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::settings::ChainSettings;
use super::wire::{Counters, Wire};

/// Meters behind a serial device that programs can open like any other.
#[derive(Debug)]
pub struct Chain {
    settings: ChainSettings,
    device: PathBuf,
    reader: pipe::Receiver,
    writer: pipe::Sender,
    /// The clients' side, held open so that clients may open and close it.
    clients_side: OwnedFd,
}

impl Chain {
    /// Creates a pseudo terminal in raw mode. It is not served before [`run`](Self::run).
    ///
    /// # Errors
    /// The system's error if it provides no pseudo terminal.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn open(settings: ChainSettings) -> io::Result<Self> {
        let meters_side =
            posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        grantpt(&meters_side)?;
        unlockpt(&meters_side)?;
        let device = PathBuf::from(ptsname_r(&meters_side)?);
        let clients_side = OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(&device)?;
        // Raw before its name is known: an echoing terminal would return requests as answers. Through the C library,
        // whose older ioctls qemu's user mode supports, too.
        let mut termios = termios::tcgetattr(&clients_side)?;
        termios::cfmakeraw(&mut termios);
        termios::tcsetattr(&clients_side, SetArg::TCSANOW, &termios)?;
        // A client that sets no rate of its own finds the line's. Where the system cannot set any rate, clients cannot
        // either.
        if let Ok(mut termios) = rustix::termios::tcgetattr(&clients_side) {
            termios.set_speed(settings.baud_rate.get())?;
            rustix::termios::tcsetattr(&clients_side, OptionalActions::Now, &termios)?;
        }
        let meters_side = OwnedFd::from(meters_side);
        let reader = pipe::Receiver::from_owned_fd_unchecked(meters_side.try_clone()?)?;
        let writer = pipe::Sender::from_owned_fd_unchecked(meters_side)?;
        Ok(Self { settings, device, reader, writer, clients_side: clients_side.into() })
    }

    /// The device a client opens.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Answers until `stop` is cancelled; then the device is removed.
    ///
    /// # Errors
    /// The system's error if the pseudo terminal can no longer be read or written.
    pub async fn run(self, stop: CancellationToken) -> io::Result<Counters> {
        let stream = tokio::io::join(self.reader, self.writer);
        tokio::select! {
            counters = serve_at(stream, self.settings, stop, || rate_of(&self.clients_side)) => counters,
            never = forget_exclusive_use(&self.clients_side) => match never {},
        }
    }
}

/// The rate a client has set the device to. A pseudo terminal keeps it, and carries no parity and no stop bits.
fn rate_of(clients_side: &OwnedFd) -> Option<NonZeroU32> {
    let termios = rustix::termios::tcgetattr(clients_side).ok()?;
    NonZeroU32::new(termios.output_speed())
}

/// Answers on any stream of bytes, at the pace of the wire, until `stop` is cancelled or the stream ends.
///
/// # Errors
/// The stream's error if it can no longer be read or written.
pub async fn serve<S>(stream: S, settings: ChainSettings, stop: CancellationToken) -> io::Result<Counters>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    serve_at(stream, settings, stop, || None).await
}

/// The same, on a stream with a `rate` of its own; `None`: the line's.
async fn serve_at<S>(
    mut stream: S,
    settings: ChainSettings,
    stop: CancellationToken,
    rate: impl Fn() -> Option<NonZeroU32>,
) -> io::Result<Counters>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut wire = Wire::new(settings, Instant::now().into_std());
    let mut buffer = [0; READ_BUFFER];
    loop {
        while let Some(bytes) = wire.poll_output() {
            // A client that does not read loses bytes, as on a wire. Its unread bytes must not delay other clients.
            if let Ok(written) = timeout(PATIENCE, stream.write_all(&bytes)).await {
                written?;
            }
        }
        let due = wire.poll_timeout();
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(wire.counters()),
            read = stream.read(&mut buffer) => match read? {
                0 => return Ok(wire.counters()),
                count => {
                    if let Some(rate) = rate() {
                        wire.set_rate(rate);
                    }
                    wire.handle_bytes(&buffer[..count], Instant::now().into_std());
                }
            },
            () = until(due) => wire.handle_timeout(Instant::now().into_std()),
        }
    }
}

async fn until(due: Option<std::time::Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

/// Periodically ends the exclusive use of the device that a client has set.
///
/// A real port ends it when its last user closes it. This one is never closed, so a client without root rights could
/// open it only once. The lock on the file, which ends with its holder, still keeps two clients apart.
async fn forget_exclusive_use(clients_side: &OwnedFd) -> std::convert::Infallible {
    let mut ticks = interval(FORGET_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // It cannot fail on an open terminal, and if it did the line would still work.
        let _unneeded = ioctl_tiocnxcl(clients_side);
    }
}

/// Bytes read from the terminal at once: several requests.
const READ_BUFFER: usize = 1024;

/// How long a client that does not read may delay a piece of a reply before the piece is lost.
const PATIENCE: Duration = Duration::from_millis(20);

/// How soon the device can be opened again after its last user closed it.
const FORGET_EVERY: Duration = Duration::from_millis(200);
