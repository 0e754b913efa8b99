//! What a unit's keys say of its registers and of reading them in the background.
//!
//! Turns `profile`, `poll`, `poll_slow` and `blocks` into the line's settings; decides nothing about when a block
//! is read. Contract section 1.

use super::profiles::Profiles;
use super::section::{PollSlow, Unit};
use super::settings::UnitProfile;
use crate::document::{Name, Reader, did_you_mean};
use crate::line::{DemandedBlock, Pace, PolledBlock, Polling};
use crate::meter::{Block, BlockKind, Point, Profile};
use crate::modbus::pdu::{FunctionCode, ReadRange};

/// What is known of a unit's registers, and what is read of them.
pub(super) struct PollingRead {
    /// `None`: it is passed through.
    pub(super) profile: Option<UnitProfile>,
    pub(super) polling: Polling,
}

/// Reads the keys of one unit, of which at most `max_read` registers are read at once. `None`: something was
/// reported.
pub(super) fn read(
    unit: &Unit,
    path: &str,
    max_read: Option<u16>,
    profiles: &mut Profiles,
    reader: &mut Reader<'_, '_>,
) -> Option<PollingRead> {
    let key = |name: &str| format!("{path}.{name}");
    let Some(name) = &unit.profile else {
        return without_profile(unit, path, reader);
    };
    let profile = profiles.find(&name.0, &key("profile"), reader)?;
    let blocks: Vec<&Block> = match &unit.blocks {
        _ if !reader.is_sound(&key("blocks")) => return None,
        None => profile.blocks.iter().filter(|block| block.polled).collect(),
        Some(names) => chosen(&profile, &names.0, &key("blocks"), reader)?,
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
    Some(PollingRead { polling, profile: Some(profile) })
}

/// Without a profile nothing says what to read, so no key may ask for it.
fn without_profile(unit: &Unit, path: &str, reader: &mut Reader<'_, '_>) -> Option<PollingRead> {
    let key = |name: &str| format!("{path}.{name}");
    if !reader.is_sound(&key("profile")) {
        return None;
    }
    if unit.poll.is_some_and(|poll| poll.0.is_some()) {
        let what = "found an interval, but the unit has no profile that says what to read";
        reader.error(&key("poll"), what, "allowed: off, or a profile");
    }
    if unit.blocks.is_some() {
        let what = "found a choice of blocks, but the unit has no profile whose blocks they could be";
        reader.error(&key("blocks"), what, "allowed: leaving the key out, or a profile");
    }
    if unit.poll_slow.unwrap_or_default() != PollSlow::default() {
        let what = "nothing is read at this interval, for the unit has no profile";
        reader.warning(&key("poll_slow"), what, "leave it out, or name one");
    }
    Some(PollingRead { profile: None, polling: Polling::default() })
}

/// The named blocks, in the profile's order.
fn chosen<'p>(
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

/// Single points that are read with the measurements though their blocks are not, where the blocks read are the
/// profile's own choice: the point to bill by, exact to the last step, while a float beyond 16,777,216 loses some; and
/// the meter's alerts, which are of no use a minute late. Reading a block for one point would double the cycle.
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
        // One reading of mirrored tables serves both.
        let tables = if profile.mirrored { &block.functions[..1] } else { &block.functions[..] };
        tables.iter().skip(usize::from(is_polled(block))).map(|function| {
            let in_table = |range: ReadRange| ReadRange { function: *function, ..range };
            DemandedBlock { range: in_table(block.range), core: block.core.map(in_table) }
        })
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
        mirrored: profile.mirrored,
        uncut: registers.filter(|(function, address)| !profile.may_split_at(*function, *address)).collect(),
    }
}
