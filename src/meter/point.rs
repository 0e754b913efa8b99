//! One entry of a block's `points`, read by itself.
//!
//! Owns the bounds of a point's keys and what they say about each other; never looks at another point (see
//! `cross`).

use std::ops::RangeInclusive;

use super::keys::Part;
use super::profile::{Bit, Code, Point, Scale};
use super::value::{prose, register, scale, span, unit, word, yes_no};
use super::words::{self, Format, Group};
use crate::modbus::pdu::{FunctionCode, ReadRange};
use crate::yaml::problem::{Faults, Place};
use crate::yaml::section::{Section, judge, optional};
use crate::yaml::tree::Node;
use crate::yaml::value::{choice, count};

/// A point as read.
pub(super) struct PointRead {
    pub(super) name: Option<String>,
    pub(super) name_at: Place,
    pub(super) register_at: Place,
    pub(super) scale_at: Place,
    pub(super) copy_at: Place,
    /// Its registers, as printed, first and last; the last may be beyond the last there is.
    pub(super) registers: Option<RangeInclusive<u32>>,
    /// All of it; `None`: something was reported.
    pub(super) point: Option<Point>,
}

/// What a point has from around it.
#[derive(Clone, Copy)]
pub(super) struct Around {
    /// The printed number of the register at wire address 0.
    pub(super) first_register: u32,
    /// The function that reads its block.
    pub(super) function: FunctionCode,
    /// Its block's place in the file.
    pub(super) block: usize,
}

/// Reads one entry of `points`.
pub(super) fn read(node: &Node, path: &str, around: Around, faults: &mut Faults<'_>) -> Option<PointRead> {
    let section = Section::open(node, path, Part::Point, faults)?;
    let name = section.value("name", faults, word);
    let printed = section.value("register", faults, |n| register(n, around.first_register));
    let format = section.value("format", faults, |n| choice(n, Format::ALL, Format::word));
    let registers = printed.zip(format).map(|(first, format)| first..=first + u32::from(format.words()) - 1);
    let point = read_rest(&section, &name, around, registers.as_ref().zip(format), faults);
    Some(PointRead {
        name,
        name_at: section.place_of("name"),
        register_at: section.place_of("register"),
        scale_at: section.place_of("scale"),
        copy_at: section.place_of("copy_of"),
        registers,
        point,
    })
}

/// Everything else of a point; each key is looked at, whatever was reported before.
fn read_rest(
    section: &Section<'_, Part>,
    name: &Option<String>,
    around: Around,
    found: Option<(&RangeInclusive<u32>, Format)>,
    faults: &mut Faults<'_>,
) -> Option<Point> {
    let format = found.map(|(_, format)| format);
    let unit = optional(section.field("unit", faults, unit));
    let scale = read_scale(section, format, faults);
    let group = section.value("group", faults, |n| choice(n, Group::ALL, Group::word));
    let access = section.value("access", faults, |n| choice(n, words::ACCESSES, words::access));
    let non_volatile = section.value("non_volatile", faults, yes_no);
    let allowed = read_range(section, format, faults);
    let codes = read_codes(section, format, faults);
    let bits = read_bits(section, format, faults);
    let copy_of = optional(section.field("copy_of", faults, word));
    let description = section.field("description", faults, prose).or(Some(String::new()));
    let confidence =
        section.value("confidence", faults, |n| choice(n, words::CONFIDENCES, words::confidence));
    let (registers, format) = found?;
    let start = u16::try_from(registers.start() - around.first_register).ok()?;
    Some(Point {
        name: name.clone()?,
        register: *registers.start(),
        range: ReadRange { function: around.function, start, quantity: format.words() },
        block: around.block,
        format,
        unit: unit?,
        scale: scale?,
        group: group?,
        access: access?,
        non_volatile: non_volatile?,
        allowed: allowed?,
        codes: codes?,
        bits: bits?,
        copy_of: copy_of?,
        description: description?,
        confidence: confidence?,
    })
}

/// The entries of a list that may be absent; `None`: reported.
pub(super) fn entries<'n>(
    section: &Section<'n, Part>,
    name: &str,
    most: usize,
    faults: &mut Faults<'_>,
) -> Option<Vec<(String, &'n Node)>> {
    if section.node(name).is_none() { Some(Vec::new()) } else { section.list(name, most, faults) }
}

fn read_scale(
    section: &Section<'_, Part>,
    format: Option<Format>,
    faults: &mut Faults<'_>,
) -> Option<Option<Scale>> {
    let scale = optional(section.field("scale", faults, scale))?;
    if let (Some(_), Some(format)) = (&scale, format.filter(|format| !format.is_scalable())) {
        let message =
            format!("found a scale on format {}; allowed: scales on whole numbers only", format.word());
        faults.error(&section.place_of("scale"), message);
        return None;
    }
    Some(scale)
}

