//! Rules about clients of a listener.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::finding::{Finding, Kind, Severity};
use super::remedy::Remedy;

/// A client sent RTU frames to a Modbus TCP listener, first and last at these instants. If it has not tried again for
/// a while, it counts as corrected.
#[must_use]
pub fn rtu_over_tcp(
    listener: SocketAddr,
    client: IpAddr,
    first: Instant,
    last: Instant,
    at: Instant,
) -> Option<Finding> {
    let what =
        format!("Client {client} speaks RTU over TCP to the listener {listener}, which speaks Modbus TCP");
    let remedy = Remedy::step("Set that client to Modbus TCP, in place of RTU over TCP");
    let found = Finding::new(Severity::Fault, Kind::RtuOverTcp, None, what, remedy, at);
    (at.saturating_duration_since(last) <= KEPT).then(|| found.about(listener.to_string()).seen(first, last))
}

/// Rejected clients usually retry within a minute.
const KEPT: Duration = Duration::from_secs(120);
