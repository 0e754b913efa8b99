//! `doctor`: what is wrong with a line and its meters, and what to do about it.
//!
//! Without a target it asks the gateway running here. On a port it runs a bus of its own for a while, as the gateway
//! would, and judges what it saw by the rules the gateway goes by. It never writes to a meter.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::args::Units;
use super::args::line::{Doctor, Line as Asked};
use super::command_error::CommandError;
use super::exit::Exit;
use super::gateway_client::GatewayClient;
use super::output;
use super::port_holder::{PortHolder, held};
use super::target::Target;
use crate::config::section::{self, PollSlow};
use crate::config::value::{Address, Device, UnitIds};
use crate::config::{self, Config};
use crate::document::{self, Count, Name, Share};
use crate::findings::{Kind, Remedy, Severity};
use crate::line::{BusId, UnitView, View};
use crate::meter::figure;
use crate::runtime::Timer;
use crate::serial::{
    Acceptance, BusHandle, BusParts, Network, OpenError, PortDevice, PortView, bus_task, port,
};
use crate::status::{Broker, BusReport, DoctorReport, PublishedBus, ReportedFinding, UnitReport};

/// Asks the gateway, or looks at a line for as long as asked or until `stop` is cancelled, and says what was seen.
pub async fn doctor(args: &Doctor, stop: CancellationToken) -> Exit {
    let found = match &args.target {
        Some(target) => of_port(target, &args.line, &stop).await,
        None => tokio::select! {
            biased;
            () = stop.cancelled() => return Exit::Fault,
            found = of_gateway(args) => found,
        },
    };
    match found {
        Ok(found) => {
            let printed = output::print(&output::escape(report(&found).as_bytes()));
            if found.findings().any(ReportedFinding::needs_action) { Exit::Fault } else { printed }
        }
        Err(stop) => stop.report(),
    }
}

async fn of_gateway(args: &Doctor) -> Result<DoctorReport, CommandError> {
    let gateway = GatewayClient::find(&args.location)?;
    let page = gateway.page("/api/v1/checkup").await?;
    let odd = |error| {
        let text = format!("{} is a gateway of another version: {error}", gateway.shown());
        CommandError::Failed(Exit::CannotStart, text)
    };
    let found: DoctorReport = serde_json::from_slice(&page).map_err(odd)?;
    let seconds = found.buses.iter().map(|bus| bus.seconds).max().unwrap_or_default();
    let asked = format!("The gateway at {}, over the last {seconds} s.\n\n", gateway.shown());
    let _unread = output::print(asked.as_bytes());
    Ok(found)
}

async fn of_port(word: &str, asked: &Asked, stop: &CancellationToken) -> Result<DoctorReport, CommandError> {
    let device = match Target::named(word)? {
        Target::Serial(device) => device,
        Target::Tcp { host, .. } => {
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            return Err(CommandError::usage(format!(
                "doctor looks at a serial port such as /dev/ttyUSB0, or a serial server such as tcp://10.0.0.7:4001; \
                 for a gateway elsewhere name its status address: metergate doctor --status {host}"
            )));
        }
    };
    let Some(units) = &asked.units else {
        return Err(CommandError::usage("--units says which meters are on the line, such as --units 1-12"));
    };
    let bus = configuration(&device, asked, units)?;
    let framing = bus.line.protocol;
    let lasts = match asked.time {
        Some(time) => format!("for {} s", time.as_secs()),
        None => format!("for {} s, and until each has answered or was asked twice", USUAL.as_secs()),
    };
    let announced = format!(
        "Asking units {units} on {word} at {framing} {lasts}, as the gateway would. Ctrl-C ends it sooner.\n\n"
    );
    let _unread = output::print(announced.as_bytes());
    let seen = watch(bus, asked.time, stop).await.map_err(|error| {
        let text = match error {
            OpenError::Busy => held(word, PortHolder::Unknown, "metergate doctor"),
            OpenError::System(_)
            | OpenError::Settings { .. }
            | OpenError::Direction(_)
            | OpenError::Connection(_) => {
                format!("{word}: {error}")
            }
        };
        CommandError::Failed(Exit::CannotStart, text)
    })?;
    // How full the line is with what is asked here says nothing of how full it is with a gateway's clients.
    let line = BusReport::since_start(&seen.bus, seen.span, seen.at, |finding| {
        !matches!(finding.kind, Kind::LineFull | Kind::PollingSlow)
    });
    Ok(DoctorReport { buses: vec![line], brokers: Vec::new() })
}

