//! The sections of the file, one struct each, with the defaults of the keys.
//!
//! Read and written by serde, and filled in by code that needs a configuration without a file. Each value is within its
//! own bounds; checks between values follow on the way to a [`super::Config`]. `config/metergate.yaml` describes the
//! keys for users.

use std::fmt;
use std::path::Path;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::settings::LogLevel;
use super::value::{
    Address, Broker as BrokerUrl, Change, ClientId, Device, DeviceFile, DiagnosticsUnit, Directory, FilePath,
    Function, MergeGap, Network, Poll, ProfileName, Publish, Registers, SentUnits, Size, SparkplugId, Topic,
    UnitIds, UnitMap, UserName,
};
use crate::document::{Count, Duration, List, Name, Section, Share, YesNo, keys};
use crate::line::{Echo, Framing, Parity, Replies};
use crate::modbus::AduFraming;
use crate::serial::Direction;
use crate::server::{Broadcast, Permission, Writes};

/// The top level.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "the top level", default, deny_unknown_fields)]
pub struct File {
    /// At least one.
    pub listeners: Vec<ListenerSection>,
    /// At least one.
    pub buses: Vec<Bus>,
    /// Title of the pages; absent: the host's name.
    pub site: Option<Name>,
    /// Unit identifier of the diagnostics unit, which holds the gateway's own counters.
    pub diagnostics_unit: DiagnosticsUnit,
    /// Directory of further profiles.
    pub profiles: Directory,
    /// The status page; absent: on the default address, if that is free.
    pub status: Option<Status>,
    /// The audit file; absent: writes are recorded in the log only.
    pub audit: Option<Audit>,
    /// The file that keeps events over restarts; absent: in memory only.
    pub events: Option<Events>,
    /// Brokers that readings are published to.
    pub mqtt: Vec<Broker>,
    /// Level of the log.
    pub log_level: LogLevel,
}

/// An entry of `listeners`, of the one kind or the other.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum ListenerSection {
    /// With `address`.
    Tcp(Listener),
    /// With `device`.
    Serial(SerialListener),
}

/// An entry of `listeners` with `device`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "a serial listener", default, deny_unknown_fields)]
pub struct SerialListener {
    /// Its serial device; required.
    pub device: Option<DeviceFile>,
    /// Bits per second.
    pub baud_rate: Count<300, 1_000_000>,
    /// Parity bit of a character.
    pub parity: Parity,
    /// Stop bits of a character.
    pub stop_bits: Count<1, 2>,
    /// Switching of the RS-485 driver.
    pub direction: Direction,
    /// Whether the adapter echoes what is sent.
    pub echo: Echo,
    /// Names of the buses it serves; absent: all.
    pub buses: Option<List<Name, 1, MAX_BUSES>>,
    /// Units by the identifiers that the client sends; absent: every unit under its own identifier.
    pub unit_map: Option<UnitMap>,
    /// Largest age of data in replies to reads.
    pub max_age: Duration<0, DAY>,
    /// Whether writes are allowed; absent: no, or as `rules` says.
    pub writes: Option<Writes>,
    /// Who may do what, the first that fits decides; empty: as `writes` says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Handling of requests to unit 0.
    pub broadcast: Broadcast,
    /// Time within which an answer must begin.
    pub answer_within: Duration<50, { 5 * MINUTE }>,
}

/// An entry of `listeners` with `address`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "a listener", default, deny_unknown_fields)]
pub struct Listener {
    /// Address and port; required.
    pub address: Option<Address>,
    /// Framing of requests.
    pub framing: AduFraming,
    /// Names of the buses it serves; absent: all.
    pub buses: Option<List<Name, 1, MAX_BUSES>>,
    /// Units by the identifiers that clients send; absent: every unit under its own identifier.
    pub unit_map: Option<UnitMap>,
    /// Largest age of data in replies to reads.
    pub max_age: Duration<0, DAY>,
    /// Whether writes are allowed; absent: no, or as `rules` says.
    pub writes: Option<Writes>,
    /// Who may do what, the first that fits decides; empty: as `writes` says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Modbus/TCP Security; absent: plain Modbus TCP.
    pub tls: Option<Tls>,
    /// Handling of requests to unit 0.
    pub broadcast: Broadcast,
    /// Time for a request in queue and on the line together.
    pub request_deadline: Duration<110, { 5 * MINUTE }>,
    /// RTU over TCP: time within which an answer must begin; absent: as `request_deadline`.
    pub answer_within: Option<Duration<50, { 5 * MINUTE }>>,
    /// Limit of requests in flight per connection; absent: 16. Over RTU it is one.
    pub max_in_flight: Option<Count<1, 256>>,
    /// Limit of connections of the listener.
    pub max_connections: Count<1, 10_000>,
    /// Limit of connections from one address.
    pub max_connections_per_ip: Count<1, 10_000>,
    /// Time without requests after which a connection is closed.
    pub idle_timeout: Duration<100, DAY>,
    /// Networks that may connect; absent: all. An empty list is refused: it could mean none or all.
    pub allow: Option<List<Network, 1, 256>>,
}

