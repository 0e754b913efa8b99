//! The bus budget in words: what background reading will cost each line, and what to change where it is too much.
//!
//! `check` prints it as YAML comments below the configuration, `run` logs its findings. The arithmetic is
//! `bus::budget`'s; nothing here decides what is read.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::table::columns;
use crate::config::{Bus, Config, Severity};
use crate::document::show;
use crate::line::{Adjustment, Budget, COMFORTABLE, LineSettings, Planned, Protocol, UnitId};

/// Something about a plan that should be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanProblem {
    /// An error: the plan asks for more line time than there is.
    pub severity: Severity,
    /// The bus's name.
    pub bus: String,
    /// What is wrong, and the change that would fix it.
    pub text: String,
}

/// What is wrong with the plans of a configuration, bus by bus.
#[must_use]
pub fn findings(config: &Config, now: Instant) -> Vec<PlanProblem> {
    let mut found = Vec::new();
    for (index, bus) in config.buses.iter().enumerate() {
        let budget = Budget::of(&bus.line, now);
        if budget.blocks.is_empty() {
            continue;
        }
        let mut note =
            |severity, text| found.push(PlanProblem { severity, bus: bus.line.name.clone(), text });
        if budget.share <= 0.0 {
            let text = "poll_share: 0% leaves no line time: nothing is read in the background; \
                        poll_share: 60% would do, or poll: off says that it is meant";
            note(Severity::Warning, text.to_owned());
            continue;
        }
        let demand = demand(&budget);
        let remedy = demand.as_ref().and_then(|_| Adjustment::of(&bus.line, now));
        if let Some((severity, text)) = demand {
            let change = remedy.as_ref().map_or_else(|| no_remedy(bus.line.protocol).to_owned(), change);
            let gaps = gaps(&bus.line, now).map_or_else(String::new, |gap| format!(", or {gap}"));
            note(severity, format!("{text}; {change}{gaps} would do"));
        }
        // Ages are judged by the plan as it would be, so that one change does not call for the next.
        let change = remedy.as_ref().map_or_else(String::new, |remedy| format!(" with {}", change(remedy)));
        let budget = remedy.map_or(budget, |remedy| Budget::with(&bus.line, &remedy, now));
        for listener in config.listeners.iter().filter(|listener| listener.buses.contains(&index)) {
            if let Some(text) = too_old(&budget, listener.settings.max_age, &change) {
                note(Severity::Warning, format!("listener {}: {text}", listener.settings.endpoint()));
            }
        }
    }
    found
}

/// The budgets of all buses, each line a YAML comment.
#[must_use]
pub fn describe(config: &Config, now: Instant) -> String {
    config.buses.iter().map(|bus| describe_bus(bus, &Budget::of(&bus.line, now))).collect()
}

/// The shorter pause that would make the plan fit, where it is `request_gap` that does not leave enough time.
fn gaps(line: &LineSettings, now: Instant) -> Option<String> {
    let longest = line.units.iter().map(|unit| unit.request_gap).max()?;
    let with = |gap: Duration| {
        let mut shorter = line.clone();
        for unit in &mut shorter.units {
            unit.request_gap = unit.request_gap.min(gap);
        }
        let budget = Budget::of(&shorter, now);
        !budget.is_crowded() && budget.slowdown() <= 1.0
    };
    let whole = u64::try_from(longest.as_millis()).ok()?;
    let fits = (0..whole).rev().map(Duration::from_millis).find(|gap| with(*gap))?;
    Some(format!("request_gap: {} at most", show(fits)))
}

/// What the readings of a bus ask for in line time, where that is too much.
fn demand(budget: &Budget) -> Option<(Severity, String)> {
    let slowdown = budget.slowdown();
    if !budget.is_crowded() && slowdown <= 1.0 {
        return None;
    }
    let mut text = format!("the background readings ask for {} of line time", percent(budget.utilisation));
    if slowdown > 1.0 {
        // Writing to a String cannot fail.
        let _never = write!(
            text,
            ", more than poll_share gives ({}): they are read {slowdown:.1} times slower than planned",
            percent(budget.share)
        );
    } else {
        let _never =
            write!(text, ", and clients' requests wait for them; up to {} is well", percent(COMFORTABLE));
    }
    let severity = if budget.is_impossible() { Severity::Error } else { Severity::Warning };
    Some((severity, text))
}

