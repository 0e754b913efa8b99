//! The task of one bus: opens the port, drives a [`Line`], publishes its view.
//!
//! Owns the port and the line, by value. It performs the outputs of the line; when the port is opened again is decided in
//! [`ManagedPort`].

use std::fmt;
use std::future::{self, Future};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, trace, warn};

use crate::line::{
    BusId, Disconnection, EventLevel, Line, LineEvent, LineSettings, Output, PortEvent, PortSettingsChange,
    Request, View,
};
use crate::modbus::hex::Hex;
use crate::runtime::{LogKind, LogRateLimiter, Timer};
use crate::serial::clock;
use crate::serial::connection::Acceptance;
use crate::serial::handle::{ReplySender, departures};
use crate::serial::managed_port::{ManagedPort, PortActivity, PortChange, READ_SIZE};
use crate::serial::port::OpenPort;
use crate::serial::port_view::PortView;
use crate::serial::settings::{PortDevice, PortSettings};
use crate::serial::watchdog::{Heartbeat, Watchdog};
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
    F: FnMut(Acceptance) -> O,
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
        line: {
            let mut line = Line::new(line);
            line.begin_identifiers_at(random_identifier());
            line
        },
        name,
        settings,
        reloads,
        log_limiter: LogRateLimiter::new(),
        port: ManagedPort::new(device, open, port),
        view,
        traffic,
        timer,
        departures: None,
    };
    task.run(requests, stop, &heartbeat).await;
    heartbeat.end();
}

struct BusTask<S, F, O> {
    id: BusId,
    line: Line<ReplySender>,
    name: Arc<str>,
    /// As last received from `reloads`.
    settings: Option<BusSettings>,
    reloads: Option<watch::Receiver<BusSettings>>,
    log_limiter: LogRateLimiter,
    port: ManagedPort<S, F, O>,
    view: Arc<ArcSwap<View>>,
    traffic: Arc<Traffic>,
    timer: Timer,
    /// [`departures`] when the queue was last searched for them; `None`: it must be searched.
    departures: Option<u64>,
}

