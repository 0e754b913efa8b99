//! Checks between the parts of a profile.
//!
//! Every check runs whose own inputs are sound, whatever else was reported: no pair is cut, every register of a block
//! belongs to exactly one point, every name resolves.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::draft::{BlockRead, PointRead, of, show};
use super::profile::{Point, Scale};
use super::section;
use super::vocabulary::{Access, Format, Group};
use crate::document::{Reader, YesNo, did_you_mean};

/// Runs all checks.
pub(super) fn check(
    blocks: &[BlockRead],
    gaps: &[RangeInclusive<u32>],
    file: &section::Profile,
    reader: &mut Reader<'_, '_>,
) {
    let names = blocks.iter().map(|block| (block.name.as_deref(), format!("{}.name", block.path)));
    check_once(names, "a block", reader);
    check_overlaps(blocks, file.mirrored, reader);
    for block in blocks {
        check_gaps(block, gaps, reader);
        check_points(block, reader);
        check_core(block, reader);
    }
    let points: Vec<_> = blocks.iter().flat_map(|block| &block.points).collect();
    let names = points.iter().map(|point| (point.name.as_deref(), format!("{}.name", point.path)));
    check_once(names, "a point", reader);
    let names = Names { points: &points, are_complete: points.iter().all(|point| point.name.is_some()) };
    for read in &points {
        if let Some(point) = &read.point {
            check_scale(point, &read.scaled_by, &names, reader);
            check_copy(point, &format!("{}.copy_of", read.path), &names, reader);
        }
    }
    check_bill_by(&points, reader);
    check_headline(file, &names, reader);
    check_validity(file, &names, reader);
    check_commands(file, &names, reader);
    if let Some(version) = &file.identification.version {
        names.find(&version.0, "identification.version", reader);
    }
}

/// The points by name.
struct Names<'p> {
    points: &'p [&'p PointRead],
    /// Whether every point has a name: if not, a name that is not found may be the missing one.
    are_complete: bool,
}

impl Names<'_> {
    /// The point with this name. `None`: the missing name has been reported.
    fn find(&self, name: &str, path: &str, reader: &mut Reader<'_, '_>) -> Option<&Point> {
        let found = self.points.iter().find(|read| read.name.as_deref() == Some(name));
        if found.is_none() && self.are_complete {
            let known = self.points.iter().filter_map(|read| read.name.as_deref());
            let help = format!("{}allowed: the name of a point", did_you_mean(name, known));
            reader.error(path, &format!("no point is called `{name}`"), &help);
        }
        found.filter(|read| reader.is_sound(&read.path))?.point.as_ref()
    }

    /// The same where a copy is not allowed.
    fn find_original(&self, name: &str, path: &str, reader: &mut Reader<'_, '_>) {
        let original = self.find(name, path, reader).and_then(|point| point.copy_of.as_ref());
        if let Some(original) = original {
            let help = format!("allowed: its original {original}, which stands for both");
            reader.error(path, &format!("{name} is a copy"), &help);
        }
    }
}

/// Checks that each name occurs once.
fn check_once<'n>(
    names: impl Iterator<Item = (Option<&'n str>, String)>,
    whose: &str,
    reader: &mut Reader<'_, '_>,
) {
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    for (name, path) in names {
        let Some(name) = name else { continue };
        if let Some(first) = seen.get(name) {
            let what = format!("{name} is the name of {whose}{} already", reader.on_line(first));
            reader.error(&path, &what, "allowed: each name once");
        } else {
            seen.insert(name, path);
        }
    }
}

fn check_overlaps(blocks: &[BlockRead], mirrored: YesNo, reader: &mut Reader<'_, '_>) {
    for (index, block) in blocks.iter().enumerate() {
        let Some(own) = &block.registers else { continue };
        let earlier = blocks[..index].iter().find_map(|other| {
            let same_table = mirrored == YesNo::Yes
                || other.functions.iter().any(|function| block.functions.contains(function));
            let others = other.registers.as_ref().filter(|others| same_table && overlap(own, others))?;
            Some((other, others))
        });
        if let Some((earlier, others)) = earlier {
            let line = reader.on_line(&format!("{}.registers", earlier.path));
            let what = format!("found {}, but the block{line} has {}", show(own), show(others));
            reader.error(&format!("{}.registers", block.path), &what, "allowed: each register in one block");
        }
    }
}

fn check_gaps(block: &BlockRead, gaps: &[RangeInclusive<u32>], reader: &mut Reader<'_, '_>) {
    let Some(own) = &block.registers else { return };
    for gap in gaps.iter().filter(|gap| overlap(own, gap)) {
        let what = format!("found {}, but {} is a gap", show(own), show(gap));
        reader.error(&format!("{}.registers", block.path), &what, "allowed: blocks on either side of it");
    }
}