/// The change that would make the readings fit, as it stands in the file.
fn change(remedy: &Adjustment) -> String {
    let Adjustment { poll_share, poll, poll_slow } = remedy;
    let changes = [
        poll_share.map(|share| format!("poll_share: {:.0}%", share * 100.0)),
        poll.map(|interval| format!("poll: {}s", interval.as_secs())),
        poll_slow.map(|interval| format!("poll_slow: {}s", interval.as_secs())),
    ];
    changes.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

/// What to say of a `max_age` that the plan cannot keep.
fn too_old(budget: &Budget, max_age: Duration, change: &str) -> Option<String> {
    let measured = budget.blocks.iter().filter(|block| block.measured);
    let Planned { unit, interval, .. } = *measured.min_by_key(|block| Reverse(block.interval))?;
    let needed = interval + budget.cycle;
    if max_age.is_zero() || max_age >= needed {
        return None;
    }
    let whole = needed.as_secs() + u64::from(needed.subsec_nanos() > 0);
    Some(format!(
        "max_age: {} is less than the poll interval of unit {unit} and one cycle ({} + {}{change}), so reads \
         will often find the snapshot too old and wait for the line; max_age: {whole}s or more would do",
        show(max_age),
        time(interval),
        time(budget.cycle)
    ))
}

fn describe_bus(bus: &Bus, budget: &Budget) -> String {
    let line = &bus.line;
    let mut rows = vec![format!("Bus budget of {}, {}", line.name, line.protocol)];
    match line.protocol {
        Protocol::Rtu(_) => {}
        Protocol::Tcp => rows.push(format!(
            "  times are learned while it runs; until then an answer counts as {}",
            time(line.protocol.usual_response_time())
        )),
    }
    if budget.share <= 0.0 || (budget.blocks.is_empty() && line.learn_limit == 0) {
        rows.push("  nothing is read in the background".to_owned());
    } else if budget.blocks.is_empty() {
        rows.push("  nothing is read in the background but what is learned from clients".to_owned());
    } else {
        rows.extend(table(bus, &budget.blocks));
        rows.push(format!("  one reading of every measurement block: {} of line time", time(budget.cycle)));
        rows.extend(sizing(budget));
        rows.push(format!(
            "  background readings ask for {} of line time; poll_share allows {}",
            percent(budget.utilisation),
            percent(budget.share)
        ));
        rows.push(format!(
            "  a client's request waits at most {} for what is on the line while all units answer",
            time(budget.wait)
        ));
    }
    if let Some(wait) = budget.wait_for_learned {
        rows.push(format!(
            "  a client's request waits at most {} for a range learned from clients",
            time(wait)
        ));
    }
    rows.push(format!(
        "  a client's request waits at most {} for what is on the line while a unit is silent",
        time(budget.wait_for_silence)
    ));
    rows.into_iter().map(|row| format!("# {row}\n")).collect()
}

/// How many meters like these the line carries, at the paces people ask for.
fn sizing(budget: &Budget) -> Option<String> {
    let meters: BTreeSet<_> =
        budget.blocks.iter().filter(|block| block.measured).map(|block| block.unit).collect();
    let count = u32::try_from(meters.len()).ok().filter(|count| *count > 0)?;
    let slow = budget.blocks.iter().filter(|block| !block.measured);
    let slow: f64 = slow.map(|block| block.cost.as_secs_f64() / block.interval.as_secs_f64()).sum();
    let fit = |interval: f64| {
        let each = (budget.cycle.as_secs_f64() / interval + slow) / f64::from(count);
        (1..=UnitId::STANDARD_MAX).rev().find(|meters| f64::from(*meters) * each <= budget.share).unwrap_or(0)
    };
    let [second, ten, minute] = [1.0, 10.0, 60.0].map(fit);
    let meters = if count == 1 { "meter" } else { "meters" };
    Some(format!(
        "  sizing: {} a cycle for {count} {meters}; of such meters {second} fit when read every second, {ten} every \
         10 s, {minute} every minute",
        time(budget.cycle)
    ))
}

/// One row for each run of units that are read alike, columns aligned.
fn table(bus: &Bus, blocks: &[Planned]) -> Vec<String> {
    let mut runs: Vec<(u8, u8, Vec<&Planned>)> = Vec::new();
    let alike = |a: &[&Planned], b: &[&Planned]| {
        let same = |(a, b): (&&Planned, &&Planned)| {
            a.range == b.range && a.interval == b.interval && a.cost == b.cost
        };
        a.len() == b.len() && a.iter().zip(b).all(same)
    };
    for own in blocks.chunk_by(|a, b| a.unit == b.unit) {
        let (id, own): (u8, Vec<_>) = (own[0].unit.get(), own.iter().collect());
        match runs.last_mut() {
            Some((_, last, shown)) if *last + 1 == id && alike(shown, &own) => *last = id,
            Some(_) | None => runs.push((id, id, own)),
        }
    }
    let rows: Vec<[String; 5]> = runs
        .iter()
        .flat_map(|(first, last, own)| own.iter().map(|block| row(bus, *first, *last, block)))
        .collect();
    columns(&rows)
}

fn row(bus: &Bus, first: u8, last: u8, planned: &Planned) -> [String; 5] {
    let units = if first == last { format!("unit {first}") } else { format!("units {first}-{last}") };
    let profile = bus.profiles.get(&planned.unit).map(|unit| &unit.profile);
    let block = profile.and_then(|profile| profile.blocks.iter().find(|block| block.range == planned.range));
    // What is read beside the blocks are single points.
    let point = profile.and_then(|profile| profile.points.iter().find(|point| point.range == planned.range));
    let name = block.map(|block| &block.name).or(point.map(|point| &point.name));
    let from =
        profile.map_or(u32::from(planned.range.start) + 1, |profile| profile.register(planned.range.start));
    let registers = match planned.range.quantity {
        1 => format!("register {from}"),
        more => format!("registers {from}-{}", from + u32::from(more) - 1),
    };
    [
        units,
        name.cloned().unwrap_or_default(),
        registers,
        format!("every {}", time(planned.interval)),
        format!("{} each", time(planned.cost)),
    ]
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// As people say it: `107 ms`, `1.43 s`, `60 s`.
fn time(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        return format!("{:.0} ms", duration.as_secs_f64() * 1000.0);
    }
    let seconds = format!("{:.2}", duration.as_secs_f64());
    format!("{} s", seconds.trim_end_matches('0').trim_end_matches('.'))
}

/// What to change where no key does.
fn no_remedy(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Rtu(_) => "fewer units or blocks on this bus, or a higher baud_rate,",
        Protocol::Tcp => "fewer units or blocks on this bus",
    }
}
