//! The task of one bus: opens the port, drives a [`Line`], publishes its view.
//!
//! Owns the port and the line, by value. It performs the outputs of the line and decides only when to reopen the port.
//! It never flushes: on a serial port that blocks the whole thread until the bytes are on the wire.

use std::fmt;
use std::future::{self, Future};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, trace, warn};

use crate::line::{
    BusId, Event, EventLevel, Line, LineSettings, Output, PortEvent, PortSettingsChange, Request, View,
};
use crate::modbus::hex::Hex;
use crate::runtime::{LogKind, LogRateLimiter, Timer};
use crate::serial::handle::{ReplySender, departures};
use crate::serial::ioctl::LineErrors;
use crate::serial::port::{OpenPort, describe_loss};
use crate::serial::port_view::PortView;
use crate::serial::settings::{PortDevice, PortSettings};
use crate::serial::watchdog::{Heartbeat, Watchdog};
use crate::serial::{clock, connection};
use crate::traffic::Traffic;

/// What a reload changes of a running bus.
#[derive(Clone, Debug, PartialEq)]
pub struct BusSettings {
    /// The settings of its line.
    pub line: LineSettings,
    /// The settings of its port.
    pub port: PortSettings,
}

impl BusSettings {
    /// The effect of a change to `other` on the port.
    fn change_to(&self, other: &Self) -> PortSettingsChange {
        if self.port == other.port && self.line.echo == other.line.echo {
            PortSettingsChange::Unchanged
        } else {
            PortSettingsChange::Reopened
        }
    }
}

/// The parts a bus task is built from.
#[derive(Debug)]
pub struct BusParts {
    /// Which bus.
    pub id: BusId,
    /// The settings of its line.
    pub line: LineSettings,
    /// What its port is, for the log.
    pub device: PortDevice,
    /// Receives the settings of later reloads; holds the present ones until then.
    pub reloads: Option<watch::Receiver<BusSettings>>,
    /// Requests of clients; when all senders are gone, the task answers the waiting ones and ends.
    pub requests: mpsc::Receiver<Request<ReplySender>>,
    /// Where it publishes the view.
    pub view: Arc<ArcSwap<View>>,
    /// Where it records its line's traffic.
    pub traffic: Arc<Traffic>,
    /// Where it publishes the state of the port.
    pub port: Arc<ArcSwap<PortView>>,
    /// Ends the task: the request on the wire is finished, waiting ones are answered 0x0A.
    pub stop: CancellationToken,
    /// Its end of the watchdog.
    pub heartbeat: Heartbeat,
}

impl BusParts {
    /// For a bus used by a single command or test: without followers, port view or watchdog, and stopped only by the
    /// end of its requests.
    #[must_use]
    pub fn alone(
        line: LineSettings,
        device: PortDevice,
        requests: mpsc::Receiver<Request<ReplySender>>,
        view: Arc<ArcSwap<View>>,
    ) -> Self {
        let id = BusId::default();
        let heartbeat = Watchdog::default().add(id, &line.name);
        let (traffic, port, stop) = Default::default();
        Self { id, line, device, reloads: None, requests, view, traffic, port, stop, heartbeat }
    }
}

/// Runs a bus until its requests end or it is stopped. `open` opens the port by name, each time anew; what it does
/// without waiting is done before any request is received.
pub async fn run<S, E, F, O>(parts: BusParts, open: F, timer: Timer)
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: fmt::Display,
    F: FnMut() -> O,
    O: Future<Output = Result<OpenPort<S>, E>>,
{
    let BusParts { id, line, device, mut reloads, requests, view, traffic, port, stop, heartbeat } = parts;
    // A reload may have come since the parts were built.
    let settings = reloads.as_mut().map(|reloads| reloads.borrow_and_update().clone());
    let line = settings.as_ref().map_or(line, |settings| settings.line.clone());
    let device = settings.as_ref().map_or(device, |settings| settings.port.device.clone());
    let name: Arc<str> = line.name.as_str().into();
    let task = BusTask {
        id,
        line: Line::new(line),
        name,
        device,
        settings,
        reloads,
        log_limiter: LogRateLimiter::new(),
        open,
        opening: None,
        port: None,
        opened_at: Instant::now(),
        has_received: false,
        is_interrupted: false,
        port_view: PortView::default(),
        port_published: port,
        line_errors: LineErrors::default(),
        line_errors_at: Instant::now(),
        view,
        traffic,
        timer,
        reopen: Reopen { at: Instant::now(), pause: REOPEN_MIN, last_error: None },
        departures: None,
    };
    task.run(requests, stop, &heartbeat).await;
    heartbeat.end();
}

