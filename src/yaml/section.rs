//! One mapping of the file, read key by key.
//!
//! Reports unknown keys and values a rule refuses, each at its place, and goes on.
//! A value that was reported is `None` from then on, and whoever would need it leaves its check out.
//! Knows no particular key: each kind of file brings its table of them.

use super::nearest::nearest;
use super::problem::{Faults, Place, Spot};
use super::tree::{Entry, Kind, Node, shorten};
use super::value::Judged;

/// One key of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What holds where it is absent, as written; `None`: needed, or absence means something of its own.
    pub default: Option<&'static str>,
}

/// A key that stands for `default` where it is absent.
pub(crate) const fn key(name: &'static str, default: &'static str) -> Key {
    Key { name, default: Some(default) }
}

/// A key that is needed, or whose absence means something of its own.
pub(crate) const fn bare(name: &'static str) -> Key {
    Key { name, default: None }
}

/// The sections of one kind of file and the keys each of them has.
pub trait KeyTable: Copy + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// The keys of the section, in the order they are shown.
    fn keys(self) -> &'static [Key];

    /// What people call it, after "of".
    fn title(self) -> &'static str;

    /// Keys that a later version will have: refused, and not offered.
    fn reserved(self) -> &'static [&'static str] {
        &[]
    }
}

/// A mapping whose keys are known.
pub(crate) struct Section<'n, P> {
    part: P,
    entries: &'n [Entry],
    /// Where the mapping begins.
    pub(crate) place: Place,
}

/// A key that may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<T> {
    /// Not in the file.
    Absent,
    /// In the file, and reported.
    Faulty,
    /// In the file.
    Given(T),
}

impl<T> Field<T> {
    /// The value, or what absence stands for; `None` where the one that counts was reported.
    pub(crate) fn or(self, absent: Option<T>) -> Option<T> {
        match self {
            Self::Absent => absent,
            Self::Faulty => None,
            Self::Given(value) => Some(value),
        }
    }
}

/// Where a word is a key and its value without the space between them, that this is so.
fn lacks_a_space<P: KeyTable>(node: &Node, part: P) -> Option<String> {
    let Kind::Scalar { text, .. } = &node.kind else { return None };
    let (word, _) = text.split_once(':')?;
    let is_key = part.keys().iter().any(|key| key.name == word);
    is_key.then(|| format!(" (a space is missing after {word}:)"))
}

impl<'n, P: KeyTable> Section<'n, P> {
    /// Looks at all keys of the mapping. `None`: it is no mapping, and that is reported.
    pub(crate) fn open(node: &'n Node, key: &str, part: P, faults: &mut Faults<'_>) -> Option<Self> {
        let place = Place { spot: node.spot, key: key.to_owned() };
        let entries = match &node.kind {
            Kind::Mapping(entries) => entries,
            Kind::Refused => return None,
            Kind::Empty | Kind::Scalar { .. } | Kind::List(_) => {
                let allowed = format!("a mapping with keys of {}: {}", part.title(), names(part));
                let hint = lacks_a_space(node, part).unwrap_or_default();
                faults.error(&place, format!("found {}{hint}; allowed: {allowed}", node.describe()));
                return None;
            }
        };
        let section = Self { part, entries, place };
        for entry in entries.iter().filter(|entry| !entry.doubled) {
            section.judge_key(entry, faults);
        }
        Some(section)
    }

