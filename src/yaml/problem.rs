//! What is wrong with a file: where, at which key, what was found and what is allowed.
//!
//! Owns positions, the texts people see and their bounds; never decides what is wrong.
//! Every text stands on `file:line:column`, repeats the line and puts a caret under the place.

use std::fmt;
use std::sync::Arc;

/// A place in the text: line and column from 1, columns and width in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) width: usize,
}

impl Spot {
    /// The first character of the file.
    pub(crate) const START: Self = Self { line: 1, column: 1, width: 1 };
}

/// A place in the text and the path of the key that stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) spot: Spot,
    pub(crate) key: String,
}

/// Whether the file can be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used; somebody should look.
    Warning,
}

/// One thing wrong with a file. Its `Display` is the full text, of several lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    severity: Severity,
    file: Arc<str>,
    /// `None`: the file as a whole.
    spot: Option<Spot>,
    key: String,
    message: String,
    excerpt: Excerpt,
}

impl Problem {
    /// Whether the file can be used all the same.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Line, from 1; `None` where the file as a whole is meant.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.spot.map(|spot| spot.line)
    }

    /// Column in characters, from 1; `None` where the file as a whole is meant.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.spot.map(|spot| spot.column)
    }

    /// The key's path, such as `buses[0].units[2].id`; empty where no key is meant.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What was found and what is allowed, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Place, key and message on one line, for a log.
    #[must_use]
    pub fn headline(&self) -> String {
        let mut line = self.file.to_string();
        if let Some(spot) = self.spot {
            line.push_str(&format!(":{}:{}", spot.line, spot.column));
        }
        line.push_str(match self.severity {
            Severity::Error => ": error: ",
            Severity::Warning => ": warning: ",
        });
        if !self.key.is_empty() {
            line.push_str(&format!("{}: ", self.key));
        }
        line + &self.message
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if let Some(spot) = self.spot {
            let number = spot.line.to_string();
            let margin = " ".repeat(number.len());
            let Excerpt { text, before, width } = &self.excerpt;
            let (indent, carets) = (" ".repeat(*before), "^".repeat(*width));
            let quoted = format!(" {number} | {text}");
            write!(f, "\n{}\n {margin} | {indent}{carets}", quoted.trim_end())?;
        }
        Ok(())
    }
}

/// Everything wrong with a file that cannot be used, warnings included. Holds at least one error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: Arc<str>,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    /// The errors, in order of the file, then those of files it names; [`MAX_ERRORS`] at most.
    #[must_use]
    pub fn errors(&self) -> &[Problem] {
        &self.errors
    }

    /// The warnings, in order of the file.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.errors.iter().chain(&self.warnings) {
            writeln!(f, "{problem}")?;
        }
        let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        write!(f, "{}: {}", self.file, counted(self.errors.len() + self.left_out, "error"))?;
        let elsewhere = self.errors.iter().filter(|problem| problem.file != self.file).count();
        if elsewhere > 0 && self.errors.len() + self.left_out > 1 {
            write!(f, ", {elsewhere} of them in files it names")?;
        } else if elsewhere > 0 {
            write!(f, ", in a file it names")?;
        }
        if self.left_out > 0 {
            write!(f, " (the first {} are shown)", self.errors.len())?;
        }
        if !self.warnings.is_empty() {
            write!(f, ", {}", counted(self.warnings.len(), "warning"))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects what is wrong while the file is read, so that no fault hides another.
pub(crate) struct Faults<'t> {
    file: Arc<str>,
    lines: Vec<&'t str>,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Errors of other files that this one names.
    elsewhere: Vec<Problem>,
    left_out: usize,
}

impl<'t> Faults<'t> {
    /// For a file of that name and text.
    pub(crate) fn new(file: &str, text: &'t str) -> Self {
        let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
        Self {
            file: file.into(),
            lines,
            errors: Vec::new(),
            warnings: Vec::new(),
            elsewhere: Vec::new(),
            left_out: 0,
        }
    }

    /// Notes an error at a key.
    pub(crate) fn error(&mut self, place: &Place, message: impl Into<String>) {
        if self.errors.len() + self.elsewhere.len() == MAX_ERRORS {
            self.left_out += 1;
            return;
        }
        let problem = self.problem(Severity::Error, place, message.into());
        self.errors.push(problem);
    }

    /// Notes everything wrong with a file that this one names; it is shown after this one's own.
    pub(crate) fn include(&mut self, other: Problems) {
        let room = MAX_ERRORS - self.errors.len() - self.elsewhere.len();
        self.left_out += other.left_out + other.errors.len().saturating_sub(room);
        self.elsewhere.extend(other.errors.into_iter().take(room));
    }

    /// Notes a warning at a key.
    pub(crate) fn warning(&mut self, place: &Place, message: impl Into<String>) {
        if self.warnings.len() < MAX_ERRORS {
            let problem = self.problem(Severity::Warning, place, message.into());
            self.warnings.push(problem);
        }
    }

    /// The text of one line, from 1; empty beyond the last.
    pub(crate) fn line(&self, line: usize) -> &'t str {
        line.checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or("")
    }

    /// The warnings, where there was no error; else everything.
    pub(crate) fn finish(mut self) -> Result<Vec<Problem>, Problems> {
        self.errors.sort_by_key(|problem| problem.spot);
        self.warnings.sort_by_key(|problem| problem.spot);
        self.errors.append(&mut self.elsewhere);
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        let Self { file, errors, warnings, elsewhere: _, left_out, lines: _ } = self;
        Err(Problems { file, errors, warnings, left_out })
    }

    fn problem(&self, severity: Severity, place: &Place, message: String) -> Problem {
        let excerpt = Excerpt::new(self.line(place.spot.line), place.spot);
        Problem {
            severity,
            file: Arc::clone(&self.file),
            spot: Some(place.spot),
            key: place.key.clone(),
            message,
            excerpt,
        }
    }
}

/// The only problem of a file that could not even be read.
pub(crate) fn unreadable(file: &str, message: String) -> Problems {
    let file: Arc<str> = file.into();
    let excerpt = Excerpt { text: String::new(), before: 0, width: 0 };
    let problem = Problem {
        severity: Severity::Error,
        file: Arc::clone(&file),
        spot: None,
        key: String::new(),
        message,
        excerpt,
    };
    Problems { file, errors: vec![problem], warnings: Vec::new(), left_out: 0 }
}

/// A part of one source line, and where the carets go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    text: String,
    before: usize,
    width: usize,
}

impl Excerpt {
    fn new(line: &str, spot: Spot) -> Self {
        // A file may be one very long line, and every problem keeps its own excerpt.
        let column = spot.column.saturating_sub(1);
        let first = if column < EXCERPT_WIDTH * 3 / 4 { 0 } else { column - EXCERPT_WIDTH / 2 };
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let text: String = line.chars().skip(first).take(EXCERPT_WIDTH).map(shown).collect();
        let before = column - first;
        let room = text.chars().count().saturating_sub(before).max(1);
        Self { text: text.trim_end().to_owned(), before, width: spot.width.clamp(1, room) }
    }
}

/// Errors kept of one file; the rest is counted.
pub const MAX_ERRORS: usize = 1000;

/// Characters of a source line repeated in a message.
const EXCERPT_WIDTH: usize = 120;