/// Checks that every point is inside its block, and every register of the block in one point.
fn check_points(block: &BlockRead, reader: &mut Reader<'_, '_>) {
    let Some(own) = &block.registers else { return };
    let mut sorted: Vec<_> =
        block.points.iter().filter_map(|point| Some((point.registers.as_ref()?, point))).collect();
    // Whether the registers of every point could be read.
    let is_complete = !sorted.is_empty() && sorted.len() == block.points.len();
    sorted.sort_by_key(|(registers, _)| *registers.start());
    let mut next = *own.start();
    let mut before: Option<&PointRead> = None;
    for (registers, point) in sorted {
        let path = format!("{}.register", point.path);
        if !own.contains(registers.start()) || !own.contains(registers.end()) {
            let what = format!("found {}, but the block has {}", count(registers), show(own));
            reader.error(&path, &what, "allowed: points that lie whole in their block");
            // A point beyond the end leaves no gap before it.
            next = next.max((*registers.end() + 1).min(*own.end() + 1));
            continue;
        }
        if *registers.start() < next {
            let owner =
                before.and_then(|other| Some((other.registers.as_ref()?, reader.on_line(&other.path))));
            let owner = owner.map(|(taken, line)| format!("the point{line} has {}", show(taken)));
            let owner = owner.unwrap_or_else(|| format!("another point reaches up to {}", next - 1));
            let what = format!("found {}, but {owner}", count(registers));
            reader.error(&path, &what, "allowed: each register in one point");
        } else if *registers.start() > next && is_complete {
            report_hole(block, next..=registers.start() - 1, reader);
        }
        if *registers.end() + 1 > next {
            next = registers.end() + 1;
            before = Some(point);
        }
    }
    if next <= *own.end() && is_complete {
        report_hole(block, next..=*own.end(), reader);
    }
}

fn report_hole(block: &BlockRead, hole: RangeInclusive<u32>, reader: &mut Reader<'_, '_>) {
    let what = format!("no point has {} of the block", count(&hole));
    let help = "allowed: a point for each, of group reserved where it means nothing, or two blocks";
    reader.error(&format!("{}.registers", block.path), &what, help);
}

fn check_core(block: &BlockRead, reader: &mut Reader<'_, '_>) {
    let (Some(own), Some(core)) = (&block.registers, &block.core) else { return };
    let path = format!("{}.core", block.path);
    if !own.contains(core.start()) || !own.contains(core.end()) {
        let what = format!("found {}, but the block has {}", show(core), show(own));
        reader.error(&path, &what, "allowed: a part of it");
        return;
    }
    let cut = block.points.iter().find_map(|point| {
        let registers = point.registers.as_ref()?;
        let inside = [registers.start(), registers.end()].map(|end| core.contains(end));
        (inside[0] != inside[1]).then_some(registers)
    });
    if let Some(cut) = cut {
        let what = format!("found {}, which cuts the point at {}", show(core), count(cut));
        reader.error(&path, &what, "allowed: whole points");
    }
}

/// Checks that an exponent is one, and that a ratio is a number without a scale of its own.
fn check_scale(
    point: &Point,
    scaled_by: &[(String, String)],
    names: &Names<'_>,
    reader: &mut Reader<'_, '_>,
) {
    for (name, path) in scaled_by {
        let Some(found) = names.find(name, path, reader) else { continue };
        let (format, word) = (found.format, found.format.word());
        match &point.scale {
            None | Some(Scale::Factor(_)) => {}
            Some(Scale::Exponent(_)) if format == Format::Exponent => {}
            Some(Scale::Exponent(_)) => {
                let mut help = "allowed: the name of a point of format exponent".to_owned();
                if format.is_scalable() {
                    help.push_str(&format!("; a ratio stands in a list, such as [{name}]"));
                }
                reader.error(path, &format!("{name} is of format {word}"), &help);
            }
            Some(Scale::Ratio(_)) => {
                let hangs = found.scale.as_ref().is_some_and(|scale| scale.points().next().is_some());
                let help = "allowed: points that hold a number, scaled by a number at most";
                if hangs || found.name == point.name {
                    reader.error(path, &format!("{name} is itself scaled by another point"), help);
                } else if format != Format::Exponent && !format.is_scalable() {
                    reader.error(path, &format!("{name} is of format {word}"), help);
                }
            }
        }
    }
    if point.access == Access::ReadWrite
        && let (Some(Scale::Ratio(_)), Some((_, path))) = (&point.scale, scaled_by.first())
    {
        let what = "a value that hangs on a ratio cannot be written, for the ratio may change meanwhile";
        reader.error(path, what, "allowed: `access: read`, or a scale that is a number");
    }
}

