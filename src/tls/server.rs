//! Certificate, key, client authority and revocation list of a server, loaded and checked; and the clients they accept.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime,
};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ServerConnection, ServerSessionMemoryCache};
use tokio_rustls::rustls::{CommonState, Error, InconsistentKeys, ServerConfig, version};

use super::certificate::{Certificate, Validity, is_clock_unset};
use super::failure::HandshakeFailure;
use super::files::{TlsFault, TlsFiles, TlsKey, all, certificates, private_key};
use super::role::NoRole;
use super::verifier::{ClientVerifier, outdated};

/// A server that can accept handshakes.
#[derive(Clone)]
pub struct TlsServer {
    files: TlsFiles,
    chain: Vec<CertificateDer<'static>>,
    authorities: Vec<CertificateDer<'static>>,
    revocations: Vec<CertificateRevocationListDer<'static>>,
    certificate: Certificate,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    config: Arc<ServerConfig>,
}

/// A client that was accepted by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The role its certificate gives it.
    pub role: Result<String, NoRole>,
    /// Whom the certificate is for.
    pub subject: String,
    chain: Vec<CertificateDer<'static>>,
}

impl TlsServer {
    /// Loads the files. Whether the certificate is valid now, is not asked: see [`Self::validity_fault`].
    ///
    /// # Errors
    /// A file cannot be read, holds something else, or the key is not the certificate's.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsFault> {
        let chain = certificates(TlsKey::Certificate, &files.certificate)?;
        let key = private_key(&files.key)?;
        let unreadable = |path: &Path| {
            let what = format!("the certificate in {} cannot be read", path.display());
            TlsFault { key: TlsKey::Certificate, what, help: "allowed: an X.509 certificate, version 3" }
        };
        let first = chain.first().ok_or_else(|| unreadable(&files.certificate))?;
        let certificate = Certificate::read(first).ok_or_else(|| unreadable(&files.certificate))?;
        let authorities = match &files.client_ca {
            Some(path) => certificates(TlsKey::ClientCa, path)?,
            None => Vec::new(),
        };
        let revocations = match &files.crl {
            Some(path) => all::<CertificateRevocationListDer<'static>>(
                TlsKey::Crl,
                path,
                "revocation list in PEM",
                "allowed: a file that begins -----BEGIN X509 CRL-----",
            )?,
            None => Vec::new(),
        };
        let verifier = match &files.client_ca {
            Some(path) => {
                let verifier = ClientVerifier::new(path, &authorities, &revocations, files)?;
                Some(Arc::new(verifier) as Arc<dyn ClientCertVerifier>)
            }
            None => None,
        };
        let config = config(verifier.clone(), chain.clone(), key, files)?;
        Ok(Self { files: files.clone(), chain, authorities, revocations, certificate, verifier, config })
    }

    /// The files it was loaded from.
    #[must_use]
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its certificate as it was loaded, for those who are to trust exactly this one.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Why no client can accept the certificate now, by its time.
    #[must_use]
    pub fn validity_fault(&self, now: SystemTime) -> Option<TlsFault> {
        let Validity { not_before, not_after } = self.certificate.validity;
        let file = self.files.certificate.display();
        let day = |time: SystemTime| crate::runtime::timestamp::utc(time);
        let (what, help) = if is_clock_unset(now) && not_before > now {
            (
                format!(
                    "the certificate is valid from {} on, and the clock of this machine says {}: it was never set",
                    day(not_before),
                    day(now)
                ),
                "set the clock (NTP, or a battery for it); until then no certificate can be checked",
            )
        } else if not_before > now {
            (
                format!(
                    "the certificate in {file} is valid from {} on, and it is {}",
                    day(not_before),
                    day(now)
                ),
                "compare the clocks, or use another certificate",
            )
        } else if not_after < now {
            (format!("the certificate in {file} has expired, on {}", day(not_after)), "renew it, and reload")
        } else {
            return None;
        };
        Some(TlsFault { key: TlsKey::Certificate, what, help })
    }

    /// Why the revocation lists may lack what was revoked last. They are used all the same: without them, nothing that is
    /// revoked would be refused.
    #[must_use]
    pub fn outdated_list(&self, now: SystemTime) -> Option<TlsFault> {
        let path = self.files.crl.as_ref()?;
        let (issuer, since) = self.revocations.iter().find_map(|list| outdated(list, now))?;
        Some(TlsFault {
            key: TlsKey::Crl,
            what: format!(
                "the revocation list of {issuer} in {} is out of date since {}",
                path.display(),
                crate::runtime::timestamp::utc(since)
            ),
            help: "what was revoked since then is still let in: fetch the newest list, and reload",
        })
    }

    /// Whether a client with this certificate is accepted now.
    ///
    /// # Errors
    /// It would not be, and why.
    pub fn verify(&self, client: &ClientIdentity, now: SystemTime) -> Result<(), HandshakeFailure> {
        let (Some(verifier), Some((first, others))) = (&self.verifier, client.chain.split_first()) else {
            return Err(HandshakeFailure::NoCertificate);
        };
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let verified = verifier.verify_client_cert(first, others, UnixTime::since_unix_epoch(now));
        verified.map(drop).map_err(|error| (&error).into())
    }

    /// The client at the other end of a completed handshake, resumed ones included.
    pub(super) fn identify(connection: &ServerConnection) -> Option<ClientIdentity> {
        let state: &CommonState = connection;
        let chain = state.peer_certificates()?.iter().map(|one| one.clone().into_owned());
        ClientIdentity::of(chain.collect())
    }

    /// The settings of rustls.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

