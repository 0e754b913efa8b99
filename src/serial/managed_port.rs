//! A port that is kept open: opened again after a loss, its state published, its driver's counters read.
//!
//! Owns the open port and when it is opened again, and tells a loss from a connection that a Modbus TCP server has ended
//! in the usual course. What a loss means, and what is logged of it, is its owner's business: a bus, or the line of a
//! serial client. It never flushes: on a serial port that blocks the whole thread until the
//! bytes are on the wire.

use std::fmt;
use std::future::{self, Future};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::serial::connection::{self, Acceptance};
use crate::serial::ioctl::LineErrors;
use crate::serial::port::{OpenPort, describe_loss};
use crate::serial::port_view::PortView;
use crate::serial::settings::PortDevice;

/// The port; `open` opens it by name, each time anew; its argument says when a connection counts as made.
pub struct ManagedPort<S, F, O> {
    device: PortDevice,
    open: F,
    /// An opening that takes its time; the port is closed meanwhile.
    opening: Option<Pin<Box<O>>>,
    port: Option<OpenPort<S>>,
    /// When it was opened last.
    opened_at: Instant,
    /// Whether anything was received since it was opened.
    has_received: bool,
    /// Whether something was sent since.
    is_awaiting: bool,
    /// The connection has ended in the usual course and is being made again.
    interruption: Option<Interruption>,
    /// How the last connections ended that brought nothing, and how many of them in a row so.
    fruitless: Option<(Interruption, u32)>,
    /// When the next connection counts as made.
    acceptance: Acceptance,
    view: PortView,
    published: Arc<ArcSwap<PortView>>,
    /// The driver's counters at the last reading, and when they are read again.
    line_errors: LineErrors,
    line_errors_at: Instant,
    reopen_at: Instant,
    reopen_pause: Duration,
    /// The last problem that was reported.
    reported: Option<String>,
}

/// When a server closed its connection in the usual course.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interruption {
    /// While nothing was asked: the next request is reason enough to connect again.
    Idle,
    /// On a request.
    OnRequest,
}

/// What happens at a port.
#[derive(Debug)]
pub enum PortActivity {
    /// So many bytes are in the buffer.
    Read(usize),
    /// Its state has changed.
    Changed(PortChange),
    /// Nothing that concerns its owner.
    Nothing,
}

/// A change of a port's state.
#[derive(Debug)]
pub enum PortChange {
    /// It is open, with these settings active.
    Opened(String),
    /// It cannot be opened, for another reason than the one reported last; a report is confirmed with
    /// [`confirm_report`](ManagedPort::confirm_report).
    NotOpened(String),
    /// It still cannot be opened, for the reason reported last.
    StillClosed(String),
    /// It was open and is lost.
    Lost(String),
    /// The connection has ended in the usual course, and is made again.
    Interrupted {
        /// How it ended.
        problem: String,
        /// How many in a row have ended on a request and brought nothing.
        hang_ups: u32,
    },
    /// It has been made again.
    Reconnected(String),
    /// It cannot be made again, and counts as lost; a report is confirmed like one of [`NotOpened`](Self::NotOpened).
    NotReconnected(String),
    /// The driver has counted these faulty characters since the last reading.
    FaultyCharacters(String),
}