struct BusTask<S, F, O> {
    id: BusId,
    line: Line<ReplySender>,
    name: Arc<str>,
    device: PortDevice,
    /// As last received from `reloads`.
    settings: Option<BusSettings>,
    reloads: Option<watch::Receiver<BusSettings>>,
    log_limiter: LogRateLimiter,
    open: F,
    /// An opening that takes its time; the port is closed meanwhile.
    opening: Option<Pin<Box<O>>>,
    port: Option<OpenPort<S>>,
    /// When it was opened last.
    opened_at: Instant,
    /// Whether anything was received since the port was opened.
    has_received: bool,
    /// Whether the connection has ended in the usual course and is being made again, with requests waiting for it.
    is_interrupted: bool,
    port_view: PortView,
    port_published: Arc<ArcSwap<PortView>>,
    /// The driver's counters at the last reading, and when they are read again.
    line_errors: LineErrors,
    line_errors_at: Instant,
    view: Arc<ArcSwap<View>>,
    traffic: Arc<Traffic>,
    timer: Timer,
    reopen: Reopen,
    /// [`departures`] when the queue was last searched for them; `None`: it must be searched.
    departures: Option<u64>,
}

/// When the port is reopened, and the last error.
struct Reopen {
    at: Instant,
    pause: Duration,
    last_error: Option<String>,
}

