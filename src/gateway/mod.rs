//! The daemon: runs buses and listeners from a configuration; owns the order of start, reload and stop.
//!
//! Start: all addresses are bound before any port is opened, so that a taken address ends the program before anything
//! was done. Reload: what did not change continues undisturbed; a changed bus receives its new settings
//! (`RunningBus::reload`), and `Line::handle_settings` decides what it keeps. Stop: listeners first, until their
//! requests are answered, then the buses, until the transaction on the wire has ended.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use self::addresses::{BindAddress, bind, bind_with_retries, collide};
use self::brokers::Brokers;
use self::event_log::EventLog;
use self::running::{RunningBus, RunningListener, RunningSerialClient};
use self::status_page::StatusPage;
use crate::audit::{Audit, AuditLog};
use crate::config::{self, Config};
use crate::endpoint::Endpoint;
use crate::events::EventKind;
use crate::line::{BusId, ListenerId, UnitId, View};
use crate::serial::{OwnConnections, Watchdog};
use crate::server::{ListenAt, ListenerMetrics, ListenerState, Routes};
use crate::status::DoctorReport;
use crate::traffic::{Traffic, UnitDirectory, UnitName};
use crate::web::{BusSource, ListenerSource, SharedEvents, SharedHistory, Sources};

mod addresses;
mod brokers;
mod event_log;
mod page_server;
mod running;
mod status_page;

/// Why the gateway could not start or apply a new configuration.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Bind {
        /// Whose address it is.
        key: AddressKey,
        /// The address as configured.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// The audit file cannot be opened.
    Audit {
        /// The file as configured.
        file: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The thread of the status page and the history cannot be started.
    Thread {
        /// The system's error.
        error: io::Error,
    },
}

/// The key of the configuration that names an address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKey {
    /// That of a listener, by its place in the file.
    Listener(usize),
    /// That of the status page.
    Status,
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(index) => write!(f, "listeners[{index}].address"),
            Self::Status => f.write_str("status.address"),
        }
    }
}

impl StartError {
    /// In words; `named`: how the user knows the key of an address.
    #[must_use]
    pub fn describe(&self, named: impl Fn(AddressKey) -> String) -> String {
        let (key, address, error) = match self {
            Self::Bind { key, address, error } => (*key, address, error),
            Self::Audit { file, error } => {
                let file = file.display();
                return format!(
                    "cannot open the audit file {file}: {error}; its directory must exist and be writable"
                );
            }
            Self::Thread { error } => {
                return format!("cannot start the thread of the status page: {error}");
            }
        };
        let remedy = if error.kind() == io::ErrorKind::PermissionDenied && address.port() < 1024 {
            "; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE".to_owned()
        } else if error.kind() == io::ErrorKind::AddrInUse {
            let port = address.port();
            format!("; another program listens there already, `sudo ss -ltnp 'sport = :{port}'` shows which")
        } else if error.kind() == io::ErrorKind::AddrNotAvailable {
            "; this machine has no such address, 0.0.0.0 stands for all of its addresses".to_owned()
        } else {
            String::new()
        };
        format!("cannot listen on {address} ({}): {error}{remedy}", named(key))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(|key| format!("`{key}`")))
    }
}

impl std::error::Error for StartError {}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    started: Instant,
    traffic: Arc<Traffic>,
    names: Arc<UnitDirectory>,
    audit_log: Option<Arc<AuditLog>>,
    audit: Arc<Audit>,
    buses: Vec<RunningBus>,
    /// Of the next bus that is started.
    next_bus: BusId,
    listeners: Vec<RunningListener>,
    serial_clients: Vec<RunningSerialClient>,
    /// Identifiers by configured endpoint; constant as long as it is configured.
    listener_ids: BTreeMap<Endpoint, ListenerId>,
    page: StatusPage,
    brokers: Brokers,
    events: EventLog,
    /// Listeners that a reload removed, still answering requests in flight.
    retired: Vec<JoinHandle<()>>,
    /// Listeners that the current reload has closed because it needs their addresses; restarted if it fails.
    displaced: Vec<RunningListener>,
    /// Buses that the current reload has stopped, until the transaction on the wire has ended.
    stopping: Vec<JoinHandle<()>>,
    watchdog: Watchdog,
    own_connections: OwnConnections,
}

