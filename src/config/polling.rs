//! The profile and background reading of a unit.
//!
//! Turns the keys `profile`, `poll`, `poll_slow` and `blocks` into the line's settings. When a block is read is decided
//! in the module `line`.

use super::profiles::Profiles;
use super::section::{PollSlow, Unit};
use super::settings::UnitProfile;
use crate::document::{Name, Reader, did_you_mean};
use crate::line::{DemandedBlock, Pace, PolledBlock, Polling};
use crate::meter::{Block, BlockKind, Point, Profile, Scale};
use crate::modbus::pdu::{FunctionCode, ReadRange};

/// The profile of a unit and what is read in the background.
pub(super) struct UnitPolling {
    /// `None`: only requests of clients are passed through.
    pub(super) profile: Option<UnitProfile>,
    pub(super) polling: Polling,
}

/// Reads the keys of one unit; one request reads at most `max_read` of its registers. `None`: an error was reported.
pub(super) fn read(
    unit: &Unit,
    path: &str,
    max_read: Option<u16>,
    profiles: &mut Profiles,
    reader: &mut Reader<'_, '_>,
) -> Option<UnitPolling> {
    let key = |name: &str| format!("{path}.{name}");
    let Some(name) = &unit.profile else {
        return without_profile(unit, path, reader);
    };
    let profile = profiles.find(&name.0, &key("profile"), reader)?;
    let blocks: Vec<&Block> = match &unit.blocks {
        _ if !reader.is_sound(&key("blocks")) => return None,
        None => profile.blocks.iter().filter(|block| block.polled).collect(),
        Some(names) => select_blocks(&profile, &names.0, &key("blocks"), reader)?,
    };
    let blocks = blocks.into_iter().map(|block| block.name.clone()).collect();
    let poll = unit.poll.map_or(Some(Pace::Auto), |poll| poll.0);
    let profile =
        UnitProfile { poll, poll_slow: unit.poll_slow.unwrap_or_default().0.get(), blocks, profile };
    let max_read = max_read?;
    let polling = polling(&profile, max_read);
    let longest = polling.blocks.iter().map(|block| block.range.quantity).max().unwrap_or_default();
    if longest > max_read {
        let what = format!(
            "found {max_read}, but a block that is polled has {longest} registers, and blocks are read whole"
        );
        reader.error(&key("max_read"), &what, &format!("allowed: {longest} or more, or other blocks"));
        return None;
    }
    Some(UnitPolling { polling, profile: Some(profile) })
}

/// Refuses the keys of background reading without a profile, which names the registers to read.
fn without_profile(unit: &Unit, path: &str, reader: &mut Reader<'_, '_>) -> Option<UnitPolling> {
    let key = |name: &str| format!("{path}.{name}");
    if !reader.is_sound(&key("profile")) {
        return None;
    }
    let is_slow = unit.poll_slow.unwrap_or_default() != PollSlow::default();
    let keys = [
        ("poll", unit.poll.is_some_and(|poll| poll.0.is_some())),
        ("blocks", unit.blocks.is_some()),
        ("poll_slow", is_slow),
    ];
    let needing: Vec<&str> =
        keys.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect();
    match needing.as_slice() {
        [] => {}
        ["poll_slow"] => {
            let what = "nothing is read at this interval, for the unit has no profile";
            reader.warning(&key("poll_slow"), what, "leave it out, or name one");
        }
        needing => {
            let needing = needing.join(", ");
            let help =
                format!("add `profile:` with the name of one, such as leviton-4000r, or leave out {needing}");
            reader.error(&key("profile"), &format!("the key is missing, needed by {needing}"), &help);
        }
    }
    Some(UnitPolling { profile: None, polling: Polling::default() })
}

