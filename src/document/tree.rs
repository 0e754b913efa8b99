//! The events of the YAML parser as a tree with the position of each part.
//!
//! Owns what makes a text unusable as YAML: syntax, duplicate keys, several documents, depth, and the YAML features
//! these files do not use (anchors, aliases, merge keys, tags). Never interprets a key. Every scalar remains the text
//! that was written: `on`, `no` and `007` are not converted. YAML 1.2.2, chapters 3 and 6 to 9.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::layout::{self, FaultPlace};
use super::problem::{Faults, Spot};
use super::quote::shorten;
use super::sections::Sections;

/// One value of the file.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) spot: Spot,
    pub(crate) kind: NodeKind,
}

/// The kind of a value.
#[derive(Debug)]
pub(crate) enum NodeKind {
    /// Empty, `~` or `null`.
    Empty,
    /// Text as written; `plain`: without quotes.
    Scalar { text: String, plain: bool },
    /// `- ...` or `[...]`.
    List(Vec<Node>),
    /// `key: ...` or `{...}`.
    Mapping(Vec<Entry>),
    /// Not in the file, though its key is required.
    Absent,
    /// Already reported.
    Refused,
}

/// One key and its value.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_spot: Spot,
    pub(crate) value: Node,
    /// The key appears before in this mapping; that has been reported, and the earlier value counts.
    pub(crate) doubled: bool,
}

impl Node {
    /// Its kind, for "found ...".
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            NodeKind::Empty | NodeKind::Absent | NodeKind::Refused => "no value".to_owned(),
            NodeKind::Scalar { text, plain: true } => format!("`{}`", shorten(text)),
            NodeKind::Scalar { text, plain: false } => format!("the quoted text \"{}\"", shorten(text)),
            NodeKind::List(items) if items.is_empty() => "an empty list".to_owned(),
            NodeKind::List(_) => "a list".to_owned(),
            NodeKind::Mapping(_) => "keys with values".to_owned(),
        }
    }

    /// The entry of a mapping that counts under this key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        let NodeKind::Mapping(entries) = &self.kind else { return None };
        entries.iter().find(|entry| entry.key == key && !entry.doubled)
    }

    /// The position of the value at a path such as `buses[0].units[2].id`, and of its key where it has one; if the path
    /// does not exist, of the nearest parent.
    pub(crate) fn find(&self, path: &str) -> (Spot, Spot) {
        let (node, key, is_there) = self.follow(path);
        (node.spot, if is_there { key } else { node.spot })
    }

    /// Whether the path exists.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.follow(path).2
    }

    /// The length of the list at a path; `None`: there is no list.
    pub(crate) fn find_list(&self, path: &str) -> Option<usize> {
        match self.follow(path) {
            (Self { kind: NodeKind::List(items), .. }, _, true) => Some(items.len()),
            _ => None,
        }
    }

    /// The node at a path or its nearest existing parent, the position of the last key, and whether the path exists.
    fn follow(&self, path: &str) -> (&Self, Spot, bool) {
        let (mut node, mut key) = (self, self.spot);
        for step in path.split('.') {
            let mut parts = step.split('[');
            let name = parts.next().unwrap_or_default();
            if !name.is_empty() {
                let Some(entry) = node.entry(name) else { return (node, key, false) };
                (node, key) = (&entry.value, entry.key_spot);
            }
            for index in parts {
                let index = index.trim_end_matches(']').parse::<usize>().ok();
                let NodeKind::List(items) = &node.kind else { return (node, key, false) };
                let Some(item) = index.and_then(|index| items.get(index)) else { return (node, key, false) };
                (node, key) = (item, item.spot);
            }
        }
        (node, key, true)
    }
}

