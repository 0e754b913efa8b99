//! What two parts of a profile say about each other.
//!
//! Every check runs whose own inputs are sound, whatever else was reported; nothing is changed here.
//! No pair is cut, no register is in two blocks or in none, no name leads nowhere.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::point::PointRead;
use super::profile::{Point, Scale};
use super::read::{BlockRead, Extras, GapRead};
use super::words::{Access, Format};
use crate::yaml::nearest::nearest;
use crate::yaml::problem::{Faults, Place};

/// Compares everything.
pub(super) fn check(
    blocks: &[&BlockRead],
    gaps: &[GapRead],
    mirrored: bool,
    extras: &Extras,
    faults: &mut Faults<'_>,
) {
    let names = blocks.iter().map(|block| (block.name.as_deref(), &block.name_at));
    check_once(names, "a block", faults);
    check_overlaps(blocks, mirrored, faults);
    for block in blocks {
        check_gaps(block, gaps, faults);
        check_points(block, faults);
        check_core(block, faults);
    }
    let points: Vec<_> = blocks.iter().flat_map(|block| &block.points).collect();
    check_once(points.iter().map(|point| (point.name.as_deref(), &point.name_at)), "a point", faults);
    let names = Names(&points);
    for read in &points {
        if let Some(point) = &read.point {
            check_scale(point, &read.scale_at, &names, faults);
            check_copy(point, &read.copy_at, &names, faults);
        }
    }
    check_headline(extras, &names, faults);
    check_validity(extras, &names, faults);
    check_commands(extras, &names, faults);
    if let Some((version, place)) = &extras.version {
        names.find(version, place, faults);
    }
}

/// The points by their names.
struct Names<'p>(&'p [&'p PointRead]);

impl Names<'_> {
    /// The point of that name. `None`: it is reported here, or was reported where it stands.
    fn find(&self, name: &str, place: &Place, faults: &mut Faults<'_>) -> Option<&Point> {
        let found = self.0.iter().find(|read| read.name.as_deref() == Some(name));
        if found.is_none() {
            let near = nearest(name, self.0.iter().filter_map(|read| read.name.as_deref()));
            let hint = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            faults.error(place, format!("no point has the name {name}{hint}; allowed: the name of a point"));
        }
        found?.point.as_ref()
    }
}

/// Each name once.
fn check_once<'n>(
    names: impl Iterator<Item = (Option<&'n str>, &'n Place)>,
    whose: &str,
    faults: &mut Faults<'_>,
) {
    let mut seen: BTreeMap<&str, &Place> = BTreeMap::new();
    for (name, place) in names {
        let Some(name) = name else { continue };
        match seen.get(name) {
            Some(first) => {
                let message = format!(
                    "{name} is the name of {whose} on line {} already; allowed: each name once",
                    first.spot.line
                );
                faults.error(place, message);
            }
            None => {
                seen.insert(name, place);
            }
        }
    }
}

fn check_overlaps(blocks: &[&BlockRead], mirrored: bool, faults: &mut Faults<'_>) {
    for (index, block) in blocks.iter().enumerate() {
        let Some(own) = &block.registers else { continue };
        let earlier = blocks[..index].iter().find(|other| {
            let same_table =
                mirrored || other.functions.iter().any(|function| block.functions.contains(function));
            same_table && other.registers.as_ref().is_some_and(|others| overlap(own, others))
        });
        if let Some((earlier, others)) = earlier.and_then(|e| Some((e, e.registers.as_ref()?))) {
            let message = format!(
                "found {}, but the block on line {} has {}; allowed: each register in one block",
                show(own),
                earlier.range_at.spot.line,
                show(others)
            );
            faults.error(&block.range_at, message);
        }
    }
}

fn check_gaps(block: &BlockRead, gaps: &[GapRead], faults: &mut Faults<'_>) {
    let Some(own) = &block.registers else { return };
    for gap in gaps.iter().filter(|gap| overlap(own, &gap.registers)) {
        let message = format!(
            "found {}, but {} is a gap; allowed: blocks on either side of it",
            show(own),
            show(&gap.registers)
        );
        faults.error(&block.range_at, message);
    }
}

/// Every point inside its block, every register of the block in one point.
fn check_points(block: &BlockRead, faults: &mut Faults<'_>) {
    let Some(own) = &block.registers else { return };
    let mut sorted: Vec<_> =
        block.points.iter().filter_map(|point| Some((point.registers.as_ref()?, point))).collect();
    sorted.sort_by_key(|(registers, _)| *registers.start());
    let mut next = *own.start();
    for (registers, point) in sorted {
        if !own.contains(registers.start()) || !own.contains(registers.end()) {
            let message = format!(
                "found {}, but the block has {}; allowed: points that lie whole in their block",
                count(registers),
                show(own)
            );
            faults.error(&point.register_at, message);
            // What lies beyond the end leaves no hole before it.
            next = next.max((*registers.end() + 1).min(*own.end() + 1));
            continue;
        }
        if *registers.start() < next {
            let message = format!(
                "found {}, but another point reaches up to {}; allowed: each register in one point",
                count(registers),
                next - 1
            );
            faults.error(&point.register_at, message);
        } else if *registers.start() > next && block.complete {
            report_hole(block, next..=registers.start() - 1, faults);
        }
        next = next.max(registers.end() + 1);
    }
    if next <= *own.end() && block.complete {
        report_hole(block, next..=*own.end(), faults);
    }
}

