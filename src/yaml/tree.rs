//! YAML text into a small tree that knows where each part stood.
//!
//! Owns everything that makes a text no usable YAML: syntax, doubled keys, several documents, depth, and
//! the parts of YAML these files do without (anchors, aliases, merge keys, tags). Never looks at what
//! a key means. Every scalar stays the text that was written: `on`, `no` and `007` are not reinterpreted.
//! YAML 1.2.2, chapters 3 and 6 to 9.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::problem::{Faults, Place, Spot};

/// One value of the file.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) spot: Spot,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Nothing written, `~` or `null`.
    Empty,
    /// Text as written; `plain`: without quotes.
    Scalar { text: String, plain: bool },
    /// `- ...` or `[...]`.
    List(Vec<Node>),
    /// `key: ...` or `{...}`.
    Mapping(Vec<Entry>),
    /// Reported already; nobody needs to look at it.
    Refused,
}

/// One key and its value.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_spot: Spot,
    pub(crate) value: Node,
    /// The key stood before in this mapping; that is reported, and the earlier value counts.
    pub(crate) doubled: bool,
}

impl Node {
    /// A plain text, as if it stood in the file.
    pub(crate) fn plain(text: &str) -> Self {
        Self { spot: Spot::START, kind: Kind::Scalar { text: text.to_owned(), plain: true } }
    }

    /// A mapping without keys, as if it stood at that place.
    pub(crate) fn empty_mapping(spot: Spot) -> Self {
        Self { spot, kind: Kind::Mapping(Vec::new()) }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, plain: _ } => Some(text),
            Kind::Empty | Kind::List(_) | Kind::Mapping(_) | Kind::Refused => None,
        }
    }

    /// The text of a scalar without quotes.
    pub(crate) fn plain_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, plain: true } => Some(text),
            Kind::Scalar { .. } | Kind::Empty | Kind::List(_) | Kind::Mapping(_) | Kind::Refused => None,
        }
    }

    /// What it is, for "found ...".
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Empty => "nothing".to_owned(),
            Kind::Scalar { text, plain: true } => shorten(text),
            Kind::Scalar { text, plain: false } => format!("the quoted text \"{}\"", shorten(text)),
            Kind::List(_) => "a list".to_owned(),
            Kind::Mapping(_) => "a mapping (keys with values)".to_owned(),
            Kind::Refused => "what is refused above".to_owned(),
        }
    }
}

/// Reads a text; `expected` says what a file of this kind holds. `None`: it is no usable YAML, and the faults
/// say why.
pub(crate) fn read(text: &str, expected: &str, faults: &mut Faults<'_>) -> Option<Node> {
    let mut builder = Builder { stack: Vec::new(), root: None, documents: 0 };
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(found) => found,
            Err(error) => {
                builder.report_syntax(&error, faults);
                return None;
            }
        };
        match builder.handle(event, span, faults) {
            Next::More => {}
            Next::Enough => break,
            Next::Hopeless => return None,
        }
    }
    if builder.root.is_none() {
        faults.error(&top(Spot::START), format!("the file is empty; allowed: {expected}"));
    }
    builder.root
}

/// The place of the file as a whole.
pub(crate) fn top(spot: Spot) -> Place {
    Place { spot, key: String::new() }
}

/// Text cut to what fits into a message, on one line.
pub(crate) fn shorten(text: &str) -> String {
    let line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_QUOTE).collect();
    if text.chars().count() > LONGEST_QUOTE { line + "..." } else { line }
}

enum Next {
    More,
    Enough,
    Hopeless,
}

