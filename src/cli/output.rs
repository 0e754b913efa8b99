//! What commands say to the person or script that started them: results to stdout, complaints to stderr.
//!
//! A reader that went away (`metergate ... | head`) is no reason to panic, nor a fault of the command. A full disk
//! is a fault, and is said.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Once;

use super::exit::Exit;

/// Writes a result to stdout. [`Exit::Fault`] if it could not be written for another reason than that the
/// reader went away.
#[must_use]
pub fn print(result: &[u8]) -> Exit {
    show(result).err().unwrap_or(Exit::Ok)
}

/// Writes one of several results to stdout.
///
/// # Errors
/// How the command should end, since the reader of its output is gone.
pub fn show(result: &[u8]) -> Result<(), Exit> {
    let mut stdout = io::stdout().lock();
    check_written(stdout.write_all(result).and_then(|()| stdout.flush()))
}

/// Checks that something was written to stdout. A failure is reported on stderr, once: a command that goes on writing
/// meets it again and again.
///
/// # Errors
/// How the command should end.
pub fn check_written(written: io::Result<()>) -> Result<(), Exit> {
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Exit::Ok),
        Err(error) => {
            static SAID: Once = Once::new();
            SAID.call_once(|| complain(&format!("cannot write to the standard output: {error}")));
            Err(Exit::Fault)
        }
    }
}

/// Says on stderr what went wrong. If even that cannot be written, the exit code still tells.
pub fn complain(text: &str) {
    let text = escape(text.as_bytes());
    let _untold = writeln!(io::stderr().lock(), "metergate: {}", String::from_utf8_lossy(&text));
}

/// Text from elsewhere for a terminal: what could steer it is shown as `\x1b`. Lines and tabs stay.
#[must_use]
pub fn escape(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    // The control characters from U+0080 on are two bytes, the first of which may have come before.
    let mut before = C1_LEAD;
    for byte in text {
        let is_control = match byte {
            b'\n' | b'\t' => false,
            0x00..0x20 | 0x7F => true,
            0x80..0xA0 => before == C1_LEAD,
            0x20..0x7F | 0xA0..=0xFF => false,
        };
        if is_control {
            escaped.extend(format!("\\x{byte:02x}").into_bytes());
        } else {
            escaped.push(*byte);
        }
        before = *byte;
    }
    escaped
}

/// Shows a text that already names its file and place, such as the problems of a configuration, on stderr.
pub fn report(text: &impl Display) {
    let _untold = writeln!(io::stderr().lock(), "{text}");
}

/// The first byte of a control character of two.
const C1_LEAD: u8 = 0xC2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_and_text_stays_text() {
        assert_eq!(escape(b"\x1b]0;owned\x07\x7f"), br"\x1b]0;owned\x07\x7f");
        assert_eq!(escape("\u{9b}2J".as_bytes()), b"\xC2\\x9b2J");
        let plain = "Küche – 3 °C\t1\n";
        assert_eq!(escape(plain.as_bytes()), plain.as_bytes());
    }
}
