//! From the bytes of a connection to its requests, in either framing.

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::modbus::mbap::{self, Adu, FramingError};
use crate::modbus::pdu::FunctionCode;
use crate::modbus::{AduFraming, Delimited, Dropped, REQUEST_PAUSE, RequestDelimiter, rtu_over_tcp};

/// The decoder of one connection.
#[derive(Debug)]
pub(super) enum RequestDecoder {
    Tcp(TcpDecoder),
    Rtu(RtuDecoder),
}

#[derive(Debug)]
pub(super) struct TcpDecoder {
    /// Since when an ADU is incomplete.
    partial_since: Option<Instant>,
    /// Since when the bytes are not Modbus TCP, but may be the beginning of an RTU frame.
    broken_since: Option<Instant>,
    /// Whether the client may still turn out to speak RTU: until its first whole ADU, and the end of the stream.
    is_undecided: bool,
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
            AduFraming::Tcp => {
                Self::Tcp(TcpDecoder { partial_since: None, broken_since: None, is_undecided: true })
            }
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
            Self::Tcp(_) => {}
            Self::Rtu(decoder) => decoder.quiet = Quiet::Since(now),
        }
    }

    /// The stream has ended: no pause is waited for any more.
    pub(super) fn handle_end(&mut self) {
        match self {
            Self::Tcp(decoder) => decoder.is_undecided = false,
            Self::Rtu(decoder) => decoder.quiet = Quiet::Ended,
        }
    }

    /// Whether the client of a listener for Modbus TCP speaks RTU, by its first bytes. `is_served`: whether a function
    /// that the standard does not define is carried out under a unit identifier.
    pub(super) fn is_misframed(&self, input: &[u8], is_served: impl Fn(u8, FunctionCode) -> bool) -> bool {
        match self {
            Self::Tcp(decoder) => decoder.is_undecided && rtu_over_tcp::is_rtu(input, is_served),
            Self::Rtu(_) => false,
        }
    }

    /// Removes the next request from the front of `input`.
    pub(super) fn decode(&mut self, input: &mut BytesMut, now: Instant) -> Decoded {
        match self {
            Self::Tcp(decoder) => decoder.decode(input, now),
            Self::Rtu(decoder) => decoder.decode(input, now),
        }
    }

    /// The gateway leaves the rest of the input waiting, not the client: no pause is measured.
    pub(super) fn suspend(&mut self) {
        match self {
            Self::Tcp(decoder) => (decoder.partial_since, decoder.broken_since) = (None, None),
            Self::Rtu(decoder) => (decoder.quiet, decoder.due) = (Quiet::Unread, None),
        }
    }

    /// When the connection has to look at its input again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Tcp(decoder) => {
                let broken = decoder.broken_since.map(|since| since + REQUEST_PAUSE);
                decoder.stall().into_iter().chain(broken).min()
            }
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
            Self::Tcp(decoder) => decoder.stall().is_some_and(|due| due <= now),
            Self::Rtu(_) => false,
        }
    }
}

impl TcpDecoder {
    fn decode(&mut self, input: &mut BytesMut, now: Instant) -> Decoded {
        match mbap::decode(input) {
            Ok(Some(adu)) => {
                (self.partial_since, self.is_undecided) = (None, false);
                Decoded::Request(adu)
            }
            Ok(None) => {
                self.partial_since = if input.is_empty() { None } else { self.partial_since.or(Some(now)) };
                Decoded::Incomplete
            }
            Err(error) => {
                let since = *self.broken_since.get_or_insert(now);
                let may_be_rtu = self.is_undecided && rtu_over_tcp::is_incomplete_rtu(input);
                // The rest of its frame tells whether the client speaks RTU, and only that is left to find out.
                if may_be_rtu && now.saturating_duration_since(since) < REQUEST_PAUSE {
                    Decoded::Incomplete
                } else {
                    Decoded::Broken(error)
                }
            }
        }
    }

    /// When the incomplete ADU counts as given up.
    fn stall(&self) -> Option<Instant> {
        self.partial_since.map(|since| since + PARTIAL_ADU_TIMEOUT)
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
