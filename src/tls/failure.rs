//! Why a handshake failed: a cause for the counters, and a sentence for the log.

use std::fmt;
use std::io;

use tokio_rustls::rustls::{CertificateError, Error};

/// The cause of a failed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It was not complete in time.
    TimedOut,
    /// More were begun at once than are allowed, in all or by its address.
    TooMany,
    /// The client showed no certificate.
    NoCertificate,
    /// The certificate's time is over.
    Expired,
    /// The certificate's time has not come.
    NotYetValid,
    /// No authority of `client_ca` signed the certificate.
    UnknownAuthority,
    /// The revocation list has the certificate.
    Revoked,
    /// No list says whether the certificate is revoked.
    RevocationUnknown,
    /// The certificate is faulty, or not for clients.
    BadCertificate,
    /// The client offers no version or suite that is supported.
    Incompatible,
    /// The client does not speak TLS.
    NotTls,
    /// The client does not accept the gateway's certificate, or broke off with another alert.
    RefusedByClient,
    /// The client closed the connection.
    Closed,
    /// Anything else.
    Other,
}

impl HandshakeFailure {
    /// All of them, in their order.
    pub const ALL: [Self; 14] = [
        Self::TimedOut,
        Self::TooMany,
        Self::NoCertificate,
        Self::Expired,
        Self::NotYetValid,
        Self::UnknownAuthority,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::BadCertificate,
        Self::Incompatible,
        Self::NotTls,
        Self::RefusedByClient,
        Self::Closed,
        Self::Other,
    ];

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// A word for counters.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::TooMany => "too_many",
            Self::NoCertificate => "no_certificate",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownAuthority => "unknown_authority",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::BadCertificate => "bad_certificate",
            Self::Incompatible => "incompatible",
            Self::NotTls => "not_tls",
            Self::RefusedByClient => "refused_by_client",
            Self::Closed => "closed",
            Self::Other => "other",
        }
    }
}

impl From<&Error> for HandshakeFailure {
    fn from(error: &Error) -> Self {
        if let Error::InvalidCertificate(fault) = error {
            return Self::from(fault);
        }
        let causes = [
            (matches!(error, Error::NoCertificatesPresented), Self::NoCertificate),
            (matches!(error, Error::PeerIncompatible(_)), Self::Incompatible),
            (matches!(error, Error::AlertReceived(_)), Self::RefusedByClient),
            (matches!(error, Error::InvalidMessage(_) | Error::PeerSentOversizedRecord), Self::NotTls),
            (matches!(error, Error::InvalidCertRevocationList(_)), Self::RevocationUnknown),
        ];
        cause(&causes).unwrap_or(Self::Other)
    }
}

impl From<&CertificateError> for HandshakeFailure {
    fn from(fault: &CertificateError) -> Self {
        use CertificateError as Fault;
        let causes = [
            (matches!(fault, Fault::Expired | Fault::ExpiredContext { .. }), Self::Expired),
            (matches!(fault, Fault::NotValidYet | Fault::NotValidYetContext { .. }), Self::NotYetValid),
            (matches!(fault, Fault::Revoked), Self::Revoked),
            (matches!(fault, Fault::UnknownIssuer), Self::UnknownAuthority),
            (matches!(fault, Fault::UnknownRevocationStatus), Self::RevocationUnknown),
        ];
        cause(&causes).unwrap_or(Self::BadCertificate)
    }
}

/// The cause that applies. rustls adds to its kinds of errors, so that not all of them can be listed.
fn cause(causes: &[(bool, HandshakeFailure)]) -> Option<HandshakeFailure> {
    causes.iter().find(|(applies, _)| *applies).map(|(_, cause)| *cause)
}

impl From<&io::Error> for HandshakeFailure {
    fn from(error: &io::Error) -> Self {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            return error.into();
        }
        let has_closed = [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::BrokenPipe,
        ];
        if has_closed.contains(&error.kind()) { Self::Closed } else { Self::Other }
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the handshake was not complete in time",
            Self::TooMany => "too many handshakes at once",
            Self::NoCertificate => "the client showed no certificate; each client needs one",
            Self::Expired => "the client's certificate has expired",
            Self::NotYetValid => "the client's certificate is not valid yet; compare the clocks",
            Self::UnknownAuthority => "no authority in client_ca signed the client's certificate",
            Self::Revoked => "the client's certificate is revoked",
            Self::RevocationUnknown => "no list in crl is of the authority that signed the client's certificate",
            Self::BadCertificate => "the client's certificate is faulty, or not for clients",
            Self::Incompatible => "the client offers no TLS version or cipher suite that is supported",
            Self::NotTls => "the client does not speak TLS; set it to Modbus/TCP Security, or give it a listener without tls",
            Self::RefusedByClient => "the client broke off; does it trust the authority of the gateway's certificate?",
            Self::Closed => "the client closed the connection",
            Self::Other => "the handshake failed",
        })
    }
}
