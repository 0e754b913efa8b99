//! Rules about one unit: whether its answers come, in time and intact.

use std::time::Duration;

use crate::line::{Misfit, NeverAnswered, Protocol, RequestSummary, UnitSettings, UnitState, UnitView};
use crate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange};

use super::evidence::{Evidence, UnitSpan};
use super::finding::{Finding, Kind, Severity};
use super::format::{duration, percent, times};
use super::remedies;
use super::remedy::Remedy;
use super::track::UnitTrouble;

/// At most one cause of missing answers: answers that arrive are better evidence than missing ones, so their rules come
/// first. Reads that it ignores, and refused requests, are reported apart.
pub(super) fn findings(evidence: &Evidence<'_>, now: &UnitView) -> Vec<Finding> {
    let settings = evidence.settings.units.iter().find(|unit| unit.id == now.id);
    let cause = misfit(evidence, now)
        .or_else(|| address_changed(evidence, now))
        .or_else(|| damaged(evidence, now))
        .or_else(|| late(evidence, now, settings))
        .or_else(|| silent(evidence, now))
        .or_else(|| lossy(evidence, now))
        .or_else(|| slow(evidence, now, settings));
    [cause, ignoring(evidence, now), refusing(evidence, now)].into_iter().flatten().collect()
}

/// What was counted in a span.
struct SpanCounts {
    transactions: u64,
    answered: u64,
    timeouts: u64,
    /// Answers with a wrong CRC, incomplete, or not even a frame.
    damaged: u64,
    /// Those of `damaged` that were not even a frame; they count as timeouts, too.
    unreadable: u64,
    /// Those of `unreadable` that began with the unit's address.
    begun: u64,
    /// Those of `damaged` that broke off.
    truncated: u64,
    late: u64,
    unexpected: u64,
    misfits: u64,
    /// Frames of another unit in answer to requests to this one.
    foreign: u64,
    exceptions: u64,
}

impl SpanCounts {
    fn of(span: &UnitSpan<'_>, now: &UnitView) -> Self {
        Self {
            transactions: span.count(now, |unit| unit.counters.transactions),
            answered: span.count(now, |unit| unit.statistics.answer_times.count()),
            timeouts: span.count(now, |unit| unit.counters.timeouts),
            damaged: span.count(now, |unit| UnitTrouble::Damaged.count(unit)),
            unreadable: span.count(now, |unit| unit.statistics.unreadable),
            begun: span.count(now, |unit| unit.statistics.begun),
            truncated: span.count(now, |unit| unit.statistics.truncated),
            late: span.count(now, |unit| unit.counters.late_answers),
            unexpected: span.count(now, |unit| unit.counters.unexpected),
            misfits: span.count(now, |unit| UnitTrouble::Misfit.count(unit)),
            foreign: span.count(now, |unit| unit.statistics.foreign),
            exceptions: span.count(now, |unit| unit.counters.exceptions),
        }
    }

    /// Requests without any answer, neither an unreadable nor a late one.
    fn unanswered(&self) -> u64 {
        self.timeouts.saturating_sub(self.unreadable).saturating_sub(self.late)
    }
}

/// Intact answers that do not fit the requests: the unit is connected, but understands the requests differently.
fn misfit(evidence: &Evidence<'_>, now: &UnitView) -> Option<Finding> {
    let span = evidence.span_of(now, UnitTrouble::Misfit)?;
    let counts = SpanCounts::of(&span, now);
    let (misfit, asked) = now.incidents.misfit.as_ref()?;
    if counts.misfits < MISFITS_AT_LEAST {
        return None;
    }
    let request = asked.as_ref().map(|asked| format!("; request: {}", describe(asked))).unwrap_or_default();
    let what = format!("It {misfit}, {}, so its answers do not fit{request}", times(counts.misfits));
    let remedy = match misfit {
        Misfit::Length { .. } => Remedy::steps([
            "compare register numbers, quantity and table (functions 03 and 04) of the request with the device's own \
             list: the length of its answer is not that of standard registers",
            "`replies: loose` for this unit passes such answers on as they are",
        ]),
        Misfit::Function { .. } => Remedy::steps([
            "two devices with this address, one of which answers another client's requests",
            "the device's firmware: it answers with another function code than that of the request",
        ]),
    };
    let remedy = remedy.with_context("Its answers come intact, so wires, power and address are right");
    Some(finding(evidence, now, Severity::Fault, Kind::Misfit, what, remedy).seen(span.first, span.last))
}