fn report_hole(block: &BlockRead, hole: RangeInclusive<u32>, faults: &mut Faults<'_>) {
    let message = format!(
        "no point has {} of the block; allowed: a point for each, of group reserved where it means nothing, \
         or two blocks",
        count(&hole)
    );
    faults.error(&block.range_at, message);
}

fn check_core(block: &BlockRead, faults: &mut Faults<'_>) {
    let (Some(own), Some(core)) = (&block.registers, &block.core) else { return };
    if !own.contains(core.start()) || !own.contains(core.end()) {
        let message = format!("found {}, but the block has {}; allowed: a part of it", show(core), show(own));
        faults.error(&block.core_at, message);
        return;
    }
    let cut = block.points.iter().find_map(|point| {
        let registers = point.registers.as_ref()?;
        let inside = [registers.start(), registers.end()].map(|end| core.contains(end));
        (inside[0] != inside[1]).then_some(registers)
    });
    if let Some(cut) = cut {
        let message =
            format!("found {}, which cuts the point at {}; allowed: whole points", show(core), count(cut));
        faults.error(&block.core_at, message);
    }
}

fn check_scale(point: &Point, place: &Place, names: &Names<'_>, faults: &mut Faults<'_>) {
    let Some(Scale::Exponent(name)) = &point.scale else { return };
    let Some(exponent) = names.find(name, place, faults) else { return };
    if exponent.format != Format::Exponent {
        let message = format!(
            "{name} is of format {}; allowed: the name of a point of format exponent",
            exponent.format.word()
        );
        faults.error(place, message);
    }
}

fn check_copy(point: &Point, place: &Place, names: &Names<'_>, faults: &mut Faults<'_>) {
    let Some(name) = &point.copy_of else { return };
    let Some(original) = names.find(name, place, faults) else { return };
    if original.copy_of.is_some() || *name == point.name {
        let message = format!("{name} is itself a copy; allowed: the name of an original");
        faults.error(place, message);
    } else if original.unit != point.unit {
        let shown = |unit: Option<&str>| unit.unwrap_or("no unit").to_owned();
        let message = format!(
            "{name} is in {}, its copy in {}; allowed: one unit for both",
            shown(original.unit),
            shown(point.unit)
        );
        faults.error(place, message);
    }
}

fn check_headline(extras: &Extras, names: &Names<'_>, faults: &mut Faults<'_>) {
    check_once(
        extras.headline.iter().map(|(name, place)| (Some(name.as_str()), place)),
        "a headline",
        faults,
    );
    for (name, place) in &extras.headline {
        let Some(point) = names.find(name, place, faults) else { continue };
        if let Some(original) = &point.copy_of {
            let message =
                format!("{name} is a copy; allowed: its original {original}, which stands for both");
            faults.error(place, message);
        }
    }
}

fn check_validity(extras: &Extras, names: &Names<'_>, faults: &mut Faults<'_>) {
    for (name, place) in &extras.valid_points {
        let found = names.find(name, place, faults);
        if let Some(original) = found.and_then(|point| point.copy_of.as_ref()) {
            let message =
                format!("{name} is a copy; allowed: its original {original}, which stands for both");
            faults.error(place, message);
        }
    }
    let Some((name, place)) = &extras.validity_point else { return };
    let Some(point) = names.find(name, place, faults) else { return };
    for (code, place) in &extras.type_codes {
        if !point.codes.iter().any(|known| known.code == *code) {
            let known: Vec<_> = point.codes.iter().map(|known| known.code.to_string()).collect();
            let message = format!("found {code}; allowed: a code of {}: {}", point.name, known.join(", "));
            faults.error(place, message);
        }
    }
}

fn check_commands(extras: &Extras, names: &Names<'_>, faults: &mut Faults<'_>) {
    let named = extras.command_names.iter().map(|(name, place)| (Some(name.as_str()), place));
    check_once(named, "a command", faults);
    for (name, place) in &extras.command_points {
        let Some(point) = names.find(name, place, faults) else { continue };
        if point.access != Access::ReadWrite || point.range.quantity != 1 {
            let message =
                format!("{} is not a single register that can be written; allowed: one that is", point.name);
            faults.error(place, message);
        }
    }
}

fn overlap(one: &RangeInclusive<u32>, other: &RangeInclusive<u32>) -> bool {
    one.start() <= other.end() && other.start() <= one.end()
}

fn show(registers: &RangeInclusive<u32>) -> String {
    let (first, last) = (registers.start(), registers.end());
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn count(registers: &RangeInclusive<u32>) -> String {
    if registers.start() == registers.end() {
        format!("register {}", registers.start())
    } else {
        format!("registers {}", show(registers))
    }
}