impl<S, E, F, O> BusTask<S, F, O>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: fmt::Display,
    F: FnMut() -> O,
    O: Future<Output = Result<OpenPort<S>, E>>,
{
    async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request<ReplySender>>,
        stop: CancellationToken,
        heartbeat: &Heartbeat,
    ) {
        let mut buffer = vec![0; READ_SIZE];
        let (mut ended, mut stopping) = (false, false);
        // Before the first request is received.
        self.try_open();
        loop {
            self.perform_outputs().await;
            if (ended || stopping) && (self.port.is_none() || self.line.is_idle()) {
                break;
            }
            let wake = self.line.poll_timeout();
            let (reopen_at, line_errors_at) = (self.reopen.at, self.line_errors_at);
            tokio::select! {
                // The order matters: an answer that is already in the buffer takes precedence over a timeout that is
                // due in the same instant, and both over new work.
                biased;
                read = read_some(&mut self.port, &mut buffer) => self.handle_read(read, &buffer),
                () = self.timer.sleep_until(wake) => {
                    self.handle_departures();
                    self.line.handle_timeout(clock::now());
                }
                opened = wait_for_opening(&mut self.opening) => self.handle_opened(opened),
                () = tokio::time::sleep_until(reopen_at), if self.port.is_none() && self.opening.is_none() => {
                    self.try_open();
                }
                () = tokio::time::sleep_until(line_errors_at), if self.port.is_some() => self.check_line_errors(),
                // Before new work, which may never end.
                () = heartbeat.requested() => heartbeat.answer(),
                () = reloaded(&mut self.reloads) => self.apply_reload(),
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.line.close();
                }
                request = requests.recv(), if !ended => match request {
                    Some(request) => {
                        self.handle_departures();
                        if request.to.is_half_closed() {
                            // It was not in the queue yet when that was searched.
                            self.departures = None;
                        }
                        // A line that is free would send it at once. Dropped, it reports that it was not sent.
                        if !request.to.is_gone() {
                            self.line.handle_request(request, clock::now());
                        }
                    }
                    None => ended = true,
                },
            }
        }
        self.refuse_remaining(requests).await;
    }

    /// Drops the requests of clients that left. Requests of clients that closed their sending side, and have most
    /// likely left, are moved behind those of others.
    fn handle_departures(&mut self) {
        let departures = Some(departures());
        if !self.line.take_requeued() && self.departures == departures {
            return;
        }
        self.departures = departures;
        self.line.drop_requests(ReplySender::is_gone);
        self.line.demote_requests(ReplySender::is_half_closed);
    }

    /// Applies the settings of a reload. The port is reopened only if they concern it.
    fn apply_reload(&mut self) {
        let Some(reloads) = &mut self.reloads else { return };
        let next = reloads.borrow_and_update().clone();
        let Some(before) = self.settings.replace(next.clone()).filter(|before| *before != next) else {
            return;
        };
        let change = before.change_to(&next);
        self.name = next.line.name.as_str().into();
        self.device = next.port.device.clone();
        info!(bus = %self.name, "new settings applied");
        self.line.handle_settings(next.line, change, clock::now());
        match change {
            PortSettingsChange::Unchanged => {}
            PortSettingsChange::Reopened => {
                if let Some(port) = self.port.take() {
                    (port.discard)(&port.stream);
                }
                self.reopen.pause = REOPEN_MIN;
                self.reopen.last_error = None;
                self.is_interrupted = false;
                self.try_open();
                if self.opening.is_some() {
                    self.port_view.fail(CONNECTING.to_owned());
                    self.publish_port();
                }
                if self.port.is_none() {
                    self.line.handle_port(PortEvent::Lost, clock::now());
                }
            }
        }
    }

    /// Performs the outputs of the line until there are none.
    async fn perform_outputs(&mut self) {
        while let Some(output) = self.line.poll_output() {
            match output {
                Output::Transmit(adu) => self.transmit(&adu).await,
                Output::Disconnect(error) => {
                    self.lose_port(&io::Error::new(io::ErrorKind::InvalidData, error));
                }
                Output::Publish(view) => self.view.store(view),
                Output::Record(record) => self.traffic.note_record(self.id, record),
                Output::Event(event) => self.log(&event),
                Output::Reply { to, answer } => to.send(answer),
            }
        }
    }

    fn log(&self, event: &Event) {
        let bus = &self.name;
        let described = event.describe(self.line.settings());
        let permit = || self.permit(kind_of(event));
        match event.level() {
            EventLevel::Debug => debug!(%bus, "{described}"),
            EventLevel::Warning => {
                if let Some(held_back) = permit() {
                    warn!(%bus, held_back, "{described}");
                }
            }
            EventLevel::Info => {
                if let Some(held_back) = permit() {
                    info!(%bus, held_back, "{described}");
                }
            }
        }
    }

    /// Whether a line of this kind may be logged now, and how many were held back since the last one, if any.
    fn permit(&self, kind: LogKind) -> Option<Option<u64>> {
        let held_back = self.log_limiter.permit(kind, Instant::now())?;
        Some((held_back > 0).then_some(held_back))
    }

    async fn transmit(&mut self, adu: &Bytes) {
        let Some(OpenPort { stream, .. }) = &mut self.port else { return };
        // A port accepts a whole frame into its buffer at once; if it does not, it is stuck. The accepted part is
        // discarded when the port is reopened: half a frame that is sent later would break the silence.
        let written = match timeout(WRITE_TIMEOUT, stream.write_all(adu)).await {
            Ok(written) => written,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it takes no bytes to send")),
        };
        match written {
            Ok(()) => trace!(bus = %self.name, "sent {}", Hex(adu)),
            Err(error) => self.lose_port(&error),
        }
    }

    fn handle_read(&mut self, read: io::Result<usize>, buffer: &[u8]) {
        match read {
            // A serial port that reads zero bytes has lost its device, a connection its server; reading again would
            // spin.
            Ok(0) => self.lose_port(&io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                let bytes = &buffer[..length];
                self.has_received = true;
                trace!(bus = %self.name, "received {}", Hex(bytes));
                self.line.handle_bytes(bytes, clock::now());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.lose_port(&error),
        }
    }

    /// Begins to open the port. What needs no waiting is done when this returns: a bus that has just been started must
    /// not refuse what it could carry out a moment later.
    fn try_open(&mut self) {
        let mut opening = Box::pin((self.open)());
        match (&mut opening).now_or_never() {
            Some(opened) => {
                self.opening = None;
                self.handle_opened(opened);
            }
            None => self.opening = Some(opening),
        }
    }

    fn handle_opened(&mut self, opened: Result<OpenPort<S>, E>) {
        match opened {
            Ok(port) => {
                let line_errors = (port.line_errors)(&port.stream);
                if std::mem::take(&mut self.is_interrupted) {
                    debug!(bus = %self.name, "connected again: {}: {}", self.device, port.report);
                } else {
                    if let Some(held_back) = self.permit(LogKind::Port) {
                        info!(bus = %self.name, held_back, "port open: {}: {}", self.device, port.report);
                    }
                    self.port_view.open(&port.report, Instant::now().into_std());
                    if line_errors.is_some() {
                        self.port_view.begin_line_errors();
                    }
                    self.publish_port();
                }
                self.has_received = false;
                self.opened_at = Instant::now();
                self.line_errors = line_errors.unwrap_or_default();
                self.line_errors_at = Instant::now() + LINE_ERRORS_PERIOD;
                self.port = Some(port);
                self.reopen.last_error = None;
                self.line.handle_port(PortEvent::Opened, clock::now());
            }
            Err(error) => {
                let problem = format!("{}: {error}", self.device);
                let is_lost = std::mem::take(&mut self.is_interrupted);
                if self.reopen.last_error.as_ref() == Some(&problem) {
                    debug!(bus = %self.name, "port still closed: {problem}");
                } else {
                    // A problem that was not logged is logged with the next attempt that may be.
                    if let Some(held_back) = self.permit(LogKind::Port) {
                        error!(bus = %self.name, held_back, "cannot open the port: {problem}; trying again");
                        self.reopen.last_error = Some(problem);
                    }
                    if is_lost {
                        self.port_view.lose(error.to_string());
                    } else {
                        self.port_view.fail(error.to_string());
                    }
                    self.publish_port();
                }
                self.schedule_reopen();
                if is_lost {
                    self.line.handle_port(PortEvent::Lost, clock::now());
                }
            }
        }
    }

    /// Logs new character errors counted by the driver: otherwise they show at best as wrong checksums.
    fn check_line_errors(&mut self) {
        self.line_errors_at = Instant::now() + LINE_ERRORS_PERIOD;
        let Some(now) = self.port.as_ref().and_then(|port| (port.line_errors)(&port.stream)) else { return };
        if now != self.line_errors {
            let before = std::mem::replace(&mut self.line_errors, now);
            self.port_view.count(&before, &now);
            self.publish_port();
            warn!(bus = %self.name, "the driver counts faulty characters, {}: wrong baud rate or parity, noise, \
                missing termination or bias", now.since(&before));
        }
    }

    /// Closes the descriptor at once, so that the device's name is free for its return.
    fn lose_port(&mut self, error: &io::Error) {
        if self.is_interruption(error) {
            return self.interrupt(error);
        }
        let (device, problem) = (&self.device, describe_loss(&self.device, error));
        if let Some(held_back) = self.permit(LogKind::Port) {
            warn!(bus = %self.name, held_back, "port lost: {device}: {problem}; until it is back clients get 0x0A, \
                except for reads that the snapshot serves");
        }
        // One that is lost soon after each opening is not to be opened ever faster.
        if self.opened_at.elapsed() >= STEADY {
            self.reopen.pause = REOPEN_MIN;
        }
        self.port_view.lose(problem);
        self.publish_port();
        if let Some(port) = self.port.take() {
            (port.discard)(&port.stream);
        }
        self.schedule_reopen();
        self.line.handle_port(PortEvent::Lost, clock::now());
    }

    /// Whether a Modbus TCP server has closed a connection that had served its purpose. Many do so after some idle time,
    /// some after each answer; it is no fault.
    fn is_interruption(&self, error: &io::Error) -> bool {
        match self.device {
            PortDevice::Path(_) | PortDevice::Server(_) => false,
            PortDevice::ModbusTcp(_) => {
                let has_served = self.has_received || self.opened_at.elapsed() >= STEADY;
                has_served && connection::is_closed_by_server(error)
            }
        }
    }

    /// Connects again at once, while requests wait.
    fn interrupt(&mut self, error: &io::Error) {
        debug!(bus = %self.name, "{}: {}; connecting again", self.device, describe_loss(&self.device, error));
        if let Some(port) = self.port.take() {
            (port.discard)(&port.stream);
        }
        self.is_interrupted = true;
        let at = Instant::now().max(self.opened_at + RECONNECT_MIN);
        self.reopen = Reopen { at, pause: REOPEN_MIN, last_error: None };
        self.line.handle_port(PortEvent::Interrupted, clock::now());
    }

    fn publish_port(&self) {
        self.port_published.store(Arc::new(self.port_view.clone()));
    }

    fn schedule_reopen(&mut self) {
        self.reopen.at = Instant::now() + self.reopen.pause;
        let longest = match self.device {
            PortDevice::Path(_) => REOPEN_MAX,
            PortDevice::Server(_) | PortDevice::ModbusTcp(_) => RECONNECT_MAX,
        };
        self.reopen.pause = (self.reopen.pause * 2).min(longest);
    }

    /// Answers requests that came while the task was ending; no accepted request remains unanswered.
    async fn refuse_remaining(mut self, mut requests: mpsc::Receiver<Request<ReplySender>>) {
        self.port = None;
        self.line.handle_port(PortEvent::Lost, clock::now());
        requests.close();
        while let Some(request) = requests.recv().await {
            self.line.handle_request(request, clock::now());
        }
        self.perform_outputs().await;
        info!(bus = %self.name, "bus stopped");
    }
}