    /// The value of a key as it stands in the file.
    pub(crate) fn node(&self, name: &str) -> Option<&'n Node> {
        let known =
            || self.part.keys().iter().any(|key| key.name == name) || self.part.reserved().contains(&name);
        debug_assert!(known(), "{name} is in the table of keys");
        self.entries.iter().find(|entry| entry.key == name && !entry.doubled).map(|entry| &entry.value)
    }

    /// The place of a key's value, or of the section where the key is absent.
    pub(crate) fn place_of(&self, name: &str) -> Place {
        let spot = self.node(name).map_or(self.place.spot, |node| node.spot);
        Place { spot, key: join(&self.place.key, name) }
    }

    /// A key that may be absent.
    pub(crate) fn field<T>(
        &self,
        name: &str,
        faults: &mut Faults<'_>,
        rule: impl FnOnce(&Node) -> Judged<T>,
    ) -> Field<T> {
        let Some(node) = self.node(name) else { return Field::Absent };
        judge(node, &self.place_of(name), faults, rule).map_or(Field::Faulty, Field::Given)
    }

    /// A key with a default, or one that must be there.
    pub(crate) fn value<T>(
        &self,
        name: &str,
        faults: &mut Faults<'_>,
        rule: impl FnOnce(&Node) -> Judged<T>,
    ) -> Option<T> {
        if self.node(name).is_none() {
            if let Some(default) = self.default_of(name) {
                return judge(&Node::plain(default), &self.place_of(name), faults, rule);
            }
            let allowed = match rule(&Node { spot: Spot::START, kind: Kind::Empty }) {
                Ok(_) => String::new(),
                Err(refused) => format!("; allowed: {}", refused.0),
            };
            faults.error(&self.place_of(name), format!("the key is missing{allowed}"));
            return None;
        }
        self.field(name, faults, rule).or(None)
    }

    /// The entries of a list that must be there and hold 1 to `most`, with their paths.
    /// `None`: there is no usable list, and that is reported.
    pub(crate) fn list(&self, name: &str, most: usize, faults: &mut Faults<'_>) -> Option<Listed<'n>> {
        let place = self.place_of(name);
        let allowed = format!("a list of 1 to {most}, each beginning with a dash");
        let Some(node) = self.node(name) else {
            faults.error(&place, format!("the key is missing; allowed: {allowed}"));
            return None;
        };
        let items = match &node.kind {
            Kind::List(items) => items,
            Kind::Refused => return None,
            Kind::Empty | Kind::Scalar { .. } | Kind::Mapping(_) => {
                faults.error(&place, format!("found {}; allowed: {allowed}", node.describe()));
                return None;
            }
        };
        if items.is_empty() {
            faults.error(&place, format!("found an empty list; allowed: {allowed}"));
            return None;
        }
        if items.len() > most {
            faults.error(&place, format!("found a list of {}; allowed: {allowed}", items.len()));
        }
        Some(listed(&place.key, items, most))
    }

    /// The entries of lists whose key stood before: read for their faults, never for their values.
    pub(crate) fn list_again(&self, name: &str, most: usize) -> Listed<'n> {
        let again = self.entries.iter().filter(|entry| entry.doubled && entry.key == name);
        let lists = again.filter_map(|entry| match &entry.value.kind {
            Kind::List(items) => Some(listed(&join(&self.place.key, name), items, most)),
            Kind::Empty | Kind::Scalar { .. } | Kind::Mapping(_) | Kind::Refused => None,
        });
        lists.flatten().take(most).collect()
    }

    /// The default of a key, as text.
    fn default_of(&self, name: &str) -> Option<&'static str> {
        self.part.keys().iter().find(|key| key.name == name).and_then(|key| key.default)
    }

    fn judge_key(&self, entry: &Entry, faults: &mut Faults<'_>) {
        let key = join(&self.place.key, &shorten(&entry.key));
        if self.part.reserved().contains(&entry.key.as_str()) {
            faults.error(&Place { spot: entry.key_spot, key }, "not yet supported; leave the key out");
        } else if !self.part.keys().iter().any(|known| known.name == entry.key) {
            faults.error(&Place { spot: entry.key_spot, key }, self.unknown(&entry.key));
        }
    }

    fn unknown(&self, typed: &str) -> String {
        let own = nearest(typed, self.part.keys().iter().map(|key| key.name));
        let elsewhere = |part: &&P| part.keys().iter().any(|key| key.name == typed);
        let hint = match (own, P::ALL.iter().find(elsewhere)) {
            (_, Some(part)) => format!(" (it is a key of {})", part.title()),
            (Some(near), None) => format!(" (did you mean {near}?)"),
            (None, None) => String::new(),
        };
        format!("found an unknown key{hint}; allowed here: {}", names(self.part))
    }
}

/// Absent: nothing. Reported: `None`.
pub(crate) fn optional<T>(field: Field<T>) -> Option<Option<T>> {
    match field {
        Field::Absent => Some(None),
        Field::Faulty => None,
        Field::Given(value) => Some(Some(value)),
    }
}

/// Entries of a list with their paths.
pub(crate) type Listed<'n> = Vec<(String, &'n Node)>;

/// Applies a rule; what it refuses is reported.
pub(crate) fn judge<T>(
    node: &Node,
    place: &Place,
    faults: &mut Faults<'_>,
    rule: impl FnOnce(&Node) -> Judged<T>,
) -> Option<T> {
    if matches!(node.kind, Kind::Refused) {
        return None;
    }
    match rule(node) {
        Ok(value) => Some(value),
        Err(refused) => {
            faults.error(place, format!("found {}; allowed: {}", node.describe(), refused.0));
            None
        }
    }
}

fn listed<'n>(path: &str, items: &'n [Node], most: usize) -> Listed<'n> {
    let items = items.iter().take(most).enumerate();
    items.map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
}

fn names<P: KeyTable>(part: P) -> String {
    part.keys().iter().map(|key: &Key| key.name).collect::<Vec<_>>().join(", ")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
