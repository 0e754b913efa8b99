//! A [`Node`] as serde's input, so that a section is a struct with `derive(Deserialize)`.
//!
//! Owns the mapping of serde's errors to the file: which node is wrong, at which path, and what is allowed. Nothing is
//! converted: a scalar is passed to the visitor as text, borrowed if it is written without quotes, and not borrowed if
//! it is quoted. So a number in quotes can be refused.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess};
use serde::de::{SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::did_you_mean;
use super::problem::Spot;
use super::quote::shorten;
use super::sections::Keys;
use super::tree::{Entry, Node, NodeKind};

/// A value written as one scalar.
pub(crate) trait Scalar: Sized {
    /// Whether quotes around it are an error.
    const PLAIN: bool = false;

    /// The value; `None`: the text is not one.
    fn parse(text: &str) -> Option<Self>;

    /// The allowed values as text; `found` is what was written, empty if that was no scalar.
    fn allowed(found: &str) -> String;

    /// The value that was probably meant by a text that is none; [`read_scalar`] checks that it is one.
    fn suggest(_: &str) -> Option<String> {
        None
    }
}

/// The suggestion of a type, if it is a value of it.
fn suggestion<T: Scalar>(text: &str) -> Option<String> {
    T::suggest(text).filter(|meant| meant != text && T::parse(meant).is_some())
}

/// A text that is not a valid value of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAllowed {
    /// The allowed values.
    allowed: String,
    /// The value that was probably meant.
    meant: Option<String>,
}

impl NotAllowed {
    /// `text` is not a valid `T`.
    pub(crate) fn new<T: Scalar>(text: &str) -> Self {
        Self { allowed: T::allowed(text), meant: suggestion::<T>(text) }
    }
}

impl Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is expected", self.allowed)?;
        match &self.meant {
            Some(meant) => write!(f, "; did you mean `{meant}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for NotAllowed {}

/// Defines newtypes that are [`Scalar`] and implement `Deserialize` and `FromStr`: `plain` where quotes are an error,
/// the parser of the content, the allowed values, and the value probably
/// meant. Or, from parameters and a type, `Deserialize` alone.
macro_rules! scalar {
    ($(
        $(#[$meta:meta])*
        $visible:vis struct $name:ident($inside:vis $content:ty) $(: $plain:ident)?;
        |$text:ident| $parse:expr,
        |$found:pat_param| $allowed:expr
        $(, |$wrong:ident| $meant:expr)?;
    )+) => {$(
        $(#[$meta])*
        $visible struct $name($inside $content);

        impl $crate::document::de::Scalar for $name {
            const PLAIN: bool = false $(|| stringify!($plain).len() > 0)?;

            fn parse($text: &str) -> Option<Self> {
                Option::map($parse, Self)
            }

            fn allowed($found: &str) -> String {
                $allowed.into()
            }

            $(fn suggest($wrong: &str) -> Option<String> {
                $meant
            })?
        }

        impl std::str::FromStr for $name {
            type Err = $crate::document::NotAllowed;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                use $crate::document::de::Scalar;
                Self::parse(text).ok_or_else(|| $crate::document::NotAllowed::new::<Self>(text))
            }
        }

        $crate::document::de::scalar!([] $name);
    )+};
    ([$($parameter:tt)*] $type:ty) => {
        impl<'de, $($parameter)*> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::document::de::read_scalar(deserializer)
            }
        }
    };
}
pub(crate) use scalar;

/// Reads a scalar.
pub(crate) fn read_scalar<'de, T: Scalar, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct OfScalar<T>(PhantomData<T>);

    impl<'de, T: Scalar> Visitor<'de> for OfScalar<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&T::allowed(""))
        }

        fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<T, E> {
            T::parse(text).ok_or_else(|| not_allowed::<T, E>(text, ""))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            let read = T::parse(text);
            let is_quoted = T::PLAIN && read.is_some();
            let quotes = if is_quoted { ", without quotes" } else { "" };
            read.filter(|_| !T::PLAIN).ok_or_else(|| not_allowed::<T, E>(text, quotes))
        }
    }

    deserializer.deserialize_any(OfScalar(PhantomData))
}

fn not_allowed<T: Scalar, E: de::Error>(text: &str, quotes: &str) -> E {
    let meant = suggestion::<T>(text);
    // What was found is known from the node; the suggestion takes its place.
    let unexpected = meant.as_deref().map_or(Unexpected::Str(text), Unexpected::Other);
    E::invalid_value(unexpected, &format!("{}{quotes}", T::allowed(text)).as_str())
}

