//! Rules about a line as a whole. Where the gateway cannot distinguish several causes, the remedy lists them by
//! likelihood, each with what to check.

use std::time::Duration;

use crate::line::{Echo, PortState, Protocol};

use super::evidence::{Evidence, TroubleCount};
use super::finding::{Finding, Kind, Severity};
use super::format::times;
use super::remedies;
use super::remedy::Remedy;
use super::track::{LineTrouble, UnitTrouble};
use super::wire_break;

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    if evidence.now.port == PortState::Closed {
        let why = evidence.port_closed.map(|why| format!(": {why}")).unwrap_or_default();
        let what = format!("The port is closed{why}");
        let remedy = remedies::port_closed(evidence);
        return vec![Finding::new(Severity::Fault, Kind::PortClosed, None, what, remedy, evidence.at)];
    }
    [
        occupied(evidence),
        silent(evidence),
        wire_break::finding(evidence),
        faulty_characters(evidence),
        noise(evidence),
        collisions(evidence),
        foreign_frames(evidence),
        foreign_requests(evidence),
        full(evidence),
        polling(evidence),
        learn_limit(evidence),
        echo(evidence),
    ]
    .into_iter()
    .flatten()
    .chain(undone(evidence))
    .collect()
}

fn silent(evidence: &Evidence<'_>) -> Option<Finding> {
    if !evidence.is_line_silent() {
        return None;
    }
    let ever = evidence.now.units.iter().filter_map(|unit| unit.last_good).max();
    let at = match evidence.settings.protocol {
        Protocol::Rtu(framing) => format!(", at {framing}"),
        Protocol::Tcp => String::new(),
    };
    let since = ever.map(|last| super::format::duration(evidence.at.saturating_duration_since(last)));
    let what = match (evidence.now.units.len(), &since) {
        (1, None) => format!("The only unit has not answered since the start{at}"),
        (1, Some(since)) => format!("The only unit has not answered for {since}"),
        (count, None) => format!("None of the {count} units has answered since the start{at}"),
        (count, Some(since)) => format!("None of the {count} units has answered for {since}"),
    };
    let mut remedy =
        if since.is_none() { remedies::never_answered(evidence) } else { remedies::answered_once(evidence) };
    let strays = match evidence.settings.protocol {
        Protocol::Rtu(_) => evidence.line_trouble(LineTrouble::Noise),
        Protocol::Tcp => None,
    };
    let what = match strays.filter(|strays| strays.count >= strays.transactions * BYTES_OF_ANSWERS) {
        Some(TroubleCount { count, transactions, .. }) => {
            remedy.steps.insert(0, remedies::UNFRAMED_ANSWERS.into());
            format!("{what}; {count} bytes that form no frame came, over {transactions} requests")
        }
        None => what,
    };
    Some(Finding::new(Severity::Fault, Kind::LineSilent, None, what, remedy, evidence.at))
}

fn occupied(evidence: &Evidence<'_>) -> Option<Finding> {
    (evidence.now.port == PortState::Occupied).then(|| {
        let what = "Bytes of no answer fill more than half of the line's time, so nothing is sent";
        finding(evidence, Severity::Fault, Kind::LineOccupied, what.to_owned(), OCCUPIED)
    })
}

fn faulty_characters(evidence: &Evidence<'_>) -> Option<Finding> {
    let counted = evidence.faulty_characters?;
    let what = format!("The driver counts faulty characters: {counted}");
    let answers = evidence.now.units.iter().any(|unit| evidence.now.availability(unit.id).is_answering());
    let remedy = if answers { FAULTY_CHARACTERS_OF_SOME } else { FAULTY_CHARACTERS };
    Some(finding(evidence, Severity::Warning, Kind::FaultyCharacters, what, remedy))
}

