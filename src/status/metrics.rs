//! The model as Prometheus reads it, in either of its formats.
//!
//! Owns the names, the labels and their bounds: a series for a bus, a listener, a unit or a quantity of its
//! profile, all of them configured; never one for a client or a request. The list is `docs/metrics.md`. A counter of a
//! bus or unit is a row of `LINES` or `UNITS`; a new value needs a field in `model` and its source in `collect`
//! (`line::view`, `line::statistics`, `server::listener_metrics`).

pub use super::exposition::ExpositionFormat;
use super::exposition::{Exposition, MetricType};
use super::model::{
    Broker, Bus, ExceptionCount, PortState, RequestCounts, RoleCount, Status, Unit, UnitState,
};
use super::reading_metrics;
use crate::findings::Severity;
use crate::modbus::pdu::ExceptionCode;
use MetricType::{Counter, Gauge, Histogram};

/// All of it, of a model whose units have their detail.
#[must_use]
pub fn exposition(status: &Status<'_>, format: ExpositionFormat) -> String {
    let mut out = Exposition::new(format);
    gateway(&mut out, status);
    findings(&mut out, status);
    lines(&mut out, status);
    line_times(&mut out, status);
    ports(&mut out, status);
    units(&mut out, status);
    answers(&mut out, status);
    listeners(&mut out, status);
    brokers(&mut out, status);
    reading_metrics::write(&mut out, status);
    out.finish()
}

fn gateway(out: &mut Exposition, status: &Status<'_>) {
    let mut one = |name, kind, help, value: Option<f64>| {
        if let Some(value) = value {
            out.family(name, kind, help).sample(&[], value);
        }
    };
    let ready = f64::from(u8::from(status.ready));
    one("metergate_ready", Gauge, "Whether a port is open with a unit that answers.", Some(ready));
    let process = &status.process;
    let bytes = |bytes: Option<u64>| bytes.map(whole);
    one("process_cpu_seconds_total", Counter, "Processor time used.", process.cpu_seconds);
    one("process_start_time_seconds", Gauge, "When it was started, since 1970.", process.start_seconds);
    one("process_resident_memory_bytes", Gauge, "Memory in the machine.", bytes(process.resident_bytes));
    one("process_virtual_memory_bytes", Gauge, "Addresses claimed.", bytes(process.virtual_bytes));
    one("process_open_fds", Gauge, "Descriptors open.", bytes(process.open_descriptors));
    one("process_max_fds", Gauge, "Descriptors that may be open.", bytes(process.most_descriptors));
    one("process_threads", Gauge, "Threads.", bytes(process.threads));
    let help = "Lines of the log that were dropped while it was blocked.";
    one("metergate_log_lines_dropped_total", Counter, help, bytes(process.log_lines_dropped));
    let lost = bytes(Some(status.traffic_events_lost));
    let help = "Events of the traffic that were not collected in time for traces, captures and pages.";
    one("metergate_traffic_events_lost_total", Counter, help, lost);
    let help = "Writes that are missing from the audit file because it could not be written.";
    one("metergate_audit_writes_lost_total", Counter, help, bytes(status.audit_writes_lost));
    let version = [("version", &*status.version)];
    out.family("metergate_build_info", Gauge, "Always 1; the version of the program.").sample(&version, 1);
}

fn findings(out: &mut Exposition, status: &Status<'_>) {
    let help = "What is wrong now, by severity; /api/v1/findings has the words.";
    let mut family = out.family("metergate_findings", Gauge, help);
    for severity in [Severity::Fault, Severity::Warning, Severity::Note] {
        let count = status.findings.iter().filter(|finding| finding.severity == severity).count();
        family.sample(&[("severity", severity.word())], count);
    }
}

/// Where line time went, and how long clients waited for it.
fn line_times(out: &mut Exposition, status: &Status<'_>) {
    let help = "Line time used, by what it went into; together it is the busy time.";
    let mut family = out.family("metergate_bus_line_time_seconds_total", Counter, help);
    for bus in &status.buses {
        let times = bus.line_time;
        for (cause, time) in [
            ("clients", times.clients_ms),
            ("polling", times.polling_ms),
            ("probes", times.probes_ms),
            ("failures", times.failures_ms),
        ] {
            family.sample(&[("bus", &bus.bus), ("cause", cause)], seconds(time));
        }
    }
    let help = "Time from a client's request to its first sending.";
    let mut family = out.family("metergate_bus_wait_seconds", Histogram, help);
    for bus in &status.buses {
        family.histogram(&[("bus", &bus.bus)], &bus.waits);
    }
}