impl Gateway {
    /// Binds every listener, then starts the buses. A port that cannot be opened is not an error: it is logged and
    /// retried.
    ///
    /// # Errors
    /// When the audit file cannot be opened, an address cannot be bound or the thread of the status page cannot be
    /// started. Nothing runs then.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let audit_log = open_audit_log(config)?;
        let bound: Vec<TcpListener> = config
            .listeners
            .iter()
            .enumerate()
            .filter_map(|(index, listener)| Some((index, bind_address(listener, config)?)))
            .map(|(index, wanted)| bind(wanted).map_err(|error| refused(index, wanted, error)))
            .collect::<Result<_, _>>()?;
        let socket = status_page::bind_page(config)?;
        let started = Instant::now();
        let events = EventLog::open(config.events.as_ref());
        let page = StatusPage::new(started, events.clone())?;
        let traffic = Arc::<Traffic>::default();
        let watchdog = Watchdog::default();
        let own_connections = OwnConnections::default();
        let mut gateway = Self {
            started,
            traffic,
            audit: Arc::default(),
            names: Arc::default(),
            audit_log,
            buses: Vec::new(),
            next_bus: BusId::default(),
            listeners: Vec::new(),
            serial_clients: Vec::new(),
            listener_ids: listener_ids(config, &BTreeMap::new()),
            brokers: Brokers::start(config, page.sources()),
            page,
            events,
            retired: Vec::new(),
            displaced: Vec::new(),
            stopping: Vec::new(),
            watchdog,
            own_connections,
        };
        gateway.buses = config.buses.iter().map(|bus| gateway.start_bus(bus)).collect();
        gateway.record_names();
        let mut bound = bound.into_iter();
        for settings in &config.listeners {
            let socket = bind_address(settings, config).and_then(|address| Some((address, bound.next()?)));
            gateway.start_listener(settings, config, socket);
        }
        let sources = gateway.sources(config);
        gateway.page.open(config, socket, sources);
        Ok(gateway)
    }

    /// Applies a new configuration. Unchanged buses and connections are not disturbed; a changed bus continues with its
    /// new settings, its waiting requests and its owed answers. Cancel-safe only if nothing but [`stop`](Self::stop)
    /// follows.
    ///
    /// # Errors
    /// When a new audit file cannot be opened or a new address cannot be bound. The old configuration then stays in
    /// force; a listener that was closed for its address has lost its connections.
    pub async fn reload(&mut self, config: &Config) -> Result<(), StartError> {
        let reloaded = self.apply(config).await;
        match &reloaded {
            Ok(()) => {
                self.events.move_to(config.events.clone());
                self.events.note(EventKind::Reload, "configuration taken over".to_owned());
            }
            Err(error) => self.note_refused_reload(&error.to_string()),
        }
        reloaded
    }

    /// Records that a new configuration was refused.
    pub fn note_refused_reload(&self, why: &str) {
        self.events.note(EventKind::Reload, format!("configuration refused, the old one goes on: {why}"));
    }

    async fn apply(&mut self, config: &Config) -> Result<(), StartError> {
        let same = self.audit_log.as_ref().map(|audit_log| audit_log.settings()) == config.audit.as_ref();
        let audit_log = if same { self.audit_log.clone() } else { open_audit_log(config)? };
        let page_socket = self.page.bind_new(config)?;
        let sockets = self.bind_new(config).await?;
        if let Some(audit_log) = audit_log.as_ref().filter(|_| same) {
            // Log rotation sends the same signal after it has moved the file.
            audit_log.reopen();
        }
        self.listener_ids = listener_ids(config, &self.listener_ids);
        self.audit_log = audit_log;
        // A device must be free before a bus can open it.
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.serial_clients)
            .into_iter()
            .partition(|client| client.is_running() && has_serial_client(config, client));
        self.serial_clients = kept;
        let mut closing = Vec::new();
        for client in gone {
            let (task, port_closed) = client.remove();
            self.retired.push(task);
            closing.push(port_closed);
        }
        for port_closed in closing {
            port_closed.cancelled().await;
        }
        self.replace_buses(config).await;
        self.record_names();
        for (settings, socket) in config.listeners.iter().zip(sockets) {
            if let Some(running) = self.listener(settings, config).filter(|_| socket.is_none()) {
                let metrics = Arc::clone(&running.state.load().metrics);
                let state = self.listener_state(settings, config, metrics);
                running.state.store(Arc::new(state));
                // Comparing many clients with large lists takes longer than a worker may be held up.
                let state = running.state.load_full();
                let close = move || state.close_unaccepted_clients(SystemTime::now());
                if let Err(error) = tokio::task::spawn_blocking(close).await {
                    error!(%error, "clients whose certificate is no longer accepted may still be connected");
                }
            } else if let Some(running) = self.serial_client(settings) {
                let metrics = Arc::clone(&running.state.load().metrics);
                running.reload(self.listener_state(settings, config, metrics));
            } else {
                let address = bind_address(settings, config);
                self.start_listener(settings, config, address.zip(socket));
            }
        }
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.listeners)
            .into_iter()
            .partition(|listener| listener.is_running() && has_listener(config, listener));
        self.listeners = kept;
        for listener in gone {
            info!(address = %listener.address, "listener closed");
            listener.stop.cancel();
            self.retired.push(listener.task);
        }
        self.retired.retain(|task| !task.is_finished());
        self.brokers.begin_reload(config);
        let sources = self.sources(config);
        self.page.reload(config, page_socket, sources).await;
        self.brokers.finish_reload().await;
        Ok(())
    }

    /// Stops: accepts no new requests, answers those in flight within their deadlines, then stops the buses. No frame
    /// is cut off on a line.
    pub async fn stop(self) {
        self.page.stop().await;
        self.brokers.stop().await;
        for listener in &self.listeners {
            listener.stop.cancel();
        }
        for client in &self.serial_clients {
            client.stop.cancel();
        }
        let listeners = self.listeners.into_iter().chain(self.displaced).map(|listener| listener.task);
        let serial_clients = self.serial_clients.into_iter().map(|client| client.task);
        for mut task in listeners.chain(serial_clients).chain(self.retired) {
            join(&mut task, "listener").await;
        }
        for bus in &self.buses {
            bus.stop.cancel();
        }
        for mut task in self.buses.into_iter().map(|bus| bus.task).chain(self.stopping) {
            join(&mut task, "bus").await;
        }
        self.events.close().await;
        drop(self.audit);
        // Nothing appends to it any more; pending records are written now.
        if let Some(audit_log) = self.audit_log.and_then(Arc::into_inner) {
            let closing = tokio::task::spawn_blocking(|| audit_log.close()).await;
            if let Err(error) = closing {
                warn!("the audit file was not closed properly: {error}");
            }
        }
    }

    /// The traffic of both sides.
    #[must_use]
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// The names of units, for views of the traffic.
    #[must_use]
    pub fn names(&self) -> &Arc<UnitDirectory> {
        &self.names
    }

    /// Where its listeners are: those for TCP, then those at serial ports.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let of_tcp = self.addresses().into_iter().map(Endpoint::Tcp);
        let of_ports = self.serial_clients.iter().map(|client| Endpoint::Serial(client.device.clone()));
        of_tcp.chain(of_ports).collect()
    }

    /// The addresses of its listeners for TCP in the order of the configuration, with the ports the system chose for port 0.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.address).collect()
    }

    /// The address of the status page; `None` if there is none, and while its address cannot be bound.
    #[must_use]
    pub fn status_address(&self) -> Option<SocketAddr> {
        self.page.address()
    }

    /// What is wrong now, as `doctor` reports it; `None` if it could not be found out.
    pub async fn doctor_report(&self) -> Option<DoctorReport> {
        self.page.doctor_report().await.ok()
    }

    /// The history that the pages show.
    #[must_use]
    pub fn history(&self) -> SharedHistory {
        self.page.history()
    }

    /// The list of events that the pages show.
    #[must_use]
    pub fn events(&self) -> SharedEvents {
        self.events.shared()
    }

    /// Each bus and its published view.
    #[must_use]
    pub fn views(&self) -> Vec<(BusId, Arc<ArcSwap<View>>)> {
        self.buses.iter().map(|bus| (bus.id, Arc::clone(&bus.view))).collect()
    }

    /// The watchdog of all bus tasks, those of later reloads included.
    #[must_use]
    pub fn watchdog(&self) -> Watchdog {
        self.watchdog.clone()
    }

    /// The sources of the status page.
    fn sources(&self, config: &Config) -> Sources {
        let bus = |bus: &RunningBus| BusSource {
            id: bus.id,
            settings: Arc::clone(&bus.settings),
            view: Arc::clone(&bus.view),
            port: Arc::clone(&bus.port),
            restarts: Arc::clone(&bus.restarts),
        };
        let listener = |wanted: &config::Listener| {
            let (address, port, state) = match (self.listener(wanted, config), self.serial_client(wanted)) {
                (Some(running), _) => (running.address.into(), None, &running.state),
                (None, Some(running)) => (
                    Endpoint::Serial(running.device.clone()),
                    Some(Arc::clone(&running.port)),
                    &running.state,
                ),
                (None, None) => return None,
            };
            let buses = wanted.buses.iter().filter_map(|&index| self.buses.get(index));
            Some(ListenerSource {
                address,
                port,
                settings: wanted.settings.clone(),
                buses: buses.map(|bus| bus.id).collect(),
                metrics: Arc::clone(&state.load().metrics),
            })
        };
        let page = config.status.as_ref().and_then(|status| status.settings.tls.as_ref());
        Sources {
            generation: self.page.next_generation(),
            started: self.started,
            buses: self.buses.iter().map(bus).collect(),
            listeners: config.listeners.iter().filter_map(listener).collect(),
            page_expires: page.map(|server| server.certificate().validity.not_after),
            audit: self.audit_log.as_ref().map(|audit_log| Arc::clone(audit_log.state())),
            brokers: self.brokers.sources(),
            traffic: Arc::clone(&self.traffic),
            names: Arc::clone(&self.names),
            site: config.site.clone(),
            configuration: config.to_yaml(),
        }
    }

    /// The state of a listener: its settings, and the route to each of its units.
    fn listener_state(
        &self,
        listener: &config::Listener,
        config: &Config,
        metrics: Arc<ListenerMetrics>,
    ) -> ListenerState {
        let buses = listener.buses.iter().filter_map(|&index| self.buses.get(index));
        let mut routes = Routes::new(
            buses.clone().map(|bus| (bus.handle.clone(), bus.settings.aliases.clone())).collect(),
        );
        for config::Bus { aliases, read_functions, profiles, .. } in buses.map(|bus| &*bus.settings) {
            for (&alias, unit) in aliases {
                if let Some(profile) = profiles.get(unit) {
                    routes = routes.with_first_register(alias, profile.profile.first_register);
                }
                let functions = read_functions.get(unit).into_iter().flatten();
                routes = routes.with_read_functions(alias, functions.copied());
            }
        }
        if let Some(map) = &listener.unit_map {
            routes = routes.with_unit_map(map);
        }
        if let Some(fault) =
            listener.settings.tls.as_ref().and_then(|tls| tls.validity_fault(SystemTime::now()))
        {
            warn!(address = %listener.settings.endpoint(), "no client can connect: {fault}");
        }
        if let Some(fault) =
            listener.settings.tls.as_ref().and_then(|tls| tls.outdated_list(SystemTime::now()))
        {
            warn!(address = %listener.settings.endpoint(), "{fault}");
        }
        ListenerState {
            id: self.listener_ids.get(&listener.settings.endpoint()).copied().unwrap_or_default(),
            diagnostics_unit: config.diagnostics_unit,
            started: self.started,
            metrics,
            audit: Arc::clone(&self.audit),
            traffic: Arc::clone(&self.traffic),
            own_connections: self.own_connections.clone(),
            ..ListenerState::new(listener.settings.clone(), routes)
        }
    }

    fn start_bus(&mut self, settings: &config::Bus) -> RunningBus {
        let id = self.next_bus;
        self.next_bus = BusId(id.0 + 1);
        RunningBus::start(id, settings, Arc::clone(&self.traffic), &self.watchdog, &self.own_connections)
    }

    /// Takes the names of buses and units from the running buses, for the traffic and for the audit of writes.
    fn record_names(&mut self) {
        let mut names = UnitDirectory::default();
        for bus in &self.buses {
            names.insert(bus.id, &bus.settings.line.name, unit_names(&bus.settings));
        }
        self.names = Arc::new(names);
        self.audit =
            Arc::new(Audit::new(Arc::clone(&self.names), self.audit_log.clone(), self.events.writes()));
    }

    /// Starts a new listener; one for TCP on its socket.
    fn start_listener(
        &mut self,
        settings: &config::Listener,
        config: &Config,
        socket: Option<(BindAddress, TcpListener)>,
    ) {
        match (&settings.settings.at, socket) {
            (ListenAt::Tcp(_), Some((address, socket))) => {
                let state = self.listener_state(settings, config, Arc::default());
                self.listeners.push(RunningListener::start(socket, address, state));
            }
            (ListenAt::Tcp(_), None) => {}
            (ListenAt::Serial(port), _) => {
                let state = self.listener_state(settings, config, Arc::default());
                self.serial_clients.push(RunningSerialClient::start(port, state));
            }
        }
    }

    fn listener(&self, wanted: &config::Listener, config: &Config) -> Option<&RunningListener> {
        self.bound_listener(bind_address(wanted, config)?)
    }

    fn bound_listener(&self, wanted: BindAddress) -> Option<&RunningListener> {
        let is_wanted = |listener: &&RunningListener| listener.configured_endpoint() == wanted;
        self.listeners.iter().find(|listener| is_wanted(listener) && listener.is_running())
    }

    fn serial_client(&self, wanted: &config::Listener) -> Option<&RunningSerialClient> {
        let port = wanted.settings.at.serial()?;
        self.serial_clients.iter().find(|client| client.device == port.device && client.is_running())
    }

    /// Binds sockets for the new listeners; `None` for those that run already. Binds all or none.
    async fn bind_new(&mut self, config: &Config) -> Result<Vec<Option<TcpListener>>, StartError> {
        let mut sockets = Vec::new();
        for (index, listener) in config.listeners.iter().enumerate() {
            let wanted = bind_address(listener, config);
            let Some(wanted) = wanted.filter(|wanted| self.bound_listener(*wanted).is_none()) else {
                sockets.push(None);
                continue;
            };
            let socket = match bind(wanted) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    self.bind_in_place_of(wanted, config).await
                }
                bound => bound,
            };
            match socket {
                Ok(socket) => sockets.push(Some(socket)),
                Err(error) => {
                    // Some of these may have the addresses of displaced listeners.
                    drop(sockets);
                    self.restart_displaced().await;
                    return Err(refused(index, wanted, error));
                }
            }
        }
        self.retired.extend(self.displaced.drain(..).map(|listener| listener.task));
        Ok(sockets)
    }

    /// Binds `wanted` after closing colliding listeners that `config` no longer has, as when 0.0.0.0 becomes one
    /// address of this machine.
    async fn bind_in_place_of(&mut self, wanted: BindAddress, config: &Config) -> io::Result<TcpListener> {
        let (in_the_way, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.listeners)
            .into_iter()
            .partition(|running| collide(running.endpoint(), wanted) && !has_listener(config, running));
        self.listeners = others;
        for running in in_the_way {
            running.stop.cancel();
            self.displaced.push(running);
        }
        if self.displaced.is_empty() && self.retired.iter().all(JoinHandle::is_finished) {
            // Another program has the address: waiting for it would only slow the reload down.
            return bind(wanted);
        }
        bind_with_retries(wanted).await
    }

    /// Restarts the displaced listeners with their old state.
    async fn restart_displaced(&mut self) {
        while let Some(closed) = self.displaced.last() {
            let endpoint = closed.endpoint();
            match bind_with_retries(endpoint).await {
                Ok(socket) => {
                    let state = Arc::clone(&closed.state);
                    let again = RunningListener::start_with(socket, closed.configured_endpoint(), state);
                    self.listeners.push(again);
                }
                Err(error) => {
                    let address = endpoint.address;
                    error!("cannot listen on {address} again: {error}; reload to try again");
                }
            }
            self.retired.extend(self.displaced.pop().map(|listener| listener.task));
        }
    }

    /// Sends running buses their new settings, stops removed ones and starts new ones. A bus is recognised by its name,
    /// a renamed one by its device.
    async fn replace_buses(&mut self, config: &Config) {
        let mut running: Vec<RunningBus> = std::mem::take(&mut self.buses);
        running.retain(|bus| !bus.task.is_finished());
        let mut kept: Vec<Option<RunningBus>> = Vec::new();
        for wanted in &config.buses {
            let same = |bus: &RunningBus| bus.settings.line.name == wanted.line.name;
            kept.push(running.iter().position(same).map(|index| running.swap_remove(index)));
        }
        for (slot, wanted) in kept.iter_mut().zip(&config.buses).filter(|(slot, _)| slot.is_none()) {
            let same = |bus: &RunningBus| bus.settings.port.device == wanted.port.device;
            *slot = running.iter().position(same).map(|index| running.swap_remove(index));
        }
        // A device must be free before another bus can open it.
        for bus in &running {
            bus.stop.cancel();
        }
        self.stopping.extend(running.into_iter().map(|bus| bus.task));
        while let Some(task) = self.stopping.last_mut() {
            join(task, "bus").await;
            self.stopping.pop();
        }
        for (slot, wanted) in kept.into_iter().zip(&config.buses) {
            let bus = match slot {
                Some(bus) => bus.reload(wanted),
                None => self.start_bus(wanted),
            };
            self.buses.push(bus);
        }
    }
}