/// Parses a text; `expected` states what a file of this kind holds, `sections` are all of its sections. `None`: it is
/// not usable YAML, and the problems are in `faults`.
pub(crate) fn read(text: &str, expected: &str, sections: &Sections, faults: &mut Faults<'_>) -> Option<Node> {
    let mut builder = Builder { stack: Vec::new(), root: None, documents: 0 };
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(found) => found,
            Err(error) => {
                builder.report_syntax(&error, sections, faults);
                return None;
            }
        };
        match builder.handle(event, span, faults) {
            ParseStep::Continue => {}
            ParseStep::Finished => break,
            ParseStep::Failed => return None,
        }
    }
    if builder.root.is_none() {
        faults.error(
            Some(Spot::START),
            "",
            "the file is empty".to_owned(),
            Some(format!("allowed: {expected}")),
        );
    }
    builder.root
}

enum ParseStep {
    Continue,
    Finished,
    Failed,
}

/// The open lists and mappings, outermost first.
struct Builder {
    stack: Vec<OpenNode>,
    root: Option<Node>,
    documents: usize,
}

enum OpenNode {
    List { spot: Spot, items: Vec<Node> },
    Mapping { spot: Spot, entries: Vec<Entry>, seen: BTreeMap<String, Spot>, key: Pending },
}

/// The key whose value comes next.
enum Pending {
    /// A key comes next.
    Nothing,
    Key {
        name: String,
        spot: Spot,
        doubled: bool,
    },
    /// A key that was reported; its value is dropped.
    Refused,
}

impl Builder {
    fn handle(&mut self, event: Event<'_>, span: Span, faults: &mut Faults<'_>) -> ParseStep {
        let spot = spot_of(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    refuse(
                        faults,
                        spot,
                        "",
                        "found a second YAML document (`---`)",
                        "one document in a file",
                    );
                    return ParseStep::Finished;
                }
            }
            Event::Alias(_) => {
                refuse(
                    faults,
                    spot,
                    &self.path(),
                    "found an alias (`*name`)",
                    "the value itself, written out",
                );
                self.put(Node { spot, kind: NodeKind::Refused }, faults);
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_decoration(anchor, tag.as_deref(), spot, faults);
                let plain = style == ScalarStyle::Plain;
                let kind = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    NodeKind::Empty
                } else {
                    NodeKind::Scalar { text: text.into_owned(), plain }
                };
                self.put(Node { spot, kind }, faults);
            }
            Event::SequenceStart(anchor, tag) => {
                let spot = Spot { width: 1, ..spot };
                self.refuse_decoration(anchor, tag.as_deref(), spot, faults);
                return self.open(OpenNode::List { spot, items: Vec::new() }, spot, faults);
            }
            Event::MappingStart(anchor, tag) => {
                let spot = Spot { width: 1, ..spot };
                self.refuse_decoration(anchor, tag.as_deref(), spot, faults);
                let (entries, seen) = (Vec::new(), BTreeMap::new());
                return self.open(
                    OpenNode::Mapping { spot, entries, seen, key: Pending::Nothing },
                    spot,
                    faults,
                );
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(OpenNode::List { spot, items }) => {
                    self.put(Node { spot, kind: NodeKind::List(items) }, faults)
                }
                Some(OpenNode::Mapping { spot, entries, .. }) => {
                    self.put(Node { spot, kind: NodeKind::Mapping(entries) }, faults);
                }
                None => {}
            },
        }
        ParseStep::Continue
    }

    fn open(&mut self, open: OpenNode, spot: Spot, faults: &mut Faults<'_>) -> ParseStep {
        if self.stack.len() == MAX_DEPTH {
            let allowed = format!("up to {MAX_DEPTH} levels");
            refuse(faults, spot, &self.path(), "lists and keys are nested too deeply", &allowed);
            return ParseStep::Failed;
        }
        self.stack.push(open);
        ParseStep::Continue
    }

    /// Adds a finished value, or key, to the innermost open list or mapping.
    fn put(&mut self, mut node: Node, faults: &mut Faults<'_>) {
        let path = self.path();
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(OpenNode::List { items, .. }) => items.push(node),
            Some(OpenNode::Mapping { entries, seen, key, .. }) => {
                match std::mem::replace(key, Pending::Nothing) {
                    Pending::Nothing => *key = check_key(node, &path, seen, faults),
                    Pending::Refused => {}
                    Pending::Key { name, spot, doubled } => {
                        // An empty value has no position of its own.
                        if matches!(node.kind, NodeKind::Empty) {
                            node.spot = spot;
                        }
                        entries.push(Entry { key: name, key_spot: spot, value: node, doubled });
                    }
                }
            }
        }
    }

    fn refuse_decoration(&self, anchor: usize, tag: Option<&Tag>, spot: Spot, faults: &mut Faults<'_>) {
        if anchor != 0 {
            let allowed = "plain values, each written out where it is needed";
            refuse(faults, spot, &self.path(), "found an anchor (`&name`)", allowed);
        }
        if tag.is_some() {
            refuse(faults, spot, &self.path(), "found a tag (`!name`)", "plain values without tags");
        }
    }

    fn report_syntax(&self, error: &ScanError, sections: &Sections, faults: &mut Faults<'_>) {
        let marker = error.marker();
        let spot = Spot { line: marker.line(), column: marker.col() + 1, width: 1 };
        let layout::SyntaxFault { spot, what, help, place } =
            layout::explain(faults.lines(), spot, error.info(), sections);
        let mut key = self.path();
        match place {
            // The index reached in a list proves nothing about the place of a syntax error.
            FaultPlace::Key | FaultPlace::Section if key.ends_with(']') => {
                key.truncate(key.rfind('[').unwrap_or(0));
            }
            FaultPlace::Key => {}
            FaultPlace::Section => key.truncate(key.rfind('.').unwrap_or(0)),
            FaultPlace::Unknown => key.clear(),
        }
        faults.error(Some(spot), &key, what, Some(help));
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.stack {
            match open {
                OpenNode::List { items, .. } => path.push_str(&format!("[{}]", items.len())),
                OpenNode::Mapping { key: Pending::Key { name, .. }, .. } => {
                    path = join(&path, &shorten(name))
                }
                OpenNode::Mapping { key: Pending::Nothing | Pending::Refused, .. } => {}
            }
        }
        path
    }
}

