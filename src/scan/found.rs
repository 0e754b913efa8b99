//! The results of a scan, unit by unit, and their meaning.

use std::time::Duration;

use super::plan::Question;
use crate::line::{Framing, UnitId};
use crate::meter::Profile;

/// The result of one address at one framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// One meter, and its description of itself.
    Meter(FoundMeter),
    /// Answers came, and none of them was intact.
    Damaged,
    /// Answers began as they should, and most broke off before their end.
    Truncated,
    /// Answers came undamaged as far as can be determined, and none fits its request. The checksums on a gateway's line
    /// are not visible here, so this does not indicate a second meter.
    Malformed,
    /// Some answers came intact, some damaged.
    Noisy(FoundMeter),
    /// More than one answer to a request.
    Twice,
    /// No answer.
    Silent,
}

/// One meter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundMeter {
    /// From the end of a request to the first byte of its answer, smoothed; `None` through another gateway.
    pub answers_in: Option<Duration>,
    /// Its reply to 0x11 or to 0x2B with MEI type 0x0E, sanitised for display.
    pub says: Option<String>,
    /// Its firmware, as its profile reads it.
    pub version: Option<String>,
    /// The built-in profile that fits its description.
    pub profile: Option<&'static str>,
    /// It answered after its timeout.
    pub late: bool,
    /// Its answers to reads are intact and of another length than requested; none of them fits.
    pub misfits: bool,
    /// The first request it answered.
    pub answered: Option<Question>,
}

/// The attempts of a scan at one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// Requests with an intact answer, exceptions included.
    pub intact: u32,
    /// Requests with a damaged answer: a wrong checksum, or bytes that are no frame.
    pub damaged: u32,
    /// Of these, those that began as they should and broke off.
    pub truncated: u32,
    /// Requests with an answer that does not fit.
    pub malformed: u32,
    /// Intact frames of this unit beyond one per request.
    pub surplus: u32,
}

/// All results of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// By unit, each with the framing at which it was heard; silent ones with none.
    pub units: Vec<(UnitId, Option<Framing>, Found)>,
}

impl Tries {
    /// The result that these attempts add up to. Two meters of one address answer at once, so that everything received
    /// is damaged, or one after the other; noise damages some answers and spares others.
    #[must_use]
    pub fn judge(self, meter: FoundMeter) -> Found {
        match self {
            Self { surplus: 1.., .. } => Found::Twice,
            Self { intact: 0, malformed: 1.., .. } => Found::Malformed,
            Self { intact: 0, damaged: 0, .. } => Found::Silent,
            Self { intact: 0, truncated, damaged, .. } if truncated * 2 > damaged => Found::Truncated,
            Self { intact: 0, .. } => Found::Damaged,
            Self { damaged: 0, .. } => Found::Meter(meter),
            Self { .. } => Found::Noisy(meter),
        }
    }
}

impl Findings {
    /// No unit has been probed yet.
    #[must_use]
    pub fn of_none(units: &[UnitId]) -> Self {
        Self { units: units.iter().map(|unit| (*unit, None, Found::Silent)).collect() }
    }

    /// The units to probe at a framing: those never heard, and those of which nothing usable was heard at another
    /// framing, which may have been the wrong one.
    pub fn to_ask(&self, framing: Framing) -> impl Iterator<Item = UnitId> {
        let worth = move |at: Option<Framing>, found: &Found| match found {
            Found::Silent => true,
            Found::Damaged | Found::Truncated | Found::Malformed => at != Some(framing),
            Found::Meter(_) | Found::Noisy(_) | Found::Twice => false,
        };
        self.units.iter().filter(move |(_, at, found)| worth(*at, found)).map(|(unit, ..)| *unit)
    }

    /// Adds a result at a framing, if it is better than the one before.
    pub fn take(&mut self, unit: UnitId, framing: Framing, found: Found) {
        let Some(known) = self.units.iter_mut().find(|(one, ..)| *one == unit) else { return };
        let says_more = match found {
            Found::Silent => false,
            Found::Damaged | Found::Truncated | Found::Malformed => known.1.is_none(),
            Found::Meter(_) | Found::Noisy(_) | Found::Twice => true,
        };
        if says_more {
            *known = (unit, Some(framing), found);
        }
    }

    /// Units that answer, damaged or not.
    pub fn heard(&self) -> impl Iterator<Item = (UnitId, Framing, &Found)> {
        self.units.iter().filter_map(|(unit, framing, found)| Some((*unit, (*framing)?, found)))
    }

    /// Units with one meter each, noisy or not, and their framing.
    pub fn meters(&self) -> impl Iterator<Item = (UnitId, Framing, &FoundMeter)> {
        self.heard().filter_map(|(unit, framing, found)| match found {
            Found::Meter(meter) | Found::Noisy(meter) => Some((unit, framing, meter)),
            Found::Damaged | Found::Truncated | Found::Malformed | Found::Twice | Found::Silent => None,
        })
    }

    /// Addresses at which more than one meter seems to answer.
    pub fn shared(&self) -> impl Iterator<Item = UnitId> {
        self.heard().filter_map(|(unit, _, found)| match found {
            Found::Damaged | Found::Twice => Some(unit),
            Found::Meter(_) | Found::Noisy(_) | Found::Truncated | Found::Malformed | Found::Silent => None,
        })
    }

    /// Addresses that answer, but never with an answer that fits.
    pub fn malformed(&self) -> impl Iterator<Item = UnitId> {
        self.heard().filter(|(_, _, found)| **found == Found::Malformed).map(|(unit, ..)| unit)
    }

    /// Addresses whose answers break off.
    pub fn truncated(&self) -> impl Iterator<Item = UnitId> {
        self.heard().filter(|(_, _, found)| **found == Found::Truncated).map(|(unit, ..)| unit)
    }

    /// Units that were probed and never heard.
    pub fn silent(&self) -> impl Iterator<Item = UnitId> {
        self.units.iter().filter(|(_, framing, _)| framing.is_none()).map(|(unit, _, _)| *unit)
    }

    /// The framing most meters are heard at.
    #[must_use]
    pub fn usual_framing(&self) -> Option<Framing> {
        let framings: Vec<_> = self.heard().map(|(_, framing, _)| framing).collect();
        let count = |one: &Framing| framings.iter().filter(|other| *other == one).count();
        // Of framings with equal numbers, the first in the order in which they were tried.
        framings.iter().rev().max_by_key(|one| count(one)).copied()
    }
}

/// The built-in profile that fits a unit's identification.
#[must_use]
pub fn profile_of(says: &Says) -> Option<&'static Profile> {
    Profile::builtin_names().iter().filter_map(|name| Profile::builtin(name)).find(|profile| {
        let by_id = says.server_id.as_ref();
        let by_device = says.device.as_ref();
        by_id.is_some_and(|(id, text)| profile.identification.fits_server_id(*id, text))
            || by_device.is_some_and(|(vendor, product)| profile.identification.fits_device(vendor, product))
    })
}

/// The identification of a unit, as received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Says {
    /// Identifier and text of the reply to 0x11.
    pub server_id: Option<(u8, String)>,
    /// Vendor and product of the reply to 0x2B with MEI type 0x0E.
    pub device: Option<(String, String)>,
}

impl Says {
    /// In one line, the text of 0x11 first.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let id = self.server_id.as_ref().map(|(_, text)| text.trim().to_owned());
        let device =
            self.device.as_ref().map(|(vendor, product)| format!("{vendor} {product}").trim().to_owned());
        id.filter(|text| !text.is_empty()).or(device).filter(|text| !text.is_empty())
    }
}