/// How fast units answered, and what they refused.
fn answers(out: &mut Exposition, status: &Status<'_>) {
    let help = "Time from the end of a request to the first byte of its answer, of answers in time.";
    let mut family = out.family("metergate_unit_answer_duration_seconds", Histogram, help);
    for (unit, alias) in with_alias(status) {
        if let Some(times) = unit.detail.as_ref().and_then(|detail| detail.answer_times.as_ref()) {
            family.histogram(&[("bus", &unit.bus), ("unit", &alias)], times);
        }
    }
    let help = "Modbus exceptions it answered, by code, in hexadecimal.";
    let mut family = out.family("metergate_unit_exceptions_total", Counter, help);
    for (unit, alias) in with_alias(status) {
        for ExceptionCount { code, count } in unit.detail.iter().flat_map(|detail| &detail.exceptions_by_code)
        {
            let code = code_label(*code);
            family.sample(&[("bus", &unit.bus), ("unit", &alias), ("code", &code)], count);
        }
    }
}

/// All codes the standard does not have are counted as one.
fn code_label(code: Option<u8>) -> String {
    code.map_or_else(|| "other".to_owned(), |code| format!("{code:02x}"))
}

fn lines(out: &mut Exposition, status: &Status<'_>) {
    for (name, kind, help, value) in LINES {
        let mut family = out.family(name, *kind, help);
        for bus in &status.buses {
            family.sample(&[("bus", &bus.bus)], value(bus));
        }
    }
}

fn ports(out: &mut Exposition, status: &Status<'_>) {
    let help = "Faulty characters the driver counted, by cause; none where it counts none.";
    let mut family = out.family("metergate_port_driver_errors_total", Counter, help);
    for bus in &status.buses {
        let Some(errors) = bus.port.driver_errors else { continue };
        for (cause, count) in [
            ("framing", errors.framing),
            ("parity", errors.parity),
            ("overrun", errors.overrun),
            ("break", errors.breaks),
            ("buffer_overrun", errors.buffer_overrun),
        ] {
            family.sample(&[("bus", &bus.bus), ("cause", cause)], count);
        }
    }
}

fn with_alias<'s, 'a>(status: &'s Status<'a>) -> impl Iterator<Item = (&'s Unit<'a>, String)> {
    status.units.iter().map(|unit| (unit, unit.unit.to_string()))
}

fn units(out: &mut Exposition, status: &Status<'_>) {
    let units: Vec<_> = with_alias(status).collect();
    for (name, kind, help, value) in UNITS {
        let mut family = out.family(name, *kind, help);
        for (unit, alias) in &units {
            if let Some(value) = value(unit) {
                family.sample(&[("bus", &unit.bus), ("unit", alias)], value);
            }
        }
    }
    let mut states = out.family("metergate_unit_state", Gauge, "1 for the state the unit is in, else 0.");
    for (unit, alias) in &units {
        for state in UnitState::ALL {
            let labels = [("bus", &*unit.bus), ("unit", alias), ("state", state.word())];
            states.sample(&labels, u8::from(unit.state == state));
        }
    }
    let help = "Answers that were missing, damaged, late, or to something else, by cause.";
    let mut errors = out.family("metergate_unit_errors_total", Counter, help);
    for (unit, alias) in &units {
        for (cause, count) in unit_errors(unit) {
            errors.sample(&[("bus", &unit.bus), ("unit", alias), ("cause", cause)], count);
        }
    }
    let help = "Always 1; what people call the unit, and its profile.";
    let mut info = out.family("metergate_unit_info", Gauge, help);
    for (unit, alias) in &units {
        // Legends and alerts show it alone.
        let name = unit.name.as_deref().map_or_else(|| format!("unit {alias}"), str::to_owned);
        let profile = unit.profile.as_deref().unwrap_or_default();
        info.sample(&[("bus", &unit.bus), ("unit", alias), ("name", &name), ("profile", profile)], 1);
    }
}

