//! From bytes to the tree of a file, or to what makes them no text anybody should read as YAML.
//!
//! Owns the size, the encoding and the characters of a file; never opens one and never looks at what it says.

use super::problem::{Faults, Problems, Spot, unreadable};
use super::tree::{self, Node, top};

/// The text in a file's bytes, of which at most [`MAX_FILE`] and one more need to be given.
///
/// # Errors
/// The file is too large, or not UTF-8.
pub(crate) fn decode<'b>(bytes: &'b [u8], file_name: &str) -> Result<&'b str, Problems> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        // The bound cuts a long file anywhere, within a character too.
        Err(_) if bytes.len() as u64 > MAX_FILE => Err(too_large(file_name)),
        Err(error) => Err(not_utf8(bytes, error.valid_up_to(), file_name)),
    }
}

/// The text without the mark some editors put before UTF-8, which says nothing.
///
/// # Errors
/// The text is longer than [`MAX_FILE`].
pub(crate) fn bounded<'t>(text: &'t str, file_name: &str) -> Result<&'t str, Problems> {
    if text.len() as u64 > MAX_FILE {
        return Err(too_large(file_name));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Reads a bounded text; `expected` says what a file of this kind holds. `None`: the faults say why.
pub(crate) fn read(text: &str, expected: &str, faults: &mut Faults<'_>) -> Option<Node> {
    if let Some(spot) = first_control_character(text) {
        let message = "found a control character; allowed: printable text, spaces and ends of line";
        faults.error(&top(spot), message);
        return None;
    }
    tree::read(text, expected, faults)
}

fn too_large(name: &str) -> Problems {
    unreadable(name, format!("the file is larger than {} KiB; allowed: up to that", MAX_FILE / 1024))
}

fn not_utf8(bytes: &[u8], at: usize, name: &str) -> Problems {
    let before = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let whole = String::from_utf8_lossy(bytes);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let found = if utf16 { "UTF-16 text".to_owned() } else { format!("the byte {:02X}", bytes[at]) };
    let mut faults = Faults::new(name, &whole);
    faults
        .error(&top(Spot { line, column, width: 1 }), format!("found {found}; allowed: text saved as UTF-8"));
    match faults.finish() {
        Err(problems) => problems,
        Ok(_) => unreadable(name, "the file is not UTF-8".to_owned()),
    }
}

/// YAML's reader takes a zero for the end of the text, and a lone carriage return for the end of a line.
fn first_control_character(text: &str) -> Option<Spot> {
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

/// Bytes of a file.
pub(crate) const MAX_FILE: u64 = 1024 * 1024;
