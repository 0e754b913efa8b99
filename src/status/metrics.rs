//! The page `/metrics`: what there is to count and to measure, as Prometheus reads it.
//!
//! Owns the names, the labels and their bounds: a series for a bus, a listener, a unit or a quantity of its
//! profile, all of them configured; never one for a client or a request. Counters come as they stand in the views,
//! at the moment of the question. The list is `docs/metrics.md`.

use std::time::Instant;

use super::exposition::{Exposition, Kind};
use super::history::History;
use super::overview::state_word;
use super::picture::{BusPicture, Picture, UnitPicture, is_answering};
use super::{meters, trouble};
use crate::bus::statistics::UnitStatistics;
use crate::bus::unit::{UnitCounters, UnitState};
use crate::bus::view::{LineCounters, PortState};
use crate::findings::Severity;
use crate::io::tally::Counted;
use crate::modbus::pdu::ExceptionCode;
use Kind::{Counter, Gauge, Histogram};

/// All of it.
#[must_use]
pub fn exposition(picture: &Picture, history: &History, now: Instant) -> String {
    let mut out = Exposition::default();
    gateway(&mut out, picture);
    findings(&mut out, picture, history, now);
    lines(&mut out, picture, now);
    line_times(&mut out, picture);
    ports(&mut out, picture);
    units(&mut out, picture, now);
    answers(&mut out, picture);
    listeners(&mut out, picture);
    meters::write(&mut out, picture, now);
    out.finish()
}

fn gateway(out: &mut Exposition, picture: &Picture) {
    let mut one = |name, kind, help, value: Option<f64>| {
        if let Some(value) = value {
            out.family(name, kind, help).sample(&[], value);
        }
    };
    let ready = f64::from(u8::from(picture.is_ready()));
    one("metergate_ready", Gauge, "Whether a port is open with a unit that answers.", Some(ready));
    let process = &picture.process;
    #[expect(clippy::cast_precision_loss, reason = "bytes beyond 2^53 are not met")]
    let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
    one("process_cpu_seconds_total", Counter, "Processor time used.", process.cpu_seconds);
    one("process_start_time_seconds", Gauge, "When it was started, since 1970.", process.start_seconds);
    one("process_resident_memory_bytes", Gauge, "Memory in the machine.", bytes(process.resident_bytes));
    one("process_virtual_memory_bytes", Gauge, "Addresses claimed.", bytes(process.virtual_bytes));
    one("process_open_fds", Gauge, "Descriptors open.", bytes(process.open_descriptors));
    one("process_max_fds", Gauge, "Descriptors that may be open.", bytes(process.most_descriptors));
    one("process_threads", Gauge, "Threads.", bytes(process.threads));
    let help = "Lines of the log that were dropped while it was blocked.";
    one("metergate_log_lines_dropped_total", Counter, help, bytes(process.log_lines_dropped));
    let lost = bytes(Some(picture.traffic.lost()));
    let help = "Events of the traffic that were not collected in time for traces, captures and pages.";
    one("metergate_traffic_events_lost_total", Counter, help, lost);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    out.family("metergate_build_info", Gauge, "Always 1; the version of the program.").sample(&version, 1);
}

fn findings(out: &mut Exposition, picture: &Picture, history: &History, now: Instant) {
    let found = trouble::of_all(picture, history, now);
    let help = "What is wrong now, by severity; /api/v1/findings has the words.";
    let mut family = out.family("metergate_findings", Gauge, help);
    for severity in [Severity::Fault, Severity::Warning, Severity::Note] {
        let count = found.iter().filter(|(_, finding)| finding.severity == severity).count();
        family.sample(&[("severity", severity.word())], count);
    }
}

