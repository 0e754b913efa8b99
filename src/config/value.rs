//! Single values of the configuration: addresses, devices, identifiers, functions, profiles, intervals.
//!
//! Each type is one notation, read and written, independent of any key.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::document::de::scalar;
use crate::document::{Count, Duration, Scalar, Share, decimal_or_hex, nearest, whole_number};
use crate::endpoint::DevicePath;
use crate::line::{Pace, UnitId};
use crate::meter::Profile;
use crate::modbus::pdu::FunctionCode;
use crate::mqtt::BrokerAddress;
use crate::serial::PortDevice;

scalar! {
    /// The address and port of a listener.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    pub struct Address(pub SocketAddr);
    |text| text.parse().ok(),
    |_| "IPv4:port or \"[IPv6]:port\" (in quotes), such as 0.0.0.0:502",
    |found| match found.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, MODBUS_PORT).to_string()),
        Err(_) => found.parse::<u16>().ok().map(|port| format!("0.0.0.0:{port}")),
    };

    /// A network, or one address.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Network(pub IpNet);
    |text| text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)),
    |_| "a network such as 10.0.0.0/8, or one IP address";

    /// A serial device, a serial server, or a Modbus TCP server.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Device(pub PortDevice);
    |text| {
        absolute(text).map(PortDevice::Path).or_else(|| PortDevice::of_server(text))
    },
    |found| {
        if found.len() > 3 && found.starts_with("COM") && found[3..].bytes().all(|b| b.is_ascii_digit()) {
            return format!("the full name of the device here, such as /dev/serial/by-id/usb-X, for {found} is a name of Windows; `ls /dev/serial/by-id/` lists them");
        }
        let serial = "tcp://host:port of a serial server";
        let modbus = "modbus-tcp://host:port of Modbus TCP units";
        if found.starts_with(PortDevice::SERIAL_SERVER) {
            return format!("{serial}, such as tcp://10.0.0.7:4001 or tcp://[fd00::7]:4001; the port is needed");
        }
        if found.starts_with(PortDevice::MODBUS_TCP) {
            return format!(
                "{modbus}, such as modbus-tcp://10.0.0.7:502 or modbus-tcp://[fd00::7]:502; the port is needed"
            );
        }
        format!("the absolute path of a serial device, such as /dev/serial/by-id/usb-X, {serial}, or {modbus}")
    };

    /// A serial device of this machine.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct DeviceFile(pub DevicePath);
    |text| absolute(text).and_then(|_| text.parse().ok()),
    |found| {
        let remote = if found.contains("://") { "; a client over the network has a listener with `address`" } else { "" };
        format!("the absolute path of a serial device, such as /dev/serial/by-id/usb-X{remote}")
    };

    /// A directory.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct Directory(pub PathBuf);
    |text| path(text),
    |_| "the path of a directory, such as /etc/metergate/profiles; a relative one begins in the folder of this file";

    /// A file.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct FilePath(pub PathBuf);
    |text| path(text).filter(|_| !text.ends_with('/')),
    |_| "the path of a file, such as /etc/metergate/token; a relative one begins in the folder of this file";

    /// The name of a profile, which is also the name of its file.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct ProfileName(pub(crate) String);
    |text| {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        let fits = (1..=LONGEST_PROFILE).contains(&text.len()) && text.bytes().all(letter);
        fits.then(|| text.to_owned())
    },
    |_| "the name of a profile, such as leviton-4000r: lower-case letters, digits, _ and -",
    |found| nearest(found, Profile::builtin_names().iter().copied()).map(str::to_owned);

    /// The interval of measurements; `None`: they are not read.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Poll(pub Option<Pace>);
    |text| match text {
        "auto" => Some(Some(Pace::Auto)),
        "off" => Some(None),
        _ => Interval::parse(text).map(|interval| Some(Pace::Every(interval.get()))),
    },
    |found| format!("auto, off, or {}", Interval::allowed(found));

    /// A broker.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Broker(pub BrokerAddress);
    |text| BrokerAddress::parse(text),
    |found| {
        let allowed = "mqtt://host:port or mqtts://host:port, such as mqtts://broker.example:8883 or mqtt://[fd00::7]:1883";
        match found.contains('@') {
            true => format!("{allowed}; the user belongs into `username`, the password into `password_file`"),
            false => allowed.to_owned(),
        }
    };

    /// The name by which a broker knows a client.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct ClientId(pub(crate) String);
    |text| printable(text, LONGEST_CLIENT_ID),
    |_| format!("1 to {LONGEST_CLIENT_ID} printable characters");

    /// The name of a user of a broker.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct UserName(pub(crate) String);
    |text| printable(text, LONGEST_USER_NAME),
    |_| format!("1 to {LONGEST_USER_NAME} printable characters");

    /// What topics begin with: levels that are not empty.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct Topic(pub(crate) String);
    |text| {
        let fits = |level: &str| !level.is_empty() && !level.contains(['+', '#']);
        printable(text, LONGEST_TOPIC).filter(|topic| !topic.starts_with('$') && topic.split('/').all(fits))
    },
    |_| "levels with / between them, such as site-a/riser, without + and #, and not beginning with / or $";

    /// A group, an edge node or a host of Sparkplug.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct SparkplugId(pub(crate) String);
    |text| printable(text, LONGEST_ID).filter(|id| !id.contains(['/', '+', '#'])),
    |_| format!("1 to {LONGEST_ID} printable characters without / + and #");

    /// The share by which a point moves to be published sooner; `None`: it is not.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Change(pub Option<Share<1>>);
    |text| if text == "off" { Some(None) } else { Share::parse(text).map(Some) },
    |found| format!("off, or {}", Share::<1>::allowed(found));

    /// The identifier of the diagnostics unit; `None`: it is off.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DiagnosticsUnit(pub Option<u8>);
    |text| or_off(text, |id| (1..=UnitId::STANDARD_MAX).contains(id) || *id == UnitId::MAX),
    |_| format!("off, 1 to {}, or 255", UnitId::STANDARD_MAX);

    /// Largest gap between two learned ranges that are read together; `None`: even adjacent ranges are read apart.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MergeGap(pub Option<u16>);
    |text| or_off(text, |gap| *gap <= MAX_MERGE_GAP),
    |_| format!("off, or a whole number from 0 to {MAX_MERGE_GAP}");

    /// A function code of a request, decimal or hexadecimal.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Function(pub FunctionCode): plain;
    |text| {
        let code = decimal_or_hex(text).and_then(|code| u8::try_from(code).ok());
        code.filter(|code| (1..=MAX_FUNCTION).contains(code)).map(FunctionCode)
    },
    |_| format!("a function code from 1 to {MAX_FUNCTION}, or from 0x01 to 0x{MAX_FUNCTION:02X}");

    /// One identifier on the line.
    struct OneUnit(u8): plain;
    |text| UnitId::new(u8::try_from(whole_number(text)?).ok()?).map(UnitId::get),
    |_| {
        let most = UnitId::STANDARD_MAX;
        format!("1 to {most} ({} to {} with a warning)", most + 1, UnitId::MAX)
    };

    /// Registers as printed: one, or a range.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Registers(pub RangeInclusive<u32>);
    |text| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let [first, last] = [first, last].map(|number| whole_number(number.trim()));
        let (first, last) = (first?, last?);
        (first <= last && last <= LAST_REGISTER).then_some(first..=last)
    },
    |_| "a register as the profile prints it, such as 129, or a range such as 129-154";

    /// An identifier that clients send.
    struct Sent(u8);
    |text| whole_number(text).and_then(|sent| u8::try_from(sent).ok()),
    |_| "an identifier that clients send, from 0 to 255";
}

