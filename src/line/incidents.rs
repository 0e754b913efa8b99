//! The last incorrect answers of a unit and the requests they followed: evidence of the cause.

use crate::endpoint::ClientAddress;
use crate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange, RequestPdu};

use super::record::Misfit;
use super::request::Source;
use super::settings::UnitId;

/// The last of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incidents {
    /// An intact answer that did not fit; without the request if it came too late to tell.
    pub misfit: Option<(Misfit, Option<RequestSummary>)>,
    /// An exception.
    pub refusal: Option<(ExceptionCode, RequestSummary)>,
    /// Another unit that answered in its place.
    pub stand_in: Option<UnitId>,
}

/// What was requested of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSummary {
    /// The function.
    pub function: FunctionCode,
    /// The registers, of a read of one of the four tables.
    pub range: Option<ReadRange>,
    /// The client that requested it first; `None`: a request of the gateway itself.
    pub client: Option<ClientAddress>,
}

impl RequestSummary {
    pub(super) fn new(request: &RequestPdu, client: Option<Source>) -> Self {
        let client = client.map(|source| source.address);
        Self { function: request.function(), range: request.range(), client }
    }
}
