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

impl TlsClient {
    /// Who it is.
    pub(crate) fn identity(&self) -> &Arc<ClientIdentity> {
        &self.identity
    }
}

impl TlsClients {
    /// Lists a client until the result is dropped, if `verify` accepts it. It is listed first: a reload between the two
    /// closes it then, whichever settings `verify` has seen.
    ///
    /// # Errors
    /// That of `verify`.
    pub(crate) fn list_verified<F>(
        &self,
        identity: &Arc<ClientIdentity>,
        closing: &CancellationToken,
        verify: F,
    ) -> Result<Arc<TlsClient>, HandshakeFailure>
    where
        F: FnOnce() -> Result<(), HandshakeFailure>,
    {
        let client = Arc::new(TlsClient { identity: Arc::clone(identity), closing: closing.clone() });
        let mut connected = self.lock();
        connected.retain(|client| client.strong_count() > 0);
        connected.push(Arc::downgrade(&client));
        drop(connected);
        verify().map(|()| client)
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
        // Clients often share a certificate, and comparing one with a large list takes milliseconds.
        let mut known: Vec<(Arc<ClientIdentity>, Result<(), HandshakeFailure>)> = Vec::new();
        for client in self.clients() {
            let before = known.iter().find(|(identity, _)| *identity == client.identity);
            let verified = match before {
                Some((_, verified)) => *verified,
                None => {
                    let verified = server.map_or(Ok(()), |server| server.verify(&client.identity, now));
                    known.push((Arc::clone(&client.identity), verified));
                    verified
                }
            };
            if let Err(failure) = verified {
                client.closing.cancel();
                closed.push((Arc::clone(&client.identity), failure));
            }
        }
        closed
    }

    /// Whether no client is connected.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().iter().all(|client| client.strong_count() == 0)
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

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::tls::TlsFiles;
    use crate::tls::issue::Authority;

    #[test]
    fn a_client_is_listed_before_it_is_verified_so_that_a_reload_meanwhile_closes_it() {
        let folder = std::env::temp_dir().join(format!("metergate-tls-clients-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let server = |name: &str| {
            let authority = Authority::new(name, SystemTime::now()).unwrap();
            let issued = authority.issue_server("server", &["localhost".to_owned()]).unwrap();
            let path = |kind| folder.join(format!("{name}.{kind}"));
            for (kind, text) in
                [("pem", &issued.certificate), ("key", &issued.key), ("ca", &authority.certificate())]
            {
                std::fs::write(path(kind), text).unwrap();
                std::fs::set_permissions(path(kind), Permissions::from_mode(0o600)).unwrap();
            }
            let files = TlsFiles {
                certificate: path("pem"),
                key: path("key"),
                client_ca: Some(path("ca")),
                crl: None,
            };
            (TlsServer::load(&files).unwrap(), authority)
        };
        let ((before, authority), (after, _)) = (server("before"), server("after"));
        let issued = authority.issue_client("client", "Engineer").unwrap();
        let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
        let identity = Arc::new(ClientIdentity::of(chain.collect::<Result<_, _>>().unwrap()).unwrap());
        let (clients, closing, now) = (TlsClients::default(), CancellationToken::new(), SystemTime::now());
        let listed = clients.list_verified(&identity, &closing, || {
            let verified = before.verify(&identity, now);
            assert_eq!(clients.close_unaccepted(Some(&after), now).len(), 1, "the reload");
            verified
        });
        assert!(listed.is_ok(), "the settings before accept it");
        assert!(closing.is_cancelled());
        let refused =
            clients.list_verified(&identity, &CancellationToken::new(), || after.verify(&identity, now));
        assert_eq!(refused.err(), Some(HandshakeFailure::UnknownAuthority));
        drop(listed);
        assert_eq!(clients.roles(), Roles::new());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