/// Checks that energy is billed by one point, which counts whole steps.
fn check_bill_by(points: &[&PointRead], reader: &mut Reader<'_, '_>) {
    let mut first: Option<&PointRead> = None;
    for (read, point) in points.iter().filter_map(|read| Some((*read, read.point.as_ref()?))) {
        let path = format!("{}.bill_by", read.path);
        if !point.bill_by {
            continue;
        }
        if let Some(first) = first {
            let line = reader.on_line(&format!("{}.bill_by", first.path));
            let what = format!("energy is billed by the point{line} already");
            reader.error(&path, &what, "allowed: one point to bill by");
        }
        if point.group != Group::Energy || point.copy_of.is_some() {
            let what = format!("{} is no energy, or a copy", point.name);
            reader.error(&path, &what, "allowed: an original point of group energy");
        } else if !point.format.is_scalable() {
            let what = format!("{} is of format {}", point.name, point.format.word());
            reader.error(&path, &what, "allowed: a number, best a whole one: a float loses steps");
        }
        first = first.or(Some(read));
    }
}

fn check_copy(point: &Point, path: &str, names: &Names<'_>, reader: &mut Reader<'_, '_>) {
    let Some(name) = &point.copy_of else { return };
    let Some(original) = names.find(name, path, reader) else { return };
    if original.copy_of.is_some() || *name == point.name {
        reader.error(path, &format!("{name} is itself a copy"), "allowed: the name of an original");
    } else if original.unit != point.unit {
        let shown = |unit: Option<&str>| unit.unwrap_or("no unit").to_owned();
        let what = format!("{name} is in {}, its copy in {}", shown(original.unit), shown(point.unit));
        reader.error(path, &what, "allowed: one unit for both");
    }
}

fn check_headline(file: &section::Profile, names: &Names<'_>, reader: &mut Reader<'_, '_>) {
    if !reader.is_whole("headline", of(&file.headline)) {
        return;
    }
    let listed = of(&file.headline).iter().enumerate();
    let listed: Vec<_> =
        listed.map(|(index, name)| (name.0.as_str(), format!("headline[{index}]"))).collect();
    check_once(listed.iter().map(|(name, path)| (Some(*name), path.clone())), "a headline", reader);
    for (name, path) in listed {
        names.find_original(name, &path, reader);
    }
}

fn check_validity(file: &section::Profile, names: &Names<'_>, reader: &mut Reader<'_, '_>) {
    let Some(validity) = &file.validity else { return };
    let point = names.find(&validity.point.0, "validity.point", reader);
    if !reader.is_whole("validity.types", &validity.types.0) {
        return;
    }
    let types = &validity.types.0;
    for (index, one) in types.iter().enumerate() {
        let path = format!("validity.types[{index}]");
        if types[..index].iter().any(|earlier| earlier.code == one.code) {
            reader.error(&format!("{path}.code"), "found the code a second time", "allowed: each code once");
        }
        for (key, list) in [("not_valid", &one.not_valid), ("uncertain", &one.uncertain)] {
            let is_whole = reader.is_whole(&format!("{path}.{key}"), of(list));
            for (index, name) in of(list).iter().enumerate().filter(|_| is_whole) {
                names.find_original(&name.0, &format!("{path}.{key}[{index}]"), reader);
            }
        }
        let Some(point) = point else { continue };
        if !point.codes.iter().any(|known| u32::from(known.code) == one.code.get()) {
            let known: Vec<_> = point.codes.iter().map(|known| known.code.to_string()).collect();
            let help = format!("allowed: a code of {}: {}", point.name, known.join(", "));
            reader.error(&format!("{path}.code"), &format!("found `{}`", one.code.get()), &help);
        }
    }
}

fn check_commands(file: &section::Profile, names: &Names<'_>, reader: &mut Reader<'_, '_>) {
    if !reader.is_whole("commands", of(&file.commands)) {
        return;
    }
    let commands = || of(&file.commands).iter().enumerate();
    let named =
        commands().map(|(index, command)| (Some(command.name.0.as_str()), format!("commands[{index}].name")));
    check_once(named, "a command", reader);
    for (index, command) in commands() {
        let path = format!("commands[{index}].point");
        let Some(point) = names.find(&command.point.0, &path, reader) else { continue };
        if point.access != Access::ReadWrite || point.range.quantity != 1 {
            let what = format!("{} is not a single register that can be written", point.name);
            reader.error(&path, &what, "allowed: one that is, with `access: read_write`");
        }
    }
}

fn overlap(one: &RangeInclusive<u32>, other: &RangeInclusive<u32>) -> bool {
    one.start() <= other.end() && other.start() <= one.end()
}

fn count(registers: &RangeInclusive<u32>) -> String {
    if registers.start() == registers.end() {
        format!("register {}", registers.start())
    } else {
        format!("registers {}", show(registers))
    }
}