/// Where line time went, and how long clients waited for it.
fn line_times(out: &mut Exposition, picture: &Picture) {
    let help = "Line time used, by what it went into; together it is the busy time.";
    let mut family = out.family("metergate_bus_line_time_seconds_total", Counter, help);
    for bus in &picture.buses {
        let times = bus.view.statistics;
        for (cause, time) in [
            ("clients", times.clients),
            ("polling", times.background),
            ("probes", times.probes),
            ("failures", times.failures),
        ] {
            family.sample(&[("bus", bus.name()), ("cause", cause)], time.as_secs_f64());
        }
    }
    let help = "Time from a client's request to its first sending.";
    let mut family = out.family("metergate_bus_wait_seconds", Histogram, help);
    for bus in &picture.buses {
        family.histogram(&[("bus", bus.name())], &bus.view.statistics.waits);
    }
    let help = "Sendings after the first of a request.";
    let mut family = out.family("metergate_bus_retries_total", Counter, help);
    for bus in &picture.buses {
        family.sample(&[("bus", bus.name())], bus.view.statistics.retries);
    }
    let help = "Requests of clients whose deadline came before an answer.";
    let mut family = out.family("metergate_bus_expired_total", Counter, help);
    for bus in &picture.buses {
        family.sample(&[("bus", bus.name())], bus.view.statistics.expired);
    }
}

/// How fast units answered, and what they refused.
fn answers(out: &mut Exposition, picture: &Picture) {
    let help = "Time from the end of a request to the first byte of its answer, of answers in time.";
    let mut family = out.family("metergate_unit_answer_duration_seconds", Histogram, help);
    for unit in picture.units() {
        let Some(view) = unit.view else { continue };
        let labels = [("bus", unit.bus.name()), ("unit", &unit.alias.to_string())];
        family.histogram(&labels, &view.statistics.answer_times);
    }
    let help = "Modbus exceptions it answered, by code, in hexadecimal.";
    let mut family = out.family("metergate_unit_exceptions_total", Counter, help);
    for unit in picture.units() {
        let Some(view) = unit.view else { continue };
        // All codes the standard does not have are counted under 0.
        for code in 0..=ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND.0 {
            let count = view.statistics.exceptions(ExceptionCode(code));
            let code = if code == 0 { String::from("other") } else { format!("{code:02x}") };
            let labels = [("bus", unit.bus.name()), ("unit", &unit.alias.to_string()), ("code", &code)];
            if count > 0 {
                family.sample(&labels, count);
            }
        }
    }
}

fn lines(out: &mut Exposition, picture: &Picture, now: Instant) {
    let mut bus = |name: &str, kind, help: &str, value: &dyn Fn(&BusPicture) -> f64| {
        let mut family = out.family(name, kind, help);
        for bus in &picture.buses {
            family.sample(&[("bus", bus.name())], value(bus));
        }
    };
    bus(
        "metergate_bus_utilisation_ratio",
        Gauge,
        "Share of line time used over the last ten seconds or so.",
        &|bus| f64::from(bus.view.utilisation(now)) / 10_000.0,
    );
    bus(
        "metergate_bus_busy_seconds_total",
        Counter,
        "Line time used: requests, answers, waiting for them.",
        &|bus| bus.view.counters.busy.as_secs_f64(),
    );
    bus("metergate_bus_requests_waiting", Gauge, "Requests that wait for the line.", &|bus| {
        count(bus.view.waiting)
    });
    bus("metergate_bus_queue_limit", Gauge, "Requests that may wait.", &|bus| {
        count(bus.settings.line.queue_limit)
    });
    bus("metergate_bus_poll_interval_seconds", Gauge, "What the poll interval auto amounts to.", &|bus| {
        bus.view.polling.interval.as_secs_f64()
    });
    bus(
        "metergate_bus_poll_slowdown_ratio",
        Gauge,
        "How much slower than planned the slowest block is read; 0: nothing is.",
        &|bus| bus.view.polling.slowdown,
    );
    bus("metergate_bus_learned_ranges", Gauge, "Ranges learned from clients.", &|bus| {
        count(bus.view.polling.learned)
    });
    bus(
        "metergate_bus_restarts_total",
        Counter,
        "Times the task of the bus was restarted after a fault of the program.",
        &|bus| whole(bus.restarts),
    );
    for (name, help, read) in LINE_COUNTERS {
        bus(name, Counter, help, &|bus| whole(read(&bus.view.counters)));
    }
}

