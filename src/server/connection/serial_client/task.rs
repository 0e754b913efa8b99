//! The task of a serial client: the loop that reads and writes its port.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, trace, warn};

use super::wire::{ClientWire, WireAction};
use crate::endpoint::Endpoint;
use crate::modbus::AduFraming;
use crate::modbus::hex::Hex;
use crate::modbus::mbap::Adu;
use crate::runtime::{LogKind, LogRateLimiter, Timer};
use crate::serial::{
    Acceptance, ManagedPort, OpenPort, PortActivity, PortChange, PortView, READ_SIZE, ReplyReceiver, clock,
};
use crate::server::admission::IdleTracker;
use crate::server::connection::session::Session;
use crate::server::connection::{ClientContext, next_connection};
use crate::server::routes::ListenerState;
use crate::server::settings::ClientPort;
use crate::traffic::Link;

/// The parts the task is built from.
#[derive(Clone, Debug)]
pub struct SerialClientParts {
    /// The listener's present settings.
    pub listener: Arc<ArcSwap<ListenerState>>,
    /// Its port, as the listener has it at the start.
    pub client_port: ClientPort,
    /// Notified when the settings have changed.
    pub reloaded: Arc<Notify>,
    /// Where it publishes the state of the port.
    pub port: Arc<ArcSwap<PortView>>,
    /// Ends the task: the request in flight is answered.
    pub stop: CancellationToken,
    /// Ends the task without waiting for the request in flight: only the frame being sent is sent to its end.
    pub removed: CancellationToken,
    /// Cancelled by the task when it has closed the port for good.
    pub port_closed: CancellationToken,
}

/// Serves the client until it is stopped or removed. `open` opens the port by name, each time anew, with the listener's present
/// settings.
pub async fn run<S, E, F, O>(parts: SerialClientParts, open: F, timer: Timer)
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: fmt::Display,
    F: FnMut(Acceptance) -> O,
    O: Future<Output = Result<OpenPort<S>, E>>,
{
    let SerialClientParts { listener, client_port, reloaded, port, stop, removed, port_closed } = parts;
    let now = Instant::now();
    let endpoint = Endpoint::Serial(client_port.device.clone());
    let client = ClientContext {
        link: Arc::new(Link {
            client: endpoint.clone(),
            listener: endpoint,
            framing: AduFraming::Rtu,
            connection: next_connection(),
            identity: None,
        }),
        listener,
        idle: Arc::new(IdleTracker::new(now, now, stop.clone())),
        log_limiter: Arc::default(),
    };
    let (session, answers) = Session::new(client.clone(), now);
    let mut task = SerialClientTask {
        wire: new_wire(&client_port),
        port: ManagedPort::new(client_port.port().device, open, port),
        client_port,
        log_limiter: Arc::clone(&client.log_limiter),
        state: client.listener.load_full(),
        client,
        session,
        answers,
        phase: Phase::Open,
    };
    task.take_settings();
    task.run(&timer, &reloaded, &End { stop, removed }).await;
    port_closed.cancel();
    task.finish_writes(&timer).await;
}

fn new_wire(client_port: &ClientPort) -> ClientWire {
    ClientWire::new(client_port.framing, client_port.echo)
}

/// The two ways to end the task.
struct End {
    stop: CancellationToken,
    removed: CancellationToken,
}

/// The phase of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Requests are handled.
    Open,
    /// The request in flight is answered, and no other is handled.
    Draining,
    /// The frame being sent is sent to its end.
    Closing,
}

struct SerialClientTask<S, F, O> {
    client: ClientContext,
    /// As last taken from the listener.
    state: Arc<ListenerState>,
    client_port: ClientPort,
    port: ManagedPort<S, F, O>,
    wire: ClientWire,
    session: Session,
    answers: ReplyReceiver,
    log_limiter: Arc<LogRateLimiter>,
    phase: Phase,
}