/// Damaged or cut answers from meters all over the line, or bytes that belong to no answer.
fn noise(evidence: &Evidence<'_>) -> Option<Finding> {
    let units = evidence.now.units.iter();
    let damaged: Vec<_> =
        units.filter_map(|unit| Some((unit, evidence.span_of(unit, UnitTrouble::Damaged)?))).collect();
    if damaged.is_empty() {
        return unclaimed_bytes(evidence);
    }
    let answering =
        evidence.now.units.iter().filter(|unit| evidence.now.availability(unit.id).is_answering()).count();
    let counts: Vec<_> = damaged
        .iter()
        .map(|(unit, span)| span.count(unit, |unit| UnitTrouble::Damaged.count(unit)))
        .collect();
    let requests: u64 =
        damaged.iter().map(|(unit, span)| span.count(unit, |unit| unit.counters.transactions)).sum();
    let truncated: u64 =
        damaged.iter().map(|(unit, span)| span.count(unit, |unit| unit.statistics.truncated)).sum();
    let (all, most) = (counts.iter().sum::<u64>(), counts.iter().copied().max().unwrap_or_default());
    let is_of_line = damaged.len() >= 2 && damaged.len() * 2 >= answering && most * 2 <= all;
    if !is_of_line || all < DAMAGED_AT_LEAST || all * 100 < requests * DAMAGED_PERCENT {
        return None;
    }
    let first = damaged.iter().map(|(_, span)| span.first).min()?;
    let last = damaged.iter().map(|(_, span)| span.last).max()?;
    if truncated * 2 > all {
        let what = format!(
            "{truncated} of {requests} answers of {} meters broke off before their end",
            damaged.len()
        );
        let severity = if truncated * 2 > requests { Severity::Fault } else { Severity::Warning };
        let remedy = remedies::truncated(evidence);
        let found = Finding::new(severity, Kind::LineTruncated, None, what, remedy, evidence.at);
        return Some(found.seen(first, last));
    }
    let what = format!("{all} of {requests} answers of {} meters came damaged", damaged.len());
    Some(finding(evidence, Severity::Warning, Kind::Noise, what, NOISE).seen(first, last))
}

fn unclaimed_bytes(evidence: &Evidence<'_>) -> Option<Finding> {
    let TroubleCount { count, transactions, first, last } = evidence.line_trouble(LineTrouble::Noise)?;
    // A stray byte when an RS-485 driver is switched on is common and harmless: RTU framing discards it.
    let many = count >= NOISE_AT_LEAST && count * NOISE_PER_TRANSACTIONS >= transactions;
    many.then(|| {
        let what = format!("{count} bytes belonged to no frame, over {transactions} requests");
        finding(evidence, Severity::Warning, Kind::Noise, what, NOISE).seen(first, last)
    })
}

fn echo(evidence: &Evidence<'_>) -> Option<Finding> {
    let (severity, kind, what, remedy) = match (evidence.settings.echo, evidence.now.echo?) {
        (Echo::Off, true) => {
            let what = "The adapter echoes what is sent, though `echo: off` is set; the gateway removes the echo now";
            (Severity::Warning, Kind::EchoSetting, what, ECHO_OFF)
        }
        (Echo::On, false) => {
            let what = "The adapter does not echo what is sent, though `echo: on` is set; the gateway expects no echo now";
            (Severity::Warning, Kind::EchoSetting, what, ECHO_ON)
        }
        (Echo::Auto | Echo::On, true) => (
            Severity::Note,
            Kind::Echo,
            "The adapter echoes what is sent; the gateway removes the echo",
            ECHO,
        ),
        (Echo::Auto | Echo::Off, false) => return None,
    };
    Some(finding(evidence, severity, kind, what.to_owned(), remedy))
}

fn collisions(evidence: &Evidence<'_>) -> Option<Finding> {
    // What was counted while an echo was expected that does not exist.
    if evidence.now.echo == Some(false) {
        return None;
    }
    let what = |count| format!("What was sent came back altered, {}", times(count));
    counted(evidence, LineTrouble::Collisions, Severity::Warning, Kind::Collision, what, COLLISION)
}

fn foreign_frames(evidence: &Evidence<'_>) -> Option<Finding> {
    let (seen, remedy) = match evidence.settings.protocol {
        Protocol::Rtu(_) => ("Frames arrived from units to which no request was sent", FOREIGN),
        Protocol::Tcp => ("Answers arrived that belong to no request", UNMATCHED),
    };
    let what = |count| format!("{seen}, {}", times(count));
    counted(evidence, LineTrouble::ForeignFrames, Severity::Warning, Kind::ForeignFrames, what, remedy)
}