/// The section `tls` of a listener.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "tls", deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate, then those of its authorities.
    pub certificate: FilePath,
    /// The key of the certificate.
    pub key: FilePath,
    /// The authorities of clients' certificates.
    pub client_ca: FilePath,
    /// The revocation lists of these authorities.
    #[serde(default)]
    pub crl: Option<FilePath>,
}

/// The section `tls` of `status`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "tls of status", deny_unknown_fields)]
pub struct StatusTls {
    /// The server's certificate, then those of its authorities.
    pub certificate: FilePath,
    /// The key of the certificate.
    pub key: FilePath,
}

/// An entry of a listener's `rules`. It fits a request if each of its keys does.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "a rule", default, deny_unknown_fields)]
pub struct Rule {
    /// Roles of clients' certificates.
    pub role: Option<List<Name, 1, 32>>,
    /// Networks of clients.
    pub from: Option<List<Network, 1, 256>>,
    /// Units, by the identifiers that clients of the listener send.
    pub units: Option<SentUnits>,
    /// Registers, as the units' profile prints them.
    pub registers: Option<Registers>,
    /// What it allows; required.
    pub may: Option<Permission>,
}

/// Longest pause inside an answer.
pub(super) type ByteTimeout = Duration<1, { 5 * SECOND }>;

/// An entry of `buses`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "a bus", default, deny_unknown_fields)]
pub struct Bus {
    /// Its name; required.
    pub name: Option<Name>,
    /// Its serial device or its server; required.
    pub device: Option<Device>,
    /// Bits per second; absent: 19200.
    pub baud_rate: Option<Count<300, 1_000_000>>,
    /// Parity bit of a character; absent: none.
    pub parity: Option<Parity>,
    /// Stop bits of a character; absent: 1.
    pub stop_bits: Option<Count<1, 2>>,
    /// Switching of the RS-485 driver; absent: auto.
    pub direction: Option<Direction>,
    /// Whether the adapter echoes what is sent; absent: auto.
    pub echo: Option<Echo>,
    /// Time from the end of the request on the wire to the first byte of the answer.
    pub response_timeout: Duration<10, MINUTE>,
    /// Longest pause inside an answer; absent: [`Bus::byte_timeout`].
    pub byte_timeout: Option<ByteTimeout>,
    /// Silence before a request.
    pub request_gap: Duration<0, SECOND>,
    /// Silence after a broadcast.
    pub turnaround_delay: Duration<0, { 10 * SECOND }>,
    /// How long nothing is sent to a unit whose answer is late; absent: `response_timeout`.
    pub late_guard: Option<Duration<10, MINUTE>>,
    /// Further attempts of a read.
    pub retries: Count<0, 10>,
    /// Limit of waiting requests.
    pub queue_limit: Count<1, 65_536>,
    /// Share of line time for background reading.
    pub poll_share: Share<0>,
    /// Share of line time for probes of off-line units, and as much again for trying reads that a unit ignored.
    pub failure_share: Share<10>,
    /// Limits beyond which a unit counts as off-line.
    pub offline_after: OfflineAfter,
    /// Whether `units` are in the order of the wire, nearest first, so that a break can be located.
    pub wire_order: YesNo,
    /// Longest pause between two probes.
    pub probe_max: Duration<SECOND, HOUR>,
    /// Limit of ranges learned from clients.
    pub learn_limit: Count<0, 65_536>,
    /// Registers that may be read to join two learned ranges.
    pub merge_gap: MergeGap,
    /// Longest read the gateway makes on its own.
    pub max_read: Count<1, MAX_READ>,
    /// At least one.
    pub units: Vec<Unit>,
}

/// The section `offline_after` of a bus.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename = "offline_after", default, deny_unknown_fields)]
pub struct OfflineAfter {
    /// Failed transactions in a row.
    pub failures: Count<1, 1000>,
    /// Time since the first of them.
    pub time: Duration<0, HOUR>,
}