/// The names of the units of a bus.
fn unit_names(bus: &config::Bus) -> BTreeMap<UnitId, UnitName> {
    let name = |(&alias, &unit)| {
        let settings = bus.line.units.iter().find(|settings| settings.id == unit);
        let name = settings.and_then(|settings| settings.name.clone());
        let profile = bus.profiles.get(&unit).map(|profile| Arc::clone(&profile.profile));
        (unit, UnitName { alias, name, profile })
    };
    bus.aliases.iter().map(name).collect()
}

fn open_audit_log(config: &Config) -> Result<Option<Arc<AuditLog>>, StartError> {
    let Some(settings) = &config.audit else { return Ok(None) };
    let failed = |error| StartError::Audit { file: settings.file.clone(), error };
    AuditLog::open(settings).map(|audit_log| Some(Arc::new(audit_log))).map_err(failed)
}

/// Whether `config` has this listener.
fn has_listener(config: &Config, running: &RunningListener) -> bool {
    let wanted = config.listeners.iter().filter_map(|listener| bind_address(listener, config));
    wanted.into_iter().any(|address| address == running.configured_endpoint())
}

/// Whether `config` has this listener at a serial port.
fn has_serial_client(config: &Config, running: &RunningSerialClient) -> bool {
    let ports = config.listeners.iter().filter_map(|listener| listener.settings.at.serial());
    ports.into_iter().any(|port| port.device == running.device)
}