/// Another unit answers in its place, and the unit itself does not.
fn address_changed(evidence: &Evidence<'_>, now: &UnitView) -> Option<Finding> {
    let span = evidence.span_of(now, UnitTrouble::Replaced)?;
    let counts = SpanCounts::of(&span, now);
    // A unit of this line answers late, or twice: its own address is no new one of this.
    let other = now.incidents.stand_in.filter(|other| evidence.now.unit(*other).is_none())?;
    // The unit may still have answered in the same second, before the first foreign answer.
    let has_answered_since = now.last_good.is_some_and(|last| last > span.first);
    if counts.foreign < REPLACED_AT_LEAST || has_answered_since {
        return None;
    }
    let what = format!(
        "Unit {other} answers the requests to unit {} ({}): its address seems to have been changed to {other}",
        now.id,
        times(counts.foreign)
    );
    let configure = format!("configure it as `id: {other}`, with `as:` the identifier clients use");
    let remedy = match evidence.settings.protocol {
        Protocol::Rtu(_) => Remedy::steps([
            format!("set its address back to {} in its own menu", now.id),
            format!("or {configure}"),
        ]),
        Protocol::Tcp => Remedy::step(configure),
    };
    let found = finding(evidence, now, Severity::Fault, Kind::AddressChanged, what, remedy);
    Some(found.seen(span.first, span.last))
}

/// Damaged answers. Two meters of one address damage nearly every answer, or answer one after the other; noise damages
/// some. What cuts answers off at their end alters none of the bytes before.
fn damaged(evidence: &Evidence<'_>, now: &UnitView) -> Option<Finding> {
    match evidence.settings.protocol {
        Protocol::Rtu(_) => {}
        // TCP delivers bytes intact. Answers that belong to no request are a finding about the server.
        Protocol::Tcp => return None,
    }
    let span = evidence
        .span_of(now, UnitTrouble::Damaged)
        .or_else(|| evidence.span_of(now, UnitTrouble::Unexpected))?;
    let counts = SpanCounts::of(&span, now);
    let SpanCounts { transactions, damaged, unexpected, unreadable, truncated, .. } = counts;
    let share = percent(damaged, transactions);
    // Noise that damages a request causes a timeout: half of the losses would be missed without counting those.
    let unanswered = counts.unanswered();
    let lost = percent(damaged + unanswered, transactions);
    let both_answer =
        unexpected >= DAMAGED_AT_LEAST && percent(unexpected, transactions) >= DUPLICATE_PERCENT;
    let breaks_off = truncated * 2 > damaged && !both_answer;
    let broke_off =
        || format!("It answers, but {truncated} of {transactions} answers broke off before their end");
    // Damage explains losses now and then, but not a unit that has stopped answering.
    let was_here = |last| evidence.at.saturating_duration_since(last) <= RECENTLY;
    let is_away = now.state == UnitState::Offline && !now.last_good.is_some_and(was_here);
    let (severity, kind, what, remedy) = if damaged + unexpected < DAMAGED_AT_LEAST {
        return None;
    } else if share >= DUPLICATE_PERCENT
        && unreadable * 2 > damaged
        && counts.begun * 2 < unreadable
        && !both_answer
    {
        let what = format!("It answers, but {unreadable} of {transactions} answers formed no frame");
        (Severity::Fault, Kind::Unreadable, what, unreadable_remedy(evidence))
    } else if share >= DUPLICATE_PERCENT && breaks_off {
        (Severity::Fault, Kind::Truncated, broke_off(), remedies::truncated(evidence))
    } else if both_answer || share >= DUPLICATE_PERCENT {
        let seen = if both_answer {
            format!("{unexpected} answers came without a request")
        } else {
            format!("{damaged} of {transactions} answers came damaged")
        };
        let what = format!("Two meters seem to have the address {}: {seen}", now.id);
        (Severity::Fault, Kind::DuplicateAddress, what, Remedy::step(DUPLICATE))
    } else if damaged >= DAMAGED_AT_LEAST
        && lost >= GARBLED_PERCENT
        && !is_away
        && damaged > lost_to_late_answers(evidence, now)
    {
        if breaks_off {
            let remedy = remedies::truncated(evidence);
            let found = finding(evidence, now, Severity::Warning, Kind::Truncated, broke_off(), remedy);
            return Some(found.seen(span.first, span.last));
        }
        let what = if unanswered == 0 {
            format!("{damaged} of {transactions} answers came damaged ({lost} %)")
        } else {
            format!(
                "Of {transactions} requests {damaged} were answered damaged and {unanswered} not at all ({lost} %)"
            )
        };
        (Severity::Warning, Kind::Garbled, what, Remedy::step(GARBLED))
    } else {
        return None;
    };
    Some(finding(evidence, now, severity, kind, what, remedy).seen(span.first, span.last))
}