/// An entry of a bus's `units`. Absent keys have the values of the bus.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename = "a unit", default, deny_unknown_fields)]
pub struct Unit {
    /// Identifiers on the line; required.
    pub id: Option<UnitIds>,
    /// First identifier for clients, the others follow; absent: `id`.
    #[serde(rename = "as")]
    pub alias: Option<Count<1, 255>>,
    /// Name for people.
    pub name: Option<Name>,
    /// Group of units that are shown and added up together.
    pub group: Option<Name>,
    /// Description of its registers.
    pub profile: Option<ProfileName>,
    /// How often measurements are read; absent: auto with a profile, else off.
    pub poll: Option<Poll>,
    /// How often settings and identity are read; absent: every 60 s.
    pub poll_slow: Option<PollSlow>,
    /// Which blocks are read; absent: the profile's own choice.
    pub blocks: Option<List<Name, 1, 64>>,
    /// Which answers are passed on.
    pub replies: Replies,
    /// Further functions that only read.
    pub read_functions: List<Function, 0, 127>,
    /// As on the bus.
    pub response_timeout: Option<Duration<10, MINUTE>>,
    /// As on the bus.
    pub byte_timeout: Option<ByteTimeout>,
    /// As on the bus.
    pub request_gap: Option<Duration<0, SECOND>>,
    /// As on the bus.
    pub merge_gap: Option<MergeGap>,
    /// As on the bus.
    pub max_read: Option<Count<1, MAX_READ>>,
}

/// The section `status`.
#[derive(Clone, Debug)]
pub enum Status {
    /// No page.
    Off,
    /// A page.
    On(StatusPage),
}

/// The keys of `status`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "status", default, deny_unknown_fields)]
pub struct StatusPage {
    /// Address and port of the page.
    pub address: Address,
    /// File with its token.
    pub token_file: Option<FilePath>,
    /// HTTPS; absent: HTTP.
    pub tls: Option<StatusTls>,
}

/// The section `audit`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "audit", deny_unknown_fields)]
pub struct Audit {
    /// The file.
    pub file: FilePath,
    /// A new file is begun before this one grows beyond. Bounds: a few writes, and what a small disk holds of this
    /// file and its predecessors.
    #[serde(default = "audit_size")]
    pub max_size: Size<10_000, 1_000_000_000>,
}

/// The section `events`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "events", deny_unknown_fields)]
pub struct Events {
    /// The file.
    pub file: FilePath,
    /// The file is rewritten with the newest events before it grows beyond.
    #[serde(default = "events_size")]
    pub max_size: Size<10_000, 1_000_000_000>,
}

/// An entry of `mqtt`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "a broker", default, deny_unknown_fields)]
pub struct Broker {
    /// Where it is; required.
    pub broker: Option<BrokerUrl>,
    /// How it knows this gateway; absent: by the host's name.
    pub client_id: Option<ClientId>,
    /// The user; absent: anonymous.
    pub username: Option<UserName>,
    /// The file with the user's password.
    pub password_file: Option<FilePath>,
    /// The authorities of the broker's certificate; absent: the system's.
    pub ca: Option<FilePath>,
    /// The certificate that is shown to the broker.
    pub certificate: Option<FilePath>,
    /// The key of the certificate.
    pub key: Option<FilePath>,
    /// The form of messages.
    pub publish: Publish,
    /// What all topics begin with; absent: made of the host's name.
    pub topic: Option<Topic>,
    /// Points, by their names or groups; absent: every measurement.
    pub points: Option<List<Name, 1, MAX_POINTS>>,
    /// Time between two messages of a block.
    pub every: Duration<SECOND, DAY>,
    /// By how much a point moves to be published sooner.
    pub change: Change,
    /// What is kept in memory while the broker is away.
    pub buffer: Size<64_000, 1_000_000_000>,
    /// The prefix of Home Assistant's discovery; absent: none.
    pub home_assistant: Option<Topic>,
    /// What the edge node is called; absent: as its defaults are.
    pub sparkplug: Option<Sparkplug>,
}

/// The section `sparkplug` of a broker.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "sparkplug", default, deny_unknown_fields)]
pub struct Sparkplug {
    /// The group of the node.
    pub group: SparkplugId,
    /// The node; absent: the host's name.
    pub node: Option<SparkplugId>,
    /// The host that births wait for; absent: none.
    pub primary_host: Option<SparkplugId>,
}

/// How often settings and identity are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct PollSlow(pub Duration<SECOND, DAY>);

impl Section for File {
    const APART: &'static [&'static str] = &["listeners", "buses", "mqtt"];
}

impl Section for Listener {
    const APART: &'static [&'static str] = &["rules"];
}

impl Section for Rule {}

impl Section for Bus {
    const APART: &'static [&'static str] = &["units"];
}

impl Section for Unit {}

