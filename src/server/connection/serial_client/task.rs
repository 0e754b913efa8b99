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
    ManagedPort, OpenPort, PortActivity, PortChange, PortView, READ_SIZE, ReplyReceiver, clock,
};
use crate::server::admission::IdleTracker;
use crate::server::connection::session::Session;
use crate::server::connection::{ClientContext, next_connection};
use crate::server::routes::ListenerState;
use crate::server::settings::ClientPort;
use crate::traffic::Link;

/// The parts the task is built from.
#[derive(Debug)]
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
}

/// Serves the client until it is stopped. `open` opens the port by name, each time anew, with the listener's present
/// settings.
pub async fn run<S, E, F, O>(parts: SerialClientParts, open: F, timer: Timer)
where
    S: AsyncRead + AsyncWrite + Unpin,
    E: fmt::Display,
    F: FnMut() -> O,
    O: Future<Output = Result<OpenPort<S>, E>>,
{
    let SerialClientParts { listener, client_port, reloaded, port, stop } = parts;
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
    task.run(&timer, &reloaded, &stop).await;
}

fn new_wire(client_port: &ClientPort) -> ClientWire {
    ClientWire::new(client_port.framing, client_port.echo)
}

/// The phase of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Requests are handled.
    Open,
    /// The request in flight is answered, and no other is handled.
    Draining,
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
    F: FnMut() -> O,
    O: Future<Output = Result<OpenPort<S>, E>>,
{
    async fn run(&mut self, timer: &Timer, reloaded: &Notify, stop: &CancellationToken) {
        let mut buffer = vec![0; READ_SIZE];
        let opened = self.port.begin_opening();
        self.handle_change(opened, Instant::now());
        while self.phase == Phase::Open || self.is_busy() {
            self.perform_actions(Instant::now()).await;
            let wake = [self.wire.poll_timeout(), self.session.poll_timeout().map(Instant::into_std)];
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
                () = reloaded.notified() => self.reload(),
                () = stop.cancelled(), if self.phase == Phase::Open => self.phase = Phase::Draining,
            }
        }
        self.port.close();
        self.session.handle_gone(Instant::now());
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
        info!(listener = %self.client.link.listener, "serial client no longer served");
    }

    /// Whether an answer is still to be sent.
    fn is_busy(&self) -> bool {
        self.port.is_open() && (self.session.in_flight() > 0 || self.wire.has_answer())
    }

    /// Performs the actions of the line and passes answers to it, until there are none.
    async fn perform_actions(&mut self, now: Instant) {
        loop {
            while let Some(action) = self.wire.poll_action() {
                match action {
                    WireAction::Request { unit, pdu } => self.handle_request(unit, pdu, now),
                    WireAction::Superseded => self.session.supersede(),
                    WireAction::Transmit(adu) => match self.port.send(&adu).await {
                        Ok(()) => trace!(listener = %self.client.link.listener, "sent {}", Hex(&adu)),
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

    fn handle_request(&mut self, unit: u8, pdu: Bytes, now: Instant) {
        if self.phase == Phase::Draining {
            return;
        }
        if self.session.in_flight() >= self.state.settings.max_in_flight {
            self.session.supersede();
            return self.log(
                LogKind::Stalled,
                now,
                "a request is not answered: too many before it are still open",
            );
        }
        // Its transaction identifier matters to no one: one request is in flight.
        let adu = Adu { transaction_id: self.session.next_transaction(), unit, pdu };
        let state = Arc::clone(&self.state);
        self.session.handle_request(adu, &state, now, clock::at(now));
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
        let held_back = self.log_limiter.permit(LogKind::Port, now);
        match change {
            PortChange::Opened(report) => {
                self.restart_wire();
                if let Some(held_back) = held_back {
                    info!(%listener, held_back, "serving a serial client: {report}");
                }
            }
            PortChange::NotOpened(problem) => {
                if let Some(held_back) = held_back {
                    error!(%listener, held_back, "cannot open the port of the serial client: {problem}; trying again");
                    self.port.confirm_report(problem);
                }
            }
            PortChange::StillClosed(problem) => debug!(%listener, "port still closed: {problem}"),
            PortChange::Lost(problem) => {
                if let Some(held_back) = held_back {
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

    /// The settings have changed; the port is opened anew only if they concern it.
    fn reload(&mut self) {
        let client_port = self.client_port.clone();
        self.take_settings();
        if client_port != self.client_port {
            let device = self.port.device().clone();
            let opened = self.port.reopen(device);
            self.restart_wire();
            self.handle_change(opened, Instant::now());
        }
    }

    /// Takes over the listener's present settings.
    fn take_settings(&mut self) {
        self.state = self.client.listener.load_full();
        if let Some(client_port) = self.state.settings.at.serial() {
            self.client_port = client_port.clone();
        }
        self.wire.handle_settings(self.state.served_units(), self.state.settings.deadline());
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
