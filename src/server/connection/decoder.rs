//! From the bytes of a connection to its requests, in either framing.

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::modbus::mbap::{self, Adu, FramingError};
use crate::modbus::{AduFraming, Delimited, Dropped, REQUEST_PAUSE, RequestDelimiter};

/// The decoder of one connection.
#[derive(Debug)]
pub(super) enum RequestDecoder {
    Tcp {
        /// Since when an ADU is incomplete.
        partial_since: Option<Instant>,
    },
    Rtu(RtuDecoder),
}

#[derive(Debug)]
pub(super) struct RtuDecoder {
    delimiter: RequestDelimiter,
    quiet: Quiet,
    /// When the pause has to be looked at again.
    due: Option<Instant>,
    /// The transaction identifier of the next request: RTU has none, and no two in flight may share one.
    transaction_id: u16,
}

/// Since when the client has sent nothing.
#[derive(Clone, Copy, Debug)]
enum Quiet {
    /// Not known: the gateway has not read what it sent. It counts from the next look at the input.
    Unread,
    Since(Instant),
    /// It sends no more.
    Ended,
}

/// The result of one step.
#[derive(Debug)]
pub(super) enum Decoded {
    Request(Adu),
    Incomplete,
    /// The stream is not Modbus TCP; nothing after this point can be decoded.
    Broken(FramingError),
    /// Bytes that are no RTU request were dropped; requests may follow.
    Dropped(Dropped),
}

impl RequestDecoder {
    pub(super) fn new(framing: AduFraming) -> Self {
        match framing {
            AduFraming::Tcp => Self::Tcp { partial_since: None },
            AduFraming::Rtu => Self::Rtu(RtuDecoder {
                delimiter: RequestDelimiter::default(),
                quiet: Quiet::Unread,
                due: None,
                transaction_id: 0,
            }),
        }
    }

    /// Bytes have arrived.
    pub(super) fn handle_bytes(&mut self, now: Instant) {
        match self {
            Self::Tcp { .. } => {}
            Self::Rtu(decoder) => decoder.quiet = Quiet::Since(now),
        }
    }

    /// The stream has ended: no pause is waited for any more.
    pub(super) fn handle_end(&mut self) {
        match self {
            Self::Tcp { .. } => {}
            Self::Rtu(decoder) => decoder.quiet = Quiet::Ended,
        }
    }

    /// Removes the next request from the front of `input`.
    pub(super) fn decode(&mut self, input: &mut BytesMut, now: Instant) -> Decoded {
        match self {
            Self::Tcp { partial_since } => match mbap::decode(input) {
                Ok(Some(adu)) => {
                    *partial_since = None;
                    Decoded::Request(adu)
                }
                Ok(None) => {
                    *partial_since = if input.is_empty() { None } else { partial_since.or(Some(now)) };
                    Decoded::Incomplete
                }
                Err(error) => Decoded::Broken(error),
            },
            Self::Rtu(decoder) => decoder.decode(input, now),
        }
    }

    /// The gateway leaves the rest of the input waiting, not the client: no pause is measured.
    pub(super) fn suspend(&mut self) {
        match self {
            Self::Tcp { partial_since } => *partial_since = None,
            Self::Rtu(decoder) => (decoder.quiet, decoder.due) = (Quiet::Unread, None),
        }
    }

    /// When the connection has to look at its input again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Tcp { partial_since } => partial_since.map(|since| since + PARTIAL_ADU_TIMEOUT),
            Self::Rtu(decoder) => decoder.due,
        }
    }

    /// Whether the time for an incomplete request is over, unless there are bytes of it that are not read yet.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|due| due <= now)
    }

    /// Whether a Modbus TCP request has been incomplete for too long. An RTU request ends with a pause.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        match self {
            Self::Tcp { .. } => self.is_due(now),
            Self::Rtu(_) => false,
        }
    }
}

impl RtuDecoder {
    fn decode(&mut self, input: &mut BytesMut, now: Instant) -> Decoded {
        self.due = None;
        let quiet = match self.quiet {
            Quiet::Unread => {
                self.quiet = Quiet::Since(now);
                Duration::ZERO
            }
            Quiet::Since(since) => now.saturating_duration_since(since),
            Quiet::Ended => REQUEST_PAUSE,
        };
        match self.delimiter.next(input, quiet) {
            Delimited::Request { unit, pdu } => {
                self.transaction_id = self.transaction_id.wrapping_add(1);
                Decoded::Request(Adu { transaction_id: self.transaction_id, unit, pdu })
            }
            Delimited::Dropped(dropped) => Decoded::Dropped(dropped),
            Delimited::Incomplete(pause) => {
                self.due = pause.map(|pause| now + pause.saturating_sub(quiet));
                Decoded::Incomplete
            }
        }
    }
}

/// An incomplete ADU that began this long ago closes the connection.
pub const PARTIAL_ADU_TIMEOUT: Duration = Duration::from_secs(10);
