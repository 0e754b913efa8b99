//! Rules about clients of a listener.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::finding::{Finding, Kind, Severity};
use super::remedy::Remedy;

/// A client sent RTU frames to a listener for Modbus TCP, first and last at these instants. One that has not tried
/// again for a while has been set right.
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

/// Clients that are not served try again within a minute or so.
const KEPT: Duration = Duration::from_secs(120);