/// The lists and mappings that are open, outermost first.
struct Builder {
    stack: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

enum Open {
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
    fn handle(&mut self, event: Event<'_>, span: Span, faults: &mut Faults<'_>) -> Next {
        let spot = spot_of(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    faults.error(&top(spot), "found a second YAML document; allowed: one document in a file");
                    return Next::Enough;
                }
            }
            Event::Alias(_) => {
                faults.error(
                    &self.place(spot),
                    "found an alias (*name); allowed: the value itself, written out",
                );
                self.put(Node { spot, kind: Kind::Refused }, faults);
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_decoration(anchor, tag.is_some(), spot, faults);
                let plain = style == ScalarStyle::Plain;
                let kind = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Kind::Empty
                } else {
                    Kind::Scalar { text: text.into_owned(), plain }
                };
                self.put(Node { spot, kind }, faults);
            }
            Event::SequenceStart(anchor, tag) => {
                let spot = Spot { width: 1, ..spot };
                self.refuse_decoration(anchor, tag.is_some(), spot, faults);
                return self.open(Open::List { spot, items: Vec::new() }, spot, faults);
            }
            Event::MappingStart(anchor, tag) => {
                let spot = Spot { width: 1, ..spot };
                self.refuse_decoration(anchor, tag.is_some(), spot, faults);
                let (entries, seen) = (Vec::new(), BTreeMap::new());
                return self.open(Open::Mapping { spot, entries, seen, key: Pending::Nothing }, spot, faults);
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open::List { spot, items }) => self.put(Node { spot, kind: Kind::List(items) }, faults),
                Some(Open::Mapping { spot, entries, .. }) => {
                    self.put(Node { spot, kind: Kind::Mapping(entries) }, faults);
                }
                None => {}
            },
        }
        Next::More
    }

    fn open(&mut self, open: Open, spot: Spot, faults: &mut Faults<'_>) -> Next {
        if self.stack.len() == MAX_DEPTH {
            let message = format!("lists and mappings are nested too deeply; allowed: {MAX_DEPTH} levels");
            faults.error(&self.place(spot), message);
            return Next::Hopeless;
        }
        self.stack.push(open);
        Next::More
    }

    /// Puts a finished value, or key, where it belongs.
    fn put(&mut self, mut node: Node, faults: &mut Faults<'_>) {
        let place = self.place(node.spot);
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Mapping { entries, seen, key, .. }) => {
                match std::mem::replace(key, Pending::Nothing) {
                    Pending::Nothing => *key = take_key(node, &place, seen, faults),
                    Pending::Refused => {}
                    Pending::Key { name, spot, doubled } => {
                        // Nothing written has no place of its own.
                        if matches!(node.kind, Kind::Empty) {
                            node.spot = spot;
                        }
                        entries.push(Entry { key: name, key_spot: spot, value: node, doubled });
                    }
                }
            }
        }
    }

    fn refuse_decoration(&self, anchor: usize, tagged: bool, spot: Spot, faults: &mut Faults<'_>) {
        if anchor != 0 {
            let message =
                "found an anchor (&name); allowed: plain values, each written out where it is needed";
            faults.error(&self.place(spot), message);
        }
        if tagged {
            faults.error(&self.place(spot), "found a tag (!name); allowed: plain values without tags");
        }
    }

    fn report_syntax(&self, error: &ScanError, faults: &mut Faults<'_>) {
        let marker = error.marker();
        let spot = Spot { line: marker.line(), column: marker.col() + 1, width: 1 };
        let line = faults.line(spot.line);
        let hint = syntax_hint(error.info(), line);
        let mut place = self.place(spot);
        // How far a list had come says nothing certain about where its text broke.
        if place.key.ends_with(']') {
            place.key.truncate(place.key.rfind('[').unwrap_or(0));
        }
        faults.error(&place, format!("this is not YAML: {}{hint}", error.info()));
    }

    fn place(&self, spot: Spot) -> Place {
        let mut key = String::new();
        for open in &self.stack {
            match open {
                Open::List { items, .. } => key.push_str(&format!("[{}]", items.len())),
                Open::Mapping { key: Pending::Key { name, .. }, .. } => {
                    let dot = if key.is_empty() { "" } else { "." };
                    key.push_str(&format!("{dot}{}", shorten(name)));
                }
                Open::Mapping { key: Pending::Nothing | Pending::Refused, .. } => {}
            }
        }
        Place { spot, key }
    }
}

/// What would be right where a line is no YAML: the parser's words name what it stumbled over, not the mistake.
fn syntax_hint(stumbled: &str, line: &str) -> &'static str {
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') {
        "; allowed: spaces to indent, never tabs"
    } else if line.contains(": [") && line.contains("]:") {
        "; allowed: an IPv6 address in quotes, such as \"[::]:502\""
    } else if stumbled.contains("mapping values are not allowed") {
        "; allowed: keys that belong together in one column, and quotes around text that has a colon and a space in it"
    } else if stumbled.contains("expected '-' indicator") || stumbled.ends_with("expected key") {
        "; allowed: keys that belong together in one column"
    } else if stumbled.contains("expect ':'") {
        "; allowed: a colon and a space after each key"
    } else if stumbled.contains("quoted scalar") {
        "; allowed: a second quote at the end of the text"
    } else if stumbled.contains("unexpected character") {
        "; allowed: quotes around text that begins with this character"
    } else {
        ""
    }
}

/// Judges a key by itself; its mapping's path is `place`.
fn take_key(
    node: Node,
    place: &Place,
    seen: &mut BTreeMap<String, Spot>,
    faults: &mut Faults<'_>,
) -> Pending {
    let spot = node.spot;
    let (name, plain) = match node.kind {
        Kind::Scalar { text, plain } => (text, plain),
        Kind::Refused => return Pending::Refused,
        Kind::Empty | Kind::List(_) | Kind::Mapping(_) => {
            faults.error(
                place,
                format!("found {} as a key; allowed: a word before the colon", node.describe()),
            );
            return Pending::Refused;
        }
    };
    let dot = if place.key.is_empty() { "" } else { "." };
    let own = Place { spot, key: format!("{}{dot}{}", place.key, shorten(&name)) };
    if plain && name == "<<" {
        faults.error(&own, "found a merge key (<<); allowed: the keys themselves, written out");
        return Pending::Refused;
    }
    if let Some(first) = seen.get(&name) {
        let message = format!(
            "found the key a second time, the first is on line {}; allowed: each key once in a mapping",
            first.line
        );
        faults.error(&own, message);
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

/// Characters of the file's text repeated in a message.
const LONGEST_QUOTE: usize = 60;