/// Waits for new settings; never returns if none can come.
async fn reloaded(reloads: &mut Option<watch::Receiver<BusSettings>>) {
    match reloads {
        Some(receiver) => {
            if receiver.changed().await.is_err() {
                *reloads = None;
            }
        }
        None => future::pending().await,
    }
}

/// The log kind of an event: a meter can cause any number of them.
fn kind_of(event: &Event) -> LogKind {
    match event {
        Event::Found { .. }
        | Event::Suspected { .. }
        | Event::Lost { .. }
        | Event::LineSilent
        | Event::LineRecovered { .. }
        | Event::Occupied
        | Event::Free => LogKind::Health,
        Event::Late { .. } | Event::Misfit { .. } | Event::ForeignRequest => LogKind::Answers,
        Event::Divided { .. }
        | Event::TooFull { .. }
        | Event::AsPlanned
        | Event::Overrun { .. }
        | Event::LearnLimit { .. } => LogKind::Background,
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
const READ_SIZE: usize = 512;

/// First pause before a lost port is reopened; good replies are back within a second of the device.
const REOPEN_MIN: Duration = Duration::from_millis(250);

/// Longest pause between two attempts: a device that returns just after a failed one is still back within a second.
const REOPEN_MAX: Duration = Duration::from_millis(500);

/// The same for a server, to whose connection others may have a claim, too.
const RECONNECT_MAX: Duration = Duration::from_secs(1);

/// Shortest time between two connections to a server that closes each of them after an answer.
const RECONNECT_MIN: Duration = Duration::from_millis(20);

/// A port that was open for so long is opened again after the first pause.
const STEADY: Duration = Duration::from_secs(10);

/// Why a port is closed whose first connection is being made.
const CONNECTING: &str = "not connected yet";

/// How often the driver's counters are read, with at most one log line.
const LINE_ERRORS_PERIOD: Duration = Duration::from_secs(60);

/// How long a port may take to accept a frame into its buffer. The bus is blocked meanwhile, so it is less than the
/// margin connections keep before a client's deadline (`connection::DEADLINE_MARGIN`).
const WRITE_TIMEOUT: Duration = Duration::from_millis(20);