/// Timeouts of other units that answer late: their late answers collide with the answers of this one.
fn lost_to_late_answers(evidence: &Evidence<'_>, now: &UnitView) -> u64 {
    let others = evidence.now.units.iter().filter(|unit| unit.id != now.id);
    let late = others.filter_map(|unit| {
        let _goes_on = evidence.span_of(unit, UnitTrouble::Late)?;
        let before = evidence.before.unit(unit.id).map_or(0, |unit| unit.counters.timeouts);
        Some(unit.counters.timeouts.saturating_sub(before))
    });
    late.sum()
}

fn silent(evidence: &Evidence<'_>, now: &UnitView) -> Option<Finding> {
    let (what, remedy) = match (now.state, now.last_good) {
        (UnitState::Offline | UnitState::NeverSeen, None) if now.counters.timeouts >= SILENT_AFTER => {
            let others = evidence.has_other_answering(now);
            let remedy = if others { remedies::never(evidence) } else { remedies::never_answered(evidence) };
            ("It has not answered since the start".to_owned(), remedy)
        }
        (UnitState::Offline, Some(last)) => {
            let since = duration(evidence.at.saturating_duration_since(last));
            let others = evidence.has_other_answering(now);
            let remedy = if others { remedies::gone(evidence) } else { remedies::answered_once(evidence) };
            (format!("It has not answered for {since}"), remedy)
        }
        (UnitState::Online | UnitState::Confirming | UnitState::NeverSeen | UnitState::Offline, _) => {
            return None;
        }
    };
    Some(finding(evidence, now, Severity::Fault, Kind::Silent, what, remedy))
}

/// Answers missing now and then.
fn lossy(evidence: &Evidence<'_>, now: &UnitView) -> Option<Finding> {
    let span = evidence.span_of(now, UnitTrouble::Lost)?;
    let counts = SpanCounts::of(&span, now);
    // What is lost of reads that the unit ignores is another finding.
    let ignored = match &now.never_answered {
        Some(_) => {
            let requests = span.count(now, |unit| unit.statistics.never_answered);
            requests * (1 + u64::from(evidence.settings.retries))
        }
        None => 0,
    };
    let timeouts = counts.timeouts.saturating_sub(ignored);
    let share = percent(timeouts, counts.transactions);
    // A unit that is being confirmed may have stopped answering altogether.
    if timeouts < LOST_AT_LEAST || share < LOST_PERCENT || now.state == UnitState::Confirming {
        return None;
    }
    let what = format!("{timeouts} of {} requests got no answer ({share} %)", counts.transactions);
    let remedy = match evidence.settings.protocol {
        Protocol::Rtu(_) => LOSSY,
        Protocol::Tcp => LOSSY_SERVER,
    };
    let found = finding(evidence, now, Severity::Warning, Kind::Lossy, what, Remedy::step(remedy));
    Some(found.seen(span.first, span.last))
}

/// Answers after the response timeout, unless most of the missing answers never come.
fn late(evidence: &Evidence<'_>, now: &UnitView, settings: Option<&UnitSettings>) -> Option<Finding> {
    let allowed = settings?.response_timeout;
    let span = evidence.span_of(now, UnitTrouble::Late)?;
    let counts = SpanCounts::of(&span, now);
    let is_most = counts.late * 2 >= counts.timeouts.saturating_sub(counts.unreadable);
    if counts.late == 0 || !is_most && counts.answered >= counts.late {
        return None;
    }
    let slowest = now.incidents.late.longest(counts.late);
    // A probe of an off-line unit waits for a shorter time.
    if slowest.is_some_and(|slowest| slowest <= allowed) {
        return None;
    }
    let took = slowest.map(|slowest| format!("; the slowest took {}", millis(slowest))).unwrap_or_default();
    let what =
        format!("It answered {} after the response timeout of {}{took}", times(counts.late), millis(allowed));
    let remedy = extend_timeout(slowest.map_or(allowed * 2, |slowest| slowest * 5 / 4));
    Some(finding(evidence, now, Severity::Warning, Kind::Late, what, remedy).seen(span.first, span.last))
}

