//! The connections of a gateway to its servers, by their ends.
//!
//! A client whose connection is one of them is the gateway itself: a bus leads back to one of its listeners.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The open connections of one gateway. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct OwnConnections(Arc<Mutex<BTreeSet<Ends>>>);

/// The two ends of a connection: the one at this gateway, and the server's.
type Ends = (SocketAddr, SocketAddr);

/// An open connection; it is removed when this is dropped.
#[derive(Debug)]
pub(super) struct OwnConnection {
    all: OwnConnections,
    ends: Ends,
}

impl OwnConnections {
    /// Whether the accepted connection with these ends is one of them, seen from the other side.
    #[must_use]
    pub fn contains(&self, peer: SocketAddr, local: SocketAddr) -> bool {
        self.ends().contains(&(canonical(peer), canonical(local)))
    }

    pub(super) fn add(&self, local: SocketAddr, peer: SocketAddr) -> OwnConnection {
        let ends = (canonical(local), canonical(peer));
        self.ends().insert(ends);
        OwnConnection { all: self.clone(), ends }
    }

    fn ends(&self) -> std::sync::MutexGuard<'_, BTreeSet<Ends>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OwnConnection {
    fn drop(&mut self) {
        self.all.ends().remove(&self.ends);
    }
}

/// A socket for both families shows an IPv4 address as an IPv6 one.
fn canonical(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_known_by_both_ends_while_it_is_open() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let (local, server) = (at("127.0.0.1:40000"), at("127.0.0.1:502"));
        let own = OwnConnections::default();
        let connection = own.add(local, server);
        assert!(own.contains(local, server));
        assert!(own.contains(at("[::ffff:127.0.0.1]:40000"), at("[::ffff:127.0.0.1]:502")));
        assert!(
            !own.contains(local, at("127.0.0.1:503")),
            "a port of this machine serves several destinations"
        );
        drop(connection);
        assert!(!own.contains(local, server));
    }
}
