//! `doctor`: what is wrong with a line and its meters, and what to do about it.
//!
//! On a port it runs a bus of its own for a while, as the gateway would, and judges what it saw by the rules the
//! gateway's own page goes by. It never writes to a meter.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::args::Doctor;
use super::exit::Exit;
use super::output;
use crate::bus::unit::UnitState;
use crate::bus::view::{UnitView, View};
use crate::config;
use crate::findings::{Evidence, Finding, Kind, Severity};
use crate::io::handle::BusHandle;
use crate::io::port;
use crate::io::serial::{self, BusParts};
use crate::io::timer::Timer;

/// Looks at a line for as long as asked, or until `stop` is cancelled, and says what it saw.
pub async fn doctor(args: &Doctor, stop: CancellationToken) -> Exit {
    let text = configuration(args);
    let loaded = match config::parse(&text, "the settings of doctor") {
        Ok(loaded) => loaded,
        Err(problems) => {
            output::report(&problems);
            return Exit::Usage;
        }
    };
    let Some(bus) = loaded.config.buses.first() else { return Exit::CannotStart };
    let _unread = output::print(
        format!(
            "Asking units {} on {} at {} for {} s, as the gateway would. Ctrl-C ends it sooner.\n\n",
            args.units,
            args.target.display(),
            bus.line.framing,
            args.time.as_secs()
        )
        .as_bytes(),
    );
    let seen = match watch(bus, args.time, &stop).await {
        Ok(seen) => seen,
        Err(error) => {
            output::complain(&format!("cannot open {}: {error}", args.target.display()));
            return Exit::CannotStart;
        }
    };
    let evidence = Evidence {
        settings: &bus.line,
        before: &View::default(),
        now: &seen.view,
        at: seen.at,
        port_closed: None,
        faulty_characters: None,
    };
    let mut findings = evidence.findings(|unit| bus.profiles.get(&unit).map(|known| &*known.profile));
    // How full the line is with what is asked here says nothing of how full it is with a gateway's clients.
    findings.retain(|finding| !matches!(finding.kind, Kind::LineFull | Kind::PollingSlow));
    let printed = output::print(report(&seen.view, &findings).as_bytes());
    let healthy = findings.iter().all(|finding| finding.severity == Severity::Note);
    if healthy { printed } else { Exit::Fault }
}

/// What a line looked like at the end of a while.
struct Seen {
    view: Arc<View>,
    at: Instant,
}

async fn watch(bus: &config::Bus, time: Duration, stop: &CancellationToken) -> Result<Seen, port::OpenError> {
    // Here rather than in the task, so that whoever asks hears why it cannot be had.
    let mut opened = Some(port::open(&bus.port)?);
    let (handle, requests) = BusHandle::new(&bus.line.name);
    let view = Arc::clone(handle.view());
    let bus_stop = CancellationToken::new();
    let parts = BusParts {
        line: bus.line.clone(),
        device: bus.port.device.display().to_string(),
        requests,
        view: Arc::clone(&view),
        traffic: Arc::default(),
        port: Arc::default(),
        stop: bus_stop.clone(),
    };
    let settings = bus.port.clone();
    let open = move || opened.take().map_or_else(|| port::open(&settings), Ok);
    let task = tokio::spawn(async move { serial::run(parts, open, Timer::fine()).await });
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = stop.cancelled() => {}
    }
    let (seen, at) = (view.load_full(), Instant::now());
    drop(handle);
    bus_stop.cancel();
    let _ended_either_way = task.await;
    Ok(Seen { view: seen, at })
}

/// The configuration that asks what the gateway would ask. The settings of the meters are read soon, too: their
/// alerts stand there.
fn configuration(args: &Doctor) -> String {
    let profile = &args.profile;
    let units: Vec<_> = args
        .units
        .to_string()
        .split(',')
        .map(|run| format!("{{id: {run}, profile: {profile}, poll_slow: 5s}}"))
        .collect();
    format!(
        "listeners: [{{address: \"127.0.0.1:502\"}}]\nbuses:\n  - name: line\n    device: {:?}\n    baud_rate: {}\n    \
         parity: {}\n    stop_bits: {}\n    response_timeout: {}ms\n    units: [{}]\n",
        args.target.display().to_string(),
        args.baud,
        args.parity,
        args.stop_bits,
        args.timeout.as_millis(),
        units.join(", ")
    )
}

/// A line a unit, each with what is wrong with it and what to do; what is wrong with the line as a whole first.
fn report(view: &View, findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings.iter().filter(|finding| finding.unit.is_none()) {
        write_finding(&mut text, "line", finding);
    }
    for unit in &view.units {
        let of_it: Vec<_> = findings.iter().filter(|finding| finding.unit == Some(unit.id)).collect();
        let _never = writeln!(text, "{:<8} {}", format!("unit {}", unit.id), state(unit, of_it.is_empty()));
        for finding in of_it {
            write_finding(&mut text, "", finding);
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let online = view.units.iter().filter(|unit| unit.state == UnitState::Online).count();
    let _never = writeln!(
        text,
        "\n{online} of {} units answer; {}, {}.",
        view.units.len(),
        counted(count(Severity::Fault), "fault"),
        counted(count(Severity::Warning), "warning")
    );
    text
}

fn write_finding(text: &mut String, subject: &str, finding: &Finding) {
    let _never = writeln!(text, "{subject:<8} {}: {}", finding.severity, finding.what);
    for (index, line) in textwrap::wrap(&finding.remedy, REMEDY_WIDTH).iter().enumerate() {
        let head = if index == 0 { "do: " } else { "    " };
        let _never = writeln!(text, "           {head}{line}");
    }
}

fn state(unit: &UnitView, healthy: bool) -> String {
    let answers = unit.counters.transactions - unit.counters.timeouts.min(unit.counters.transactions);
    let time = unit.response_time.map(|time| format!(" in {:.1} ms", time.as_secs_f64() * 1000.0));
    let verdict = if healthy && unit.state == UnitState::Online { ", all well" } else { "" };
    format!(
        "{}: {answers} of {} answered{}{verdict}",
        unit.state,
        unit.counters.transactions,
        time.unwrap_or_default()
    )
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// Characters of a line of a remedy.
const REMEDY_WIDTH: usize = 92;
