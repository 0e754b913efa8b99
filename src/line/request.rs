//! A request to the line, and its answer.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::settings::UnitId;
use crate::endpoint::ClientAddress;
use crate::modbus::pdu::{ExceptionCode, RequestPdu};

/// The client: line time is shared fairly between addresses, then between the connections of one address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The client's address.
    pub address: ClientAddress,
    /// One of its connections; no two connections of a process have the same number.
    pub connection: u64,
}

/// The listener a request arrived at: values on one listener never go back in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerId(pub u8);

/// A bus for as long as it runs, also after a reload that renames or moves it. The number of a bus that is gone is not
/// used again. A bus has its name for people, and to be recognised in a new configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BusId(pub u32);

/// The addressee of a request.
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
    /// The addressee.
    pub target: Target,
    /// The request PDU.
    pub pdu: RequestPdu,
    /// The request is answered before this instant.
    pub deadline: Instant,
    /// Largest age of data a read accepts, counted from when its request began to be sent.
    pub max_age: Duration,
    /// The listener it arrived at.
    pub listener: ListenerId,
}

/// The one answer every request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The unit's reply PDU, a Modbus exception of the unit included, untouched.
    Reply(Bytes),
    /// The exception PDU of a Modbus TCP server whose unit did not answer it, untouched. Whether a write was carried out
    /// is unknown.
    Unreached(Bytes),
    /// The broadcast was sent in full; no unit answers it.
    Sent,
    /// The gateway's own exception to a request that waited and was never sent.
    NotSent(ExceptionCode),
    /// The gateway's own exception to a request that was sent at least once and got no valid answer. Whether a write
    /// was carried out is unknown.
    NoAnswer(ExceptionCode),
    /// The gateway's own exception to a request refused without using the line. The client receives it after a short
    /// delay, so that a client that repeats it in a loop costs nothing.
    Refused(ExceptionCode),
}
