//! Reads the sections of a file one after the other, with every mistake in them.
//!
//! Owns how a section is read again after a mistake, and the messages about keys that are unknown, missing or not yet
//! supported.

use serde::Deserialize;

use super::de::{Error, ErrorKind, NodeDeserializer, Pass, allowed, keys};
use super::nearest;
use super::problem::{Faults, Problem, Problems, Spot, unreadable};
use super::quote::shorten;
use super::sections::{Keys, Sections};
use super::text::{bounded, first_control_character};
use super::tree::{self, Entry, Node, NodeKind, join};
use super::value::wrong_length;

/// One section of a file: a struct whose container attribute `rename` is its display name, after "of".
pub(crate) trait Section: for<'de> Deserialize<'de> {
    /// Keys whose contents are read separately: lists of sections.
    const APART: Keys = &[];
}

/// One kind of file.
pub(crate) struct Format {
    /// What such a file holds, for the message after "allowed:".
    pub(crate) holds: &'static str,
    /// All sections.
    pub(crate) sections: &'static Sections,
}

/// Reads a text; `build` converts its sections, or reports why it cannot. Returns the warnings, too.
///
/// # Errors
/// All problems of the text.
pub(crate) fn read<T>(
    text: &str,
    file_name: &str,
    format: &'static Format,
    build: impl for<'n> FnOnce(&mut Reader<'n, '_>, &'n Node) -> Option<T>,
) -> Result<(T, Vec<Problem>), Problems> {
    let text = bounded(text, file_name)?;
    let mut faults = Faults::new(file_name, text);
    let root = match first_control_character(text) {
        Some(spot) => {
            let help = "allowed: printable text, spaces and ends of line".to_owned();
            faults.error(Some(spot), "", "found a control character".to_owned(), Some(help));
            None
        }
        None => tree::read(text, format.holds, format.sections, &mut faults),
    };
    let mut built = None;
    if let Some(root) = &root {
        let mut reader = Reader { root: Some(root), faults, format };
        built = build(&mut reader, root);
        faults = reader.faults;
    }
    finish(faults, built, file_name)
}

/// The same for sections that were built in code and have no text; `name` is the file's in messages.
///
/// # Errors
/// All problems of the sections.
pub(crate) fn without_text<T>(
    name: &str,
    format: &'static Format,
    build: impl FnOnce(&mut Reader<'_, '_>) -> Option<T>,
) -> Result<(T, Vec<Problem>), Problems> {
    let mut reader = Reader { root: None, faults: Faults::new(name, ""), format };
    let built = build(&mut reader);
    finish(reader.faults, built, name)
}

fn finish<T>(faults: Faults<'_>, built: Option<T>, name: &str) -> Result<(T, Vec<Problem>), Problems> {
    let warnings = faults.finish()?;
    // If the result is missing, an error has been reported.
    let built = built.ok_or_else(|| unreadable(name, "the file is incomplete", None))?;
    Ok((built, warnings))
}

/// A file while its sections are read and compared.
pub(crate) struct Reader<'n, 't> {
    /// `None`: there is no text.
    root: Option<&'n Node>,
    faults: Faults<'t>,
    format: &'static Format,
}