/// A listener cannot be bound.
fn refused(index: usize, wanted: BindAddress, error: io::Error) -> StartError {
    StartError::Bind { key: AddressKey::Listener(index), address: wanted.address, error }
}

/// Where a listener for TCP is bound.
fn bind_address(listener: &config::Listener, config: &Config) -> Option<BindAddress> {
    let all = config.listeners.iter().filter_map(|other| other.settings.at.tcp());
    Some(BindAddress::of_listener(listener.settings.at.tcp()?, all))
}

/// Identifiers for the listeners of `config`: present ones stay, new listeners receive free ones.
fn listener_ids(config: &Config, had: &BTreeMap<Endpoint, ListenerId>) -> BTreeMap<Endpoint, ListenerId> {
    let endpoints = || config.listeners.iter().map(|listener| listener.settings.endpoint());
    let mut ids: BTreeMap<_, _> =
        endpoints().filter_map(|endpoint| Some((endpoint.clone(), *had.get(&endpoint)?))).collect();
    for endpoint in endpoints() {
        let free = (0..=u8::MAX).map(ListenerId).find(|id| !ids.values().any(|used| used == id));
        // There are far fewer listeners than identifiers.
        ids.entry(endpoint).or_insert(free.unwrap_or_default());
    }
    ids
}