/// The path of a key below another.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn refuse(faults: &mut Faults<'_>, spot: Spot, path: &str, what: &str, allowed: &str) {
    faults.error(Some(spot), path, what.to_owned(), Some(format!("allowed: {allowed}")));
}

/// Checks a key by itself; `path` is that of its mapping.
fn check_key(node: Node, path: &str, seen: &mut BTreeMap<String, Spot>, faults: &mut Faults<'_>) -> Pending {
    let spot = node.spot;
    let (name, plain) = match node.kind {
        NodeKind::Scalar { text, plain } => (text, plain),
        NodeKind::Refused => return Pending::Refused,
        NodeKind::Empty | NodeKind::Absent | NodeKind::List(_) | NodeKind::Mapping(_) => {
            let what = format!("found {} as a key", node.describe());
            refuse(faults, spot, path, &what, "a word before the colon");
            return Pending::Refused;
        }
    };
    let own = join(path, &shorten(&name));
    if plain && name == "<<" {
        refuse(faults, spot, &own, "found a merge key (`<<`)", "the keys themselves, written out");
        return Pending::Refused;
    }
    if let Some(first) = seen.get(&name) {
        let what = format!("found the key a second time, the first is on line {}", first.line);
        let help = "delete this line, and move what stands below it to the end of the first";
        faults.error(Some(spot), &own, what, Some(help.to_owned()));
        return Pending::Key { name, spot, doubled: true };
    }
    seen.insert(name.clone(), spot);
    Pending::Key { name, spot, doubled: false }
}

fn spot_of(span: Span) -> Spot {
    let one_line = span.start.line() == span.end.line();
    let width = if one_line { span.end.col().saturating_sub(span.start.col()).max(1) } else { usize::MAX };
    Spot { line: span.start.line(), column: span.start.col() + 1, width }
}

/// Levels of lists and mappings; the configuration and the profiles need six.
const MAX_DEPTH: usize = 16;