fn ports(out: &mut Exposition, picture: &Picture) {
    let mut bus = |name: &str, kind, help: &str, value: &dyn Fn(&BusPicture) -> u64| {
        let mut family = out.family(name, kind, help);
        for bus in &picture.buses {
            family.sample(&[("bus", bus.name())], value(bus));
        }
    };
    bus("metergate_port_open", Gauge, "Whether the serial port is open.", &|bus| {
        u64::from(bus.view.port != PortState::Closed)
    });
    bus("metergate_port_occupied", Gauge, "Whether bytes on the line never end.", &|bus| {
        u64::from(bus.view.port == PortState::Occupied)
    });
    bus("metergate_port_openings_total", Counter, "Times the port was opened.", &|bus| bus.port.openings);
    bus("metergate_port_losses_total", Counter, "Times the open port was lost.", &|bus| bus.port.losses);
    let help = "Faulty characters the driver counted, by cause; none where it counts none.";
    let mut family = out.family("metergate_port_driver_errors_total", Counter, help);
    for bus in &picture.buses {
        let Some(errors) = bus.port.line_errors else { continue };
        for (cause, count) in [
            ("framing", errors.framing),
            ("parity", errors.parity),
            ("overrun", errors.overrun),
            ("break", errors.breaks),
            ("buffer_overrun", errors.buffer_overrun),
        ] {
            family.sample(&[("bus", bus.name()), ("cause", cause)], count);
        }
    }
}