/// An exponent without a range is held to what makes sense at all.
fn read_range(
    section: &Section<'_, Part>,
    format: Option<Format>,
    faults: &mut Faults<'_>,
) -> Option<Vec<RangeInclusive<f64>>> {
    let items = entries(section, "range", MAX_SPANS, faults)?;
    let format = format?;
    let spans: Vec<_> = items
        .iter()
        .map(|(path, item)| {
            let place = Place { spot: item.spot, key: path.clone() };
            let found = judge(item, &place, faults, |n| span(n, format))?;
            let too_wide = *found.start() < -MAX_EXPONENT || *found.end() > MAX_EXPONENT;
            if format == Format::Exponent && too_wide {
                let message = format!(
                    "found {}; allowed: exponents from -{MAX_EXPONENT} to {MAX_EXPONENT}",
                    item.describe()
                );
                faults.error(&place, message);
                return None;
            }
            Some(found)
        })
        .collect();
    let spans: Vec<_> = spans.into_iter().collect::<Option<_>>()?;
    let default = (format == Format::Exponent && spans.is_empty()).then_some(-MAX_EXPONENT..=MAX_EXPONENT);
    Some(spans.into_iter().chain(default).collect())
}

fn read_codes(
    section: &Section<'_, Part>,
    format: Option<Format>,
    faults: &mut Faults<'_>,
) -> Option<Vec<Code>> {
    let items = entries(section, "codes", MAX_CODES, faults)?;
    if let Some(format) = format.filter(|format| *format != Format::U16 && !items.is_empty()) {
        let message = format!("found codes on format {}; allowed: codes on u16 only", format.word());
        faults.error(&section.place_of("codes"), message);
    }
    let mut codes: Vec<Option<Code>> = Vec::new();
    for (path, item) in items {
        let Some(section) = Section::open(item, &path, Part::Code, faults) else {
            codes.push(None);
            continue;
        };
        let code = section.value("code", faults, |n| count(n, 0, u32::from(u16::MAX)));
        let code = code.and_then(|code| u16::try_from(code).ok());
        let means = section.value("means", faults, prose);
        if codes.iter().flatten().any(|known| Some(known.code) == code) {
            faults.error(&section.place_of("code"), "found the code a second time; allowed: each code once");
        }
        codes.push(code.zip(means).map(|(code, means)| Code { code, means }));
    }
    codes.into_iter().collect()
}

fn read_bits(
    section: &Section<'_, Part>,
    format: Option<Format>,
    faults: &mut Faults<'_>,
) -> Option<Vec<Bit>> {
    let items = entries(section, "bits", MAX_BITS, faults)?;
    if let Some(format) = format.filter(|format| *format != Format::Bits && !items.is_empty()) {
        let message = format!("found bits on format {}; allowed: bits on format bits only", format.word());
        faults.error(&section.place_of("bits"), message);
    }
    let mut bits: Vec<Option<Bit>> = Vec::new();
    for (path, item) in items {
        let Some(section) = Section::open(item, &path, Part::Bit, faults) else {
            bits.push(None);
            continue;
        };
        let bit = section.value("bit", faults, |n| count(n, 0, 15)).and_then(|bit| u8::try_from(bit).ok());
        let name = section.value("name", faults, word);
        let means = section.value("means", faults, prose);
        let remedy = optional(section.field("remedy", faults, prose));
        if bits.iter().flatten().any(|known| Some(known.bit) == bit) {
            faults.error(&section.place_of("bit"), "found the bit a second time; allowed: each bit once");
        }
        if bits.iter().flatten().any(|known| Some(&known.name) == name.as_ref()) {
            faults.error(&section.place_of("name"), "found the name a second time; allowed: each name once");
        }
        let said = bit.zip(name).zip(means).zip(remedy);
        bits.push(said.map(|(((bit, name), means), remedy)| Bit { bit, name, means, remedy }));
    }
    let mut bits = bits.into_iter().collect::<Option<Vec<_>>>()?;
    bits.sort_by_key(|bit| bit.bit);
    Some(bits)
}

/// Spans of one `range`.
const MAX_SPANS: usize = 16;
/// Entries of `codes`.
const MAX_CODES: usize = 64;
/// Entries of `bits`.
const MAX_BITS: usize = 16;
/// The powers of ten a meter may scale by.
const MAX_EXPONENT: f64 = 10.0;
