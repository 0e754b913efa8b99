//! Problems of a file: the place, the key, what was found and what is allowed, in the shape of rustc's messages.
//!
//! Owns positions, message texts and their bounds; never decides what is wrong.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A position in the text: line and column from 1, columns and width in characters.
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

/// Whether the file can still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used, but probably does not say what was meant.
    Warning,
}

/// One problem of a file. Its `Display` is the full text, of several lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    severity: Severity,
    file: Arc<str>,
    /// `None`: the file as a whole.
    spot: Option<Spot>,
    key: String,
    what: String,
    /// The remedy, without "help".
    help: Option<String>,
    excerpt: Excerpt,
}

impl Problem {
    /// Whether the file can still be used.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Line, from 1; `None` for the file as a whole.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.spot.map(|spot| spot.line)
    }

    /// Column in characters, from 1; `None` for the file as a whole.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.spot.map(|spot| spot.column)
    }

    /// The key's path, such as `buses[0].units[2].id`; empty for the file as a whole.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What was found and what is allowed, without the position.
    #[must_use]
    pub fn message(&self) -> String {
        match &self.help {
            Some(help) => format!("{}; {help}", self.what),
            None => self.what.clone(),
        }
    }

    /// Position, key and message on one line, for a log.
    #[must_use]
    pub fn headline(&self) -> String {
        let spot = self.spot.map_or_else(String::new, |spot| format!(":{}:{}", spot.line, spot.column));
        format!("{}{spot}: {}: {}{}", self.file, self.severity, self.prefix(), self.message())
    }

    fn prefix(&self) -> String {
        if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, file, spot, what, help, excerpt, .. } = self;
        write!(f, "{severity}: {}{what}", self.prefix())?;
        let number = spot.map_or_else(String::new, |spot| spot.line.to_string());
        let margin = " ".repeat(number.len());
        match spot {
            Some(Spot { line, column, .. }) => {
                let Excerpt { text, before, width } = excerpt;
                let (indent, carets) = (" ".repeat(*before), "^".repeat(*width));
                let quoted = format!("{number} | {text}");
                write!(f, "\n{margin}--> {file}:{line}:{column}\n{margin} |\n{}\n", quoted.trim_end())?;
                write!(f, "{margin} | {indent}{carets}")?;
            }
            None => write!(f, "\n--> {file}")?,
        }
        match help {
            Some(help) => write!(f, "\n{margin} = help: {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// All problems of a file that cannot be used, warnings included. Holds at least one error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: Arc<str>,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    /// The errors, in order of the file, then those of files it refers to; [`MAX_ERRORS`] at most.
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
            writeln!(f, "{problem}\n")?;
        }
        let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let more = if self.errors.len() == MAX_ERRORS { " or more" } else { "" };
        write!(f, "{}: {}{more}", self.file, counted(self.errors.len(), "error"))?;
        let elsewhere = self.errors.iter().filter(|problem| problem.file != self.file).count();
        if elsewhere > 0 && self.errors.len() > 1 {
            write!(f, ", {elsewhere} of them in files it names")?;
        } else if elsewhere > 0 {
            write!(f, ", in a file it names")?;
        }
        if !self.warnings.is_empty() {
            write!(f, ", {}", counted(self.warnings.len(), "warning"))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects the problems while a file is read, so that none hides another.
pub(crate) struct Faults<'t> {
    file: Arc<str>,
    lines: Vec<&'t str>,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Errors of other files that this one refers to.
    elsewhere: Vec<Problem>,
    /// Keys with an error.
    faulty: BTreeSet<String>,
}

impl<'t> Faults<'t> {
    /// For a file of that name and text.
    pub(crate) fn new(file: &str, text: &'t str) -> Self {
        let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
        let (errors, warnings, elsewhere) = (Vec::new(), Vec::new(), Vec::new());
        Self { file: file.into(), lines, errors, warnings, elsewhere, faulty: BTreeSet::new() }
    }

    /// Adds an error at a key; without a position if the section was built in code.
    pub(crate) fn error(&mut self, spot: Option<Spot>, key: &str, what: String, help: Option<String>) {
        self.faulty.insert(key.to_owned());
        if self.is_full() {
            return;
        }
        let problem = self.problem(Severity::Error, spot, key, what, help);
        self.errors.push(problem);
    }

    /// Adds a warning at a key.
    pub(crate) fn warning(&mut self, spot: Option<Spot>, key: &str, what: String, help: Option<String>) {
        if self.warnings.len() < MAX_ERRORS {
            let problem = self.problem(Severity::Warning, spot, key, what, help);
            self.warnings.push(problem);
        }
    }

    /// Adds the problems of a file that this one refers to; shown after this one's own.
    pub(crate) fn include(&mut self, other: Problems) {
        let room = MAX_ERRORS - self.errors.len() - self.elsewhere.len();
        self.elsewhere.extend(other.errors.into_iter().take(room));
    }

    /// Whether further errors are dropped.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() + self.elsewhere.len() == MAX_ERRORS
    }

    /// Whether there is an error in this or in a file that it refers to.
    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty() || !self.elsewhere.is_empty()
    }

    /// Whether there is no error at this key, nor at a parent or child.
    pub(crate) fn is_sound(&self, key: &str) -> bool {
        let is_below = |mark: char| {
            let start = format!("{key}{mark}");
            self.faulty.range(start.clone()..).next().is_some_and(|faulty| faulty.starts_with(&start))
        };
        !is_below('.') && !is_below('[') && self.is_sound_itself(key)
    }

    /// Whether there is no error at this key, nor at a parent.
    pub(crate) fn is_sound_itself(&self, key: &str) -> bool {
        let around = key.char_indices().filter(|(_, c)| matches!(c, '.' | '[')).map(|(at, _)| &key[..at]);
        !around.chain([key]).any(|outer| self.faulty.contains(outer))
    }

    /// The lines of the text.
    pub(crate) fn lines(&self) -> &[&'t str] {
        &self.lines
    }

    /// The warnings if there was no error; else all problems.
    pub(crate) fn finish(mut self) -> Result<Vec<Problem>, Problems> {
        self.errors.sort_by_key(|problem| problem.spot);
        self.warnings.sort_by_key(|problem| problem.spot);
        self.errors.append(&mut self.elsewhere);
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        Err(Problems { file: self.file, errors: self.errors, warnings: self.warnings })
    }

    fn problem(
        &self,
        severity: Severity,
        spot: Option<Spot>,
        key: &str,
        what: String,
        help: Option<String>,
    ) -> Problem {
        let line = |spot: Spot| spot.line.checked_sub(1).and_then(|index| self.lines.get(index)).copied();
        let excerpt = spot.map(|spot| Excerpt::new(line(spot).unwrap_or_default(), spot)).unwrap_or_default();
        Problem { severity, file: Arc::clone(&self.file), spot, key: key.to_owned(), what, help, excerpt }
    }
}

/// The only problem of a file that could not be read.
pub(crate) fn unreadable(file: &str, what: impl Into<String>, help: Option<&str>) -> Problems {
    let mut faults = Faults::new(file, "");
    faults.error(None, "", what.into(), help.map(str::to_owned));
    Problems { file: faults.file, errors: faults.errors, warnings: Vec::new() }
}

/// A part of one source line, and the position of the carets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
        let line = super::quote::mask_passwords(line);
        let text: String = line.chars().skip(first).take(EXCERPT_WIDTH).map(shown).collect();
        let before = column - first;
        let room = text.chars().count().saturating_sub(before).max(1);
        Self { text: text.trim_end().to_owned(), before, width: spot.width.clamp(1, room) }
    }
}

/// Errors kept of one file.
pub const MAX_ERRORS: usize = 1000;

/// Characters of a source line repeated in a message.
const EXCERPT_WIDTH: usize = 120;