impl Directory {
    /// The default directory of profiles, the only one that may be absent.
    pub const PROFILES: &'static str = "/etc/metergate/profiles";
}

impl Default for Directory {
    fn default() -> Self {
        Self(Self::PROFILES.into())
    }
}

/// Implements `Serialize` by the given expression.
macro_rules! written {
    ($($type:ty: |$value:pat_param| $written:expr;)+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self;
                $written.serialize(serializer)
            }
        }
    )+};
}

written! {
    Network: |Self(network)| network.to_string();
    Device: |Self(device)| device.to_string();
    Poll: |Self(poll)| match poll {
        None => "off".to_owned(),
        Some(Pace::Auto) => "auto".to_owned(),
        Some(Pace::Every(interval)) => Interval::clamped(*interval).to_string(),
    };
    DiagnosticsUnit: |Self(id)| shown(*id);
    MergeGap: |Self(gap)| shown(*gap);
    Broker: |Self(address)| address.to_string();
    Publish: |form| match form {
        Self::Json => "json",
        Self::Sparkplug => "sparkplug",
    };
    Change: |Self(share)| share.map_or_else(|| "off".to_owned(), |share| share.to_string());
    Function: |Self(function)| function.0;
    Registers: |Self(registers)| match registers.clone().into_inner() {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
}

/// A number, which is written without quotes, or `off`.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<N> {
    Number(N),
    Off(&'static str),
}

fn shown<N>(number: Option<N>) -> Shown<N> {
    number.map_or(Shown::Off("off"), Shown::Number)
}

/// A size in bytes, from `MIN` to `MAX`, in units of a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    /// In bytes.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> Scalar for Size<MIN, MAX> {
    fn parse(text: &str) -> Option<Self> {
        let (unit, scale) = SIZE_UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
        let number = whole_number(text.strip_suffix(unit)?.trim_end())?;
        let bytes = u64::from(number).checked_mul(*scale)?;
        (MIN..=MAX).contains(&bytes).then_some(Self(bytes))
    }

    fn allowed(_: &str) -> String {
        format!("a size from {} to {}, with its unit: kB, MB or GB", Self(MIN), Self(MAX))
    }
}

