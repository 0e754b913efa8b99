//! Running buses and listeners: how their tasks are started, and what the gateway keeps of each.
//!
//! Never decides which of them run: start and reload do (`mod.rs`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::addresses::BindAddress;
use crate::config;
use crate::endpoint::DevicePath;
use crate::line::{BusId, View};
use crate::runtime::Timer;
use crate::serial::{
    BusHandle, BusSettings, Network, OwnConnections, PortView, Supervised, Watchdog, port, supervision,
};
use crate::server::connection::serial_client::{self, SerialClientParts};
use crate::server::{ClientPort, Families, ListenerState, listener};
use crate::traffic::Traffic;

/// A bus with its task.
#[derive(Debug)]
pub(super) struct RunningBus {
    pub(super) id: BusId,
    pub(super) settings: Arc<config::Bus>,
    /// Sends new settings to the task.
    reloads: watch::Sender<BusSettings>,
    pub(super) handle: BusHandle,
    pub(super) view: Arc<ArcSwap<View>>,
    pub(super) port: Arc<ArcSwap<PortView>>,
    /// How often its task was restarted after a panic.
    pub(super) restarts: Arc<AtomicU64>,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

/// A listener at a serial port with the task of its client.
#[derive(Debug)]
pub(super) struct RunningSerialClient {
    pub(super) device: DevicePath,
    pub(super) state: Arc<ArcSwap<ListenerState>>,
    pub(super) port: Arc<ArcSwap<PortView>>,
    reloaded: Arc<Notify>,
    pub(super) stop: CancellationToken,
    removed: CancellationToken,
    port_closed: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

/// A listener with its task.
#[derive(Debug)]
pub(super) struct RunningListener {
    /// As configured; the port may be 0.
    pub(super) configured: SocketAddr,
    pub(super) address: SocketAddr,
    /// The address families its socket accepts.
    families: Families,
    pub(super) state: Arc<ArcSwap<ListenerState>>,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

impl RunningBus {
    /// Starts the task. It retries a port that cannot be opened, and is restarted after a panic.
    pub(super) fn start(
        id: BusId,
        settings: &config::Bus,
        traffic: Arc<Traffic>,
        watchdog: &Watchdog,
        own: &OwnConnections,
    ) -> Self {
        let (handle, requests) = BusHandle::new(id, &settings.line.name);
        let view = Arc::clone(handle.view());
        let (port_view, restarts) = (Arc::default(), Arc::default());
        let stop = CancellationToken::new();
        let (reloads, given) = watch::channel(bus_settings(settings));
        let supervised = Supervised {
            id,
            settings: given.clone(),
            view: Arc::clone(&view),
            traffic,
            port: Arc::clone(&port_view),
            stop: stop.clone(),
            watchdog: watchdog.clone(),
            restarts: Arc::clone(&restarts),
        };
        let own = own.clone();
        let opener = move || {
            let network = Network { own: own.clone(), ..Network::default() };
            let given = given.clone();
            move |acceptance| {
                let settings = given.borrow();
                port::open(settings.port.clone(), settings.line.response_timeout, network.clone(), acceptance)
            }
        };
        let reconnect = handle.reconnect();
        let task = tokio::spawn(supervision::run(supervised, requests, reconnect, opener, Timer::fine));
        Self {
            id,
            settings: Arc::new(settings.clone()),
            reloads,
            handle,
            view,
            port: port_view,
            restarts,
            stop,
            task,
        }
    }

    /// Applies new settings. Waiting requests, owed answers and learned values stay.
    pub(super) fn reload(self, settings: &config::Bus) -> Self {
        // Fails only if the task has ended, which needs no settings.
        let _ended = self.reloads.send(bus_settings(settings));
        let handle = self.handle.renamed(&settings.line.name);
        Self { settings: Arc::new(settings.clone()), handle, ..self }
    }
}

fn bus_settings(bus: &config::Bus) -> BusSettings {
    BusSettings { line: bus.line.clone(), port: bus.port.clone() }
}

impl RunningListener {
    /// Starts a listener on `socket`.
    pub(super) fn start(socket: TcpListener, bound: BindAddress, state: ListenerState) -> Self {
        Self::start_with(socket, bound, Arc::new(ArcSwap::from_pointee(state)))
    }

    /// The same, with the state of an earlier listener, which its connections still use.
    pub(super) fn start_with(
        socket: TcpListener,
        bound: BindAddress,
        state: Arc<ArcSwap<ListenerState>>,
    ) -> Self {
        let BindAddress { address: configured, families } = bound;
        let address = socket.local_addr().unwrap_or(configured);
        let stop = CancellationToken::new();
        let task = tokio::spawn(listener::run(socket, Arc::clone(&state), stop.clone()));
        info!(%address, "listening");
        Self { configured, address, families, state, stop, task }
    }

    /// The endpoint it is bound to.
    pub(super) fn endpoint(&self) -> BindAddress {
        BindAddress { address: self.address, families: self.families }
    }

    /// The endpoint as configured.
    pub(super) fn configured_endpoint(&self) -> BindAddress {
        BindAddress { address: self.configured, families: self.families }
    }

    /// Whether it still accepts clients.
    pub(super) fn is_running(&self) -> bool {
        !self.stop.is_cancelled() && !self.task.is_finished()
    }
}

impl RunningSerialClient {
    /// Starts the task. It retries a port that cannot be opened.
    pub(super) fn start(client_port: &ClientPort, state: ListenerState) -> Self {
        let state = Arc::new(ArcSwap::from_pointee(state));
        let (port, reloaded) = (Arc::default(), Arc::default());
        let (stop, removed, port_closed) = Default::default();
        let parts = SerialClientParts {
            listener: Arc::clone(&state),
            client_port: client_port.clone(),
            reloaded: Arc::clone(&reloaded),
            port: Arc::clone(&port),
            stop: CancellationToken::clone(&stop),
            removed: CancellationToken::clone(&removed),
            port_closed: CancellationToken::clone(&port_closed),
        };
        let (present, first) = (Arc::clone(&state), client_port.clone());
        let opener = move || {
            let (present, first) = (Arc::clone(&present), first.clone());
            move |acceptance| {
                let state = present.load();
                let client_port = state.settings.at.serial().unwrap_or(&first);
                port::open(client_port.port(), state.settings.deadline(), Network::default(), acceptance)
            }
        };
        let task = tokio::spawn(serial_client::supervise(parts, opener, Timer::fine));
        let device = client_port.device.clone();
        Self { device, state, port, reloaded, stop, removed, port_closed, task }
    }

    /// Ends the task, whose last writes may still be awaited; the token is cancelled when the device is free.
    pub(super) fn remove(self) -> (JoinHandle<()>, CancellationToken) {
        self.removed.cancel();
        (self.task, self.port_closed)
    }

    /// Applies new settings. The port is opened anew only if they concern it.
    pub(super) fn reload(&self, state: ListenerState) {
        self.state.store(Arc::new(state));
        self.reloaded.notify_one();
    }

    /// Whether it still serves its client.
    pub(super) fn is_running(&self) -> bool {
        !self.stop.is_cancelled() && !self.task.is_finished()
    }
}
