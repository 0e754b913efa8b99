//! The role in a client's certificate.
//!
//! The extension 1.3.6.1.4.1.50316.802.1 holds one UTF8String in DER, and the whole string is the role (R-21, R-22,
//! What is anything else is no role: the client is served as one without.

use std::fmt;

use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a certificate has no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRole {
    /// It has no such extension.
    Missing,
    /// It has more than one.
    Doubled,
    /// The extension is not one UTF8String, and what it is instead.
    Malformed(&'static str),
    /// The certificate cannot be read.
    Unreadable,
}

/// The role in a certificate in DER.
///
/// # Errors
/// It has none.
pub fn role_in(certificate: &[u8]) -> Result<String, NoRole> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| NoRole::Unreadable)?;
    role_of(&certificate)
}

pub(super) fn role_of(certificate: &X509Certificate<'_>) -> Result<String, NoRole> {
    let oid = Oid::from(&ROLE_OID).map_err(|_| NoRole::Unreadable)?;
    let mut found = certificate.extensions().iter().filter(|extension| extension.oid == oid);
    match (found.next(), found.next()) {
        (None, _) => Err(NoRole::Missing),
        (Some(extension), None) => role_from(extension.value).map(str::to_owned),
        (Some(_), Some(_)) => Err(NoRole::Doubled),
    }
}

/// The role in the value of the extension.
///
/// # Errors
/// The value is not one UTF8String of 1 to [`LONGEST_ROLE`] bytes without control characters.
pub fn role_from(value: &[u8]) -> Result<&str, NoRole> {
    let malformed = |what| Err(NoRole::Malformed(what));
    let (text, length) = match value {
        [] => return malformed("the extension is empty"),
        [UTF8_STRING, length @ 0..=0x7F, text @ ..] => (text, usize::from(*length)),
        // The long form only where the short one does not do: DER has one way to write a length.
        [UTF8_STRING, 0x81, length @ 0x80..=0xFF, text @ ..] => (text, usize::from(*length)),
        [UTF8_STRING, ..] => return malformed("the length of the string is not in DER, or it is too long"),
        [_, ..] => return malformed("it is no UTF8String"),
    };
    match std::str::from_utf8(text) {
        _ if text.len() != length => malformed("the string is shorter or longer than the extension"),
        Err(_) => malformed("the string is not UTF-8"),
        Ok("") => malformed("the string is empty"),
        Ok(role) if role.chars().any(char::is_control) => malformed("the string has control characters"),
        Ok(role) => Ok(role),
    }
}

impl fmt::Display for NoRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it has no role"),
            Self::Doubled => f.write_str("it has more than one role, which counts as none"),
            Self::Malformed(what) => write!(f, "its role is malformed, which counts as none: {what}"),
            Self::Unreadable => f.write_str("the certificate cannot be read"),
        }
    }
}

/// The extension's identifier, and that of the arc it belongs to (chapter 8.3).
pub(super) const ROLE_OID: [u64; 9] = [1, 3, 6, 1, 4, 1, 50_316, 802, 1];

/// Most bytes of a role.
pub const LONGEST_ROLE: usize = 255;

/// The tag of a UTF8String.
const UTF8_STRING: u8 = 0x0C;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_one_utf8_string_and_the_whole_of_it() {
        let longest = [&[0x0C, 0x81, 0xFF][..], &[b'a'; 255]].concat();
        for (value, expected) in [
            (&b"\x0C\x08Operator"[..], "Operator"),
            (b"\x0C\x01x", "x"),
            (b"\x0C\x02\xC3\xA9", "\u{e9}"),
            (b"\x0C\x03a,b", "a,b"),
            (&longest, std::str::from_utf8(&[b'a'; 255]).unwrap()),
        ] {
            assert_eq!(role_from(value), Ok(expected), "{value:02X?}");
        }
    }

    #[test]
    fn anything_else_is_no_role() {
        let long_form = [&[0x0C, 0x81, 0x7F][..], &[b'a'; 127]].concat();
        for value in [
            &b""[..],
            b"Operator",
            b"\x13\x08Operator",
            b"\x0C",
            b"\x0C\x00",
            b"\x0C\x09Operator",
            b"\x0C\x07Operator",
            b"\x0C\x80Operator\x00\x00",
            b"\x0C\x82\x00\x08Operator",
            &long_form,
            b"\x0C\x02\xC3\x28",
            b"\x0C\x02a\n",
            b"\x30\x0A\x0C\x08Operator",
            b"\x0C\x01a\x0C\x01b",
        ] {
            assert!(matches!(role_from(value), Err(NoRole::Malformed(_))), "{value:02X?}");
        }
    }
}
