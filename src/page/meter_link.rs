//! How a page points at a meter.

use std::fmt::Display;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::status::{Status, Unit};

/// Which meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterLink<'a> {
    /// Its identifier as clients know it.
    pub unit: u8,
    /// What people call it.
    pub name: Option<&'a str>,
    /// Its bus, where `unit` alone does not tell it apart.
    pub bus: Option<&'a str>,
}

impl<'a> MeterLink<'a> {
    /// Of a unit of a model.
    #[must_use]
    pub fn new(unit: &'a Unit<'_>, status: &Status<'_>) -> Self {
        let bus = status.is_ambiguous(unit.unit).then_some(&*unit.bus);
        Self { unit: unit.unit, name: unit.name.as_deref(), bus }
    }

    /// Its page, seen from the root of the server.
    #[must_use]
    pub fn href(&self) -> String {
        match self.bus {
            None => format!("/units/{}", self.unit),
            Some(bus) => format!("/units/{}?bus={}", self.unit, escape_query(bus)),
        }
    }

    /// Its name, or else its number.
    #[must_use]
    pub fn title(&self) -> String {
        self.name.map_or_else(|| format!("Unit {}", self.unit), str::to_owned)
    }

    /// Name and number, for where it stands alone.
    #[must_use]
    pub fn full_title(&self) -> String {
        match self.name {
            None => format!("Unit {}", self.unit),
            Some(name) => format!("{name} (unit {})", self.unit),
        }
    }
}

/// As RFC 3986 wants it within a query.
pub fn escape_query(text: &str) -> impl Display + '_ {
    utf8_percent_encode(text, &RESERVED)
}

const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