impl<const MIN: u64, const MAX: u64> fmt::Display for Size<MIN, MAX> {
    /// In the largest unit that gives a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, scale): &&(&str, u64)| self.0.is_multiple_of(*scale);
        match SIZE_UNITS.iter().find(fits) {
            Some((unit, scale)) => write!(f, "{}{unit}", self.0 / scale),
            None => self.0.fmt(f),
        }
    }
}

/// The form of what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// A JSON object for each reading of a block.
    Json,
    /// An edge node of Sparkplug B.
    Sparkplug,
}

impl Scalar for Publish {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "sparkplug" => Some(Self::Sparkplug),
            _ => None,
        }
    }

    fn allowed(_: &str) -> String {
        "json or sparkplug".to_owned()
    }
}

scalar!([] Publish);

/// Identifiers on the line, in the order of the wire: `3`, `2-8` or `[1, 2, 5]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitIds(pub Vec<u8>);

impl UnitIds {
    fn allowed() -> String {
        format!("{}, a range such as 2-8, or a list such as [1, 2, 5]", OneUnit::allowed(""))
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let [first, last] = [first, last].map(|id| OneUnit::parse(id.trim()));
        let ids: Vec<u8> = (first?.0..=last?.0).collect();
        (!ids.is_empty()).then_some(Self(ids))
    }
}

impl<'de> Deserialize<'de> for UnitIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfIds;

        impl<'de> Visitor<'de> for OfIds {
            type Value = UnitIds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&UnitIds::allowed())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<UnitIds, E> {
                let turned =
                    || text.split_once('-').map(|(last, first)| format!("{}-{}", first.trim(), last.trim()));
                UnitIds::parse(text).ok_or_else(|| {
                    let meant = turned().filter(|range| UnitIds::parse(range).is_some());
                    let unexpected =
                        meant.as_deref().map_or(de::Unexpected::Str(text), de::Unexpected::Other);
                    E::invalid_value(unexpected, &self)
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<UnitIds, A::Error> {
                if !(1..=usize::from(UnitId::MAX)).contains(&items.size_hint().unwrap_or_default()) {
                    return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
                }
                let mut ids = Vec::new();
                while let Some(OneUnit(id)) = items.next_element()? {
                    ids.push(id);
                }
                Ok(UnitIds(ids))
            }
        }

        deserializer.deserialize_any(OfIds)
    }
}

impl Serialize for UnitIds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => serializer.serialize_u8(*one),
            ids => ids.serialize(serializer),
        }
    }
}

/// Identifiers that clients send: `3`, `2-8` or `[0, 2, 5]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentUnits(pub BTreeSet<u8>);