impl<S, E, F, O> SerialClientTask<S, F, O>
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: fmt::Display,
    F: FnMut(Acceptance) -> O,
    O: Future<Output = Result<OpenPort<S>, E>>,
{
    /// Serves the client, and closes the port.
    async fn run(&mut self, timer: &Timer, reloaded: &Notify, end: &End) {
        let mut buffer = vec![0; READ_SIZE];
        let opened = self.port.begin_opening();
        self.handle_change(opened, Instant::now());
        loop {
            let now = Instant::now();
            self.apply_port_settings(now);
            self.perform_actions(now).await;
            if self.has_ended(now) {
                break;
            }
            let answer_due = self.session.poll_timeout().map(Instant::into_std);
            let wake = [self.wire.poll_timeout(), answer_due, self.closing_at(now)];
            let wake = wake.into_iter().flatten().min();
            let awaits_answers = self.session.awaits_answers();
            let (_, handover) = self.session.outputs();
            tokio::select! {
                // What has been received comes before a pause that is due in the same instant.
                biased;
                activity = self.port.next(&mut buffer) => self.handle_activity(activity, &buffer),
                (key, answer) = self.answers.next(), if awaits_answers => {
                    self.session.handle_answer(key, answer, Instant::now());
                }
                () = timer.sleep_until(wake) => {
                    let now = Instant::now();
                    self.wire.handle_timeout(now.into_std());
                    self.session.handle_timeout(now);
                }
                () = handover.advance() => {}
                () = reloaded.notified() => self.take_settings(),
                () = end.removed.cancelled(), if self.phase != Phase::Closing => self.phase = Phase::Closing,
                () = end.stop.cancelled(), if self.phase == Phase::Open => self.phase = Phase::Draining,
            }
        }
        self.port.close();
        self.session.handle_gone(Instant::now());
        info!(listener = %self.client.link.listener, "serial client no longer served");
    }

    /// Records the outcomes of writes whose client is no longer served.
    async fn finish_writes(&mut self, timer: &Timer) {
        while self.session.has_late_writes() {
            tokio::select! {
                biased;
                (key, answer) = self.answers.next() => {
                    self.session.handle_answer(key, answer, Instant::now());
                }
                () = timer.sleep_until(self.session.poll_timeout().map(Instant::into_std)) => {
                    self.session.handle_timeout(Instant::now());
                }
            }
        }
    }

    /// Whether nothing is left to be done.
    fn has_ended(&self, now: Instant) -> bool {
        let awaits_answer = match self.phase {
            Phase::Open => return false,
            Phase::Draining => self.session.in_flight() > 0 || self.wire.has_answer(),
            Phase::Closing => false,
        };
        !self.port.is_open() || !(awaits_answer || self.is_sending(now))
    }

    /// Whether an answer is still being sent: closing the port would cut it off.
    fn is_sending(&self, now: Instant) -> bool {
        self.port.is_open() && self.wire.sending_until().is_some_and(|end| now.into_std() < end)
    }

    /// When the port may be closed, if that is what is waited for.
    fn closing_at(&self, now: Instant) -> Option<std::time::Instant> {
        let is_awaited = self.phase != Phase::Open || self.has_new_port_settings();
        self.wire.sending_until().filter(|_| is_awaited && self.is_sending(now))
    }

    /// Performs the actions of the line and passes answers to it, until there are none.
    async fn perform_actions(&mut self, now: Instant) {
        loop {
            while let Some(action) = self.wire.poll_action() {
                match action {
                    WireAction::Request { unit, pdu, received_at } => {
                        self.handle_request(unit, pdu, received_at.into(), now);
                    }
                    WireAction::Superseded => self.session.supersede(),
                    WireAction::Transmit(adu) => match self.port.send(&adu).await {
                        Ok(()) => {
                            trace!(listener = %self.client.link.listener, "sent {}", Hex(&adu));
                            self.session.handle_transmitted(now);
                        }
                        Err(lost) => self.handle_change(Some(lost), now),
                    },
                    WireAction::TooLate => self.log_too_late(now),
                    WireAction::Dropped(bytes) => {
                        self.log(LogKind::Damaged, now, &format!("{bytes} bytes that are no frame dropped"));
                    }
                }
            }
            self.session.count_requests(now);
            // At most one answer: the next request drops what is not sent of the one before.
            let answer = Bytes::copy_from_slice(self.session.outputs().0);
            if answer.is_empty() {
                return;
            }
            self.session.handle_written(answer.len());
            self.wire.handle_answer(answer, now.into_std());
        }
    }

    fn handle_request(&mut self, unit: u8, pdu: Bytes, received_at: Instant, now: Instant) {
        let has_room = self.session.in_flight() < self.state.settings.max_in_flight;
        if self.phase != Phase::Open || !has_room {
            // The answer to the request before must not be taken for the answer to this one.
            self.session.supersede();
            self.wire.drop_request();
            if !has_room {
                let what = "a request is not answered: too many before it are still open";
                self.log(LogKind::Stalled, now, what);
            }
            return;
        }
        // Its transaction identifier matters to no one: one request is in flight.
        let adu = Adu { transaction_id: self.session.next_transaction(), unit, pdu };
        let state = Arc::clone(&self.state);
        self.session.handle_request(adu, &state, received_at, clock::at(now));
    }

    fn handle_activity(&mut self, activity: PortActivity, buffer: &[u8]) {
        match activity {
            PortActivity::Read(length) => {
                let bytes = &buffer[..length];
                trace!(listener = %self.client.link.listener, "received {}", Hex(bytes));
                self.take_settings();
                self.wire.handle_bytes(bytes, Instant::now().into_std());
            }
            PortActivity::Changed(change) => self.handle_change(Some(change), Instant::now()),
            PortActivity::Nothing => {}
        }
    }

    fn handle_change(&mut self, change: Option<PortChange>, now: Instant) {
        let Some(change) = change else { return };
        let link = Arc::clone(&self.client.link);
        let listener = &link.listener;
        let limiter = Arc::clone(&self.log_limiter);
        let permit = || limiter.permit(LogKind::Port, now);
        match change {
            PortChange::Opened(report) | PortChange::Reconnected(report) => {
                self.restart_wire();
                if let Some(held_back) = permit() {
                    info!(%listener, held_back, "serving a serial client: {report}");
                }
            }
            PortChange::NotOpened(problem) | PortChange::NotReconnected(problem) => {
                if let Some(held_back) = permit() {
                    error!(%listener, held_back, "cannot open the port of the serial client: {problem}; trying again");
                    self.port.confirm_report(problem);
                }
            }
            PortChange::StillClosed(problem) => debug!(%listener, "port still closed: {problem}"),
            PortChange::Lost(problem) | PortChange::Interrupted { problem, .. } => {
                if let Some(held_back) = permit() {
                    warn!(%listener, held_back, "port of the serial client lost: {problem}; trying to open it again");
                }
                self.restart_wire();
            }
            PortChange::FaultyCharacters(errors) => {
                warn!(%listener, "the driver counts faulty characters, {errors}: wrong baud rate or parity, noise, \
                    missing termination or bias");
            }
        }
    }

    /// The client of a port that was closed waits for nothing any more.
    fn restart_wire(&mut self) {
        self.session.supersede();
        self.wire = new_wire(&self.client_port);
        self.wire.handle_settings(self.state.served_units(), self.state.settings.deadline());
    }

    /// Takes over the listener's present settings; those of the port later, when no answer is being sent.
    fn take_settings(&mut self) {
        self.state = self.client.listener.load_full();
        self.wire.handle_settings(self.state.served_units(), self.state.settings.deadline());
    }

    /// Whether the settings of the port are not those with which it was opened.
    fn has_new_port_settings(&self) -> bool {
        self.state.settings.at.serial().is_some_and(|port| *port != self.client_port)
    }

    /// Opens the port anew if its settings have changed.
    fn apply_port_settings(&mut self, now: Instant) {
        if !self.has_new_port_settings() || self.is_sending(now) {
            return;
        }
        if let Some(client_port) = self.state.settings.at.serial() {
            self.client_port = client_port.clone();
        }
        let opened = self.port.reopen(self.client_port.port().device);
        self.restart_wire();
        self.handle_change(opened, now);
    }

    fn log_too_late(&self, now: Instant) {
        let within = self.state.settings.deadline();
        self.log(
            LogKind::Backstop,
            now,
            &format!("an answer would begin later than {within:?} and is not sent"),
        );
    }

    fn log(&self, kind: LogKind, now: Instant, what: &str) {
        if let Some(held_back) = self.log_limiter.permit(kind, now) {
            info!(listener = %self.client.link.listener, held_back, "{what}");
        }
    }
}