/// What a line looked like at the end of a while.
struct Seen {
    bus: PublishedBus,
    at: Instant,
    span: Duration,
}

/// Looks for `time`; without it for as long as it takes to have asked every unit.
async fn watch(
    bus: config::Bus,
    time: Option<Duration>,
    stop: &CancellationToken,
) -> Result<Seen, OpenError> {
    // Here rather than in the task, so that the command reports why it cannot be had.
    let response_timeout = bus.line.response_timeout;
    let opened =
        Some(port::open(bus.port.clone(), response_timeout, Network::default(), Acceptance::Awaited).await?);
    let (handle, requests) = BusHandle::new(BusId::default(), &bus.line.name);
    let view = Arc::clone(handle.view());
    let port_view = Arc::<ArcSwap<PortView>>::default();
    let device = bus.port.device.clone();
    let alone = BusParts::alone(bus.line.clone(), device, requests, Arc::clone(&view));
    let parts = BusParts { port: Arc::clone(&port_view), ..alone };
    let open = port::opener(bus.port.clone(), response_timeout, opened);
    let began = Instant::now();
    let task = tokio::spawn(bus_task::run(parts, open, Timer::fine()));
    tokio::select! {
        () = enough(time, &view, bus.line.units.len(), response_timeout) => {}
        () = stop.cancelled() => {}
    }
    let (view, port, at) = (view.load_full(), port_view.load_full(), Instant::now());
    // Without a sender the task has nothing left to do.
    drop(handle);
    let _ended_either_way = task.await;
    let bus = PublishedBus { id: BusId::default(), settings: Arc::new(bus), view, port, restarts: 0 };
    Ok(Seen { bus, at, span: at.saturating_duration_since(began) })
}

