//! Rules about one unit: whether it answers, how soon, and how intact.

use std::time::Duration;

use crate::line::{UnitSettings, UnitState, UnitView};
use crate::modbus::pdu::ExceptionCode;

use super::evidence::Evidence;
use super::finding::{Finding, Kind, Severity};
use super::format::{duration, percent, times};
use super::remedies;
use super::remedy::Remedy;

pub(super) fn findings(evidence: &Evidence<'_>, now: &UnitView) -> Vec<Finding> {
    let settings = evidence.settings.units.iter().find(|unit| unit.id == now.id);
    let seen = Seen::of(evidence, now);
    let damage = damaged(&seen, now);
    // Damage explains what is lost, but not that nothing comes any more; where it is the whole fault, it does both.
    let explains = |damage: &Finding| match now.state {
        UnitState::Offline => damage.severity == Severity::Fault,
        UnitState::Online | UnitState::Confirming | UnitState::NeverSeen => true,
    };
    let silence = if damage.as_ref().is_some_and(explains) { None } else { silent(evidence, &seen, now) };
    let lateness = late(&seen, now, settings).or_else(|| slow(now, settings));
    [damage, silence, lateness, refusing(&seen, now)].into_iter().flatten().collect()
}

/// What happened in the span.
struct Seen {
    transactions: u64,
    timeouts: u64,
    /// Answers with a wrong CRC, broken off, or not even a frame.
    damaged: u64,
    /// Of these, those that were not even a frame; they count as timeouts, too.
    unreadable: u64,
    late: u64,
    unexpected: u64,
    exceptions: u64,
}

impl Seen {
    fn of(evidence: &Evidence<'_>, now: &UnitView) -> Self {
        Self {
            transactions: evidence.of_unit(now, |unit| unit.counters.transactions),
            timeouts: evidence.of_unit(now, |unit| unit.counters.timeouts),
            damaged: evidence.of_unit(now, |unit| unit.counters.crc_errors + unit.statistics.unreadable),
            unreadable: evidence.of_unit(now, |unit| unit.statistics.unreadable),
            late: evidence.of_unit(now, |unit| unit.counters.late_answers),
            unexpected: evidence.of_unit(now, |unit| unit.counters.unexpected),
            exceptions: evidence.of_unit(now, |unit| unit.counters.exceptions),
        }
    }

    /// Requests nothing came back to: neither something unreadable, nor an answer after its time.
    fn unanswered(&self) -> u64 {
        self.timeouts.saturating_sub(self.unreadable).saturating_sub(self.late)
    }
}

/// Answers that come damaged. Two meters of one address spoil nearly every answer, or answer one after the other;
/// noise spoils some.
fn damaged(seen: &Seen, now: &UnitView) -> Option<Finding> {
    let Seen { transactions, damaged, unexpected, .. } = *seen;
    let share = percent(damaged, transactions);
    // Noise that hits a request shows as silence: half of what is lost would be missing without it.
    let unanswered = seen.unanswered();
    let lost = percent(damaged + unanswered, transactions);
    let both_answer =
        unexpected >= DAMAGED_AT_LEAST && percent(unexpected, transactions) >= DUPLICATE_PERCENT;
    if damaged + unexpected < DAMAGED_AT_LEAST {
        None
    } else if both_answer || share >= DUPLICATE_PERCENT {
        let seen = if both_answer {
            format!("answered {} more than it was asked", times(unexpected))
        } else {
            format!("{damaged} of {transactions} answers came damaged")
        };
        let what = format!("Two meters seem to have the address {}: {seen}", now.id);
        Some(finding(now, Severity::Fault, Kind::DuplicateAddress, what, Remedy::step(DUPLICATE)))
    } else if damaged >= DAMAGED_AT_LEAST && lost >= GARBLED_PERCENT {
        let what = if unanswered == 0 {
            format!("{damaged} of {transactions} answers came damaged ({lost} %)")
        } else {
            format!(
                "Of {transactions} requests {damaged} were answered damaged and {unanswered} not at all ({lost} %)"
            )
        };
        Some(finding(now, Severity::Warning, Kind::Garbled, what, Remedy::step(GARBLED)))
    } else {
        None
    }
}