/// Selects the named blocks, in the profile's order.
fn select_blocks<'p>(
    profile: &'p Profile,
    names: &[Name],
    path: &str,
    reader: &mut Reader<'_, '_>,
) -> Option<Vec<&'p Block>> {
    for (index, Name(name)) in names.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if profile.block(name).is_none() {
            let known: Vec<_> = profile.blocks.iter().map(|block| block.name.as_str()).collect();
            let help = format!("{}allowed: {}", did_you_mean(name, known.iter().copied()), known.join(", "));
            reader.error(&path, &format!("no block of {} is called `{name}`", profile.name), &help);
        } else if names[..index].iter().any(|earlier| earlier.0 == *name) {
            reader.error(&path, &format!("found {name} a second time"), "allowed: each block once");
        }
    }
    let named = |block: &&Block| names.iter().any(|name| name.0 == block.name);
    reader.is_sound(path).then(|| profile.blocks.iter().filter(named).collect())
}

/// Single points that are read with the measurements although their blocks are not, if the blocks are the profile's own
/// choice: the point to bill by, which is exact, while a float beyond 16,777,216 loses steps; and the meter's alerts,
/// which would be a minute late with the slow blocks. Reading a whole block for one point would double the cycle.
fn single_points(unit: &UnitProfile, pace: Pace) -> Vec<PolledBlock> {
    let profile = &unit.profile;
    let is_own_choice = profile.blocks.iter().all(|block| block.polled == unit.blocks.contains(&block.name));
    let is_measured = |point: &Point| {
        let block = profile.blocks.get(point.block);
        block.is_some_and(|block| block.kind == BlockKind::Measurement && unit.blocks.contains(&block.name))
    };
    let wanted = |point: &&Point| is_own_choice && (point.bill_by || point.is_alert()) && !is_measured(point);
    let single = |point: &Point| PolledBlock { range: point.range, core: None, measured: true, pace };
    profile.points.iter().filter(wanted).map(single).collect()
}

/// The line's settings for a unit with a profile.
fn polling(unit: &UnitProfile, max_read: u16) -> Polling {
    let UnitProfile { profile, poll, poll_slow, blocks } = unit;
    let is_polled = |block: &Block| poll.is_some() && blocks.contains(&block.name);
    let measured = |pace: Pace| {
        profile.blocks.iter().filter(|block| is_polled(block)).map(move |block| {
            let (measured, pace) = match block.kind {
                BlockKind::Measurement => (true, pace),
                BlockKind::Configuration | BlockKind::Identity => (false, Pace::Every(*poll_slow)),
            };
            PolledBlock { range: block.range, core: block.core, measured, pace }
        })
    };
    let demanded = profile.blocks.iter().filter(|block| block.range.quantity <= max_read).flat_map(|block| {
        // One read of mirrored tables serves both.
        let tables = if profile.mirrored { &block.functions[..1] } else { &block.functions[..] };
        tables.iter().skip(usize::from(is_polled(block))).map(|function| {
            let in_table = |range: ReadRange| ReadRange { function: *function, ..range };
            DemandedBlock { range: in_table(block.range), core: block.core.map(in_table) }
        })
    });
    let measurement = profile.blocks.iter().filter(|block| block.kind == BlockKind::Measurement);
    let measurements = measurement.flat_map(|block| {
        block.functions.iter().map(|function| ReadRange { function: *function, ..block.range })
    });
    let registers = profile.blocks.iter().flat_map(|block| {
        let ReadRange { start, quantity, .. } = block.range;
        let inner = move |function: &FunctionCode| {
            let function = *function;
            (1..quantity).map(move |at| (function, start + at))
        };
        block.functions.iter().flat_map(inner)
    });
    Polling {
        blocks: poll.map_or_else(Vec::new, |pace| measured(pace).chain(single_points(unit, pace)).collect()),
        demanded: demanded.collect(),
        measurements: measurements.collect(),
        mirrored: profile.mirrored,
        scales: scales(profile).collect(),
        uncut: registers.filter(|(function, address)| !profile.may_split_at(*function, *address)).collect(),
    }
}

/// The ranges of the points that others are scaled by, in each table.
fn scales(profile: &Profile) -> impl Iterator<Item = ReadRange> {
    let is_scale = |point: &&Point| {
        let mut names =
            profile.points.iter().filter_map(|other| other.scale.as_ref()).flat_map(Scale::points);
        names.any(|name| name == point.name)
    };
    profile.points.iter().filter(is_scale).flat_map(|point| {
        let functions = profile.blocks[point.block].functions.iter();
        functions.map(|function| ReadRange { function: *function, ..point.range })
    })
}