impl Section for SerialListener {
    const APART: &'static [&'static str] = &["rules"];
}

impl Section for Broker {}

impl File {
    /// Has relative paths begin in `folder`.
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        let listeners = self.listeners.iter_mut().filter_map(ListenerSection::tls_mut);
        let of_listeners = listeners.flat_map(|tls| {
            let Tls { certificate, key, client_ca, crl } = tls;
            [Some(certificate), Some(key), Some(client_ca), crl.as_mut()]
        });
        let of_status = match &mut self.status {
            None | Some(Status::Off) => [None, None, None],
            Some(Status::On(StatusPage { address: _, token_file, tls })) => {
                let (certificate, key) = match tls {
                    None => (None, None),
                    Some(StatusTls { certificate, key }) => (Some(certificate), Some(key)),
                };
                [token_file.as_mut(), certificate, key]
            }
        };
        let of_brokers = self.mqtt.iter_mut().flat_map(|broker| {
            let Broker { password_file, ca, certificate, key, .. } = broker;
            [password_file.as_mut(), ca.as_mut(), certificate.as_mut(), key.as_mut()]
        });
        let records = [
            self.audit.as_mut().map(|audit| &mut audit.file),
            self.events.as_mut().map(|events| &mut events.file),
        ];
        let all = of_listeners.chain(of_status).chain(of_brokers).chain(records);
        for FilePath(path) in all.flatten() {
            *path = folder.join(&*path);
        }
        self.profiles.0 = folder.join(&self.profiles.0);
    }
}

impl Default for File {
    fn default() -> Self {
        Self {
            site: None,
            listeners: Vec::new(),
            buses: Vec::new(),
            diagnostics_unit: DiagnosticsUnit(None),
            profiles: Directory::default(),
            status: None,
            audit: None,
            events: None,
            mqtt: Vec::new(),
            log_level: LogLevel::Info,
        }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: None,
            framing: AduFraming::Tcp,
            buses: None,
            unit_map: None,
            max_age: Duration::millis(0),
            writes: None,
            rules: Vec::new(),
            tls: None,
            broadcast: Broadcast::Refuse,
            request_deadline: Duration::millis(3 * SECOND),
            answer_within: None,
            max_in_flight: None,
            max_connections: Count::new(256),
            max_connections_per_ip: Count::new(256),
            idle_timeout: Duration::millis(10 * MINUTE),
            allow: None,
        }
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            name: None,
            device: None,
            baud_rate: None,
            parity: None,
            stop_bits: None,
            direction: None,
            echo: None,
            response_timeout: Duration::millis(500),
            byte_timeout: None,
            request_gap: Duration::millis(0),
            turnaround_delay: Duration::millis(100),
            late_guard: None,
            retries: Count::new(1),
            queue_limit: Count::new(1024),
            poll_share: Share::hundredths(6000),
            failure_share: Share::hundredths(200),
            offline_after: OfflineAfter::default(),
            wire_order: YesNo::No,
            probe_max: Duration::millis(60 * SECOND),
            learn_limit: Count::new(256),
            merge_gap: MergeGap(Some(0)),
            max_read: Count::new(MAX_READ),
            units: Vec::new(),
        }
    }
}

impl Bus {
    /// The form of characters on the wire.
    pub(super) fn framing(&self) -> Option<Framing> {
        Some(Framing {
            baud_rate: self.baud_rate.unwrap_or(Count::new(19_200)).get(),
            parity: self.parity.unwrap_or(Parity::None),
            stop_bits: self.stop_bits.unwrap_or(Count::new(1)).narrow()?,
        })
    }

    /// Switching of the RS-485 driver.
    pub(super) fn direction(&self) -> Direction {
        self.direction.unwrap_or(Direction::Auto)
    }

    /// Whether the adapter echoes what is sent.
    pub(super) fn echo(&self) -> Echo {
        self.echo.unwrap_or(Echo::Auto)
    }

    /// Longest pause inside an answer; unless the file says otherwise, by what delivers the bytes.
    pub(super) fn byte_timeout(&self) -> ByteTimeout {
        match (self.byte_timeout, &self.device) {
            (Some(configured), _) => configured,
            (None, Some(device)) => Duration::clamped(device.0.byte_timeout()),
            // Reported: the key is needed.
            (None, None) => Duration::millis(50),
        }
    }
}

impl Default for SerialListener {
    fn default() -> Self {
        Self {
            device: None,
            baud_rate: Count::new(19200),
            parity: Parity::None,
            stop_bits: Count::new(1),
            direction: Direction::Auto,
            echo: Echo::Auto,
            buses: None,
            unit_map: None,
            max_age: Duration::millis(0),
            writes: None,
            rules: Vec::new(),
            broadcast: Broadcast::Refuse,
            answer_within: Duration::millis(300),
        }
    }
}

