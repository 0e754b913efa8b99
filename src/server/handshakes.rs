//! TLS handshakes of a listener, apart from the connections of clients that are through with theirs.
//!
//! Owns their bounds: how long one may take, how many there are at once, in all and from one address. They run in a
//! thread of their own with a low priority, so that computing them delays no client and no line, however many come. A
//! client counts as a connection of the listener only after its handshake.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::runtime::BackgroundRuntime;
use crate::tls::{self, ClientIdentity, HandshakeFailure, TlsServer, TlsStream};

/// The handshakes in progress.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// Started with the first handshake.
    background: Option<BackgroundRuntime>,
    tasks: JoinSet<Handshake>,
    addresses: Vec<IpAddr>,
}

/// A handshake that has ended.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The client's end.
    pub(super) peer: SocketAddr,
    /// The server that did it.
    pub(super) server: Arc<TlsServer>,
    /// The connection, and the client.
    pub(super) result: Result<(TlsStream, ClientIdentity), HandshakeFailure>,
}

impl Handshakes {
    /// Begins a handshake.
    ///
    /// # Errors
    /// There are too many, or the system has no thread left for them.
    pub(super) fn begin(
        &mut self,
        server: &Arc<TlsServer>,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<(), HandshakeFailure> {
        let of_address = self.addresses.iter().filter(|address| **address == peer.ip()).count();
        if self.addresses.len() >= HANDSHAKES_MAX || of_address >= HANDSHAKES_PER_ADDRESS {
            return Err(HandshakeFailure::TooMany);
        }
        let background = self.background().map_err(|_| HandshakeFailure::TooMany)?.clone();
        let server = Arc::clone(server);
        let handshake = async move {
            let accepted = timeout(HANDSHAKE_TIMEOUT, tls::accept(&server, stream)).await;
            let result = match accepted {
                Ok(Ok((stream, Some(identity)))) => Ok((stream, identity)),
                Ok(Ok((_, None))) => Err(HandshakeFailure::NoCertificate),
                Ok(Err(failure)) => Err(failure),
                Err(_) => Err(HandshakeFailure::TimedOut),
            };
            Handshake { peer, server, result }
        };
        self.tasks.spawn_on(handshake, &background);
        self.addresses.push(peer.ip());
        Ok(())
    }

    /// The next handshake to end; never, if there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Handshake {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(handshake)) => {
                    let ended = self.addresses.iter().position(|address| *address == handshake.peer.ip());
                    if let Some(index) = ended {
                        self.addresses.swap_remove(index);
                    }
                    return handshake;
                }
                // Of a task that panicked the address is not known: its place is free again with the last of them.
                Some(Err(_)) if self.tasks.is_empty() => self.addresses.clear(),
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn background(&mut self) -> io::Result<&tokio::runtime::Handle> {
        let background = match self.background.take() {
            Some(background) => background,
            None => BackgroundRuntime::start("handshakes")?,
        };
        Ok(self.background.insert(background).handle())
    }
}

/// How long a handshake may take: several round trips of a bad radio link.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes of a listener at once.
pub const HANDSHAKES_MAX: usize = 64;

/// Of these from one address.
pub const HANDSHAKES_PER_ADDRESS: usize = 8;
