//! A gateway between a client and scripted units, in memory, and a reader of pcapng that nobody else uses.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use metergate::bus::settings::{
    Echo, Framing, LineSettings, OfflineAfter, Parity, Polling, UnitId, UnitSettings,
};
use metergate::io::admission::Presence;
use metergate::io::connection::{self, Client};
use metergate::io::handle::BusHandle;
use metergate::io::port::OpenPort;
use metergate::io::serial::{self, BusParts};
use metergate::io::settings::ListenerSettings;
use metergate::io::tcp::{Listening, Routes};
use metergate::io::timer::Timer;
use metergate::io::traffic::{Event, Followed, Follower, Link, Traffic};
use metergate::modbus::rtu;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::clients::{Peer, units};

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

/// What was really said on the line.
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
    listening: Arc<ArcSwap<Listening>>,
    connections: u64,
    _stop: CancellationToken,
}

impl Rig {
    /// Runs on a paused clock.
    pub(crate) fn start(settings: ListenerSettings) -> Self {
        let traffic = Arc::<Traffic>::default();
        let (near, far) = duplex(1024);
        let (handle, requests) = BusHandle::new("riser-a");
        let stop = CancellationToken::new();
        let alone = BusParts::alone(line(), String::from("pipe"), requests, Arc::clone(handle.view()));
        let parts = BusParts { traffic: Arc::clone(&traffic), stop: stop.clone(), ..alone };
        let mut ports = VecDeque::from([near]);
        let open = move || {
            let stream = ports.pop_front().ok_or(std::io::ErrorKind::NotFound)?;
            let report = String::from("a pipe");
            Ok::<_, std::io::Error>(OpenPort { stream, report, line_errors: |_| None, discard: |_| {} })
        };
        tokio::spawn(serial::run(parts, open, Timer::Coarse));
        let (acts, heard) = (Acts::default(), Arc::<Mutex<Heard>>::default());
        tokio::spawn(units_on(far, Arc::clone(&acts), Arc::clone(&heard)));
        let listening = Listening {
            traffic: Arc::clone(&traffic),
            ..Listening::new(settings, Routes::new(vec![(handle, units([1, 2]))]))
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
        let client = Client {
            link: Arc::new(Link {
                client: address(client),
                listener: address(listener),
                connection: self.connections,
            }),
            listening: Arc::clone(&self.listening),
            presence: Arc::new(Presence::new(Instant::now(), Instant::now(), CancellationToken::new())),
            throttle: Arc::default(),
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
    let unit = |id| UnitSettings {
        id: UnitId::new(id).unwrap(),
        name: None,
        response_timeout: Duration::from_millis(500),
        request_gap: Duration::ZERO,
        polling: Polling::default(),
    };
    LineSettings {
        name: String::from("riser-a"),
        framing: Framing { baud_rate: 19200, parity: Parity::None, stop_bits: 1 },
        response_timeout: Duration::from_millis(500),
        request_gap: Duration::ZERO,
        turnaround_delay: Duration::from_millis(100),
        late_guard: Duration::from_millis(500),
        retries: 1,
        queue_limit: 1024,
        poll_share: 0.6,
        learn_limit: 256,
        failure_share: 0.02,
        offline_after: OfflineAfter { failures: 30, time: Duration::from_secs(3) },
        probe_max: Duration::from_secs(60),
        echo: Echo::Off,
        units: vec![unit(1), unit(2)],
    }
}

/// A pcapng file, read from its bytes alone.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) packets: Vec<Packet>,
}

#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) link_type: u16,
    pub(crate) name: String,
    pub(crate) description: String,
}

#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) interface: usize,
    /// Nanoseconds since 1970.
    pub(crate) at: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) comment: Option<String>,
}

impl File {
    pub(crate) fn read(mut bytes: &[u8]) -> Self {
        let mut file = Self::default();
        let mut first = true;
        while !bytes.is_empty() {
            let (kind, length) = (word(bytes, 0), word(bytes, 4) as usize);
            assert_eq!(length % 4, 0, "blocks are of whole words");
            assert_eq!(word(bytes, length - 4) as usize, length, "a block says its length at both ends");
            assert_eq!(kind == 0x0A0D_0D0A, first, "one section header, at the front");
            file.block(kind, &bytes[8..length - 4]);
            bytes = &bytes[length..];
            first = false;
        }
        file
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        match kind {
            0x0A0D_0D0A => {
                assert_eq!((word(body, 0), word(body, 4)), (0x1A2B_3C4D, 1), "byte order and version")
            }
            1 => {
                let options = options(&body[8..]);
                let text = |code| String::from_utf8(option(&options, code).unwrap()).unwrap();
                assert_eq!(option(&options, 9), Some(vec![9]), "times in nanoseconds");
                let link_type = u16::from_le_bytes([body[0], body[1]]);
                self.interfaces.push(Interface { link_type, name: text(2), description: text(3) });
            }
            6 => {
                let interface = word(body, 0) as usize;
                assert!(interface < self.interfaces.len(), "an interface is described before its packets");
                let length = word(body, 12) as usize;
                assert_eq!(word(body, 16) as usize, length, "nothing is cut");
                let options = options(&body[20 + length.next_multiple_of(4)..]);
                let comment = option(&options, 1).map(|text| String::from_utf8(text).unwrap());
                let at = u64::from(word(body, 4)) << 32 | u64::from(word(body, 8));
                self.packets.push(Packet { interface, at, data: body[20..20 + length].to_vec(), comment });
            }
            other => panic!("a block of kind {other}"),
        }
    }

    /// The packets of the interface with this name.
    pub(crate) fn of<'f>(&'f self, name: &str) -> Vec<&'f Packet> {
        let index = self.interfaces.iter().position(|interface| interface.name == name).unwrap();
        self.packets.iter().filter(|packet| packet.interface == index).collect()
    }
}

impl Packet {
    /// What is behind the tags of an exported PDU, and the values of its tags.
    pub(crate) fn exported(&self) -> (Vec<(u16, Vec<u8>)>, &[u8]) {
        let (mut tags, mut at) = (Vec::new(), 0);
        loop {
            let half = |at: usize| u16::from_be_bytes([self.data[at], self.data[at + 1]]);
            let (tag, length) = (half(at), usize::from(half(at + 2)));
            at += 4 + length;
            if tag == 0 {
                return (tags, &self.data[at..]);
            }
            tags.push((tag, self.data[at - length..at].to_vec()));
        }
    }
}

fn options(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (code, length) =
            (u16::from_le_bytes([bytes[0], bytes[1]]), u16::from_le_bytes([bytes[2], bytes[3]]));
        let length = usize::from(length);
        if code == 0 {
            assert_eq!(bytes.len(), 4, "nothing behind the end of the options");
        } else {
            found.push((code, bytes[4..4 + length].to_vec()));
        }
        bytes = &bytes[4 + length.next_multiple_of(4)..];
    }
    found
}

fn option(options: &[(u16, Vec<u8>)], wanted: u16) -> Option<Vec<u8>> {
    options.iter().find(|(code, _)| *code == wanted).map(|(_, value)| value.clone())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// All that a follower has been told until nothing more comes.
pub(crate) async fn told(mut follower: Follower) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while let Ok(followed) = timeout(Duration::from_millis(1), follower.next()).await {
        let Followed::Event(event) = followed else { panic!("nothing is lost: {followed:?}") };
        events.push(event);
    }
    events
}