fn foreign_requests(evidence: &Evidence<'_>) -> Option<Finding> {
    let what = |count| format!("Another client sends requests on this line, {}", times(count));
    let trouble = LineTrouble::ForeignRequests;
    counted(evidence, trouble, Severity::Fault, Kind::ForeignRequests, what, FOREIGN_REQUESTS)
}

/// A trouble that is a finding however rare, as long as it continues.
fn counted(
    evidence: &Evidence<'_>,
    trouble: LineTrouble,
    severity: Severity,
    kind: Kind,
    what: impl Fn(u64) -> String,
    remedy: &'static str,
) -> Option<Finding> {
    let TroubleCount { count, first, last, .. } = evidence.line_trouble(trouble)?;
    Some(finding(evidence, severity, kind, what(count), remedy).seen(first, last))
}

/// Not reported of a silent line, which is full of timeouts and has its own finding, nor in the first seconds after a
/// start, when everything is read at once.
fn full(evidence: &Evidence<'_>) -> Option<Finding> {
    let used = f64::from(evidence.now.utilisation(evidence.at)) / 100.0;
    if used < FULL_PERCENT || !evidence.now.has_whole_window(evidence.at) || evidence.is_line_silent() {
        return None;
    }
    let waiting = match evidence.now.waiting {
        0 => String::new(),
        1 => "; 1 request waits".to_owned(),
        count => format!("; {count} requests wait"),
    };
    let what = format!("The line was in use {used:.0} % of the last ten seconds{waiting}");
    let lost = evidence.now.statistics.failures.saturating_sub(evidence.before.statistics.failures);
    let busy = evidence.now.counters.busy.saturating_sub(evidence.before.counters.busy);
    let remedy = match evidence.settings.protocol {
        _ if lost * 2 > busy => FULL_OF_FAILURES,
        Protocol::Rtu(_) => FULL,
        Protocol::Tcp => FULL_SERVER,
    };
    Some(finding(evidence, Severity::Warning, Kind::LineFull, what, remedy))
}

/// Reported only while every unit answers: other troubles slow background reading down, have findings of their own, and
/// the slowdown ends with them.
fn polling(evidence: &Evidence<'_>) -> Option<Finding> {
    let slowdown = evidence.now.polling.slowdown;
    let since = evidence.track.slow_since()?;
    (evidence.at.saturating_duration_since(since) >= SLOW_FOR).then(|| {
        let what = format!("Background reading takes {slowdown:.1} times as long as planned");
        let remedy = match evidence.settings.protocol {
            Protocol::Rtu(_) => POLLING,
            Protocol::Tcp => POLLING_SERVER,
        };
        finding(evidence, Severity::Warning, Kind::PollingSlow, what, remedy).seen(since, evidence.at)
    })
}

fn learn_limit(evidence: &Evidence<'_>) -> Option<Finding> {
    evidence.now.polling.is_learning_full.then(|| {
        let limit = evidence.settings.learn_limit;
        let what = format!("Clients read more ranges than the {limit} that are kept fresh");
        finding(evidence, Severity::Warning, Kind::LearnLimit, what, LEARN_LIMIT)
    })
}

/// Ranges that invalidate each other's data, with the clients that read them.
fn undone(evidence: &Evidence<'_>) -> impl Iterator<Item = Finding> {
    evidence.now.polling.conflicts.iter().map(|conflict| {
        let [first, second] = conflict.ranges.map(|range| {
            let end = range.start + (range.quantity - 1);
            format!("{} to {end} (function {})", range.start, range.function)
        });
        let mut clients: Vec<_> = conflict.clients.iter().map(|client| client.address.to_string()).collect();
        clients.dedup();
        let clients =
            if clients.is_empty() { String::new() } else { format!(", clients {}", clients.join(", ")) };
        let what = format!(
            "Unit {}: the ranges {first} and {second} overlap, so reading one invalidates the other{clients}",
            conflict.unit
        );
        finding(evidence, Severity::Warning, Kind::RangesUndone, what, RANGES_UNDONE)
            .about(format!("{} {first} {second}", conflict.unit))
    })
}

