//! The findings of one line: applies all rules, then removes findings that another one explains.

use crate::line::{PortState, UnitId};
use crate::meter::Profile;

use super::evidence::Evidence;
use super::finding::{Finding, Kind};
use super::wire_break::WireBreak;
use super::{line, meter, unit};

/// All findings of the line, its units and, where `profile` returns a profile, its meters; those of the line first,
/// then by unit, each by severity.
#[must_use]
pub fn findings<'p>(
    evidence: &Evidence<'_>,
    profile: impl Fn(UnitId) -> Option<&'p Profile>,
) -> Vec<Finding> {
    let mut findings = line::findings(evidence);
    findings.sort_by_key(|finding| finding.severity);
    if evidence.now.port != PortState::Closed && !evidence.is_line_silent() {
        let broken = evidence.wire.and_then(|wire| WireBreak::find(evidence.now, wire));
        for now in &evidence.now.units {
            let mut of_unit = unit::findings(evidence, now);
            if broken.as_ref().is_some_and(|broken| broken.cuts_off(now.id)) {
                of_unit.retain(|finding| finding.kind != Kind::Silent);
            }
            // The last readings of a meter that does not answer say nothing about its present state.
            if let Some(profile) = profile(now.id)
                && evidence.now.availability(now.id).is_answering()
            {
                of_unit.extend(meter::findings(now, profile, evidence.at));
            }
            of_unit.sort_by_key(|finding| finding.severity);
            findings.append(&mut of_unit);
        }
    }
    let kinds: Vec<Kind> = findings.iter().map(|finding| finding.kind).collect();
    findings.retain(|finding| !kinds.iter().any(|cause| explains(*cause, finding.kind)));
    for finding in &mut findings {
        if let Some(since) = evidence.track.active_since(finding) {
            finding.active_since = finding.active_since.min(since);
        }
    }
    findings
}

/// Whether a finding of kind `cause` on a line explains one of kind `finding`, which is then removed.
fn explains(cause: Kind, finding: Kind) -> bool {
    match cause {
        // No frame gets through.
        Kind::LineOccupied => matches!(
            finding,
            Kind::Noise
                | Kind::LineTruncated
                | Kind::Garbled
                | Kind::Truncated
                | Kind::Unreadable
                | Kind::Lossy
                | Kind::Silent
                | Kind::Late
                | Kind::PollingSlow
                | Kind::LineFull
        ),
        // Two masters that send at once damage each other's requests and answers, and each receives the answers to
        // the other.
        Kind::ForeignRequests => matches!(
            finding,
            Kind::ForeignFrames
                | Kind::Collision
                | Kind::Noise
                | Kind::LineTruncated
                | Kind::Garbled
                | Kind::Truncated
                | Kind::Lossy
                | Kind::Late
                | Kind::DuplicateAddress
                | Kind::AddressChanged
                | Kind::PollingSlow
        ),
        Kind::Noise => matches!(finding, Kind::Garbled | Kind::Lossy | Kind::PollingSlow),
        // The rest of an answer, when it comes after all, is noise to the next request.
        Kind::LineTruncated => {
            matches!(finding, Kind::Noise | Kind::Truncated | Kind::Garbled | Kind::Lossy | Kind::PollingSlow)
        }
        // Bytes that form no frame, or the frame of another unit, come from these units.
        Kind::DuplicateAddress | Kind::Unreadable | Kind::Truncated => {
            matches!(finding, Kind::Noise | Kind::ForeignFrames | Kind::PollingSlow)
        }
        // Late answers collide with the requests and answers of other units.
        Kind::Late => matches!(finding, Kind::Noise | Kind::PollingSlow),
        Kind::AddressChanged => matches!(finding, Kind::ForeignFrames | Kind::PollingSlow),
        Kind::LineSilent
        | Kind::WireBreak
        | Kind::LineFull
        | Kind::Silent
        | Kind::Lossy
        | Kind::Slow
        | Kind::Garbled
        | Kind::Misfit => matches!(finding, Kind::PollingSlow),
        Kind::PortClosed
        | Kind::FaultyCharacters
        | Kind::Echo
        | Kind::EchoSetting
        | Kind::Collision
        | Kind::ForeignFrames
        | Kind::PollingSlow
        | Kind::LearnLimit
        | Kind::RangesUndone
        | Kind::RtuOverTcp
        | Kind::TcpToRtu
        | Kind::CertificateExpires
        | Kind::AuditIncomplete
        | Kind::ClientPortClosed
        | Kind::Refusing
        | Kind::Ignoring
        | Kind::Alert
        | Kind::LowPowerFactor
        | Kind::BrokerAway
        | Kind::BrokerSlow => false,
    }
}
