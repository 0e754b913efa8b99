//! The clients of a listener that came through TLS: who they are, and how many failed to.
//!
//! Owns the list that a reload closes clients by, and the counters of failed handshakes. Locked when a connection begins
//! or ends, by a reload and by a page; never by a request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use crate::tls::{ClientIdentity, HandshakeFailure, TlsServer};

/// See the module.
#[derive(Debug, Default)]
pub struct TlsClients {
    connected: Mutex<Vec<Weak<TlsClient>>>,
    failures: [AtomicU64; HandshakeFailure::ALL.len()],
}

/// One connected client, for as long as this lives.
#[derive(Debug)]
pub(crate) struct TlsClient {
    identity: Arc<ClientIdentity>,
    closing: CancellationToken,
}

/// The names of roles, and how many connections have each; `None`: those without a role.
pub type Roles = BTreeMap<Option<String>, u32>;

impl TlsClients {
    /// Lists a client until the result is dropped.
    pub(crate) fn connected(
        &self,
        identity: &Arc<ClientIdentity>,
        closing: &CancellationToken,
    ) -> Arc<TlsClient> {
        let client = Arc::new(TlsClient { identity: Arc::clone(identity), closing: closing.clone() });
        let mut connected = self.lock();
        connected.retain(|client| client.strong_count() > 0);
        connected.push(Arc::downgrade(&client));
        client
    }

    /// A handshake failed.
    pub(crate) fn note_failure(&self, failure: HandshakeFailure) {
        self.failures[failure.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// Closes the connections whose client would not be accepted now, once their requests in flight are answered;
    /// without a server all. Returns why, for each.
    pub(crate) fn close_unaccepted(
        &self,
        server: Option<&TlsServer>,
        now: SystemTime,
    ) -> Vec<(Arc<ClientIdentity>, HandshakeFailure)> {
        let mut closed = Vec::new();
        for client in self.clients() {
            let verified = server.map_or(Ok(()), |server| server.verify(&client.identity, now));
            if let Err(failure) = verified {
                client.closing.cancel();
                closed.push((Arc::clone(&client.identity), failure));
            }
        }
        closed
    }

    /// How many connections have each role.
    #[must_use]
    pub fn roles(&self) -> Roles {
        let mut roles = Roles::new();
        for client in self.clients() {
            *roles.entry(client.identity.role.clone().ok()).or_default() += 1;
        }
        roles
    }

    /// How many handshakes failed, by cause.
    pub fn failures(&self) -> impl Iterator<Item = (HandshakeFailure, u64)> {
        let counters = HandshakeFailure::ALL.into_iter().zip(&self.failures);
        counters.map(|(failure, counter)| (failure, counter.load(Ordering::Relaxed)))
    }

    fn clients(&self) -> Vec<Arc<TlsClient>> {
        self.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<TlsClient>>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