/// Answers that use most of the response timeout.
fn slow(evidence: &Evidence<'_>, now: &UnitView, settings: Option<&UnitSettings>) -> Option<Finding> {
    let allowed = settings?.response_timeout;
    let takes = now.response_time.filter(|takes| *takes * 10 >= allowed * SLOW_TENTHS)?;
    let what = format!("It takes {} to answer; the response timeout is {}", millis(takes), millis(allowed));
    Some(finding(evidence, now, Severity::Warning, Kind::Slow, what, extend_timeout(takes * 2)))
}

fn refusing(evidence: &Evidence<'_>, now: &UnitView) -> Option<Finding> {
    let span = evidence.span_of(now, UnitTrouble::Refused)?;
    let counts = SpanCounts::of(&span, now);
    let share = percent(counts.exceptions, counts.transactions);
    let code = now.last_exception?;
    if counts.exceptions < REFUSED_AT_LEAST || share < REFUSED_PERCENT {
        return None;
    }
    let request = now.incidents.refusal.as_ref().map(|(_, request)| request);
    let settings = evidence.settings.units.iter().find(|unit| unit.id == now.id);
    let is_by_profile = request.is_some_and(|request| request.client.is_none())
        && settings.is_some_and(|unit| !unit.polling.blocks.is_empty());
    let described = request.map(|request| format!("; request: {}", describe(request)));
    let what = format!(
        "It refused {} of {} requests, last with {code}{}",
        counts.exceptions,
        counts.transactions.max(counts.exceptions),
        described.unwrap_or_default()
    );
    let remedy = match code {
        ExceptionCode::ILLEGAL_FUNCTION if is_by_profile => {
            "The profile reads by a function this meter does not have: it may be the profile of another meter, or its \
             `functions` name the wrong table"
        }
        ExceptionCode::ILLEGAL_DATA_ADDRESS | ExceptionCode::ILLEGAL_DATA_VALUE if is_by_profile => {
            "The profile names registers this meter does not have, or too many at once: it may be the profile of \
             another meter or another firmware; `max_read` limits a read"
        }
        ExceptionCode::ILLEGAL_FUNCTION => "The client uses a function this meter does not have",
        ExceptionCode::ILLEGAL_DATA_ADDRESS | ExceptionCode::ILLEGAL_DATA_VALUE => {
            "The client requests registers this meter does not have, or too many at once; mind that printed register \
             numbers start at 1 and addresses at 0"
        }
        ExceptionCode::GATEWAY_PATH_UNAVAILABLE | ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND => {
            "The gateway in front of the meter says that it has no way to the meter, or got no answer from it: look \
             there for the cause"
        }
        ExceptionCode::SERVER_DEVICE_BUSY => {
            "The meter says that it is busy and may be asked again later: let it be read less often, or set a longer \
             `request_gap` for it"
        }
        _ => "The meter itself reports a fault; look at its display",
    };
    // No unit in this command: its filter takes the identifiers that clients use, and only that on the line is known.
    let remedy = Remedy::steps([
        remedy,
        "`metergate trace --outcome exception` shows these requests and their clients",
    ]);
    let found = finding(evidence, now, Severity::Warning, Kind::Refusing, what, remedy);
    Some(found.seen(span.first, span.last))
}

/// Certain reads are not answered, others are.
fn ignoring(evidence: &Evidence<'_>, now: &UnitView) -> Option<Finding> {
    let NeverAnswered { count, last, last_failed } = now.never_answered.as_ref()?;
    let is_recent = evidence.at.saturating_duration_since(*last_failed) < IGNORED_RECENTLY;
    if !is_recent || !evidence.now.availability(now.id).is_answering() {
        return None;
    }
    let RequestSummary { function, range, .. } = last;
    let others = match count - 1 {
        0 => String::new(),
        1 => " and 1 other read".to_owned(),
        others => format!(" and {others} other reads"),
    };
    let what = format!(
        "It does not answer {}{others}, while it answers other reads",
        describe_request(*function, *range)
    );
    let remedy = Remedy::steps([
        "compare the client's register numbers and table (functions 03 and 04) with the device's own list: many devices \
         are silent where they should refuse registers that they do not have",
        "`metergate trace --failures` shows these requests and their clients",
    ])
    .with_context("Clients get exception 0x0B for them at once; each is tried again after up to a minute");
    Some(
        finding(evidence, now, Severity::Warning, Kind::Ignoring, what, remedy)
            .seen(*last_failed, *last_failed),
    )
}