impl<'n> Reader<'n, '_> {
    /// Reads one section. Reported values have their default; `None`: a value has none, or this is not a section at
    /// all.
    pub(crate) fn section<T: Section>(&mut self, section: &'n Node, path: &str) -> Option<T> {
        let mut pass = Pass { apart: Some((section, T::APART)), ..Pass::default() };
        let mut lacking = None;
        while !self.faults.is_full() {
            let error = match T::deserialize(NodeDeserializer { node: section, pass: &pass }) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let mut wrong = error.node.unwrap_or(section);
            if let ErrorKind::MissingKey(key) = error.kind {
                // The key is present and has been reported; without its value the section cannot be built.
                if wrong.entry(key).is_none() {
                    pass.absent = Some((wrong, key));
                    lacking = Some(wrong);
                    continue;
                }
            } else if matches!(wrong.kind, NodeKind::Absent) {
                wrong = lacking.take().unwrap_or(section);
                pass.absent = None;
                self.report(Error { spot: Some(wrong.spot), ..error }, path);
            } else {
                self.report(error, path);
            }
            if std::ptr::eq(wrong, section) {
                return None;
            }
            pass.skipped.insert(wrong);
        }
        None
    }

    /// Reads each section of the list below a key. A missing or empty list is reported.
    pub(crate) fn sections<S: Section, T>(
        &mut self,
        parent: &'n Node,
        path: &str,
        key: &str,
        most: usize,
        mut read: impl FnMut(&mut Self, &'n Node, &str) -> T,
    ) -> Vec<T> {
        let path = join(path, key);
        let NodeKind::Mapping(entries) = &parent.kind else { return Vec::new() };
        if parent.entry(key).is_none() {
            let help = format!("add `{key}:`, and below it {}", entries_of::<S>(most));
            self.error(&path, "the key is missing", &help);
        }
        let mut found = Vec::new();
        for entry in entries.iter().filter(|entry| entry.key == key) {
            let what = match &entry.value.kind {
                NodeKind::Refused => continue,
                NodeKind::List(items) => wrong_length(items.len(), 1, most),
                NodeKind::Empty | NodeKind::Absent | NodeKind::Scalar { .. } | NodeKind::Mapping(_) => {
                    Some(format!("found {}", entry.value.describe()))
                }
            };
            if let Some(what) = what {
                let (what, help) = match &entry.value.kind {
                    NodeKind::Mapping(entries) if !entries.is_empty() => self.missing_dash(entries),
                    NodeKind::Mapping(_)
                    | NodeKind::List(_)
                    | NodeKind::Empty
                    | NodeKind::Absent
                    | NodeKind::Refused
                    | NodeKind::Scalar { .. } => (what, format!("write {}", entries_of::<S>(most))),
                };
                self.faults.error(Some(entry.value.spot), &path, what, Some(help));
            }
            let NodeKind::List(items) = &entry.value.kind else { continue };
            if let [Node { kind: NodeKind::Scalar { text, .. }, .. }, _, ..] = items.as_slice()
                && items.iter().all(|item| is_text(item, keys::<S>()))
            {
                let help = format!("begin each with its key: `- {}: {}`", first_key::<S>(), shorten(text));
                self.faults.error(
                    Some(items[0].spot),
                    &path,
                    "found values without a key".to_owned(),
                    Some(help),
                );
                continue;
            }
            for (index, item) in items.iter().take(most).enumerate() {
                let one = read(self, item, &format!("{path}[{index}]"));
                // A list under a duplicate key is read only for its mistakes.
                if !entry.doubled {
                    found.push(one);
                }
            }
        }
        found
    }

    /// The message about keys in place of a list of sections.
    fn missing_dash(&self, entries: &[Entry]) -> (String, String) {
        let what = "the first entry has no dash".to_owned();
        let Some(first) = entries.first() else { return (what, String::new()) };
        let line = self.faults.lines().get(first.key_spot.line - 1).copied().unwrap_or_default();
        let text = line.split(" #").next().unwrap_or_default().trim_end();
        let help = match text.strip_prefix(&" ".repeat(first.key_spot.column - 1)) {
            Some(bare) if first.key_spot.column > 2 => {
                let spaces = " ".repeat(first.key_spot.column - 3);
                format!(
                    "write `{spaces}- {}`: the dash takes the place of two spaces, and the lines below stay as they \
                     are",
                    shorten(bare)
                )
            }
            Some(_) | None => format!("begin each entry with a dash: `- {}: ...`", first.key),
        };
        (what, help)
    }

    /// The same for an optional list.
    pub(crate) fn sections_if_any<S: Section, T>(
        &mut self,
        parent: &'n Node,
        path: &str,
        key: &str,
        most: usize,
        read: impl FnMut(&mut Self, &'n Node, &str) -> T,
    ) -> Vec<T> {
        if parent.entry(key).is_none() {
            Vec::new()
        } else {
            self.sections::<S, T>(parent, path, key, most, read)
        }
    }

    /// The same for a list that may also be empty.
    pub(crate) fn sections_or_none<S: Section, T>(
        &mut self,
        parent: &'n Node,
        path: &str,
        key: &str,
        most: usize,
        read: impl FnMut(&mut Self, &'n Node, &str) -> T,
    ) -> Vec<T> {
        let is_empty = |node: &Node| matches!(&node.kind, NodeKind::List(items) if items.is_empty());
        if parent.entry(key).is_some_and(|entry| is_empty(&entry.value)) {
            return Vec::new();
        }
        self.sections_if_any::<S, T>(parent, path, key, most, read)
    }

    /// Reports a problem of the value at a path, and the remedy.
    pub(crate) fn error(&mut self, path: &str, what: &str, help: &str) {
        let spot = self.spot(path);
        self.faults.error(spot, path, what.to_owned(), Some(help.to_owned()));
    }

    /// Reports a problem of the key at a path.
    pub(crate) fn error_at_key(&mut self, path: &str, what: &str, help: &str) {
        let spot = self.root.map(|root| root.find(path).1);
        self.faults.error(spot, path, what.to_owned(), Some(help.to_owned()));
    }

    /// Adds a warning about the value at a path.
    pub(crate) fn warning(&mut self, path: &str, what: &str, help: &str) {
        let spot = self.spot(path);
        self.faults.warning(spot, path, what.to_owned(), Some(help.to_owned()));
    }

    /// Adds the problems of a file that this one refers to.
    pub(crate) fn include(&mut self, problems: Problems) {
        self.faults.include(problems);
    }

    /// Whether there is no error at this path, nor at a parent or child.
    pub(crate) fn is_sound(&self, path: &str) -> bool {
        self.faults.is_sound(path)
    }

    /// Whether there is no error at this path, nor at a parent.
    pub(crate) fn is_sound_itself(&self, path: &str) -> bool {
        self.faults.is_sound_itself(path)
    }

    /// Reports a missing value that has no default, with the allowed values.
    pub(crate) fn require<T: for<'de> Deserialize<'de>>(&mut self, value: &Option<T>, path: &str) {
        if value.is_none() && self.is_sound(path) {
            let help = match allowed::<T>() {
                Some(ErrorKind::Value { allowed, .. }) => {
                    let key = path.rsplit('.').next().unwrap_or_default();
                    format!("add `{key}:` with {allowed}")
                }
                Some(_) | None => String::new(),
            };
            self.error(path, "the key is missing", &help);
        }
    }

    /// The items of the list at this path that could be read, each with its own path.
    pub(crate) fn items<'i, T>(&self, path: &str, items: &'i [T]) -> Vec<(String, &'i T)> {
        let length = self.root.and_then(|root| root.find_list(path)).unwrap_or(items.len());
        let paths = (0..length).map(|index| format!("{path}[{index}]"));
        let paths: Vec<String> = paths.filter(|path| self.is_sound(path)).collect();
        // Otherwise the list as a whole is faulty.
        if paths.len() == items.len() { paths.into_iter().zip(items).collect() } else { Vec::new() }
    }

    /// Whether these are all items of the list at this path, so that their indexes are those of the file.
    pub(crate) fn is_whole<T>(&self, path: &str, items: &[T]) -> bool {
        self.root.is_none_or(|root| root.find_list(path).is_none_or(|length| length == items.len()))
    }

    /// Whether further errors are dropped.
    pub(crate) fn is_full(&self) -> bool {
        self.faults.is_full()
    }

    /// Whether anything was reported.
    pub(crate) fn has_errors(&self) -> bool {
        self.faults.has_errors()
    }

    /// ` on line 7`, where the value at that path is; empty without a text.
    pub(crate) fn on_line(&self, path: &str) -> String {
        self.spot(path).map(|spot| format!(" on line {}", spot.line)).unwrap_or_default()
    }

    /// The line of the value at that path; `None`: the file does not contain it.
    pub(crate) fn line(&self, path: &str) -> Option<usize> {
        self.root.filter(|root| root.has(path)).map(|root| root.find(path).0.line)
    }

    fn spot(&self, path: &str) -> Option<Spot> {
        self.root.map(|root| root.find(path).0)
    }

    fn report(&mut self, error: Error<'_>, section: &str) {
        let path = error.path.iter().rev().fold(section.to_owned(), |path, step| {
            if step.starts_with('[') { path + step } else { join(&path, step) }
        });
        let is_absent = error.node.is_some_and(|node| matches!(node.kind, NodeKind::Absent));
        let (what, help) = match error.kind {
            ErrorKind::Value { allowed, .. } if is_absent => {
                let key = error.path.first().map(String::as_str).unwrap_or_default();
                ("the key is missing".to_owned(), Some(format!("add `{key}:` with {allowed}")))
            }
            ErrorKind::Value { hint, allowed } => {
                if let Some((what, help)) = error.node.and_then(|node| self.explain_escape(node)) {
                    return self.faults.error(error.spot, &path, what, Some(help));
                }
                let is_typographic =
                    error.found.contains(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}']);
                let quotes = if is_typographic { "use plain quotes (\") or none; " } else { "" };
                (format!("found {}", error.found), Some(format!("{quotes}{hint}allowed: {allowed}")))
            }
            ErrorKind::NoSection { title, keys } => {
                if let Some((key, value)) = error.node.and_then(|node| without_space(node, keys)) {
                    let spot = error.spot.map(|spot| Spot { width: key.len() + 1, ..spot });
                    let help = format!("put a space after the colon: `{key}: {value}`");
                    return self.faults.error(
                        spot,
                        &path,
                        format!("found no space after `{key}:`"),
                        Some(help),
                    );
                }
                no_section(error.node, title, keys)
            }
            ErrorKind::Other { what, help } => (what, help),
            ErrorKind::UnknownKey { known } => self.unknown(&path, known),
            ErrorKind::MissingKey(_) | ErrorKind::Reported => return,
        };
        self.faults.error(error.spot, &path, what, help);
    }

    /// The message about a value in double quotes whose backslash begins an escape sequence.
    fn explain_escape(&self, node: &Node) -> Option<(String, String)> {
        let NodeKind::Scalar { plain: false, .. } = node.kind else { return None };
        let line = self.faults.lines().get(node.spot.line.checked_sub(1)?)?;
        let source: String = line.chars().skip(node.spot.column - 1).take(node.spot.width).collect();
        let text = source.strip_prefix('"')?.strip_suffix('"')?;
        let code: String = text.chars().skip_while(|c| *c != '\\').take(2).collect();
        (!code.is_empty()).then(|| {
            let what = format!("in double quotes `{code}` stands for another character");
            (what, format!("use single quotes: `'{}'`", shorten(&text.replace('\'', "''"))))
        })
    }

    fn unknown(&self, path: &str, known: &[&str]) -> (String, Option<String>) {
        let typed = path.rsplit('.').next().and_then(|step| step.split('[').next()).unwrap_or_default();
        let mut sections = self.format.sections.iter().map(|section| section());
        let help = match sections.find(|(_, keys)| keys.contains(&typed)) {
            Some((title, _)) => format!("`{typed}` is a key of {title}, so it belongs there"),
            None => match nearest(typed, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("allowed here: {}", known.join(", ")),
            },
        };
        ("unknown key".to_owned(), Some(help))
    }
}

/// Whether an item is a text without any key of its section.
fn is_text(item: &Node, keys: Keys) -> bool {
    matches!(item.kind, NodeKind::Scalar { .. }) && without_space(item, keys).is_none()
}

fn first_key<S: Section>() -> &'static str {
    keys::<S>().first().copied().unwrap_or_default()
}