fn finding(
    evidence: &Evidence<'_>,
    severity: Severity,
    kind: Kind,
    what: String,
    remedy: &'static str,
) -> Finding {
    Finding::new(severity, kind, None, what, Remedy::step(remedy), evidence.at)
}

const OCCUPIED: &str = "Look for a device that sends by itself, such as a meter in another mode or a second \
    gateway, for A and B swapped, and for a line without bias, on which noise is received as bytes; the gateway goes \
    on by itself once the line is quiet";

const FAULTY_CHARACTERS: &str = "Check baud rate and parity against the meters' menus, then termination (120 ohms \
    at both ends), the ground wire, and cables beside motors or inverters";

const FAULTY_CHARACTERS_OF_SOME: &str = "Meters answer, so the line's baud rate and parity are right. Check termination (120 \
    ohms at both ends), bias, the ground wire, cables beside motors or inverters, and the rate and parity of each meter that \
    does not answer";

const NOISE: &str = "Check termination (120 ohms at both ends only), bias, the shield earthed at one place, and \
    cables beside motors or inverters";

const ECHO: &str = "Nothing to do. Set `echo: on` to skip the detection at start, or switch local echo off in the \
    adapter";

const ECHO_OFF: &str = "Set `echo: auto`. After each start, until two reads have shown the echo, the gateway takes it for \
    the answer to a write, also from a unit that does not answer";

const ECHO_ON: &str = "Set `echo: auto`. After each start, until two reads have shown that there is no echo, the gateway \
    takes the answer to a write for it, and reports the write as unanswered";

const COLLISION: &str = "Look for a second gateway, a BMS or a laptop on the same two wires that sends at the same time, and \
    take it off the line; without one, noise alters what is sent: check termination, bias and the wires for a short";

const FOREIGN: &str = "Another client sends requests on the same two wires, or answers arrive after the late guard: \
    look for a second gateway or a laptop, or set a longer `late_guard`";

const UNMATCHED: &str = "The server answers with another transaction or unit identifier than that of the request, or \
    more than once; none of these answers is used. Look for newer firmware of the server, and for another device with \
    its address";

const FULL_SERVER: &str = "Let clients share answers (`max_age: 5s` on their listener), or make them poll less often: \
    one request at a time is sent to a server";

const POLLING_SERVER: &str = "Set a longer `poll`, poll fewer blocks, or raise `poll_share`; if the server is a \
    gateway, look at how full its own line is";

const FULL: &str = "Let clients share answers (`max_age: 5s` on their listener), make them poll less often, or raise \
    the baud rate of the meters and the bus";

const FULL_OF_FAILURES: &str = "Of the line time used in the last ten minutes, most went into requests without a good \
    answer. Repair the meters that do not answer, or remove those that do not exist from the configuration; a shorter \
    `response_timeout` makes each such request cheaper";

const POLLING: &str = "`metergate check` shows what each block costs: set a longer `poll`, poll fewer blocks, or \
    raise `poll_share` or the baud rate";

const FOREIGN_REQUESTS: &str = "Only one client may send on an RS-485 line: disconnect the other one, and let it read \
    through the gateway";

const LEARN_LIMIT: &str = "Raise `learn_limit` on the bus, raise `merge_gap`, or let the clients read fewer, longer \
    ranges; ranges beyond the limit are read from the line each time";

const RANGES_UNDONE: &str =
    "Let the clients read the same range, or raise `max_read` so that one read holds both";

/// From so many bytes for each request on, they are more than a driver that is switched on.
const BYTES_OF_ANSWERS: u64 = 4;

/// Fewer stray bytes are not reported.
const NOISE_AT_LEAST: u64 = 20;

/// One stray byte in this many requests is common and harmless.
const NOISE_PER_TRANSACTIONS: u64 = 10;

/// From this share on clients notice that the line is full.
const FULL_PERCENT: f64 = 90.0;

/// How long background reading is slow before it is reported: a meter that returns delays it for a while.
const SLOW_FOR: Duration = Duration::from_secs(30);

/// Fewer damaged answers on the whole line are not reported.
const DAMAGED_AT_LEAST: u64 = 3;

/// Smallest share of damaged answers that is reported.
const DAMAGED_PERCENT: u64 = 2;
