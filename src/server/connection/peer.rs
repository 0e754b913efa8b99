//! The state of a client that can be observed without reading from it.
//!
//! A connection at its limit of requests leaves further bytes in the socket, and the client may close or reset the
//! connection behind them.

use std::future::{Future, pending};
use std::io;

use tokio::io::{AsyncRead, Interest, ReadHalf, Ready};
use tokio::net::tcp;

use crate::tls::TlsReader;

/// How much of a connection its client has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerState {
    /// Nothing.
    Open,
    /// Its sending side (FIN): it may still wait for answers.
    HalfClosed,
    /// All of it (RST, or the client vanished): no answer can be delivered.
    Reset,
}

/// The receiving side of a client's connection.
pub trait Receive: AsyncRead + Unpin {
    /// Waits until the client has closed more than `known`. Reads nothing, and does not wait until unread bytes are
    /// read.
    fn closed(&self, known: PeerState) -> impl Future<Output = PeerState> + Send;
}

impl Receive for tcp::ReadHalf<'_> {
    async fn closed(&self, known: PeerState) -> PeerState {
        state_after(self.ready(interest_beyond(known)).await)
    }
}

impl Receive for TlsReader {
    /// By the socket: of what is encrypted, the end cannot be told from the rest before it is read.
    async fn closed(&self, known: PeerState) -> PeerState {
        state_after(self.socket().ready(interest_beyond(known)).await)
    }
}

fn interest_beyond(known: PeerState) -> Interest {
    match known {
        // Of the interests, PRIORITY is the one that covers the end of the stream and not its bytes; urgent data is not
        // enabled when the socket is registered, so it wakes nothing here.
        PeerState::Open => Interest::PRIORITY.add(Interest::ERROR),
        PeerState::HalfClosed | PeerState::Reset => Interest::ERROR,
    }
}

fn state_after(ready: io::Result<Ready>) -> PeerState {
    match ready {
        Ok(ready) if !ready.is_error() => PeerState::HalfClosed,
        Ok(_) | Err(_) => PeerState::Reset,
    }
}

impl<S: AsyncRead> Receive for ReadHalf<S>
where
    Self: AsyncRead + Send + Sync,
{
    /// Never: other kinds of streams show their end only to a read.
    async fn closed(&self, _known: PeerState) -> PeerState {
        pending().await
    }
}
