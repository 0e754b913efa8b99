//! The faults of a scenario as text, in the order of time.
//!
//! Owns the sentence about a fault. Never reads or checks a scenario.

use super::section::FaultName;
use super::settings::{ChainSettings, Fault, FaultKind};
use crate::document::show;

/// The faults of a chain, one line each, in the order of time.
#[must_use]
pub fn fault_schedule(chain: &ChainSettings) -> Vec<String> {
    let mut faults: Vec<&Fault> = chain.faults.iter().collect();
    faults.sort_by_key(|fault| fault.at);
    let line = |fault: &Fault| {
        let from = show(fault.at);
        let until = fault.lasts.map(|lasts| show(fault.at.saturating_add(lasts)));
        let when = until.map_or(format!("from {from}"), |until| format!("{from} to {until}"));
        let mut units: Vec<String> = fault
            .meters
            .iter()
            .filter_map(|index| chain.meters.get(*index))
            .map(|one| one.unit.to_string())
            .collect();
        units.dedup();
        let whom =
            if units.is_empty() { "the line".to_owned() } else { format!("meter {}", units.join(", ")) };
        let (kind, more) = kind_of(&fault.kind);
        let more = more.map(|more| format!(" {more}")).unwrap_or_default();
        format!("{when}: {whom}: {}{more}", kind.word())
    };
    faults.into_iter().map(line).collect()
}

/// A fault's kind and its parameter, without its time and its meters.
fn kind_of(fault: &FaultKind) -> (FaultName, Option<String>) {
    let percent = |share: f64| format!("{}%", (share * 10_000.0).round() / 100.0);
    match fault {
        FaultKind::Dead => (FaultName::Dead, None),
        FaultKind::Late(delay) => (FaultName::Late, Some(format!("by {}", show(*delay)))),
        FaultKind::Noisy(share) => (FaultName::Noisy, Some(format!("{} of frames", percent(*share)))),
        FaultKind::Echo => (FaultName::Echo, None),
        FaultKind::WrongUnit(unit) => (FaultName::WrongUnit, Some(format!("as {unit}"))),
        FaultKind::Garbage => (FaultName::Garbage, None),
        FaultKind::ReversedCt(phase) => (FaultName::ReversedCt, Some(format!("phase {}", phase.letter()))),
        FaultKind::PhaseLoss(phase) => (FaultName::PhaseLoss, Some(format!("phase {}", phase.letter()))),
        FaultKind::PowerCycle => (FaultName::PowerCycle, None),
    }
}
