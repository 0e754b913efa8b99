//! The last incorrect answers of a unit and the requests they followed: evidence of the cause.

use std::time::Duration;

use crate::endpoint::ClientAddress;
use crate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange, RequestPdu};

use super::record::Misfit;
use super::request::Source;
use super::settings::UnitId;

/// The last of each kind; of late answers the last few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incidents {
    /// An intact answer that did not fit; without the request if it came too late to tell.
    pub misfit: Option<(Misfit, Option<RequestSummary>)>,
    /// An exception.
    pub refusal: Option<(ExceptionCode, RequestSummary)>,
    /// Another unit that answered in its place.
    pub stand_in: Option<UnitId>,
    /// Answers that came late.
    pub late: LateAnswerTimes,
}

/// The response times of the last late answers, the newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LateAnswerTimes([Option<Duration>; Self::KEPT]);

impl LateAnswerTimes {
    /// How many are kept.
    const KEPT: usize = 8;

    /// Adds one: from the end of the request to the first byte of the answer.
    pub fn note(&mut self, took: Duration) {
        self.0.rotate_right(1);
        self.0[0] = Some(took);
    }

    /// The longest of the last `count`.
    #[must_use]
    pub fn longest(&self, count: u64) -> Option<Duration> {
        let count = usize::try_from(count).unwrap_or(Self::KEPT);
        self.0.iter().take(count).flatten().max().copied()
    }
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
