//! The keys there are: their sections, and their defaults as text.
//!
//! One table, read by the reader, the writer and the tests; decides nothing about values.
//! Contract section 1.

use crate::yaml::section::{bare, key};
use crate::yaml::{Key, KeyTable};

/// A section of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The top level.
    File,
    /// An entry of `listeners`.
    Listener,
    /// An entry of `buses`.
    Bus,
    /// The mapping `offline_after` of a bus.
    OfflineAfter,
    /// An entry of a bus's `units`.
    Unit,
    /// The mapping `status`.
    Status,
    /// The mapping `audit`.
    Audit,
}

impl KeyTable for Part {
    const ALL: &'static [Self] =
        &[Self::File, Self::Listener, Self::Bus, Self::OfflineAfter, Self::Unit, Self::Status, Self::Audit];

    fn keys(self) -> &'static [Key] {
        match self {
            Self::File => FILE,
            Self::Listener => LISTENER,
            Self::Bus => BUS,
            Self::OfflineAfter => OFFLINE_AFTER,
            Self::Unit => UNIT,
            Self::Status => STATUS,
            Self::Audit => AUDIT,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::File => "the top level",
            Self::Listener => "a listener",
            Self::Bus => "a bus",
            Self::OfflineAfter => "offline_after",
            Self::Unit => "a unit",
            Self::Status => "status",
            Self::Audit => "audit",
        }
    }

    fn reserved(self) -> &'static [&'static str] {
        match self {
            Self::File => &["site", "events", "mqtt"],
            Self::Listener => &["rules", "tls", "device", "answer_within"],
            Self::Bus => &["wire_order"],
            Self::Unit => &["group"],
            Self::Status => &["tls"],
            Self::OfflineAfter | Self::Audit => &[],
        }
    }
}

/// Where profiles are looked for, and the only such place that may be absent.
pub(super) const DEFAULT_PROFILES: &str = "/etc/metergate/profiles";

const FILE: &[Key] = &[
    bare("listeners"),
    bare("buses"),
    key("diagnostics_unit", "off"),
    key("profiles", DEFAULT_PROFILES),
    bare("status"),
    bare("audit"),
    key("log_level", "info"),
];

const LISTENER: &[Key] = &[
    bare("address"),
    key("framing", "tcp"),
    bare("buses"),
    bare("unit_map"),
    key("max_age", "0s"),
    key("writes", "deny"),
    key("broadcast", "refuse"),
    key("request_deadline", "3s"),
    key("max_in_flight", "16"),
    key("max_connections", "256"),
    key("max_connections_per_ip", "256"),
    key("idle_timeout", "10m"),
    bare("allow"),
];

const BUS: &[Key] = &[
    bare("name"),
    bare("device"),
    key("baud_rate", "19200"),
    key("parity", "none"),
    key("stop_bits", "1"),
    key("direction", "auto"),
    key("echo", "auto"),
    key("response_timeout", "500ms"),
    key("byte_timeout", "50ms"),
    key("request_gap", "0ms"),
    key("turnaround_delay", "100ms"),
    bare("late_guard"),
    key("retries", "1"),
    key("queue_limit", "1024"),
    key("poll_share", "60%"),
    key("failure_share", "2%"),
    bare("offline_after"),
    key("probe_max", "60s"),
    key("learn_limit", "256"),
    key("merge_gap", "0"),
    key("max_read", "125"),
    bare("units"),
];

const OFFLINE_AFTER: &[Key] = &[key("failures", "3"), key("time", "3s")];

const UNIT: &[Key] = &[
    bare("id"),
    bare("as"),
    bare("name"),
    bare("profile"),
    bare("poll"),
    key("poll_slow", "60s"),
    bare("blocks"),
    key("replies", "strict"),
    bare("read_functions"),
    bare("response_timeout"),
    bare("byte_timeout"),
    bare("request_gap"),
    bare("merge_gap"),
    bare("max_read"),
];

const STATUS: &[Key] = &[key("address", "127.0.0.1:8502"), bare("token_file")];
const AUDIT: &[Key] = &[bare("file"), key("max_size", "10MB")];