impl<S, E, F, O> BusTask<S, F, O>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: fmt::Display,
    F: FnMut(Acceptance) -> O,
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
        // A bus that has just been started must not refuse what it could carry out a moment later.
        let opened = self.port.begin_opening();
        self.handle_change(opened);
        loop {
            self.perform_outputs().await;
            if (ended || stopping) && (!self.port.is_open() || self.line.is_idle()) {
                break;
            }
            let wake = self.line.poll_timeout();
            tokio::select! {
                // The order matters: an answer that is already in the buffer takes precedence over a timeout that is
                // due in the same instant, and both over new work.
                biased;
                activity = self.port.next(&mut buffer) => self.handle_activity(activity, &buffer),
                () = self.timer.sleep_until(wake) => {
                    self.handle_departures();
                    self.line.handle_timeout(clock::now());
                }
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
                            self.port.hasten_reconnection();
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
        let device = next.port.device.clone();
        info!(bus = %self.name, "new settings applied");
        self.line.handle_settings(next.line, change, clock::now());
        match change {
            PortSettingsChange::Unchanged => {}
            PortSettingsChange::Reopened => {
                let opened = self.port.reopen(device);
                self.handle_change(opened);
                if !self.port.is_open() {
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
                Output::Disconnect(why) => {
                    let change = match why {
                        Disconnection::Misframed(error) => {
                            self.port.disconnect(&io::Error::new(io::ErrorKind::InvalidData, error))
                        }
                        Disconnection::Hung => {
                            let device = self.port.device();
                            if let Some(held_back) = self.permit(LogKind::Port) {
                                info!(bus = %self.name, held_back, "{device} answers nothing any more; connecting anew");
                            }
                            self.port.reconnect("the connection brings nothing any more")
                        }
                    };
                    self.handle_change(Some(change));
                }
                Output::Publish(view) => self.view.store(view),
                Output::Record(record) => self.traffic.note_record(self.id, record),
                Output::Event(event) => self.log(&event),
                Output::Reply { to, answer } => to.send(answer),
            }
        }
    }

    fn log(&self, event: &LineEvent) {
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
        if !self.port.is_open() {
            return;
        }
        match self.port.send(adu).await {
            Ok(()) => trace!(bus = %self.name, "sent {}", Hex(adu)),
            Err(lost) => self.handle_change(Some(lost)),
        }
    }

    fn handle_activity(&mut self, activity: PortActivity, buffer: &[u8]) {
        match activity {
            PortActivity::Read(length) => {
                let bytes = &buffer[..length];
                trace!(bus = %self.name, "received {}", Hex(bytes));
                self.line.handle_bytes(bytes, clock::now());
            }
            PortActivity::Changed(change) => self.handle_change(Some(change)),
            PortActivity::Nothing => {}
        }
    }

    fn handle_change(&mut self, change: Option<PortChange>) {
        let Some(change) = change else { return };
        let device = self.port.device().clone();
        let event = match change {
            PortChange::Opened(report) => {
                if let Some(held_back) = self.permit(LogKind::Port) {
                    info!(bus = %self.name, held_back, "port open: {device}: {report}");
                }
                Some(PortEvent::Opened)
            }
            PortChange::Reconnected(report) => {
                debug!(bus = %self.name, "connected again: {device}: {report}");
                Some(PortEvent::Opened)
            }
            PortChange::NotOpened(problem) => {
                self.log_not_opened(&device, problem);
                None
            }
            PortChange::NotReconnected(problem) => {
                self.log_not_opened(&device, problem);
                Some(PortEvent::Lost)
            }
            PortChange::StillClosed(problem) => {
                debug!(bus = %self.name, "port still closed: {device}: {problem}");
                None
            }
            PortChange::Interrupted { problem, hang_ups } => {
                if hang_ups == HANG_UPS_NOTED
                    && let Some(held_back) = self.permit(LogKind::Port)
                {
                    warn!(bus = %self.name, held_back, "{device}: {problem} on a request {hang_ups} times in a row");
                } else {
                    debug!(bus = %self.name, "{device}: {problem}; connecting again");
                }
                Some(PortEvent::Interrupted)
            }
            PortChange::Lost(problem) => {
                if let Some(held_back) = self.permit(LogKind::Port) {
                    warn!(bus = %self.name, held_back, "port lost: {device}: {problem}; until it is back clients get \
                        0x0A, except for reads that the snapshot serves");
                }
                Some(PortEvent::Lost)
            }
            PortChange::FaultyCharacters(errors) => {
                warn!(bus = %self.name, "the driver counts faulty characters, {errors}: wrong baud rate or parity, \
                    noise, missing termination or bias");
                None
            }
        };
        if let Some(event) = event {
            self.line.handle_port(event, clock::now());
        }
    }

    /// A problem that is not logged is logged with the next attempt that may be.
    fn log_not_opened(&mut self, device: &PortDevice, problem: String) {
        if let Some(held_back) = self.permit(LogKind::Port) {
            error!(bus = %self.name, held_back, "cannot open the port: {device}: {problem}; trying again");
            self.port.confirm_report(problem);
        }
    }

    /// Answers requests that came while the task was ending; no accepted request remains unanswered.
    async fn refuse_remaining(mut self, mut requests: mpsc::Receiver<Request<ReplySender>>) {
        self.port.release();
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

/// The server may still answer a request of a process, or of a task, that has ended.
fn random_identifier() -> u16 {
    // Each hasher of the standard library has keys of its own.
    let [first, second, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    u16::from_ne_bytes([first, second])
}

/// The log kind of an event: a meter can cause any number of them.
fn kind_of(event: &LineEvent) -> LogKind {
    match event {
        LineEvent::Found { .. }
        | LineEvent::Suspected { .. }
        | LineEvent::Lost { .. }
        | LineEvent::LineSilent { .. }
        | LineEvent::LineRecovered { .. }
        | LineEvent::Occupied
        | LineEvent::Free => LogKind::Health,
        LineEvent::Late { .. } | LineEvent::Misfit { .. } | LineEvent::ForeignRequest => LogKind::Answers,
        LineEvent::Divided { .. }
        | LineEvent::TooFull { .. }
        | LineEvent::AsPlanned
        | LineEvent::Overrun { .. }
        | LineEvent::LearnLimit { .. } => LogKind::Background,
    }
}

/// So many connections in a row that end on a request are worth a line in the log.
const HANG_UPS_NOTED: u32 = 3;