/// What is skipped, or added, in one pass over a section.
#[derive(Default)]
pub(super) struct Pass {
    /// Values that were reported, by address.
    pub(super) skipped: BTreeSet<*const Node>,
    /// Keys of this section whose contents are read separately.
    pub(super) apart: Option<(*const Node, Keys)>,
    /// A required key that is missing from this section: read once as absent, which yields the allowed values.
    pub(super) absent: Option<(*const Node, &'static str)>,
}

impl Pass {
    fn reads(&self, section: &Node, entry: &Entry) -> bool {
        let apart =
            |(of, keys): (*const Node, &[&str])| std::ptr::eq(of, section) && keys.contains(&&*entry.key);
        !entry.doubled && !self.is_skipped(&entry.value) && !self.apart.is_some_and(apart)
    }

    fn is_skipped(&self, node: &Node) -> bool {
        self.skipped.contains(&std::ptr::from_ref(node))
    }
}

/// An invalid value.
#[derive(Debug)]
pub(super) struct Error<'n> {
    pub(super) kind: ErrorKind,
    /// The value; of an unknown key, its value; of a missing key, the section.
    pub(super) node: Option<&'n Node>,
    pub(super) spot: Option<Spot>,
    /// What was found, unless the message states it.
    pub(super) found: String,
    /// The steps of the path, innermost first.
    pub(super) path: Vec<String>,
}

#[derive(Debug)]
pub(super) enum ErrorKind {
    /// The value is not an allowed one.
    Value {
        /// A suggestion; ends with a space unless it is empty.
        hint: String,
        allowed: String,
    },
    /// It is not the required section.
    NoSection {
        title: &'static str,
        keys: Keys,
    },
    /// An error with a message of its own.
    Other {
        what: String,
        help: Option<String>,
    },
    UnknownKey {
        known: &'static [&'static str],
    },
    MissingKey(&'static str),
    /// The node was reported when the file was parsed.
    Reported,
}

impl<'n> Error<'n> {
    fn new(kind: ErrorKind) -> Self {
        Self { kind, node: None, spot: None, found: String::new(), path: Vec::new() }
    }

    fn at(mut self, node: &'n Node) -> Self {
        if self.node.is_none() {
            self.node = Some(node);
            self.spot = Some(node.spot);
            self.found = node.describe();
        }
        self
    }

    fn at_key(mut self, entry: &'n Entry) -> Self {
        if self.node.is_none() {
            self = self.at(&entry.value);
            self.spot = Some(entry.key_spot);
            self.found = format!("`{}`", shorten(&entry.key));
        }
        self.below(shorten(&entry.key))
    }

    fn below(mut self, step: String) -> Self {
        self.path.push(step);
        self
    }
}

impl Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Error<'_> {}

impl de::Error for Error<'_> {
    /// A message of this crate: what is wrong, and after a semicolon the remedy.
    fn custom<T: Display>(message: T) -> Self {
        let message = message.to_string();
        let (what, help) = match message.split_once("; ") {
            Some((what, help)) => (what.to_owned(), Some(help.to_owned())),
            None => (message, None),
        };
        Self::new(ErrorKind::Other { what, help })
    }

    fn invalid_type(_: Unexpected<'_>, allowed: &dyn Expected) -> Self {
        Self::new(ErrorKind::Value { hint: String::new(), allowed: allowed.to_string() })
    }

    /// `Unexpected::Other` is a value that was probably meant.
    fn invalid_value(found: Unexpected<'_>, allowed: &dyn Expected) -> Self {
        let hint = if let Unexpected::Other(meant) = found {
            format!("did you mean `{meant}`? ")
        } else {
            String::new()
        };
        Self::new(ErrorKind::Value { hint, allowed: allowed.to_string() })
    }

    fn unknown_variant(found: &str, allowed: &'static [&'static str]) -> Self {
        Self::new(ErrorKind::Value {
            hint: did_you_mean(found, allowed.iter().copied()),
            allowed: allowed.join(", "),
        })
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(ErrorKind::UnknownKey { known })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(ErrorKind::MissingKey(key))
    }
}

/// One value of the file.
#[derive(Clone, Copy)]
pub(super) struct NodeDeserializer<'p, 'n> {
    pub(super) node: &'n Node,
    pub(super) pass: &'p Pass,
}

impl<'n> Deserializer<'n> for NodeDeserializer<'_, 'n> {
    type Error = Error<'n>;