fn units(out: &mut Exposition, picture: &Picture, now: Instant) {
    let units: Vec<(UnitPicture<'_>, String)> =
        picture.units().map(|unit| (unit, unit.alias.to_string())).collect();
    let mut unit = |name: &str, kind, help: &str, value: &dyn Fn(&UnitPicture<'_>) -> Option<f64>| {
        let mut family = out.family(name, kind, help);
        for (unit, alias) in &units {
            if let Some(value) = value(unit) {
                family.sample(&[("bus", unit.bus.name()), ("unit", alias)], value);
            }
        }
    };
    unit("metergate_unit_up", Gauge, "Whether the unit answers.", &|unit| {
        Some(f64::from(u8::from(is_answering(unit.state()))))
    });
    let ago = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
    unit("metergate_unit_age_seconds", Gauge, "Age of its oldest measurement.", &|unit| {
        unit.view?.age(now).map(|age| age.as_secs_f64())
    });
    unit("metergate_unit_last_answer_seconds", Gauge, "Time since its last good answer.", &|unit| {
        unit.view?.last_good.map(ago)
    });
    unit(
        "metergate_unit_answer_time_seconds",
        Gauge,
        "Smoothed time to the first byte of its answer.",
        &|unit| unit.view?.response_time.map(|time| time.as_secs_f64()),
    );
    unit(
        "metergate_unit_transactions_total",
        Counter,
        "Requests sent to it, further attempts included.",
        &|unit| Some(whole(unit.view?.counters.transactions)),
    );
    let mut states = out.family("metergate_unit_state", Gauge, "1 for the state the unit is in, else 0.");
    for (unit, alias) in &units {
        for state in [UnitState::NeverSeen, UnitState::Online, UnitState::Offline, UnitState::Confirming] {
            let labels = [("bus", unit.bus.name()), ("unit", alias), ("state", state_word(state))];
            states.sample(&labels, u8::from(unit.state() == state));
        }
    }
    let help = "Answers that were missing, damaged, late, or to something else, by cause.";
    let mut errors = out.family("metergate_unit_errors_total", Counter, help);
    for (unit, alias) in &units {
        let counters = unit.view.map(|view| view.counters).unwrap_or_default();
        let statistics = unit.view.map(|view| view.statistics).unwrap_or_default();
        for (cause, count) in unit_errors(&counters, &statistics) {
            errors.sample(&[("bus", unit.bus.name()), ("unit", alias), ("cause", cause)], count);
        }
    }
    let help = "Always 1; what people call the unit, and its profile.";
    let mut info = out.family("metergate_unit_info", Gauge, help);
    for (unit, alias) in &units {
        let profile = unit.profile.map_or("", |known| known.profile.name.as_str());
        let name = unit.settings.name.as_deref().unwrap_or_default();
        info.sample(&[("bus", unit.bus.name()), ("unit", alias), ("name", name), ("profile", profile)], 1);
    }
}

fn listeners(out: &mut Exposition, picture: &Picture) {
    let all: Vec<_> =
        picture.listeners.iter().map(|one| (one.address.to_string(), one, one.tally.totals())).collect();
    let mut family = out.family("metergate_listener_connections", Gauge, "Clients connected.");
    for (address, _, totals) in &all {
        family.sample(&[("listener", address)], totals.connections);
    }
    let mut family =
        out.family("metergate_listener_max_connections", Gauge, "Clients that may be connected.");
    for (address, listener, _) in &all {
        family.sample(&[("listener", address)], listener.settings.max_connections);
    }
    let mut family = out.family("metergate_listener_accepted_total", Counter, "Clients let in.");
    for (address, _, totals) in &all {
        family.sample(&[("listener", address)], totals.accepted);
    }
    let help = "Clients not let in: their address is not allowed, or there was no room.";
    let mut family = out.family("metergate_listener_turned_away_total", Counter, help);
    for (address, _, totals) in &all {
        family.sample(&[("listener", address)], totals.turned_away);
    }
    for (name, help, read) in LISTENER_COUNTERS {
        let mut family = out.family(name, Counter, help);
        for (address, _, totals) in &all {
            family.sample(&[("listener", address)], read(&totals.counted));
        }
    }
    let help = "Requests answered with an exception, by code, in hexadecimal.";
    let mut family = out.family("metergate_listener_exceptions_total", Counter, help);
    for (address, _, totals) in &all {
        for (code, count) in &totals.counted.exceptions {
            let code = code.map_or_else(|| "other".to_owned(), |code| format!("{:02x}", code.0));
            family.sample(&[("listener", address), ("code", &code)], count);
        }
    }
}

/// What went wrong with answers, each counted once: an answer that broke off is among the CRC errors of the counters.
fn unit_errors(counters: &UnitCounters, statistics: &UnitStatistics) -> [(&'static str, u64); 6] {
    [
        ("timeout", counters.timeouts),
        ("crc", counters.crc_errors.saturating_sub(statistics.truncated)),
        ("truncated", statistics.truncated),
        ("late", counters.late_answers),
        ("unexpected", counters.unexpected),
        ("foreign", statistics.foreign),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a counter beyond 2^53 is not met")]
fn whole(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "nothing is counted beyond 2^53")]
fn count(count: usize) -> f64 {
    count as f64
}

/// A counter: its name, what it counts, where it stands.
type Counters<T> = [(&'static str, &'static str, fn(&T) -> u64)];

const LINE_COUNTERS: &Counters<LineCounters> = &[
    ("metergate_bus_transactions_total", "Requests sent, probes and further attempts included.", |line| {
        line.transactions
    }),
    ("metergate_bus_failures_total", "Requests sent that got no good answer.", |line| line.failures),
    ("metergate_bus_joined_total", "Requests of clients that joined another's read.", |line| line.joined),
    ("metergate_bus_noise_bytes_total", "Bytes that were part of no frame.", |line| line.noise_bytes),
    ("metergate_bus_foreign_frames_total", "Frames of a unit other than the one asked.", |line| {
        line.foreign_frames
    }),
    ("metergate_bus_collisions_total", "Echoes that differ from what was sent.", |line| line.collisions),
    ("metergate_bus_occupied_total", "Times the line was declared occupied.", |line| line.occupied),
];

const LISTENER_COUNTERS: &Counters<Counted> = &[
    ("metergate_listener_requests_total", "Requests that came.", |counted| counted.requests),
    ("metergate_listener_snapshot_hits_total", "Reads answered from the snapshot.", |counted| counted.hits),
    (
        "metergate_listener_snapshot_misses_total",
        "Reads the snapshot could have answered but did not.",
        |counted| counted.misses,
    ),
];
