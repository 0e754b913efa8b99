//! The bytes of a file as text.
//!
//! Owns the size, the encoding and the characters of a file; never opens one and never interprets its contents.

use super::problem::{Faults, Problems, Spot, unreadable};

/// Decodes a file's bytes; of a longer file than [`MAX_FILE`], one more byte is enough.
///
/// # Errors
/// The file is too large, or not UTF-8.
pub(crate) fn decode<'b>(bytes: &'b [u8], file_name: &str) -> Result<&'b str, Problems> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        // The limit cuts a long file anywhere, also within a character.
        Err(_) if bytes.len() as u64 > MAX_FILE => Err(too_large(file_name)),
        Err(error) => Err(not_utf8(bytes, error.valid_up_to(), file_name)),
    }
}

/// The text without a byte order mark.
///
/// # Errors
/// The text is longer than [`MAX_FILE`].
pub(super) fn bounded<'t>(text: &'t str, file_name: &str) -> Result<&'t str, Problems> {
    if text.len() as u64 > MAX_FILE {
        return Err(too_large(file_name));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The parser treats NUL as the end of the text, and a lone carriage return as the end of a line.
pub(super) fn first_control_character(text: &str) -> Option<Spot> {
    let mut spot = Spot::START;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\n' => spot = Spot { line: spot.line + 1, ..Spot::START },
            '\r' if characters.peek() == Some(&'\n') => {}
            '\t' => spot.column += 1,
            c if c.is_control() => return Some(spot),
            _ => spot.column += 1,
        }
    }
    None
}

fn too_large(name: &str) -> Problems {
    let what = format!("the file is larger than {} KiB", MAX_FILE / 1024);
    unreadable(name, what, Some("is it the right file?"))
}

fn not_utf8(bytes: &[u8], at: usize, name: &str) -> Problems {
    let before = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let whole = String::from_utf8_lossy(bytes);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let what =
        if utf16 { "found UTF-16 text".to_owned() } else { format!("found the byte {:02X}", bytes[at]) };
    let help = "allowed: text saved as UTF-8, which the editor offers when saving";
    let mut faults = Faults::new(name, &whole);
    faults.error(Some(Spot { line, column, width: 1 }), "", what, Some(help.to_owned()));
    match faults.finish() {
        Err(problems) => problems,
        Ok(_) => unreadable(name, "the file is not UTF-8", None),
    }
}

/// Largest size of a file in bytes.
pub(crate) const MAX_FILE: u64 = 1024 * 1024;
