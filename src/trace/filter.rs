//! The filter of a trace.
//!
//! Owns the rule and its words. Criteria that are not set pass every event.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::endpoint::ClientAddress;
use crate::line::{BusId, Cause, Outcome, Record, Target};
use crate::traffic::{Sender, Served, TrafficEvent, TrafficKind, UnitDirectory};

/// The criteria of a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The bus; messages of clients pass if the bus has the unit.
    pub bus: Option<BusId>,
    /// The unit identifier as clients address it; broadcasts pass for each.
    pub unit: Option<u8>,
    /// The address of the client that sent the request.
    pub client: Option<ClientAddress>,
    /// The outcome.
    pub outcome: Option<Ending>,
    /// What it is for.
    pub origin: Origin,
}

/// What traffic is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// For clients and for the gateway itself: polls, probes, echo checks, stray bytes.
    #[default]
    All,
    /// For clients only; a poll that a client waited for is among it.
    Clients,
}

/// A group of outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Everything without a good answer.
    Failed,
    /// An exception, of a unit or of the gateway.
    Exception,
    /// Data, or an acknowledged write.
    Answered,
    /// No answer at all.
    Silent,
    /// A damaged or broken answer.
    Damaged,
    /// Bytes received while no answer was awaited.
    Stray,
}

impl Ending {
    /// Every group.
    pub const ALL: [Self; 6] =
        [Self::Failed, Self::Exception, Self::Answered, Self::Silent, Self::Damaged, Self::Stray];

    /// The word on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Exception => "exception",
            Self::Answered => "answered",
            Self::Silent => "silent",
            Self::Damaged => "damaged",
            Self::Stray => "stray",
        }
    }

    fn is(self, outcome: Outcome) -> bool {
        match self {
            Self::Failed => !outcome.is_good(),
            Self::Exception => matches!(outcome, Outcome::Exception(_)),
            Self::Answered => matches!(outcome, Outcome::Answered | Outcome::Sent),
            Self::Silent => outcome == Outcome::Silent,
            Self::Damaged => matches!(outcome, Outcome::Garbled | Outcome::Truncated),
            Self::Stray => false,
        }
    }
}

/// An unknown word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEnding;

impl fmt::Display for UnknownEnding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allowed: {}", Ending::ALL.map(Ending::word).join(", "))
    }
}

impl std::error::Error for UnknownEnding {}

impl FromStr for Ending {
    type Err = UnknownEnding;

    fn from_str(text: &str) -> Result<Self, UnknownEnding> {
        Self::ALL.into_iter().find(|ending| ending.word() == text).ok_or(UnknownEnding)
    }
}

impl Filter {
    /// Whether the event passes.
    #[must_use]
    pub fn passes(&self, event: &TrafficEvent, names: &UnitDirectory) -> bool {
        match &event.kind {
            TrafficKind::Client(message) => {
                self.bus.is_none_or(|bus| names.has(bus, message.adu.unit))
                    && self.unit.is_none_or(|unit| unit == message.adu.unit)
                    && self
                        .client
                        .as_ref()
                        .is_none_or(|client| *client == message.link.client.client_address())
                    && self.outcome.is_none_or(|ending| match &message.sender {
                        Sender::Client => false,
                        Sender::Gateway { served: Served::Refused, .. } => {
                            matches!(ending, Ending::Exception | Ending::Failed)
                        }
                        Sender::Gateway { .. } => {
                            let is_exception =
                                message.adu.pdu.first().is_some_and(|function| function & 0x80 != 0);
                            ending == if is_exception { Ending::Exception } else { Ending::Answered }
                        }
                    })
            }
            TrafficKind::Line { bus, .. } if self.bus.is_some_and(|wanted| wanted != *bus) => false,
            TrafficKind::Line { bus, record } => match &**record {
                Record::Stray(_) => {
                    self.origin == Origin::All
                        && self.unit.is_none()
                        && self.client.is_none()
                        && self.outcome.is_none_or(|ending| ending == Ending::Stray)
                }
                Record::Transaction(transaction) => {
                    let alias = |unit| names.unit(*bus, unit).map(|name| name.alias);
                    let is_of = |wanted| match transaction.target {
                        Target::Broadcast => true,
                        Target::Unit(unit) => alias(unit).unwrap_or(unit.get()) == wanted,
                    };
                    let is_wanted = match self.origin {
                        Origin::All => true,
                        Origin::Clients => transaction.cause == Cause::Client || transaction.clients > 0,
                    };
                    is_wanted
                        && self.unit.is_none_or(is_of)
                        && self.client.as_ref().is_none_or(|client| {
                            transaction.source.as_ref().map(|source| &source.address) == Some(client)
                        })
                        && self.outcome.is_none_or(|ending| ending.is(transaction.outcome))
                }
            },
        }
    }
}
