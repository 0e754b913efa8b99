//! A gateway between a client and scripted units, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use metergate::line::{BusId, LineSettings, OfflineAfter};
use metergate::modbus::rtu;
use metergate::runtime::Timer;
use metergate::serial::{BusHandle, BusParts, OpenPort, PortDevice, bus_task};
use metergate::server::connection::ClientContext;
use metergate::server::{IdleTracker, ListenerSettings, ListenerState, Routes, connection};
use metergate::traffic::{Followed, Follower, Link, Traffic, TrafficEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::clients::{Peer, units};
use super::settings;

/// What a unit does with the next request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers like this.
    Reply(Vec<u8>),
    /// Is silent.
    Silent,
    /// Puts these bytes on the line as they are.
    Raw(Vec<u8>),
    /// Answers like this, after the response timeout.
    Late(Vec<u8>),
}

/// By request PDU.
type Acts = Arc<Mutex<BTreeMap<Vec<u8>, VecDeque<Act>>>>;

/// The requests and answers on the line.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) answers: Vec<Vec<u8>>,
}

/// A bus of scripted units, and what clients reach it by.
pub(crate) struct Rig {
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) heard: Arc<Mutex<Heard>>,
    acts: Acts,
    listening: Arc<ArcSwap<ListenerState>>,
    connections: u64,
    _stop: CancellationToken,
}

impl Rig {
    /// Runs on a paused clock.
    pub(crate) fn start(settings: ListenerSettings) -> Self {
        let traffic = Arc::<Traffic>::default();
        let (near, far) = duplex(1024);
        let (handle, requests) = BusHandle::new(BusId(0), "riser-a");
        let stop = CancellationToken::new();
        let alone =
            BusParts::alone(line(), PortDevice::Path("pipe".into()), requests, Arc::clone(handle.view()));
        let parts = BusParts { traffic: Arc::clone(&traffic), stop: stop.clone(), ..alone };
        let mut ports = VecDeque::from([near]);
        let open = move |_| {
            let report = String::from("a pipe");
            let port = |stream| OpenPort { stream, report, line_errors: |_| None, discard: |_| {} };
            future::ready(ports.pop_front().map(port).ok_or(std::io::ErrorKind::NotFound))
        };
        tokio::spawn(bus_task::run(parts, open, Timer::Coarse));
        let (acts, heard) = (Acts::default(), Arc::<Mutex<Heard>>::default());
        tokio::spawn(units_on(far, Arc::clone(&acts), Arc::clone(&heard)));
        let listening = ListenerState {
            traffic: Arc::clone(&traffic),
            ..ListenerState::new(settings, Routes::new(vec![(handle, units([1, 2]))]))
        };
        let listening = Arc::new(ArcSwap::from_pointee(listening));
        Self { traffic, heard, acts, listening, connections: 0, _stop: stop }
    }

    /// A client at `client` that reached the gateway at `listener`.
    pub(crate) fn connect(&mut self, client: &str, listener: &str) -> Peer<DuplexStream> {
        let (ours, theirs) = duplex(4096);
        let (reader, writer) = tokio::io::split(theirs);
        self.connections += 1;
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let client = ClientContext {
            link: Arc::new(Link {
                identity: None,
                client: address(client).into(),
                listener: address(listener).into(),
                framing: self.listening.load().settings.framing,
                connection: self.connections,
            }),
            listener: Arc::clone(&self.listening),
            idle: Arc::new(IdleTracker::new(Instant::now(), Instant::now(), CancellationToken::new())),
            log_limiter: Arc::default(),
        };
        tokio::spawn(connection::run(reader, writer, client));
        Peer::new(ours)
    }

    /// What the units will do on this request, one act each time; the last one from then on.
    pub(crate) fn script(&self, request: &[u8], acts: impl IntoIterator<Item = Act>) {
        self.acts.lock().unwrap().entry(request.to_vec()).or_default().extend(acts);
    }
}

async fn units_on(mut far: DuplexStream, acts: Acts, heard: Arc<Mutex<Heard>>) {
    let mut buffer = [0; 256];
    // A request is written in one piece.
    while let Ok(length @ 1..) = far.read(&mut buffer).await {
        let unit = buffer[0];
        heard.lock().unwrap().requests.push(buffer[..length].to_vec());
        let act = match acts.lock().unwrap().get_mut(&buffer[1..length - 2]) {
            Some(acts) if acts.len() > 1 => acts.pop_front(),
            Some(acts) => acts.front().cloned(),
            None => None,
        };
        let act = act.unwrap_or(Act::Silent);
        let (after, bytes) = match act {
            Act::Silent => continue,
            Act::Reply(pdu) => (20, rtu::encode(unit, &pdu).to_vec()),
            Act::Late(pdu) => (700, rtu::encode(unit, &pdu).to_vec()),
            Act::Raw(bytes) => (20, bytes),
        };
        tokio::time::sleep(Duration::from_millis(after)).await;
        heard.lock().unwrap().answers.push(bytes.clone());
        far.write_all(&bytes).await.unwrap();
    }
}

fn line() -> LineSettings {
    let offline_after = OfflineAfter { failures: 30, time: Duration::from_secs(3) };
    LineSettings { name: String::from("riser-a"), offline_after, ..settings::line(&[1, 2]) }
}

/// All events of a follower until no more come.
pub(crate) async fn told(mut follower: Follower) -> Vec<Arc<TrafficEvent>> {
    let mut events = Vec::new();
    while let Ok(followed) = timeout(Duration::from_millis(1), follower.next()).await {
        let Followed::Event(event) = followed else { panic!("nothing is lost: {followed:?}") };
        events.push(event);
    }
    events
}