fn listeners(out: &mut Exposition, status: &Status<'_>) {
    let all: Vec<_> = status.listeners.iter().map(|one| (one.listener.to_string(), one)).collect();
    let mut family = out.family("metergate_listener_info", Gauge, "Always 1; what clients speak there.");
    for (address, listener) in &all {
        family.sample(&[("listener", address), ("framing", listener.framing.word())], 1);
    }
    let help = "Whether the port of a serial client is open.";
    let mut family = out.family("metergate_listener_port_open", Gauge, help);
    for (address, listener) in &all {
        if let Some(port) = &listener.port {
            family.sample(&[("listener", address)], u8::from(port.open_for_ms.is_some()));
        }
    }
    let mut family = out.family("metergate_listener_connections", Gauge, "Clients connected.");
    for (address, listener) in &all {
        family.sample(&[("listener", address)], listener.connections);
    }
    let mut family =
        out.family("metergate_listener_max_connections", Gauge, "Clients that may be connected.");
    for (address, listener) in &all {
        family.sample(&[("listener", address)], listener.max_connections);
    }
    let mut family = out.family("metergate_listener_accepted_total", Counter, "Clients let in.");
    for (address, listener) in &all {
        family.sample(&[("listener", address)], listener.accepted);
    }
    let help = "Clients not let in: their address is not allowed, or there was no room.";
    let mut family = out.family("metergate_listener_turned_away_total", Counter, help);
    for (address, listener) in &all {
        family.sample(&[("listener", address)], listener.turned_away);
    }
    let secure = || all.iter().filter_map(|(address, listener)| Some((address, listener.tls.as_ref()?)));
    let help =
        "Until when the certificate of a listener for Modbus/TCP Security is valid, in seconds since 1970.";
    let mut family = out.family("metergate_tls_certificate_expiry_timestamp_seconds", Gauge, help);
    for (address, tls) in secure() {
        family.sample(&[("listener", address)], tls.certificate_expires);
    }
    let help = "Clients connected by Modbus/TCP Security, by the role of their certificate; empty: none.";
    let mut family = out.family("metergate_tls_connections", Gauge, help);
    for (address, tls) in secure() {
        for RoleCount { role, connections } in &tls.roles {
            family.sample(
                &[("listener", address), ("role", role.as_deref().unwrap_or_default())],
                *connections,
            );
        }
    }
    let help = "TLS handshakes that failed, by cause.";
    let mut family = out.family("metergate_tls_handshake_failures_total", Counter, help);
    for (address, tls) in secure() {
        for (cause, count) in &tls.failed_handshakes {
            family.sample(&[("listener", address), ("cause", cause)], *count);
        }
    }
    for (name, help, read) in LISTENER_COUNTERS {
        let mut family = out.family(name, Counter, help);
        for (address, listener) in &all {
            family.sample(&[("listener", address)], read(&listener.requests));
        }
    }
    let help = "Requests answered with an exception, by code, in hexadecimal.";
    let mut family = out.family("metergate_listener_exceptions_total", Counter, help);
    for (address, listener) in &all {
        // A series that begins at 0 shows its first exception as an increase.
        for code in 0..=ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND.0 {
            let code = (code > 0).then_some(code);
            let counted = listener.requests.exceptions.iter().find(|one| one.code == code);
            let count = counted.map_or(0, |one| one.count);
            family.sample(&[("listener", address), ("code", &code_label(code))], count);
        }
    }
}

fn brokers(out: &mut Exposition, status: &Status<'_>) {
    for (name, kind, help, value) in BROKERS {
        if status.brokers.is_empty() {
            return;
        }
        let mut family = out.family(name, *kind, help);
        for broker in &status.brokers {
            family.sample(&[("broker", &broker.broker), ("client_id", &broker.client_id)], value(broker));
        }
    }
}