impl<S, E, F, O> ManagedPort<S, F, O>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: fmt::Display,
    F: FnMut(Acceptance) -> O,
    O: Future<Output = Result<OpenPort<S>, E>>,
{
    /// A port that is closed. Its state is published into `published`.
    #[must_use]
    pub fn new(device: PortDevice, open: F, published: Arc<ArcSwap<PortView>>) -> Self {
        Self {
            device,
            open,
            opening: None,
            port: None,
            opened_at: Instant::now(),
            has_received: false,
            is_awaiting: false,
            interruption: None,
            fruitless: None,
            acceptance: Acceptance::Presumed,
            view: PortView::default(),
            published,
            line_errors: LineErrors::default(),
            line_errors_at: Instant::now(),
            reopen_at: Instant::now(),
            reopen_pause: REOPEN_MIN,
            reported: None,
        }
    }

    /// What it is, for messages.
    #[must_use]
    pub fn device(&self) -> &PortDevice {
        &self.device
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.port.is_some()
    }

    /// The next activity; reads into `buffer`. Cancel safe.
    pub async fn next(&mut self, buffer: &mut [u8]) -> PortActivity {
        let (reopen_at, line_errors_at) = (self.reopen_at, self.line_errors_at);
        tokio::select! {
            biased;
            read = read_some(&mut self.port, buffer) => self.handle_read(read),
            opened = wait_for_opening(&mut self.opening) => PortActivity::Changed(self.handle_opened(opened)),
            () = sleep_until(reopen_at), if self.port.is_none() && self.opening.is_none() => {
                self.begin_opening().map_or(PortActivity::Nothing, PortActivity::Changed)
            }
            () = sleep_until(line_errors_at), if self.port.is_some() => {
                self.check_line_errors().map_or(PortActivity::Nothing, PortActivity::Changed)
            }
        }
    }

    /// Begins to open it. What needs no waiting is done when this returns; `None`: the opening takes its time.
    pub fn begin_opening(&mut self) -> Option<PortChange> {
        let mut opening = Box::pin((self.open)(self.acceptance));
        match (&mut opening).now_or_never() {
            Some(opened) => {
                self.opening = None;
                Some(self.handle_opened(opened))
            }
            None => {
                self.opening = Some(opening);
                None
            }
        }
    }

    /// Closes it and begins to open it with the settings that `open` has now.
    pub fn reopen(&mut self, device: PortDevice) -> Option<PortChange> {
        self.device = device;
        self.close();
        self.reopen_pause = REOPEN_MIN;
        self.reported = None;
        self.interruption = None;
        self.fruitless = None;
        self.acceptance = Acceptance::Presumed;
        let change = self.begin_opening();
        if self.opening.is_some() {
            self.view.fail(CONNECTING.to_owned());
            self.publish();
        }
        change
    }

    /// Closes it; what has not been sent is discarded.
    pub fn close(&mut self) {
        if let Some(port) = self.port.take() {
            (port.discard)(&port.stream);
        }
    }

    /// Closes it; what has been sent is on its way.
    pub fn release(&mut self) {
        self.port = None;
    }

    /// Closes a connection that cannot be used any more.
    pub fn disconnect(&mut self, error: &io::Error) -> PortChange {
        self.lose(error)
    }

    /// Makes a connection anew that brings nothing any more.
    pub fn reconnect(&mut self, problem: &str) -> PortChange {
        self.interrupt(problem.to_owned())
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The loss of the port, if it does not accept the frame at once.
    pub async fn send(&mut self, adu: &[u8]) -> Result<(), PortChange> {
        let Some(OpenPort { stream, .. }) = &mut self.port else { return Ok(()) };
        // A port accepts a whole frame into its buffer at once; if it does not, it is stuck. The accepted part is
        // discarded when the port is reopened: half a frame that is sent later would break the silence.
        let written = match timeout(WRITE_TIMEOUT, stream.write_all(adu)).await {
            Ok(written) => written,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it takes no bytes to send")),
        };
        self.is_awaiting = true;
        written.map_err(|error| self.lose(&error))
    }

    /// Something is to be sent: a server that has closed an idle connection is connected to now.
    pub fn hasten_reconnection(&mut self) {
        if self.interruption == Some(Interruption::Idle) {
            self.reopen_at = self.reopen_at.min(Instant::now().max(self.opened_at + RECONNECT_MIN));
        }
    }

    /// The problem of [`PortChange::NotOpened`] was reported; the same one is no news any more.
    pub fn confirm_report(&mut self, problem: String) {
        self.reported = Some(problem);
    }

    fn handle_read(&mut self, read: io::Result<usize>) -> PortActivity {
        match read {
            // A serial port that reads zero bytes has lost its device, a connection its server; reading again would
            // spin.
            Ok(0) => PortActivity::Changed(self.lose(&io::ErrorKind::UnexpectedEof.into())),
            Ok(length) => {
                self.has_received = true;
                self.is_awaiting = false;
                self.acceptance = Acceptance::Presumed;
                PortActivity::Read(length)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => PortActivity::Nothing,
            Err(error) => PortActivity::Changed(self.lose(&error)),
        }
    }

    fn handle_opened(&mut self, opened: Result<OpenPort<S>, E>) -> PortChange {
        match opened {
            Ok(port) => {
                let line_errors = (port.line_errors)(&port.stream);
                let report = port.report.clone();
                let was_interrupted = self.interruption.take().is_some();
                if !was_interrupted {
                    self.view.open(&report, Instant::now().into_std());
                    if line_errors.is_some() {
                        self.view.begin_line_errors();
                    }
                    self.publish();
                }
                self.opened_at = Instant::now();
                self.has_received = false;
                self.is_awaiting = false;
                self.line_errors = line_errors.unwrap_or_default();
                self.line_errors_at = Instant::now() + LINE_ERRORS_PERIOD;
                self.reported = None;
                self.port = Some(port);
                match was_interrupted {
                    true => PortChange::Reconnected(report),
                    false => PortChange::Opened(report),
                }
            }
            Err(error) => {
                self.schedule_reopen();
                let problem = error.to_string();
                let was_interrupted = self.interruption.take().is_some();
                if was_interrupted {
                    self.view.lose(problem.clone());
                } else if self.reported.as_ref() == Some(&problem) {
                    return PortChange::StillClosed(problem);
                } else {
                    self.view.fail(problem.clone());
                }
                self.publish();
                match was_interrupted {
                    true => PortChange::NotReconnected(problem),
                    false => PortChange::NotOpened(problem),
                }
            }
        }
    }

    /// New character errors counted by the driver: otherwise they show at best as wrong checksums.
    fn check_line_errors(&mut self) -> Option<PortChange> {
        self.line_errors_at = Instant::now() + LINE_ERRORS_PERIOD;
        let now = self.port.as_ref().and_then(|port| (port.line_errors)(&port.stream))?;
        if now == self.line_errors {
            return None;
        }
        let before = std::mem::replace(&mut self.line_errors, now);
        self.view.count(&before, &now);
        self.publish();
        Some(PortChange::FaultyCharacters(now.since(&before)))
    }

    /// Closes the descriptor at once, so that the device's name is free for its return.
    fn lose(&mut self, error: &io::Error) -> PortChange {
        let problem = describe_loss(&self.device, error);
        if self.is_interruption(error) {
            return self.interrupt(problem);
        }
        if connection::is_closed_by_server(error) {
            self.acceptance = Acceptance::Awaited;
        }
        // One that is lost soon after each opening is not to be opened ever faster.
        if self.opened_at.elapsed() >= STEADY {
            self.reopen_pause = REOPEN_MIN;
        }
        self.view.lose(problem.clone());
        self.publish();
        self.close();
        self.schedule_reopen();
        PortChange::Lost(problem)
    }

    /// Whether a Modbus TCP server has closed a connection in the usual course. Many do so after some idle time, some
    /// after each answer, and some on a unit or a function they do not know: then the others of its units still answer.
    fn is_interruption(&self, error: &io::Error) -> bool {
        match self.device {
            PortDevice::Path(_) | PortDevice::Server(_) => false,
            PortDevice::ModbusTcp(_) => {
                let is_usual = self.has_received || self.is_awaiting || self.opened_at.elapsed() >= ACCEPTED;
                is_usual && connection::is_closed_by_server(error)
            }
        }
    }

    /// Connects again: at once after a connection that brought something, ever later after others.
    fn interrupt(&mut self, problem: String) -> PortChange {
        self.close();
        let (interruption, longest) = match self.is_awaiting {
            true => (Interruption::OnRequest, RECONNECT_MAX),
            false => (Interruption::Idle, IDLE_RECONNECT_MAX),
        };
        // A request that crosses the end of an idle connection is the first that the server hangs up on.
        let before = self.fruitless.filter(|(before, _)| *before == interruption);
        let times =
            if self.has_received { 0 } else { before.map_or(0, |(_, times)| times).saturating_add(1) };
        self.fruitless = Some((interruption, times));
        // It hangs up on these requests, or on any client for whom it has no room: that one it leaves before a request.
        if interruption == Interruption::OnRequest && times >= HANG_UPS_DOUBTED {
            self.acceptance = Acceptance::Awaited;
        }
        self.interruption = Some(interruption);
        let pause = (RECONNECT_MIN * (1 << times.saturating_sub(1).min(DOUBLINGS_MAX))).min(longest);
        // The first is made at once, if the one before has lasted.
        let at = if times > 1 { Instant::now() + pause } else { self.opened_at + RECONNECT_MIN };
        self.reopen_at = at.max(Instant::now());
        self.reopen_pause = REOPEN_MIN;
        self.reported = None;
        let hang_ups = if interruption == Interruption::OnRequest { times } else { 0 };
        PortChange::Interrupted { problem, hang_ups }
    }

    fn publish(&self) {
        self.published.store(Arc::new(self.view.clone()));
    }

    fn schedule_reopen(&mut self) {
        self.reopen_at = Instant::now() + self.reopen_pause;
        let longest = match self.device {
            PortDevice::Path(_) => REOPEN_MAX,
            PortDevice::Server(_) | PortDevice::ModbusTcp(_) => RECONNECT_MAX,
        };
        self.reopen_pause = (self.reopen_pause * 2).min(longest);
    }
}

/// The end of an opening that takes its time; never returns without one.
async fn wait_for_opening<O: Future>(opening: &mut Option<Pin<Box<O>>>) -> O::Output {
    let Some(under_way) = opening else { return future::pending().await };
    let opened = under_way.await;
    *opening = None;
    opened
}

/// The next bytes of the port; never returns while it is closed.
async fn read_some<S: AsyncRead + Unpin>(
    port: &mut Option<OpenPort<S>>,
    buffer: &mut [u8],
) -> io::Result<usize> {
    match port {
        Some(port) => port.stream.read(buffer).await,
        None => future::pending().await,
    }
}

/// Two frames: more than a port delivers at once at any common baud rate.
pub const READ_SIZE: usize = 512;

/// First pause before a lost port is reopened; good replies are back within a second of the device.
const REOPEN_MIN: Duration = Duration::from_millis(250);

/// Longest pause between two attempts: a device that returns just after a failed one is still back within a second.
const REOPEN_MAX: Duration = Duration::from_millis(500);

/// The same for a serial server, to whose connection others may have a claim, too.
const RECONNECT_MAX: Duration = Duration::from_secs(1);

/// Shortest time between two connections to a server that closes each of them after an answer.
const RECONNECT_MIN: Duration = Duration::from_millis(20);

/// The longest pause after connections that the server closed while nothing was asked.
const IDLE_RECONNECT_MAX: Duration = Duration::from_secs(10);

/// Doublings that take the shortest pause beyond each of the longest.
const DOUBLINGS_MAX: u32 = 10;

/// So many connections in a row that ended on a request and brought nothing may be those of a server that has no
/// connection free: more than a single read that is repeated brings about.
const HANG_UPS_DOUBTED: u32 = 3;

/// A server that keeps a connection for so long has accepted it; one that has no room for another client closes it
/// sooner.
const ACCEPTED: Duration = Duration::from_secs(1);

/// A port that was open for so long is opened again after the first pause.
const STEADY: Duration = Duration::from_secs(10);

/// Why a port is closed whose first connection is being made.
const CONNECTING: &str = "not connected yet";

/// How often the driver's counters are read, with at most one log line.
const LINE_ERRORS_PERIOD: Duration = Duration::from_secs(60);

/// How long a port may take to accept a frame into its buffer. The bus is blocked meanwhile, so it is less than the
/// margin connections keep before a client's deadline (`connection::DEADLINE_MARGIN`).
const WRITE_TIMEOUT: Duration = Duration::from_millis(20);