fn silent(evidence: &Evidence<'_>, seen: &Seen, now: &UnitView) -> Option<Finding> {
    let found = |severity, kind, what, remedy: Remedy| Some(finding(now, severity, kind, what, remedy));
    match (now.state, now.last_good) {
        (UnitState::Offline | UnitState::NeverSeen, None) if now.counters.timeouts >= SILENT_AFTER => {
            let what = "It has never answered".to_owned();
            let remedy = if evidence.do_others_answer(now) {
                remedies::never(evidence)
            } else {
                remedies::never_answered(evidence)
            };
            found(Severity::Fault, Kind::Silent, what, remedy)
        }
        (UnitState::Offline, Some(last)) => {
            let since = duration(evidence.at.saturating_duration_since(last));
            let remedy =
                if evidence.do_others_answer(now) { remedies::gone() } else { remedies::answered_once() };
            found(Severity::Fault, Kind::Silent, format!("It has not answered for {since}"), remedy)
        }
        (UnitState::Online | UnitState::Confirming | UnitState::NeverSeen | UnitState::Offline, _) => {
            let share = percent(seen.timeouts, seen.transactions);
            if seen.timeouts < LOST_AT_LEAST || share < LOST_PERCENT || seen.late * 2 >= seen.timeouts {
                return None;
            }
            let what =
                format!("{} of {} requests got no answer ({share} %)", seen.timeouts, seen.transactions);
            found(Severity::Warning, Kind::Lossy, what, Remedy::step(LOSSY))
        }
    }
}

/// Answers that come after the time they have.
fn late(seen: &Seen, now: &UnitView, settings: Option<&UnitSettings>) -> Option<Finding> {
    let allowed = settings?.response_timeout;
    (seen.late > 0).then(|| {
        let what = format!("It answered {} after its {}", times(seen.late), millis(allowed));
        finding(now, Severity::Warning, Kind::Late, what, longer(allowed))
    })
}

/// Answers that come nearly too late.
fn slow(now: &UnitView, settings: Option<&UnitSettings>) -> Option<Finding> {
    let allowed = settings?.response_timeout;
    let takes = now.response_time.filter(|takes| *takes * 10 >= allowed * SLOW_TENTHS)?;
    let what = format!("It takes {} to answer, of {} it has", millis(takes), millis(allowed));
    Some(finding(now, Severity::Warning, Kind::Slow, what, longer(allowed)))
}

fn refusing(seen: &Seen, now: &UnitView) -> Option<Finding> {
    let share = percent(seen.exceptions, seen.transactions);
    let code = now.last_exception?;
    if seen.exceptions < REFUSED_AT_LEAST || share < REFUSED_PERCENT {
        return None;
    }
    let what = format!("It refused {} of {} requests, last with {code}", seen.exceptions, seen.transactions);
    let remedy = match code {
        ExceptionCode::ILLEGAL_FUNCTION => "A client uses a function this meter does not have",
        ExceptionCode::ILLEGAL_DATA_ADDRESS | ExceptionCode::ILLEGAL_DATA_VALUE => {
            "A client asks for registers this meter does not have, or for too many at once; mind that printed \
             register numbers start at 1 and addresses at 0"
        }
        _ => "The meter itself reports a fault; look at its display",
    };
    // No number of a unit here: the filter takes the clients' identifiers, and only the line's is known.
    let remedy = Remedy::steps([remedy, "`metergate trace --outcome exception` shows who asks for what"]);
    Some(finding(now, Severity::Warning, Kind::Refusing, what, remedy))
}

fn finding(now: &UnitView, severity: Severity, kind: Kind, what: String, remedy: Remedy) -> Finding {
    Finding { severity, kind, unit: Some(now.id), what, remedy }
}

fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

fn longer(allowed: Duration) -> Remedy {
    Remedy::steps([
        format!("Set `response_timeout: {}` for this unit", millis(allowed * 2).replace(' ', "")),
        "if it is slower than its neighbours, look for what else it is busy with".to_owned(),
    ])
}

const LOSSY: &str = "If it was without power for a while there is nothing to do: a look ten minutes from now shows \
    this no more. Else check the wires at this meter and its neighbours, stubs longer than a hand, termination (120 ohms at both \
    ends only); a longer `request_gap` helps a meter that needs a pause";

const GARBLED: &str = "Noise on this part of the line: check the wires at this meter, termination, the ground wire, \
    and cables beside motors or inverters";

const DUPLICATE: &str = "Switch one meter at a time off until the answers come clean, then give it an address of its \
    own in its menu; if there is only one, it is noise: check its wires";

/// Fewer damaged answers are no finding.
const DAMAGED_AT_LEAST: u64 = 3;

/// From this share of damaged answers on, noise alone is unlikely.
const DUPLICATE_PERCENT: u64 = 60;

/// From this share on, what is lost beside damaged answers, they included, costs line time that others feel.
const GARBLED_PERCENT: u64 = 2;

/// Requests without an answer, and no good answer ever, that make a unit silent.
const SILENT_AFTER: u64 = 2;

/// Fewer lost answers are no finding.
const LOST_AT_LEAST: u64 = 3;

/// From this share of lost answers on.
const LOST_PERCENT: u64 = 2;

/// Tenths of the response timeout from which on an answer is nearly too late.
const SLOW_TENTHS: u32 = 6;

/// Fewer refused requests are no finding.
const REFUSED_AT_LEAST: u64 = 5;

/// From this share of refused requests on; a client that scans a meter now and then is no fault.
const REFUSED_PERCENT: u64 = 10;