/// What went wrong with answers, each counted once: an answer that broke off is among the CRC errors of the counters.
fn unit_errors(unit: &Unit<'_>) -> [(&'static str, u64); 6] {
    [
        ("timeout", unit.timeouts),
        ("crc", unit.crc_errors.saturating_sub(unit.truncated)),
        ("truncated", unit.truncated),
        ("late", unit.late_answers),
        ("unexpected", unit.unexpected_frames),
        ("foreign", unit.foreign_frames),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a counter beyond 2^53 is not met")]
fn whole(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "nothing is counted beyond 2^53")]
fn size(count: usize) -> f64 {
    count as f64
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

fn seconds(millis: u64) -> f64 {
    whole(millis) / 1000.0
}

/// A family with a series for each of its kind: its name, what it is, and where it stands.
type Families<F> = [(&'static str, MetricType, &'static str, F)];

const LINES: &Families<fn(&Bus<'_>) -> f64> = &[
    (
        "metergate_bus_utilisation_ratio",
        Gauge,
        "Share of line time used over the last ten seconds or so.",
        |bus| (bus.utilisation_percent * 100.0).round() / 10_000.0,
    ),
    (
        "metergate_bus_busy_seconds_total",
        Counter,
        "Line time used: requests, answers, waiting for them.",
        |bus| seconds(bus.busy_ms),
    ),
    ("metergate_bus_requests_waiting", Gauge, "Requests that wait for the line.", |bus| {
        size(bus.requests_waiting)
    }),
    ("metergate_bus_queue_limit", Gauge, "Requests that may wait.", |bus| size(bus.queue_limit)),
    ("metergate_bus_poll_interval_seconds", Gauge, "What the poll interval auto amounts to.", |bus| {
        seconds(bus.polling.auto_interval_ms)
    }),
    (
        "metergate_bus_poll_slowdown_ratio",
        Gauge,
        "How much slower than planned the slowest block is read; 0: nothing is.",
        |bus| bus.polling.slowdown,
    ),
    ("metergate_bus_learned_ranges", Gauge, "Ranges learned from clients.", |bus| {
        size(bus.polling.learned_ranges)
    }),
    (
        "metergate_bus_restarts_total",
        Counter,
        "Times the task of the bus was restarted after a fault of the program.",
        |bus| whole(bus.restarts),
    ),
    (
        "metergate_bus_transactions_total",
        Counter,
        "Requests sent, probes and further attempts included.",
        |bus| whole(bus.transactions),
    ),
    ("metergate_bus_failures_total", Counter, "Requests sent that got no good answer.", |bus| {
        whole(bus.failures)
    }),
    ("metergate_bus_joined_total", Counter, "Requests of clients that joined another's read.", |bus| {
        whole(bus.joined)
    }),
    ("metergate_bus_noise_bytes_total", Counter, "Bytes that were part of no frame.", |bus| {
        whole(bus.noise_bytes)
    }),
    ("metergate_bus_foreign_frames_total", Counter, "Frames of a unit other than the one asked.", |bus| {
        whole(bus.foreign_frames)
    }),
    ("metergate_bus_collisions_total", Counter, "Echoes that differ from what was sent.", |bus| {
        whole(bus.collisions)
    }),
    ("metergate_bus_occupied_total", Counter, "Times the line was declared occupied.", |bus| {
        whole(bus.occupied)
    }),
    ("metergate_bus_retries_total", Counter, "Sendings after the first of a request.", |bus| {
        whole(bus.retries)
    }),
    (
        "metergate_bus_expired_total",
        Counter,
        "Requests of clients whose deadline came before an answer.",
        |bus| whole(bus.expired),
    ),
    ("metergate_port_open", Gauge, "Whether the serial port is open.", |bus| {
        flag(bus.port.state != PortState::Closed)
    }),
    ("metergate_port_occupied", Gauge, "Whether bytes on the line never end.", |bus| {
        flag(bus.port.state == PortState::Occupied)
    }),
    ("metergate_port_openings_total", Counter, "Times the port was opened.", |bus| whole(bus.port.openings)),
    ("metergate_port_losses_total", Counter, "Times the open port was lost.", |bus| whole(bus.port.losses)),
];

const UNITS: &Families<fn(&Unit<'_>) -> Option<f64>> = &[
    ("metergate_unit_up", Gauge, "Whether the unit answers.", |unit| Some(flag(unit.state.is_answering()))),
    ("metergate_unit_age_seconds", Gauge, "Age of its oldest measurement.", |unit| unit.age_ms.map(seconds)),
    ("metergate_unit_last_answer_seconds", Gauge, "Time since its last good answer.", |unit| {
        unit.last_answer_ms.map(seconds)
    }),
    ("metergate_unit_answer_time_seconds", Gauge, "Smoothed time to the first byte of its answer.", |unit| {
        unit.answer_time_ms.map(|millis| millis / 1000.0)
    }),
    (
        "metergate_unit_transactions_total",
        Counter,
        "Requests sent to it, further attempts included.",
        |unit| Some(whole(unit.transactions)),
    ),
];

const BROKERS: &Families<fn(&Broker<'_>) -> f64> = &[
    ("metergate_mqtt_connected", Gauge, "Whether the broker accepts messages.", |broker| {
        flag(broker.connected)
    }),
    ("metergate_mqtt_connections_total", Counter, "Times a connection was made.", |broker| {
        whole(broker.connections)
    }),
    (
        "metergate_mqtt_published_total",
        Counter,
        "Messages the broker acknowledged, or was sent with QoS 0.",
        |broker| whole(broker.published),
    ),
    ("metergate_mqtt_queued_messages", Gauge, "Readings that wait for the broker.", |broker| {
        size(broker.queued)
    }),
    ("metergate_mqtt_queued_bytes", Gauge, "Memory they take; the key `buffer` limits it.", |broker| {
        size(broker.queued_bytes)
    }),
    ("metergate_mqtt_dropped_total", Counter, "Messages that were dropped.", |broker| whole(broker.dropped)),
];

/// A counter: its name, what it counts, where it stands.
type Counters<T> = [(&'static str, &'static str, fn(&T) -> u64)];

const LISTENER_COUNTERS: &Counters<RequestCounts> = &[
    ("metergate_listener_requests_total", "Requests that came.", |counted| counted.requests),
    ("metergate_listener_snapshot_hits_total", "Reads answered from the snapshot.", |counted| {
        counted.snapshot_hits
    }),
    (
        "metergate_listener_snapshot_misses_total",
        "Reads the snapshot could have answered but did not.",
        |counted| counted.snapshot_misses,
    ),
];
