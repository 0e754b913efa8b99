//! A client with files of its own: the authorities it trusts, and the certificate it shows.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error};
use tokio_rustls::{TlsConnector, client};

use super::files::{TlsFault, TlsKey, all, certificates, private_key};
use super::trust::{Trust, config};

/// The files of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsClientFiles {
    /// The authorities whose servers it trusts; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate it shows, and the key of it; `None`: none.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A client that can begin handshakes.
#[derive(Clone)]
pub struct TlsClient {
    files: TlsClientFiles,
    authorities: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    config: Arc<ClientConfig>,
}

impl TlsClient {
    /// Loads the files.
    ///
    /// # Errors
    /// A file cannot be read, holds something else, or the key is not the certificate's.
    pub fn load(files: &TlsClientFiles) -> Result<Self, TlsFault> {
        let authorities = match &files.ca {
            Some(path) => certificates(TlsKey::Ca, path)?,
            None => system_authorities()?,
        };
        let (chain, key) = match &files.identity {
            Some((certificate, key)) => {
                (certificates(TlsKey::Certificate, certificate)?, Some(private_key(key)?))
            }
            None => (Vec::new(), None),
        };
        let identity = key.map(|key| (chain.clone(), key));
        let config = config(&Trust::new(&authorities), identity).map_err(|error| unusable(files, &error))?;
        Ok(Self { files: files.clone(), authorities, chain, config: Arc::new(config) })
    }

    /// The files it was loaded from.
    #[must_use]
    pub fn files(&self) -> &TlsClientFiles {
        &self.files
    }

    /// Does the client's part of a handshake with the server of that name or address.
    ///
    /// # Errors
    /// The handshake failed; [`describe_server`] has the words.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the name of the host is none for a certificate")
        })?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }
}

impl PartialEq for TlsClient {
    /// By the contents of the files. The key belongs to the certificate, so that it need not be compared.
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files && self.authorities == other.authorities && self.chain == other.chain
    }
}

impl Eq for TlsClient {}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("files", &self.files).finish_non_exhaustive()
    }
}

/// What a server did wrong, or refused, by the error of a handshake or of a connection after it; `None`: the error is none
/// of TLS.
#[must_use]
pub fn describe_server(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    // rustls adds to its kinds of errors, so that not all of them can be listed.
    Some(if let Error::InvalidCertificate(fault) = error {
        describe_certificate(fault)
    } else if let Error::AlertReceived(alert) = error {
        format!(
            "it ended the TLS connection with the alert {alert:?}; does it accept the client's certificate?"
        )
    } else if matches!(error, Error::InvalidMessage(_)) {
        "it does not speak TLS there".to_owned()
    } else {
        format!("TLS: {error}")
    })
}

fn describe_certificate(fault: &CertificateError) -> String {
    use CertificateError as Fault;
    if matches!(fault, Fault::Expired | Fault::ExpiredContext { .. }) {
        "its certificate has expired".to_owned()
    } else if matches!(fault, Fault::NotValidYet | Fault::NotValidYetContext { .. }) {
        "its certificate is not valid yet; compare the clocks".to_owned()
    } else if matches!(fault, Fault::UnknownIssuer) {
        "no trusted authority signed its certificate; check `ca`".to_owned()
    } else if matches!(fault, Fault::NotValidForName | Fault::NotValidForNameContext { .. }) {
        "its certificate is for another name; connect by the name in it".to_owned()
    } else {
        format!("its certificate cannot be accepted: {fault}")
    }
}

/// The authorities that the system trusts.
fn system_authorities() -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let bundle = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists());
    let Some(bundle) = bundle else {
        return Err(TlsFault {
            key: TlsKey::Ca,
            what: "this machine has no list of authorities".to_owned(),
            help: "name the file with the server's authority in `ca`, or install the package ca-certificates",
        });
    };
    all(TlsKey::Ca, bundle, "certificate in PEM", "reinstall the package ca-certificates, or set `ca`")
}

fn unusable(files: &TlsClientFiles, error: &Error) -> TlsFault {
    let shown = |path: Option<&PathBuf>| path.map(|path| path.display().to_string()).unwrap_or_default();
    let certificate = files.identity.as_ref().map(|(certificate, _)| certificate);
    let key = files.identity.as_ref().map(|(_, key)| key);
    if matches!(error, Error::InconsistentKeys(_)) {
        return TlsFault {
            key: TlsKey::Key,
            what: format!("{} is not the key of the certificate in {}", shown(key), shown(certificate)),
            help: "both come from the same request; the certificate of the client comes first in its file",
        };
    }
    TlsFault {
        key: TlsKey::Certificate,
        what: format!("{} cannot be used: {error}", shown(certificate)),
        help: "allowed: certificates with an EC key (P-256, P-384), an RSA key of 2048 bits or more, or Ed25519",
    }
}

/// Where systems keep their authorities: Debian and Alpine, Red Hat, SUSE.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];
