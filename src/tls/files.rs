//! The files of a server and of a client, read and described.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate, then those of the authorities up to the root.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
    /// The authorities whose clients are accepted; `None`: clients need no certificate.
    pub client_ca: Option<PathBuf>,
    /// The revocation lists of these authorities.
    pub crl: Option<PathBuf>,
}

/// One of [`TlsFiles`] or of the files of a client, by the name of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsKey {
    /// The certificate.
    Certificate,
    /// Its key.
    Key,
    /// The authorities of clients.
    ClientCa,
    /// Their revocation lists.
    Crl,
    /// The authorities of servers.
    Ca,
}

/// Why a server or a client cannot use its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFault {
    /// Which file.
    pub key: TlsKey,
    /// What is wrong.
    pub what: String,
    /// The remedy.
    pub help: &'static str,
}

impl TlsKey {
    /// The key in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::ClientCa => "client_ca",
            Self::Crl => "crl",
            Self::Ca => "ca",
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.help)
    }
}

/// The certificates in a file, at least one.
pub(super) fn certificates(key: TlsKey, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let help = "allowed: a file that begins -----BEGIN CERTIFICATE-----";
    all(key, path, "certificate in PEM", help)
}

/// All items of one kind in a file, at least one.
pub(super) fn all<T: PemObject>(
    key: TlsKey,
    path: &Path,
    what: &str,
    help: &'static str,
) -> Result<Vec<T>, TlsFault> {
    let text = read(key, path)?;
    let found: Result<Vec<T>, _> = T::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(TlsFault { key, what: format!("{} holds no {what}", path.display()), help }),
    }
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    PrivateKeyDer::from_pem_slice(&read(TlsKey::Key, path)?).map_err(|_| TlsFault {
        key: TlsKey::Key,
        what: format!("{} holds no private key in PEM without a password", path.display()),
        help: "allowed: a file that begins -----BEGIN PRIVATE KEY-----, or EC or RSA PRIVATE KEY",
    })
}

fn read(key: TlsKey, path: &Path) -> Result<Vec<u8>, TlsFault> {
    let mut text = Vec::new();
    let fault = |what, help| Err(TlsFault { key, what, help });
    let shown = path.display();
    // Checked before the file is opened: opening a pipe waits for its writer.
    let metadata = fs::metadata(path);
    if metadata.as_ref().is_ok_and(|metadata| !metadata.is_file()) {
        return fault(format!("{shown} is not a file"), "allowed: a file in PEM");
    }
    let read = metadata.and_then(|_| File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut text));
    match read {
        Ok(length) if length as u64 > FILE_MAX => fault(
            format!("{shown} is larger than {FILE_MAX} bytes"),
            "allowed: a file of certificates in PEM",
        ),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fault(format!("there is no file {shown}"), "`metergate tls init DIR` makes certificates and keys")
        }
        Err(error) if key == TlsKey::Key && error.kind() == io::ErrorKind::PermissionDenied => fault(
            format!("{shown} cannot be read: {error}"),
            "the service reads it through its group (`chgrp metergate` and `chmod 640`); commands need `sudo`, or a user \
             in that group",
        ),
        Err(error) => fault(
            format!("{shown} cannot be read: {error}"),
            "the user this runs as must be able to read it and to enter its directory",
        ),
    }
}

/// Most bytes of a file: a revocation list of a large company is a few hundred kilobytes.
pub(super) const FILE_MAX: u64 = 4_000_000;