impl ClientIdentity {
    /// The client that shows these certificates, its own first. `None`: it shows none.
    #[must_use]
    pub fn of(chain: Vec<CertificateDer<'static>>) -> Option<Self> {
        let (role, subject) = match Certificate::read(chain.first()?) {
            Some(read) => (read.role, read.subject),
            None => (Err(NoRole::Unreadable), String::new()),
        };
        Some(Self { role, subject, chain })
    }
}

impl PartialEq for TlsServer {
    /// By the contents of the files. The key belongs to the certificate, so that it need not be compared.
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
            && self.chain == other.chain
            && self.authorities == other.authorities
            && self.revocations == other.revocations
    }
}

impl Eq for TlsServer {}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("files", &self.files).finish_non_exhaustive()
    }
}

fn config(
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    files: &TlsFiles,
) -> Result<Arc<ServerConfig>, TlsFault> {
    let unusable = |key, error: &Error| TlsFault {
        key,
        what: format!("{} cannot be used: {error}", files.certificate.display()),
        help: "allowed: certificates with an EC key (P-256, P-384), an RSA key of 2048 bits or more, or Ed25519",
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|error| unusable(TlsKey::Certificate, &error))?;
    let is_modbus = verifier.is_some();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        if error != Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
            return unusable(TlsKey::Certificate, &error);
        }
        let (key, certificate) = (files.key.display(), files.certificate.display());
        TlsFault {
            key: TlsKey::Key,
            what: format!("{key} is not the key of the certificate in {certificate}"),
            help: "both come from the same request; the certificate of the server comes first in its file",
        }
    })?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    if is_modbus {
        // ask for the extension `max_fragment_length`, which rustls does not negotiate. No record that is
        // sent is longer than the shortest one of it, so a client that wants it can go on without.
        config.max_fragment_size = Some(FRAGMENT_MAX + RECORD_HEADER);
    }
    Ok(Arc::new(config))
}

/// Most sessions that can be resumed; each keeps the client's certificates. Others begin with a full handshake.
const SESSIONS_MAX: usize = 128;

/// The shortest length of the extension `max_fragment_length` (RFC 6066, chapter 4).
const FRAGMENT_MAX: usize = 512;

/// Bytes of a record before its contents, which rustls counts.
const RECORD_HEADER: usize = 5;