/// A request and its client: `addresses 38 to 39 (function 0x04), client 10.0.0.7`.
fn describe(asked: &RequestSummary) -> String {
    let RequestSummary { function, range, client } = asked;
    let what = describe_request(*function, *range);
    match client {
        Some(client) => format!("{what}, client {client}"),
        None => format!("{what}, background reading"),
    }
}

/// A request: `address 38 (function 0x04)`.
fn describe_request(function: FunctionCode, range: Option<ReadRange>) -> String {
    match range {
        Some(range) if range.quantity > 1 => {
            format!(
                "addresses {} to {} (function {function})",
                range.start,
                range.start + (range.quantity - 1)
            )
        }
        Some(range) => format!("address {} (function {function})", range.start),
        None => format!("function {function}"),
    }
}

/// The unit answers requests, so it has power and receives them.
fn unreadable_remedy(evidence: &Evidence<'_>) -> Remedy {
    let steps = [
        remedies::own_settings(evidence, "its baud rate and parity in its own menu"),
        "a second meter with this address: switch one meter at a time off until the answers come intact"
            .to_owned(),
        "its wires: a loose one, or A and B swapped, alters bytes".to_owned(),
    ];
    Remedy::steps(steps).with_context(
        "Bytes come after its requests, so it has power, unless they are noise on a line without bias",
    )
}

fn finding(
    evidence: &Evidence<'_>,
    now: &UnitView,
    severity: Severity,
    kind: Kind,
    what: String,
    remedy: Remedy,
) -> Finding {
    Finding::new(severity, kind, Some(now.id), what, remedy, evidence.at)
}

fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

/// A response timeout of at least this.
fn extend_timeout(least: Duration) -> Remedy {
    let step = if least < Duration::from_secs(2) { 100 } else { 500 };
    let rounded = u64::try_from(least.as_millis()).unwrap_or(u64::MAX).div_ceil(step).saturating_mul(step);
    let timeout = rounded.min(RESPONSE_TIMEOUT_MAX);
    Remedy::steps([
        format!("Set `response_timeout: {timeout}ms` for this unit"),
        "if it is slower than its neighbours, look for what else keeps it busy".to_owned(),
    ])
}

const LOSSY_SERVER: &str = "Look for packets lost on the way (`ping`), as on a cellular or wireless link, and set a \
    longer `response_timeout`; if the server is a gateway, look at its own line";

const LOSSY: &str = "Check the wires at this meter and its neighbours, stubs longer than a hand, termination (120 \
    ohms at both ends only); a longer `request_gap` helps a meter that needs a pause";

const GARBLED: &str = "Noise on this part of the line: check the wires at this meter, termination, the ground wire, \
    and cables beside motors or inverters";

const DUPLICATE: &str = "Switch one meter at a time off until the answers come intact, then set another address in its \
    menu; if there is only one meter, the cause is noise: check its wires";

/// Fewer damaged answers are not reported.
const DAMAGED_AT_LEAST: u64 = 3;

/// From this share of damaged answers on, noise alone is unlikely.
const DUPLICATE_PERCENT: u64 = 60;

/// From this share on, damaged and lost answers together cost line time that other units miss.
const GARBLED_PERCENT: u64 = 2;

/// How long after its last try a read that was ignored is reported: a client that wants it asks again within minutes.
const IGNORED_RECENTLY: Duration = Duration::from_secs(600);

/// Requests without an answer after which a unit that has never answered counts as silent.
const SILENT_AFTER: u64 = 2;

/// Fewer lost answers are not reported.
const LOST_AT_LEAST: u64 = 3;

/// Smallest share of lost answers that is reported.
const LOST_PERCENT: u64 = 2;

/// The longest that the key allows, in milliseconds.
const RESPONSE_TIMEOUT_MAX: u64 = 60_000;

/// Tenths of the response timeout from which on an answer counts as slow.
const SLOW_TENTHS: u32 = 6;

/// Fewer refused requests are not reported.
const REFUSED_AT_LEAST: u64 = 5;

/// Smallest share of refused requests that is reported; a client that scans a meter now and then is no fault.
const REFUSED_PERCENT: u64 = 10;

/// A unit with damaged answers does not count as gone if it answered well this recently.
const RECENTLY: Duration = Duration::from_secs(60);

/// Fewer misfits may be late answers.
const MISFITS_AT_LEAST: u64 = 2;

/// Fewer foreign answers may be late ones of another unit.
const REPLACED_AT_LEAST: u64 = 2;