    fn deserialize_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error<'n>> {
        let Self { node, pass } = self;
        let read = match &node.kind {
            NodeKind::Empty | NodeKind::Absent => visitor.visit_unit(),
            NodeKind::Refused => Err(Error::new(ErrorKind::Reported)),
            NodeKind::Scalar { text, plain: true } => visitor.visit_borrowed_str(text),
            NodeKind::Scalar { text, plain: false } => visitor.visit_str(text),
            NodeKind::List(items) => visitor.visit_seq(Items { items, next: 0, pass }),
            NodeKind::Mapping(entries) => {
                let absent =
                    pass.absent.filter(|(section, _)| std::ptr::eq(*section, node)).map(|(_, key)| key);
                visitor.visit_map(Entries { node, entries: entries.iter(), value: None, absent, pass })
            }
        };
        read.map_err(|error| error.at(node))
    }

    /// An empty value is not an absent one.
    fn deserialize_option<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Error<'n>> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'n>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error<'n>> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'n>>(
        self,
        title: &'static str,
        keys: Keys,
        visitor: V,
    ) -> Result<V::Value, Error<'n>> {
        match &self.node.kind {
            NodeKind::Mapping(_) | NodeKind::Refused => self.deserialize_any(visitor),
            NodeKind::Empty | NodeKind::Absent | NodeKind::Scalar { .. } | NodeKind::List(_) => {
                Err(Error::new(ErrorKind::NoSection { title, keys }).at(self.node))
            }
        }
    }

    fn deserialize_enum<V: Visitor<'n>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error<'n>> {
        let read = match &self.node.kind {
            NodeKind::Scalar { text, .. } => visitor.visit_enum(text.as_str().into_deserializer()),
            NodeKind::Refused => Err(Error::new(ErrorKind::Reported)),
            NodeKind::Empty | NodeKind::Absent | NodeKind::List(_) | NodeKind::Mapping(_) => {
                Err(Error::new(ErrorKind::Value { hint: String::new(), allowed: words.join(", ") }))
            }
        };
        read.map_err(|error: Error<'n>| error.at(self.node))
    }

    forward_to_deserialize_any! {
        <W: Visitor<'n>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Items<'p, 'n> {
    items: &'n [Node],
    next: usize,
    pass: &'p Pass,
}

impl<'n> SeqAccess<'n> for Items<'_, 'n> {
    type Error = Error<'n>;

    fn next_element_seed<T: DeserializeSeed<'n>>(&mut self, seed: T) -> Result<Option<T::Value>, Error<'n>> {
        while let Some(node) = self.items.get(self.next) {
            let index = self.next;
            self.next += 1;
            if !self.pass.is_skipped(node) {
                let read = seed.deserialize(NodeDeserializer { node, pass: self.pass });
                return read.map(Some).map_err(|error| error.below(format!("[{index}]")));
            }
        }
        Ok(None)
    }

    /// The length of the list in the file, reported items included.
    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'p, 'n> {
    node: &'n Node,
    entries: std::slice::Iter<'n, Entry>,
    value: Option<&'n Entry>,
    absent: Option<&'static str>,
    pass: &'p Pass,
}

impl<'n> MapAccess<'n> for Entries<'_, 'n> {
    type Error = Error<'n>;

    fn next_key_seed<K: DeserializeSeed<'n>>(&mut self, seed: K) -> Result<Option<K::Value>, Error<'n>> {
        if let Some(key) = self.absent {
            return seed.deserialize(StrDeserializer::new(key)).map(Some);
        }
        self.value = self.entries.find(|entry| self.pass.reads(self.node, entry));
        let Some(entry) = self.value else { return Ok(None) };
        let key = de::value::BorrowedStrDeserializer::new(&entry.key);
        seed.deserialize(key).map(Some).map_err(|error: Error<'n>| error.at_key(entry))
    }

    fn next_value_seed<V: DeserializeSeed<'n>>(&mut self, seed: V) -> Result<V::Value, Error<'n>> {
        if let Some(key) = self.absent.take() {
            let absent = seed.deserialize(NodeDeserializer { node: &ABSENT, pass: self.pass });
            return absent.map_err(|error| error.below(key.to_owned()));
        }
        let entry = self.value.take().ok_or_else(|| de::Error::custom("a value before its key"))?;
        let read = seed.deserialize(NodeDeserializer { node: &entry.value, pass: self.pass });
        read.map_err(|error| error.below(shorten(&entry.key)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

static ABSENT: Node = Node { spot: Spot::START, kind: NodeKind::Absent };

/// The keys of a section, in the order of its struct.
#[must_use]
pub fn keys<T: for<'de> Deserialize<'de>>() -> Keys {
    section::<T>().1
}

/// The display name of a section, and its keys.
pub(crate) fn section<T: for<'de> Deserialize<'de>>() -> (&'static str, Keys) {
    match allowed::<T>() {
        Some(ErrorKind::NoSection { title, keys }) => (title, keys),
        Some(_) | None => ("", &[]),
    }
}

/// The message about a missing value.
pub(super) fn allowed<T: for<'de> Deserialize<'de>>() -> Option<ErrorKind> {
    T::deserialize(NodeDeserializer { node: &ABSENT, pass: &Pass::default() }).err().map(|error| error.kind)
}
