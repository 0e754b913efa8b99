//! The terminal results are shown on, if they are shown on one.
//!
//! Owns its size and how it is painted over. Never writes to it.

use std::io::{self, IsTerminal};

/// Columns and rows of the terminal that stdout is; `None` where it is none.
#[must_use]
pub fn size() -> Option<(usize, usize)> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    Some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// Columns of the terminal, if it is one that knows.
#[must_use]
pub fn width() -> Option<usize> {
    size().map(|(columns, _)| columns).filter(|columns| *columns > 0)
}

/// Text that replaces what the terminal shows, cut to its rows.
#[must_use]
pub fn repaint(text: &str, rows: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    // The last row stays free for the cursor.
    let room = if rows > 1 { rows - 1 } else { usize::MAX };
    let mut shown = lines.clone();
    let rest;
    if lines.len() > room {
        shown.truncate(room.saturating_sub(1));
        rest = format!("... {} more lines; name groups to see them", lines.len() - shown.len());
        shown.push(&rest);
    }
    // Home, each line and the rest of its row cleared, then everything below: nothing flickers.
    let lines: String = shown.iter().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}

/// Empties the screen.
pub const CLEAR: &str = "\x1b[H\x1b[2J";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_the_screen_is_left_out_and_counted() {
        assert_eq!(repaint("a\nb\n", 3), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        let cut = repaint("a\nb\nc\nd\n", 4);
        assert_eq!(cut, "\x1b[Ha\x1b[K\nb\x1b[K\n... 2 more lines; name groups to see them\x1b[K\n\x1b[J");
        assert!(repaint("a\nb\n", 0).contains("b\x1b[K"), "a terminal that knows no size");
    }
}
