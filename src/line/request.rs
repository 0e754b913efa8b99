//! A request on its way to the line, and what comes back.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::settings::UnitId;
use crate::modbus::pdu::{ExceptionCode, RequestPdu};

/// The client: line time is shared fairly between addresses, then between the connections of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The client's address.
    pub address: IpAddr,
    /// One of its connections; no two connections of a process have the same number.
    pub connection: u64,
}

/// The listener a request came by: values on one listener never go back in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerId(pub u8);

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// One unit.
    Unit(UnitId),
    /// All units of the line, which do not answer.
    Broadcast,
}

/// One request of a client. `T` is where the reply goes; opaque to the line.
#[derive(Clone, Debug)]
pub struct Request<T> {
    /// Where the reply goes.
    pub to: T,
    /// The client.
    pub source: Source,
    /// Whom it is for.
    pub target: Target,
    /// What is asked.
    pub pdu: RequestPdu,
    /// The request is answered before this instant.
    pub deadline: Instant,
    /// Largest age of data a read accepts, counted from when its request began to be sent.
    pub max_age: Duration,
    /// The listener it came by.
    pub listener: ListenerId,
}

/// The one answer every request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The unit's reply PDU, a Modbus exception of the unit included, untouched.
    Reply(Bytes),
    /// A broadcast is on the line in full; no unit answers it.
    Sent,
    /// The gateway's own exception to a request that waited and of which not a byte was sent.
    NotSent(ExceptionCode),
    /// The gateway's own exception to a request that was sent, once at least, and got no valid answer. Whether a
    /// write was carried out is not known.
    NoAnswer(ExceptionCode),
    /// The gateway's own exception, given without cost to the line: nothing was sent. The client gets it a moment
    /// later, so that one looping on it burns nothing.
    Refused(ExceptionCode),
}