impl SentUnits {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let [first, last] = [first, last].map(|id| Sent::parse(id.trim()));
        let ids: BTreeSet<u8> = (first?.0..=last?.0).collect();
        (!ids.is_empty()).then_some(Self(ids))
    }
}

impl<'de> Deserialize<'de> for SentUnits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfIds;

        impl<'de> Visitor<'de> for OfIds {
            type Value = SentUnits;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SENT_UNITS)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SentUnits, E> {
                SentUnits::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<SentUnits, A::Error> {
                if !(1..=usize::from(u8::MAX) + 1).contains(&items.size_hint().unwrap_or_default()) {
                    return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
                }
                let mut ids = BTreeSet::new();
                while let Some(Sent(id)) = items.next_element()? {
                    ids.insert(id);
                }
                Ok(SentUnits(ids))
            }
        }

        deserializer.deserialize_any(OfIds)
    }
}

impl Serialize for SentUnits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Vec::from_iter(&self.0).as_slice() {
            [one] => serializer.serialize_u8(**one),
            ids => ids.serialize(serializer),
        }
    }
}

/// Pairs of the identifier that clients send and the unit it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitMap(pub Vec<(u8, u8)>);

impl<'de> Deserialize<'de> for UnitMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfEntries;

        impl<'de> Visitor<'de> for OfEntries {
            type Value = UnitMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(UNIT_MAP)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<UnitMap, A::Error> {
                if entries.size_hint() == Some(0) {
                    return Err(de::Error::custom(format!("found no entry; allowed: {UNIT_MAP}")));
                }
                let mut map = Vec::new();
                while let Some((Sent(sent), unit)) = entries.next_entry::<Sent, Count<1, 255>>()? {
                    map.extend(unit.narrow().map(|unit: u8| (sent, unit)));
                }
                Ok(UnitMap(map))
            }
        }

        deserializer.deserialize_map(OfEntries)
    }
}

impl Serialize for UnitMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(sent, unit)| (sent, unit)))
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Size<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

scalar!([const MIN: u64, const MAX: u64] Size<MIN, MAX>);

type Interval = Duration<1_000, { 24 * 60 * 60 * 1000 }>;

fn absolute(text: &str) -> Option<PathBuf> {
    path(text).filter(|path| path.is_absolute())
}

fn path(text: &str) -> Option<PathBuf> {
    let fits = !text.is_empty() && text.len() <= LONGEST_PATH && !text.chars().any(char::is_control);
    fits.then(|| text.into())
}

fn printable(text: &str, longest: usize) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= longest && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// `off`, or a number that fits.
fn or_off<N: TryFrom<u32>>(text: &str, fits: impl Fn(&N) -> bool) -> Option<Option<N>> {
    if text == "off" {
        return Some(None);
    }
    N::try_from(whole_number(text)?).ok().filter(fits).map(Some)
}

const UNIT_MAP: &str = "identifiers clients send, each with the unit it means, such as {1: 5, 255: 5}";
const SENT_UNITS: &str =
    "identifiers that clients send, from 0 to 255: one, a range such as 2-8, or a list such as [1, 2, 5]";
/// The highest number that a profile can print.
const LAST_REGISTER: u32 = 465_536;
/// The port of Modbus TCP.
const MODBUS_PORT: u16 = 502;
/// Brokers accept at least 23 bytes, and nearly all of them far more.
const LONGEST_CLIENT_ID: usize = 128;
/// Bytes of a user's name: cloud brokers put a whole resource path there.
const LONGEST_USER_NAME: usize = 256;
/// Bytes of what topics begin with: with bus, unit and block a topic stays below 256 bytes, which AWS IoT allows.
const LONGEST_TOPIC: usize = 128;
/// Bytes of an identifier of Sparkplug: a topic has three of them.
const LONGEST_ID: usize = 64;
/// The longest gap worth reading over.
const MAX_MERGE_GAP: u16 = 32;
/// The highest function code of a request (Application Protocol Specification, chapter 4.1).
const MAX_FUNCTION: u8 = 127;
/// Units of sizes, the largest first.
const SIZE_UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
/// Most characters of a profile's name.
const LONGEST_PROFILE: usize = 64;
/// Most bytes of a path: one less than Linux's PATH_MAX, which includes the final zero.
const LONGEST_PATH: usize = 4095;
