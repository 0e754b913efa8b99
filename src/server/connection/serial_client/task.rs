//! The task of a serial client: the loop that reads and writes its port.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::rtu_server::RtuServer;
use crate::endpoint::Endpoint;
use crate::modbus::AduFraming;
use crate::runtime::{LogKind, Timer};
use crate::serial::{
    Acceptance, ManagedPort, OpenPort, PortActivity, PortChange, PortView, READ_SIZE, ReplyReceiver, clock,
};
use crate::server::admission::IdleTracker;
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
    let (server, answers) = RtuServer::new(client.clone(), &client_port, now);
    let mut task = SerialClientTask {
        server,
        port: ManagedPort::new(client_port.port().device, open, port),
        client_port,
        client,
        answers,
        phase: Phase::Open,
    };
    task.run(&timer, &reloaded, &End { stop, removed }).await;
    port_closed.cancel();
    task.finish_writes(&timer).await;
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
    client_port: ClientPort,
    port: ManagedPort<S, F, O>,
    server: RtuServer,
    answers: ReplyReceiver,
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
            self.transmit(now).await;
            if self.has_ended(now) {
                break;
            }
            let wake = [self.server.poll_timeout(), self.closing_at(now)];
            let wake = wake.into_iter().flatten().min().map(Instant::into_std);
            let awaits_answers = self.server.awaits_answers();
            let handover = self.server.handover();
            tokio::select! {
                // What has been received comes before a pause that is due in the same instant.
                biased;
                activity = self.port.next(&mut buffer) => self.handle_activity(activity, &buffer),
                (key, answer) = self.answers.next(), if awaits_answers => {
                    self.server.handle_answer(key, answer, Instant::now());
                }
                () = timer.sleep_until(wake) => self.server.handle_timeout(Instant::now()),
                () = handover.advance() => {}
                () = reloaded.notified() => self.server.handle_settings(),
                () = end.removed.cancelled(), if self.phase != Phase::Closing => self.enter(Phase::Closing),
                () = end.stop.cancelled(), if self.phase == Phase::Open => self.enter(Phase::Draining),
            }
        }
        self.port.close();
        self.server.handle_gone(Instant::now());
        info!(listener = %self.client.link.listener, "serial client no longer served");
    }

    /// Records the outcomes of writes whose client is no longer served.
    async fn finish_writes(&mut self, timer: &Timer) {
        while self.server.has_late_writes() {
            tokio::select! {
                biased;
                (key, answer) = self.answers.next() => {
                    self.server.handle_answer(key, answer, Instant::now());
                }
                () = timer.sleep_until(self.server.poll_timeout().map(Instant::into_std)) => {
                    self.server.handle_timeout(Instant::now());
                }
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.server.end_intake();
    }

    /// Whether nothing is left to be done.
    fn has_ended(&self, now: Instant) -> bool {
        let awaits_answer = match self.phase {
            Phase::Open => return false,
            Phase::Draining => self.server.owes_answer(),
            Phase::Closing => false,
        };
        !self.port.is_open() || !(awaits_answer || self.is_sending(now))
    }

    /// Whether an answer is still being sent: closing the port would cut it off.
    fn is_sending(&self, now: Instant) -> bool {
        self.port.is_open() && self.server.sending_until().is_some_and(|end| now < end)
    }

    /// When the port may be closed, if that is what is waited for.
    fn closing_at(&self, now: Instant) -> Option<Instant> {
        let is_awaited = self.phase != Phase::Open || self.has_new_port_settings();
        self.server.sending_until().filter(|_| is_awaited && self.is_sending(now))
    }

    /// Sends what is to be sent, until there is nothing.
    async fn transmit(&mut self, now: Instant) {
        while let Some(adu) = self.server.poll_transmit(clock::at(now)) {
            match self.port.send(&adu).await {
                Ok(()) => self.server.handle_transmitted(&adu, now),
                Err(lost) => self.handle_change(Some(lost), now),
            }
        }
    }

    fn handle_activity(&mut self, activity: PortActivity, buffer: &[u8]) {
        match activity {
            PortActivity::Read(length) => {
                self.server.handle_bytes(&buffer[..length], Instant::now());
            }
            PortActivity::Changed(change) => self.handle_change(Some(change), Instant::now()),
            PortActivity::Nothing => {}
        }
    }

    fn handle_change(&mut self, change: Option<PortChange>, now: Instant) {
        let Some(change) = change else { return };
        let link = Arc::clone(&self.client.link);
        let listener = &link.listener;
        let limiter = Arc::clone(&self.client.log_limiter);
        let permit = || limiter.permit(LogKind::Port, now);
        match change {
            PortChange::Opened(report) | PortChange::Reconnected(report) => {
                self.server.handle_port(&self.client_port);
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
                self.server.handle_port(&self.client_port);
            }
            PortChange::FaultyCharacters(errors) => {
                warn!(%listener, "the driver counts faulty characters, {errors}: wrong baud rate or parity, noise, \
                    missing termination or bias");
            }
        }
    }

    /// Whether the settings of the port are not those with which it was opened.
    fn has_new_port_settings(&self) -> bool {
        self.server.state().settings.at.serial().is_some_and(|port| *port != self.client_port)
    }

    /// Opens the port anew if its settings have changed.
    fn apply_port_settings(&mut self, now: Instant) {
        if !self.has_new_port_settings() || self.is_sending(now) {
            return;
        }
        if let Some(client_port) = self.server.state().settings.at.serial() {
            self.client_port = client_port.clone();
        }
        let opened = self.port.reopen(self.client_port.port().device);
        self.server.handle_port(&self.client_port);
        self.handle_change(opened, now);
    }
}
