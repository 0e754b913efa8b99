//! Which clients are accepted by their certificates: the authorities of a listener and their revocation lists.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::certificate::{Certificate, instant, printable};
use super::files::{TlsFault, TlsFiles, TlsKey};

/// Accepts a client if both of its parts do.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    /// The client's own certificate: with lists, one has to be about it, else a missing list would let every revoked
    /// client in.
    client: Arc<dyn ClientCertVerifier>,
    /// The authorities between it and `client_ca`, where there are lists. Whether one is revoked is up to the list of
    /// the authority above, which is rarely at hand: where it is, it counts.
    intermediates: Option<Arc<dyn ClientCertVerifier>>,
}

impl ClientVerifier {
    /// A verifier with these authorities, which were loaded from `path`, and their lists.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(super) fn new(
        path: &Path,
        authorities: &[CertificateDer<'static>],
        revocations: &[CertificateRevocationListDer<'static>],
        files: &TlsFiles,
    ) -> Result<Self, TlsFault> {
        let roots = Arc::new(roots(path, authorities)?);
        if let Some(crl) = &files.crl {
            check_lists(crl, revocations)?;
        }
        let builder = || {
            let builder =
                WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::new(default_provider()));
            builder.with_crls(revocations.iter().cloned())
        };
        let fault = |error: &dyn std::fmt::Display| TlsFault {
            key: if revocations.is_empty() { TlsKey::ClientCa } else { TlsKey::Crl },
            what: format!("{} cannot be used: {error}", files.crl.as_deref().unwrap_or(path).display()),
            help: "allowed: certificates, and revocation lists of version 2, of the authorities of clients",
        };
        let client = builder().only_check_end_entity_revocation().build().map_err(|error| fault(&error))?;
        let intermediates = (!revocations.is_empty())
            .then(|| builder().allow_unknown_revocation_status().build())
            .transpose()
            .map_err(|error| fault(&error))?;
        Ok(Self { client, intermediates })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.client.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Each session and connection keeps the chain.
        let bytes: usize = intermediates.iter().chain([end_entity]).map(|one| one.len()).sum();
        if intermediates.len() >= CHAIN_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        let verified = self.client.verify_client_cert(end_entity, intermediates, now)?;
        match &self.intermediates {
            Some(verifier) => verifier.verify_client_cert(end_entity, intermediates, now),
            None => Ok(verified),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.client.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.client.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.client.supported_verify_schemes()
    }
}

/// The authorities. Each has to be one: every certificate in the store may sign clients with any role, whatever it says
/// about itself.
fn roots(path: &Path, authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsFault> {
    let fault = |what, help| TlsFault { key: TlsKey::ClientCa, what, help };
    let unreadable = || {
        let what = format!("a certificate in {} cannot be read", path.display());
        fault(what, "allowed: X.509 certificates, version 3")
    };
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let read = Certificate::read(authority).ok_or_else(unreadable)?;
        if !read.is_ca {
            let what = format!("{} in {} is no authority", read.subject, path.display());
            return Err(fault(
                what,
                "allowed: certificates that may sign others (basic constraints: CA), as ca.pem",
            ));
        }
        roots.add(authority.clone()).map_err(|_| unreadable())?;
    }
    Ok(roots)
}

/// Refuses a second list of the same authority: only the first of them would count, which may be the older one.
fn check_lists(path: &Path, lists: &[CertificateRevocationListDer<'static>]) -> Result<(), TlsFault> {
    let mut issuers = BTreeSet::new();
    for list in lists {
        // One that cannot be read is refused by the verifier, with the reason.
        let Ok((_, list)) = CertificateRevocationList::from_der(list) else { continue };
        if !issuers.insert(list.issuer().as_raw().to_vec()) {
            let issuer = printable(&list.issuer().to_string());
            return Err(TlsFault {
                key: TlsKey::Crl,
                what: format!("{} holds more than one revocation list of {issuer}", path.display()),
                help: "keep only the newest list of each authority in the file",
            });
        }
    }
    Ok(())
}

/// The issuer of a list that should have been followed by another one, and since when.
pub(super) fn outdated(
    list: &CertificateRevocationListDer<'_>,
    now: SystemTime,
) -> Option<(String, SystemTime)> {
    let (_, list) = CertificateRevocationList::from_der(list).ok()?;
    let next = instant(list.next_update()?.timestamp());
    (next < now).then(|| (printable(&list.issuer().to_string()), next))
}

/// Most certificates that a client may show: its own, and the authorities up to the root.
pub const CHAIN_MAX: usize = 8;

/// Most bytes of them.
const CHAIN_BYTES_MAX: usize = 16 * 1024;
