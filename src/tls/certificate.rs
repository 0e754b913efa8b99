//! What a certificate says: for people, for audit records, and for findings about its validity.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::role::{NoRole, role_of};

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub not_before: SystemTime,
    /// Until then.
    pub not_after: SystemTime,
}

/// The contents of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it is for, as `CN=Operator, O=Site`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its number, in hexadecimal digits.
    pub serial: String,
    /// When it is valid.
    pub validity: Validity,
    /// The host names and addresses it is for.
    pub names: Vec<String>,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// Whether a client may show it, and a server; both where it does not say.
    pub uses: Uses,
    /// The kind of its key, as `EC P-256`.
    pub key: String,
    /// The role.
    pub role: Result<String, NoRole>,
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses {
    /// To be shown by a client.
    pub client: bool,
    /// To be shown by a server.
    pub server: bool,
}

impl Certificate {
    /// Reads a certificate in DER. `None`: it is none.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(der).ok()?;
        let names = read.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(name);
        let usage = read.extended_key_usage().ok().flatten();
        let uses = usage.map_or(Uses { client: true, server: true }, |usage| Uses {
            client: usage.value.any || usage.value.client_auth,
            server: usage.value.any || usage.value.server_auth,
        });
        Some(Self {
            subject: printable(&read.subject().to_string()),
            issuer: printable(&read.issuer().to_string()),
            serial: read.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            validity: Validity {
                not_before: instant(read.validity().not_before.timestamp()),
                not_after: instant(read.validity().not_after.timestamp()),
            },
            names: names.collect(),
            is_ca: read.is_ca(),
            uses,
            key: key(&read),
            role: role_of(&read),
        })
    }
}

impl Validity {
    /// Whether the time has not come yet.
    #[must_use]
    pub fn is_early(&self, now: SystemTime) -> bool {
        now < self.not_before
    }

    /// Whether the time is over.
    #[must_use]
    pub fn is_over(&self, now: SystemTime) -> bool {
        now > self.not_after
    }

    /// What is left of it; zero once it is over.
    #[must_use]
    pub fn left(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }
}

/// Whether the clock shows a time before this program was written: a machine without a battery for its clock starts so,
/// and every certificate seems not to be valid yet.
#[must_use]
pub fn is_clock_unset(now: SystemTime) -> bool {
    now < UNIX_EPOCH + WRITTEN
}

/// A name for people, without characters that could end a line or hide others, and no longer than needed.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(LONGEST_NAME).collect()
}

pub(super) fn instant(seconds: i64) -> SystemTime {
    let span = Duration::from_secs(seconds.unsigned_abs());
    let found = if seconds < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
    found.unwrap_or(UNIX_EPOCH)
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name {
        return Some(printable(name));
    }
    let GeneralName::IPAddress(bytes) = name else { return None };
    let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
    v4.or_else(|_| v6()).ok().map(|address| address.to_string())
}

fn key(read: &X509Certificate<'_>) -> String {
    use x509_parser::public_key::PublicKey;
    match read.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {} bits", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("EC {} bits", point.key_size()),
        Ok(
            PublicKey::DSA(_)
            | PublicKey::GostR3410(_)
            | PublicKey::GostR3410_2012(_)
            | PublicKey::Unknown(_),
        )
        | Err(_) => "another kind".to_owned(),
    }
}

/// The first of January 2026, from the start of 1970.
const WRITTEN: Duration = Duration::from_secs(1_767_225_600);

/// Most characters of a subject that are shown.
const LONGEST_NAME: usize = 256;