/// Waits for `time`; without it for the usual time and until each of the `count` units can be judged.
async fn enough(time: Option<Duration>, view: &ArcSwap<View>, count: usize, response_timeout: Duration) {
    tokio::time::sleep(time.unwrap_or(USUAL)).await;
    if time.is_some() {
        return;
    }
    let is_judged = |unit: &Arc<UnitView>| unit.last_good.is_some() || unit.counters.timeouts >= ASKED_ENOUGH;
    // Units that send something else than answers are never judged.
    let longest = response_timeout * ROUNDS_MAX * u32::try_from(count).unwrap_or(u32::MAX);
    let judged = async {
        while !view.load().units.iter().all(is_judged) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let _longer = tokio::time::timeout(longest, judged).await;
}

/// The bus that asks what the gateway would ask. The settings of the meters are read soon, too: their alerts are there.
fn configuration(device: &PortDevice, asked: &Asked, units: &Units) -> Result<config::Bus, CommandError> {
    let profile =
        asked.profile.parse().map_err(|error| CommandError::usage(format!("--profile: {error}")))?;
    let unit = section::Unit {
        id: Some(UnitIds(units.ids().to_vec())),
        profile: Some(profile),
        poll_slow: Some(PollSlow(document::Duration::millis(5_000))),
        ..section::Unit::default()
    };
    let bus = section::Bus {
        name: Some(Name("line".to_owned())),
        device: Some(Device(device.clone())),
        baud_rate: Some(Count::clamped(asked.baud.get() as usize)),
        parity: Some(asked.parity.into()),
        stop_bits: Some(Count::clamped(asked.stop_bits.into())),
        response_timeout: document::Duration::clamped(asked.timeout),
        // No client waits here: silent units may cost all of the time.
        failure_share: Share::hundredths(10_000),
        units: vec![unit],
        ..section::Bus::default()
    };
    // A configuration has a listener; nothing listens here.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 502));
    let listener = section::Listener { address: Some(Address(address)), ..section::Listener::default() };
    let file = section::File {
        listeners: vec![listener.into()],
        buses: vec![bus],
        status: Some(section::Status::Off),
        ..section::File::default()
    };
    let config = Config::try_from(file).map_err(|problems| {
        output::report(&problems);
        CommandError::usage("this configuration defines no bus")
    })?;
    config.buses.into_iter().next().ok_or_else(|| CommandError::usage("this configuration defines no bus"))
}

/// A line a unit, each with what is wrong with it and what to do; what is wrong with the line as a whole first.
fn report(found: &DoctorReport) -> String {
    let mut text = String::new();
    for line in &found.buses {
        if found.buses.len() > 1 {
            let _never = writeln!(text, "bus {} on {}, port {}", line.bus, line.device, line.port.word());
        }
        for finding in &line.findings {
            write_finding(&mut text, "line", finding);
        }
        for unit in &line.units {
            let _never = writeln!(text, "{:<8} {}", format!("unit {}", unit.unit), state(unit));
            for finding in &unit.findings {
                write_finding(&mut text, "", finding);
            }
        }
        text.push('\n');
    }
    for broker in &found.brokers {
        let _never = writeln!(text, "{}: {}", broker.state.broker, describe_broker(&broker.state));
        for finding in &broker.findings {
            write_finding(&mut text, "", finding);
        }
    }
    if !found.brokers.is_empty() {
        text.push('\n');
    }
    let count = |severity| found.findings().filter(|finding| finding.severity == severity).count();
    let units = || found.buses.iter().flat_map(|line| &line.units);
    let _never = writeln!(
        text,
        "{} of {} units answer; {}, {}.",
        units().filter(|unit| unit.answers).count(),
        units().count(),
        counted(count(Severity::Fault), "fault"),
        counted(count(Severity::Warning), "warning")
    );
    text
}

/// `connected for 12 s; 248 messages published, 2.1 a second; 0 readings wait, 0 dropped`.
fn describe_broker(broker: &Broker<'_>) -> String {
    let Broker { published, queued, dropped, .. } = broker;
    let connection = match (broker.connected_for_ms, broker.away_for_ms) {
        (Some(millis), _) => format!("connected for {}", duration(millis)),
        (None, Some(millis)) => format!("not connected for {}", duration(millis)),
        (None, None) => "connecting".to_owned(),
    };
    let rate =
        broker.published_per_second.map(|rate| format!(", {}", figure::rate(rate))).unwrap_or_default();
    let before = broker.last_error.as_ref().filter(|_| broker.connected);
    let before = before.map(|error| format!("; before that: {error}")).unwrap_or_default();
    format!(
        "{connection}; {published} messages published{rate}; {queued} readings wait, {dropped} dropped{before}"
    )
}

fn write_finding(text: &mut String, subject: &str, finding: &ReportedFinding) {
    let active = duration(finding.active_since_ms);
    let seen = match finding.last_seen_ms {
        0..SEEN_NOW_MS => String::new(),
        seen => format!(", last seen {} ago", duration(seen)),
    };
    let _never = writeln!(text, "{subject:<8} {}: {}", finding.severity, finding.what);
    // On a port that has only just been looked at there is no before.
    if finding.active_since_ms >= SEEN_NOW_MS {
        let _never = writeln!(text, "           active for {active}{seen}");
    }
    for (index, line) in remedy_lines(&finding.remedy).iter().enumerate() {
        let head = if index == 0 { "do: " } else { "    " };
        let _never = writeln!(text, "           {head}{line}");
    }
}

/// `12 s`, `3 min`, `2 h`.
fn duration(millis: u64) -> String {
    match millis / 1000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// A remedy in lines: what to know first, then each step, numbered where there are several.
fn remedy_lines(remedy: &Remedy) -> Vec<String> {
    let context = Some(&remedy.context).filter(|context| !context.is_empty());
    let mut lines = context.map_or_else(Vec::new, |context| wrapped(&format!("{context}:"), ""));
    for (index, step) in remedy.steps.iter().enumerate() {
        let number = if remedy.steps.len() > 1 { format!("({}) ", index + 1) } else { String::new() };
        lines.extend(wrapped(&format!("{number}{step}"), if number.is_empty() { "" } else { "    " }));
    }
    lines
}

/// Text in lines, those after the first indented; a command between backticks stays whole, for it will be copied.
fn wrapped(text: &str, indent: &str) -> Vec<String> {
    let parts = text.split('`').enumerate();
    let parts: Vec<_> = parts
        .map(|(index, part)| if index % 2 == 1 { part.replace(' ', NO_BREAK) } else { part.to_owned() })
        .collect();
    let options = textwrap::Options::new(REMEDY_WIDTH)
        .subsequent_indent(indent)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::wrap(&parts.join("`"), options).iter().map(|line| line.replace(NO_BREAK, " ")).collect()
}

fn state(unit: &UnitReport) -> String {
    let name = unit.name.as_ref().map(|name| format!("{name}, ")).unwrap_or_default();
    let state = unit.state.title();
    let time = unit.answer_time_ms.map(|time| format!(" in {time:.1} ms")).unwrap_or_default();
    if unit.asked == 0 {
        return format!("{name}{state}: no request was sent to it in this time");
    }
    let verdict = if unit.answers && unit.findings.is_empty() { ", all well" } else { "" };
    format!("{name}{state}: {} of {} answered{time}{verdict}", unit.answered, unit.asked)
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// What was seen so lately is seen now.
const SEEN_NOW_MS: u64 = 2_000;

/// Characters of a line of a remedy.
const REMEDY_WIDTH: usize = 92;

/// How long a line is watched at least, unless another time is given.
const USUAL: Duration = Duration::from_secs(20);

/// Unanswered requests after which a unit that never answered is judged.
const ASKED_ENOUGH: u64 = 2;

/// How much longer than the usual time it may take, in response timeouts of all units: units that were asked before are
/// asked again meanwhile.
const ROUNDS_MAX: u32 = 8;

/// How often it is checked whether every unit can be judged.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Stands for a space at which no line is broken.
const NO_BREAK: &str = "\u{a0}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{UnitCounters, UnitId, UnitSettings};

    #[tokio::test(start_paused = true)]
    async fn without_a_time_every_unit_is_asked_and_with_one_it_is_kept() {
        let view = ArcSwap::<View>::default();
        let id = UnitId::new(1).expect("1 to 247");
        let unit_settings = UnitSettings::new(id, Duration::from_millis(500));
        let see = |timeouts: [u64; 2]| {
            let unit = |timeouts| {
                let counters = UnitCounters { timeouts, ..UnitCounters::default() };
                Arc::new(UnitView { counters, ..UnitView::new(&unit_settings) })
            };
            view.store(Arc::new(View { units: timeouts.map(unit).into(), ..View::default() }));
        };
        let timeout = Duration::from_millis(500);
        let begun = tokio::time::Instant::now();
        see([2, 0]);
        enough(Some(Duration::from_secs(3)), &view, 2, timeout).await;
        assert_eq!(begun.elapsed().as_secs(), 3);
        let mut waits = std::pin::pin!(enough(None, &view, 2, timeout));
        let early = tokio::time::timeout(USUAL + timeout, waits.as_mut()).await;
        assert!(early.is_err(), "unit 2 was not asked yet");
        see([2, 2]);
        waits.await;
        see([2, 0]);
        let begun = tokio::time::Instant::now();
        enough(None, &view, 2, timeout).await;
        assert_eq!(begun.elapsed(), USUAL + timeout * ROUNDS_MAX * 2, "it does not wait for ever");
    }

    #[test]
    fn a_broker_that_is_back_shows_why_it_was_away_and_one_that_is_away_what_waits() {
        let last_error = Some("the broker closed the connection".to_owned());
        let away =
            Broker { last_error, away_for_ms: Some(61_000), queued: 7, dropped: 2, ..Broker::default() };
        let said = "not connected for 61 s; 0 messages published; 7 readings wait, 2 dropped";
        assert_eq!(describe_broker(&away), said);
        let back = Broker {
            connected: true,
            connected_for_ms: Some(200_000),
            away_for_ms: None,
            published: 480,
            published_per_second: Some(2.44),
            ..away
        };
        let said = "connected for 3 min; 480 messages published, 2.4 a second; 7 readings wait, 2 dropped; before \
                    that: the broker closed the connection";
        assert_eq!(describe_broker(&back), said);
        assert!(describe_broker(&Broker::default()).starts_with("connecting; "));
    }

    #[test]
    fn steps_begin_lines_of_their_own() {
        let remedy = Remedy::steps(["its power", "its wires"]).with_context("Others answer");
        assert_eq!(remedy_lines(&remedy), ["Others answer:", "(1) its power", "(2) its wires"]);
        assert_eq!(remedy_lines(&Remedy::step("look")), ["look"]);
    }

    #[test]
    fn a_command_is_never_broken_between_two_lines() {
        let short = "`metergate scan /dev/ttyUSB0 --try-settings`";
        let long = "`metergate scan /dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A10KZP45-if00-port0 --baud 9600 \
                    --parity even --try-settings`";
        assert!(long.len() > REMEDY_WIDTH);
        for command in [short, long] {
            for before in 50..REMEDY_WIDTH {
                let text = format!("{} or run {command}; then go on", "x".repeat(before));
                let lines = wrapped(&text, "");
                assert!(lines.iter().any(|line| line.contains(command)), "{lines:?}");
                assert_eq!(lines.join(" "), text);
            }
        }
    }
}