/// What a list of sections is, for a message.
fn entries_of<S: Section>(most: usize) -> String {
    format!("1 to {most} entries, each beginning with a dash: `- {}: ...`", first_key::<S>())
}

/// The key and the value of a line such as `id:1`, which YAML takes for a text.
fn without_space(node: &Node, keys: Keys) -> Option<(&str, String)> {
    let NodeKind::Scalar { text, plain: true } = &node.kind else { return None };
    let (key, value) = text.split_once(':').filter(|(key, _)| keys.contains(key))?;
    Some((key, shorten(value.trim_start())))
}

/// The message about a value in place of a section.
fn no_section(node: Option<&Node>, title: &str, keys: Keys) -> (String, Option<String>) {
    let keys_of = format!("{title} has the keys {}", keys.join(", "));
    match node.map(|node| (node, &node.kind)) {
        Some((_, NodeKind::Scalar { text, .. })) => {
            let text = shorten(text);
            let first = keys.first().copied().unwrap_or_default();
            let help = format!("write `{first}: {text}`, if that is meant");
            (format!("found `{text}` without a key"), Some(help))
        }
        Some((node, _)) => {
            (format!("found {}", node.describe()), Some(format!("write keys with values; {keys_of}")))
        }
        None => ("found no value".to_owned(), Some(keys_of)),
    }
}
