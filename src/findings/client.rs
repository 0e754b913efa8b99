//! Rules about clients of a listener.

use std::time::{Duration, Instant};

use super::finding::{Finding, Kind, Severity};
use super::remedy::Remedy;
use crate::endpoint::{ClientAddress, Endpoint};
use crate::modbus::AduFraming;

/// A client spoke another framing than its listener, first and last at these instants. If it has not tried again for a
/// while, it counts as corrected.
#[must_use]
pub fn misframed(
    listener: &Endpoint,
    client: &ClientAddress,
    spoken: AduFraming,
    first: Instant,
    last: Instant,
    at: Instant,
) -> Option<Finding> {
    let (kind, wanted) = match spoken {
        AduFraming::Rtu => (Kind::RtuOverTcp, AduFraming::Tcp),
        AduFraming::Tcp => (Kind::TcpToRtu, AduFraming::Rtu),
    };
    let (spoken, wanted, key) = (spoken.name(), wanted.name(), spoken.word());
    let what = format!("Client {client} speaks {spoken} to the listener {listener}, which speaks {wanted}");
    let remedy = Remedy::step(format!(
        "Set that client to {wanted}, or give it a listener of its own with `framing: {key}`"
    ));
    let found = Finding::new(Severity::Fault, kind, None, what, remedy, at);
    (at.saturating_duration_since(last) <= KEPT).then(|| found.about(listener.to_string()).seen(first, last))
}

/// Rejected clients usually retry within a minute.
const KEPT: Duration = Duration::from_secs(120);
