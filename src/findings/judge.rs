//! The findings of one line: all rules, and what is left of them where one cause shows in several places.

use crate::line::{PortState, UnitId};
use crate::meter::Profile;

use super::evidence::Evidence;
use super::finding::{Finding, Kind};
use super::{line, meter, unit};

/// Everything that is wrong with the line, its units and, as far as `profile` knows them, its meters; what is of the
/// line first, then by unit, each by severity.
#[must_use]
pub fn findings<'p>(
    evidence: &Evidence<'_>,
    profile: impl Fn(UnitId) -> Option<&'p Profile>,
) -> Vec<Finding> {
    let mut findings = line::findings(evidence);
    findings.sort_by_key(|finding| finding.severity);
    if evidence.now.port == PortState::Closed {
        return findings;
    }
    let is_silent = evidence.is_line_silent();
    for now in &evidence.now.units {
        let mut of_unit = Vec::new();
        if !is_silent {
            of_unit.extend(unit::findings(evidence, now));
        }
        if let Some(profile) = profile(now.id) {
            of_unit.extend(meter::findings(now, profile, evidence.at));
        }
        of_unit.sort_by_key(|finding| finding.severity);
        findings.append(&mut of_unit);
    }
    // What two meters send at once is no frame of either: that is where the bytes come from.
    if findings.iter().any(|finding| finding.kind == Kind::DuplicateAddress) {
        findings.retain(|finding| finding.kind != Kind::Noise);
    }
    findings
}
