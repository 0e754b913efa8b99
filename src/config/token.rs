//! The token of the status page.
//!
//! Owns the form of a token and its comparison, which takes the same time for a wrong token as for the right one. The
//! token is never printed or logged; only the header of a client contains it.
//! Source: RFC 6750 (bearer tokens) and RFC 7617 (the Basic scheme, its password being the token).

use std::fmt;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use subtle::ConstantTimeEq;

/// A token long enough not to be guessed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Smallest number of characters.
    pub const SHORTEST: usize = 16;

    /// Largest number of characters.
    pub const LONGEST: usize = 512;

    /// Parses the text of a token file: one line of printable ASCII characters without a space.
    ///
    /// # Errors
    /// Why it is none, without any character of the text.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let token = text.trim_end_matches(['\r', '\n']);
        if token.is_empty() {
            return Err(NotAToken::Empty);
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NotAToken::Characters);
        }
        match token.len() {
            Self::SHORTEST..=Self::LONGEST => Ok(Self(token.to_owned())),
            length => Err(NotAToken::Length(length)),
        }
    }

    /// Whether the value of an `Authorization` header holds the token: `Bearer TOKEN`, or `Basic` with any user
    /// name and the token as password.
    #[must_use]
    pub fn opens(&self, authorization: &[u8]) -> bool {
        let Some(at) = authorization.iter().position(|byte| *byte == b' ') else { return false };
        let (scheme, rest) = authorization.split_at(at);
        let rest = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return self.equals(rest);
        }
        let password = || {
            let pair = BASE64.decode(rest).ok()?;
            let colon = pair.iter().position(|byte| *byte == b':')?;
            Some(pair[colon + 1..].to_vec())
        };
        scheme.eq_ignore_ascii_case(b"basic") && password().is_some_and(|password| self.equals(&password))
    }

    /// The value of an `Authorization` header with the token, for a client.
    #[must_use]
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Compares in a time that reveals at most the length of the token.
    fn equals(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

/// Why a text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAToken {
    /// There is no character in it.
    Empty,
    /// It has other characters than printable ASCII, or more than one word.
    Characters,
    /// It has this many characters, too few or too many.
    Length(usize),
}

impl fmt::Display for NotAToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("found nothing in it"),
            Self::Characters => {
                f.write_str("found characters that are not printable ASCII, or more than one word")
            }
            Self::Length(length) => write!(f, "found {length} characters"),
        }
    }
}

impl std::error::Error for NotAToken {}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other.0.as_bytes())
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(not shown)")
    }
}

/// RFC 4648 section 4; padding is optional because clients differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str = "correct-horse-battery";

    #[test]
    fn a_token_opens_as_bearer_and_as_password_whatever_the_user_name() {
        let token = Token::parse("correct-horse-battery\n").unwrap();
        for right in [
            "Bearer correct-horse-battery",
            "bearer   correct-horse-battery",
            "Basic YW55Ym9keTpjb3JyZWN0LWhvcnNlLWJhdHRlcnk=",
            "basic OmNvcnJlY3QtaG9yc2UtYmF0dGVyeQ==",
        ] {
            assert!(token.opens(right.as_bytes()), "{right}");
        }
    }

    #[test]
    fn nothing_else_opens() {
        let token = Token::parse(WORD).unwrap();
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "correct-horse-battery",
            "Bearer correct-horse-batter",
            "Bearer correct-horse-batteryy",
            "Bearer Correct-horse-battery",
            "Basic correct-horse-battery",
            "Basic Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5",
            "Basic YW55Ym9keTpjb3JyZWN0LWhvcnNlLWJhdHRlcg==",
            "Basic *",
            "Digest correct-horse-battery",
        ] {
            assert!(!token.opens(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_token_has_16_to_512_printable_characters_of_one_word_and_is_never_shown() {
        for (length, fits) in [(0, false), (15, false), (16, true), (512, true), (513, false)] {
            assert_eq!(Token::parse(&"x".repeat(length)).is_ok(), fits, "{length}");
        }
        for wrong in ["two words of some length", "a-line-of-its-own\nand-another", "für-jeden-der-es-kennt"]
        {
            assert_eq!(Token::parse(wrong).unwrap_err(), NotAToken::Characters, "{wrong}");
        }
        assert!(!format!("{:?}", Token::parse(WORD).unwrap()).contains("horse"));
    }
}
