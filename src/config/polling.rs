//! What a unit's keys say of its registers and of reading them in the background.
//!
//! Turns `profile`, `poll`, `poll_slow` and `blocks` into the line's settings; decides nothing about when a block
//! is read. Contract section 1.

use std::time::Duration;

use super::keys::Part;
use super::profiles::Profiles;
use super::settings::UnitProfile;
use super::value::{poll, profile_name};
use crate::bus::settings::{DemandedBlock, Pace, PolledBlock, Polling};
use crate::meter::profile::{Block, Profile};
use crate::meter::words::BlockKind;
use crate::modbus::pdu::{FunctionCode, ReadRange};
use crate::yaml::nearest::nearest;
use crate::yaml::problem::{Faults, Place};
use crate::yaml::section::{Field, Section, judge};
use crate::yaml::value::{duration, name};

/// What is known of a unit's registers, and what is read of them.
#[derive(Clone)]
pub(super) struct PollingRead {
    /// `None`: it is passed through.
    pub(super) profile: Option<UnitProfile>,
    pub(super) polling: Polling,
}

/// Reads the keys of one unit, of which at most `max_read` registers are read at once. `None`: something was
/// reported.
pub(super) fn read(
    section: &Section<'_, Part>,
    max_read: Option<u16>,
    profiles: &mut Profiles,
    faults: &mut Faults<'_>,
) -> Option<PollingRead> {
    let named = section.field("profile", faults, profile_name);
    let poll = section.field("poll", faults, poll);
    let slow = section.value("poll_slow", faults, |n| duration(n, SECOND, DAY));
    let blocks = read_names(section, faults);
    let profile = match named {
        Field::Absent => return without_profile(section, poll, slow, &blocks, faults),
        Field::Faulty => return None,
        Field::Given(name) => profiles.find(&name, &section.place_of("profile"), faults)?,
    };
    let blocks = match blocks {
        Field::Absent => profile.blocks.iter().filter(|block| block.polled).collect(),
        Field::Faulty => return None,
        Field::Given(names) => chosen(&profile, &names, faults)?,
    };
    let blocks = blocks.into_iter().map(|block| block.name.clone()).collect();
    let profile = UnitProfile { poll: poll.or(Some(Some(Pace::Auto)))?, poll_slow: slow?, blocks, profile };
    let max_read = max_read?;
    let polling = polling(&profile, max_read);
    let longest = polling.blocks.iter().map(|block| block.range.quantity).max().unwrap_or_default();
    if longest > max_read {
        let message = format!(
            "found {max_read}, but a block that is polled has {longest} registers, and blocks are read whole; \
             allowed: {longest} or more, or other blocks"
        );
        faults.error(&section.place_of("max_read"), message);
        return None;
    }
    Some(PollingRead { polling, profile: Some(profile) })
}

/// Without a profile nobody knows what to read, so no key may ask for it.
fn without_profile(
    section: &Section<'_, Part>,
    poll: Field<Option<Pace>>,
    slow: Option<Duration>,
    blocks: &Field<Names>,
    faults: &mut Faults<'_>,
) -> Option<PollingRead> {
    let polled = matches!(poll, Field::Given(Some(_)));
    if polled {
        let message = "found an interval, but the unit has no profile that says what to read; \
                       allowed: off, or a profile";
        faults.error(&section.place_of("poll"), message);
    }
    let chosen = !matches!(blocks, Field::Absent);
    if matches!(blocks, Field::Given(_)) {
        let message = "found a choice of blocks, but the unit has no profile whose blocks they could be; \
                       allowed: leaving the key out, or a profile";
        faults.error(&section.place_of("blocks"), message);
    }
    if slow.is_some_and(|slow| slow != SLOW_WITHOUT_PROFILE) {
        let message =
            "nothing is read at this interval, for the unit has no profile; leave it out, or name one";
        faults.warning(&section.place_of("poll_slow"), message);
    }
    let sound = !polled && !chosen && !matches!(poll, Field::Faulty) && slow.is_some();
    sound.then(|| PollingRead { profile: None, polling: Polling::default() })
}

/// The names in `blocks`, with their places.
type Names = Vec<(String, Place)>;

fn read_names(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Field<Names> {
    if section.node("blocks").is_none() {
        return Field::Absent;
    }
    let Some(items) = section.list("blocks", MAX_BLOCKS, faults) else { return Field::Faulty };
    let mut names = Vec::new();
    let mut sound = true;
    for (path, item) in items {
        let place = Place { spot: item.spot, key: path };
        match judge(item, &place, faults, name) {
            Some(name) => names.push((name, place)),
            None => sound = false,
        }
    }
    if sound { Field::Given(names) } else { Field::Faulty }
}

/// The named blocks, in the profile's order.
fn chosen<'p>(profile: &'p Profile, names: &Names, faults: &mut Faults<'_>) -> Option<Vec<&'p Block>> {
    let mut sound = true;
    for (index, (name, place)) in names.iter().enumerate() {
        let again = names[..index].iter().any(|(earlier, _)| earlier == name);
        let message = if profile.block(name).is_none() {
            let known: Vec<_> = profile.blocks.iter().map(|block| block.name.as_str()).collect();
            let hint = nearest(name, known.iter().copied());
            let hint = hint.map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            format!(
                "found no block of the name {name} in {}{hint}; allowed: {}",
                profile.name,
                known.join(", ")
            )
        } else if again {
            format!("found {name} a second time; allowed: each block once")
        } else {
            continue;
        };
        faults.error(place, message);
        sound = false;
    }
    let named = |block: &&Block| names.iter().any(|(name, _)| *name == block.name);
    sound.then(|| profile.blocks.iter().filter(named).collect())
}

/// The line's settings for a unit with a profile.
fn polling(unit: &UnitProfile, max_read: u16) -> Polling {
    let UnitProfile { profile, poll, poll_slow, blocks } = unit;
    let is_polled = |block: &Block| poll.is_some() && blocks.contains(&block.name);
    let polled = |pace: Pace| {
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
        blocks: poll.map_or_else(Vec::new, |pace| polled(pace).collect()),
        demanded: demanded.collect(),
        mirrored: profile.mirrored,
        uncut: registers.filter(|(function, address)| !profile.may_split_at(*function, *address)).collect(),
    }
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The default of `poll_slow`, which says nothing of a unit without a profile.
const SLOW_WITHOUT_PROFILE: Duration = Duration::from_secs(60);
/// Entries of `blocks`: as many as a profile may have.
const MAX_BLOCKS: usize = 64;