impl Default for ListenerSection {
    fn default() -> Self {
        Self::Tcp(Listener::default())
    }
}

impl From<Listener> for ListenerSection {
    fn from(listener: Listener) -> Self {
        Self::Tcp(listener)
    }
}

impl<'de> Deserialize<'de> for ListenerSection {
    /// The kind with `address`; which kind an entry is, is decided where the list is read.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Listener::deserialize(deserializer).map(Self::Tcp)
    }
}

impl ListenerSection {
    pub(super) fn buses(&self) -> Option<&List<Name, 1, MAX_BUSES>> {
        match self {
            Self::Tcp(listener) => listener.buses.as_ref(),
            Self::Serial(listener) => listener.buses.as_ref(),
        }
    }

    pub(super) fn unit_map(&self) -> Option<&UnitMap> {
        match self {
            Self::Tcp(listener) => listener.unit_map.as_ref(),
            Self::Serial(listener) => listener.unit_map.as_ref(),
        }
    }

    pub(super) fn rules(&self) -> &[Rule] {
        match self {
            Self::Tcp(listener) => &listener.rules,
            Self::Serial(listener) => &listener.rules,
        }
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Tcp(listener) => listener.tls.as_ref(),
            Self::Serial(_) => None,
        }
    }

    fn tls_mut(&mut self) -> Option<&mut Tls> {
        match self {
            Self::Tcp(listener) => listener.tls.as_mut(),
            Self::Serial(_) => None,
        }
    }

    /// Networks that may connect, if they are restricted.
    pub(super) fn allow(&self) -> Option<&List<Network, 1, 256>> {
        match self {
            Self::Tcp(listener) => listener.allow.as_ref(),
            Self::Serial(_) => None,
        }
    }

    pub(super) fn writes(&self) -> Option<Writes> {
        match self {
            Self::Tcp(listener) => listener.writes,
            Self::Serial(listener) => listener.writes,
        }
    }

    pub(super) fn broadcast(&self) -> Broadcast {
        match self {
            Self::Tcp(listener) => listener.broadcast,
            Self::Serial(listener) => listener.broadcast,
        }
    }
}

impl Default for OfflineAfter {
    fn default() -> Self {
        Self { failures: Count::new(3), time: Duration::millis(3 * SECOND) }
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            broker: None,
            client_id: None,
            username: None,
            password_file: None,
            ca: None,
            certificate: None,
            key: None,
            publish: Publish::Json,
            topic: None,
            points: None,
            every: Duration::millis(10 * SECOND),
            change: Change(None),
            buffer: Size(4_000_000),
            home_assistant: None,
            sparkplug: None,
        }
    }
}

impl Default for Sparkplug {
    fn default() -> Self {
        Self { group: SparkplugId("site".to_owned()), node: None, primary_host: None }
    }
}

impl Default for PollSlow {
    fn default() -> Self {
        Self(Duration::millis(60 * SECOND))
    }
}

impl Default for StatusPage {
    fn default() -> Self {
        Self { address: Address(([127, 0, 0, 1], 8502).into()), token_file: None, tls: None }
    }
}

fn events_size() -> Size<10_000, 1_000_000_000> {
    Size(1_000_000)
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfStatus;

        impl<'de> Visitor<'de> for OfStatus {
            type Value = Status;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let keys = keys::<StatusPage>().join(", ");
                write!(
                    f,
                    "off, or one or more of the keys {keys}, as in `status: {{address: 127.0.0.1:8502}}`"
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Status, E> {
                let refused = || E::invalid_value(de::Unexpected::Str(text), &self);
                if text == "off" { Ok(Status::Off) } else { Err(refused()) }
            }

            /// `status:` with all its keys commented out: all defaults.
            fn visit_unit<E: de::Error>(self) -> Result<Status, E> {
                Ok(Status::On(StatusPage::default()))
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Status, A::Error> {
                StatusPage::deserialize(MapAccessDeserializer::new(entries)).map(Status::On)
            }
        }

        deserializer.deserialize_any(OfStatus)
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::On(page) => page.serialize(serializer),
        }
    }
}

fn audit_size() -> Size<10_000, 1_000_000_000> {
    Size(10_000_000)
}

/// Largest number of buses.
pub(super) const MAX_BUSES: usize = 64;
/// Largest number of points and groups of a broker.
const MAX_POINTS: usize = 256;
/// Most registers of one read (Application Protocol Specification, chapter 6.3).
pub(super) const MAX_READ: u32 = 125;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