/// Waits for a task to end. A panic is logged, so that the caller goes on with the others.
async fn join(task: &mut JoinHandle<()>, what: &str) {
    if let Err(error) = task.await {
        warn!("a {what} task failed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(addresses: &[&str]) -> Config {
        let listeners: Vec<String> =
            addresses.iter().map(|address| format!("{{address: '{address}'}}")).collect();
        let text = format!(
            "listeners: [{}]\nbuses: [{{name: a, device: /dev/a, units: [{{id: 1}}]}}]\n",
            listeners.join(", ")
        );
        config::parse(&text, "metergate.yaml").expect("a good configuration").config
    }

    #[test]
    fn a_listener_keeps_its_number_as_long_as_its_address_is_configured() {
        let at = |text: &str| Endpoint::Tcp(text.parse().expect("an address"));
        let (a, b, c) = ("127.0.0.1:502", "127.0.0.1:503", "127.0.0.1:504");
        let first = listener_ids(&config(&[a, b]), &BTreeMap::new());
        assert_eq!(first, BTreeMap::from([(at(a), ListenerId(0)), (at(b), ListenerId(1))]));
        let second = listener_ids(&config(&[c, b]), &first);
        assert_eq!(second, BTreeMap::from([(at(b), ListenerId(1)), (at(c), ListenerId(0))]));
        let third = listener_ids(&config(&[c, b, a]), &second);
        assert_eq!(third.get(&at(a)), Some(&ListenerId(2)));
    }

    #[tokio::test]
    async fn a_bus_keeps_its_number_under_another_name_and_place_and_no_later_bus_receives_it() {
        let config = |buses: &[(&str, &str, u8)]| {
            let bus = |&(name, device, unit)| {
                format!("{{name: {name}, device: /nonexistent/{device}, units: [{{id: {unit}}}]}}")
            };
            let buses = buses.iter().map(bus).collect::<Vec<_>>().join(", ");
            let text = format!("status: off\nlisteners: [{{address: '127.0.0.1:0'}}]\nbuses: [{buses}]\n");
            config::parse(&text, "metergate.yaml").expect("a good configuration").config
        };
        let buses = |gateway: &Gateway| {
            let name = |(id, _)| (id, gateway.names().bus(id).to_owned());
            gateway.views().into_iter().map(name).collect::<Vec<_>>()
        };
        let named = |id, name: &str| (BusId(id), name.to_owned());
        let mut gateway = Gateway::start(&config(&[("a", "1", 1), ("b", "2", 2)])).expect("port 0 is free");
        assert_eq!(buses(&gateway), [named(0, "a"), named(1, "b")]);
        gateway.reload(&config(&[("b", "2", 2), ("riser", "1", 1)])).await.expect("the address is the same");
        assert_eq!(buses(&gateway), [named(1, "b"), named(0, "riser")]);
        gateway.reload(&config(&[("b", "2", 2)])).await.expect("the address is the same");
        gateway.reload(&config(&[("b", "2", 2), ("a", "1", 1)])).await.expect("the address is the same");
        assert_eq!(buses(&gateway), [named(1, "b"), named(2, "a")]);
        gateway.stop().await;
    }
}
