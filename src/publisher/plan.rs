//! What a broker's entry publishes of the configured units: topics, points, intervals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::home_assistant;
use crate::config::{Broker, Bus, Config, Publication, UnitProfile, topic_level};
use crate::line::{Budget, UnitId};
use crate::meter::{Point, Profile};
use crate::modbus::pdu::ReadRange;
use crate::mqtt::{Announcements, Message};
use crate::status::standing_points;

/// Everything one broker is to hold.
#[derive(Debug)]
pub struct Plan {
    pub(super) publication: Publication,
    /// The gateway's name for people.
    pub(super) site: String,
    pub(super) units: Vec<PlannedUnit>,
    /// The number of entities before those of each unit.
    entities_before: Vec<usize>,
    /// The discovery prefix of the plan before, if this one has another.
    former_prefix: Option<String>,
}

/// One unit.
#[derive(Debug)]
pub(super) struct PlannedUnit {
    pub(super) bus: String,
    /// The identifier clients use.
    pub(super) alias: u8,
    pub(super) name: Option<String>,
    pub(super) state_topic: Arc<str>,
    /// `None`: only its state is published.
    pub(super) profile: Option<Arc<Profile>>,
    pub(super) blocks: Vec<PlannedBlock>,
}

/// One block with published points.
#[derive(Debug)]
pub(super) struct PlannedBlock {
    pub(super) topic: Arc<str>,
    /// Places among the profile's points.
    pub(super) points: Vec<usize>,
    /// The longest interval at which a part of it is read in the background; zero: it is not.
    pub(super) interval: Duration,
}

/// How much is published, by estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Units whose state is published.
    pub units: usize,
    /// Blocks of them.
    pub blocks: usize,
    /// Points in these blocks.
    pub points: usize,
    /// Readings a day, while all units are on-line.
    pub messages: u64,
    /// Bytes of their packets a day, TCP's own apart.
    pub bytes: u64,
}

impl Plan {
    /// The plan of one broker. `former` is the plan it follows.
    #[must_use]
    pub fn new(config: &Config, broker: &Broker, site: String, former: Option<&Self>, now: Instant) -> Self {
        let publication = broker.publication.clone();
        let mut units = Vec::new();
        for bus in &config.buses {
            let intervals = intervals(bus, now);
            let planned = bus
                .aliases
                .iter()
                .map(|(alias, id)| PlannedUnit::new(bus, *alias, *id, &publication, &intervals));
            units.extend(planned);
        }
        let mut before = usize::from(publication.home_assistant.is_some());
        let entities_before = units
            .iter()
            .map(|unit| {
                let at = before;
                before += unit.blocks.iter().map(|block| block.points.len()).sum::<usize>();
                at
            })
            .collect();
        let former_prefix = former.and_then(|former| {
            let had = former.publication.home_assistant.clone();
            had.or_else(|| former.former_prefix.clone())
                .filter(|had| Some(had) != publication.home_assistant.as_ref())
        });
        Self { publication, site, units, entities_before, former_prefix }
    }

    /// How much is published.
    #[must_use]
    pub fn volume(&self) -> Volume {
        let mut volume = Volume { units: self.units.len(), ..Volume::default() };
        let a_day = DAY.as_secs_f64() / self.publication.every.as_secs_f64();
        let mut bytes = 0.0;
        for unit in &self.units {
            let Some(profile) = &unit.profile else { continue };
            for block in &unit.blocks {
                volume.blocks += 1;
                volume.points += block.points.len();
                let names = block.points.iter().map(|point| profile.points[*point].name.len() + POINT_BYTES);
                bytes += count(block.topic.len() + MESSAGE_BYTES + names.sum::<usize>()) * a_day;
            }
        }
        volume.messages = whole(count(volume.blocks) * a_day);
        volume.bytes = whole(bytes);
        volume
    }

    /// Messages per second that the connection has to carry: twice what is published at most, so that what was kept is
    /// sent off while new readings come.
    #[must_use]
    pub fn pace(&self) -> u32 {
        let blocks: usize = self.units.iter().map(|unit| unit.blocks.len()).sum();
        u32::try_from(2 * blocks).unwrap_or(u32::MAX).max(PACE_MIN)
    }

    /// Whether a state is published at this topic.
    #[must_use]
    pub fn has_state(&self, topic: &str) -> bool {
        topic == self.publication.status_topic() || self.units.iter().any(|unit| *unit.state_topic == *topic)
    }

    /// The places of the unit, of its block and of the point of an entity.
    fn entity(&self, index: usize) -> Option<(&PlannedUnit, &PlannedBlock, &Point)> {
        let unit = self.entities_before.partition_point(|before| *before <= index).checked_sub(1)?;
        let mut rest = index - self.entities_before[unit];
        let unit = &self.units[unit];
        for block in &unit.blocks {
            if let Some(point) = block.points.get(rest) {
                return Some((unit, block, unit.profile.as_ref()?.points.get(*point)?));
            }
            rest -= block.points.len();
        }
        None
    }
}

impl Announcements for Plan {
    fn get(&self, index: usize) -> Option<Message> {
        let prefix = self.publication.home_assistant.as_ref()?;
        if index == 0 {
            return Some(home_assistant::gateway(self, prefix));
        }
        let (unit, block, point) = self.entity(index)?;
        Some(home_assistant::entity(self, prefix, unit, block, point))
    }

    fn is_left_over(&self, topic: &str) -> bool {
        let below =
            topic.strip_prefix(self.publication.topic.as_str()).and_then(|rest| rest.strip_prefix('/'));
        if below.is_some_and(|rest| rest.ends_with("/state") && rest.split('/').count() == STATE_LEVELS) {
            return !self.has_state(topic);
        }
        home_assistant::is_left_over(self, topic)
    }

    fn filters(&self) -> Vec<String> {
        let prefixes = self.publication.home_assistant.iter().chain(&self.former_prefix);
        let discovery = prefixes.map(|prefix| home_assistant::filter(self, prefix));
        std::iter::once(format!("{}/+/+/state", self.publication.topic)).chain(discovery).collect()
    }
}

impl PlannedUnit {
    fn new(
        bus: &Bus,
        alias: u8,
        id: UnitId,
        publication: &Publication,
        intervals: &BTreeMap<UnitId, Vec<(ReadRange, Duration)>>,
    ) -> Self {
        let topic = format!("{}/{}/{alias}", publication.topic, topic_level(&bus.line.name));
        let known = bus.profiles.get(&id);
        let planned = intervals.get(&id).map(Vec::as_slice).unwrap_or_default();
        let blocks = known.map(|known| blocks(known, &topic, publication, planned)).unwrap_or_default();
        let settings = bus.line.units.iter().find(|unit| unit.id == id);
        Self {
            bus: bus.line.name.clone(),
            alias,
            name: settings.and_then(|unit| unit.name.clone()),
            state_topic: format!("{topic}/state").into(),
            profile: known.map(|known| Arc::clone(&known.profile)),
            blocks,
        }
    }

    /// What people call it.
    pub(super) fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("{} unit {}", self.bus, self.alias))
    }
}

/// The blocks that hold one of the points to publish, in the order of the profile.
fn blocks(
    known: &UnitProfile,
    unit_topic: &str,
    publication: &Publication,
    planned: &[(ReadRange, Duration)],
) -> Vec<PlannedBlock> {
    let profile = &*known.profile;
    let ranges: Vec<ReadRange> = planned.iter().map(|(range, _)| *range).collect();
    let standing = standing_points(known, &ranges);
    let is_published = |point: &Point| {
        let stands = standing.iter().any(|one| one.name == point.name);
        point.format.is_number()
            && match &publication.points {
                None => stands && point.group.is_measurement(),
                Some(names) => names.iter().any(|name| {
                    // A word that is both means the group.
                    let is_group = crate::meter::Group::ALL.iter().any(|group| group.word() == name);
                    if is_group { stands && point.group.word() == name } else { point.name == *name }
                }),
            }
    };
    let block = |(place, block): (usize, &crate::meter::Block)| {
        let of_block = profile.points.iter().enumerate().filter(|(_, point)| point.block == place);
        let published = of_block.filter(|(_, point)| is_published(point));
        let points: Vec<usize> = published.map(|(place, _)| place).collect();
        let covers =
            |range: &ReadRange| points.iter().any(|point| range.covers(&profile.points[*point].range));
        let interval = planned.iter().filter(|(range, _)| covers(range)).map(|(_, interval)| *interval).max();
        PlannedBlock {
            topic: format!("{unit_topic}/{}", block.name).into(),
            points,
            interval: interval.unwrap_or_default(),
        }
    };
    let all = profile.blocks.iter().enumerate().map(block);
    all.filter(|block| !block.points.is_empty()).collect()
}

/// What is read of each unit in the background, and how often.
fn intervals(bus: &Bus, now: Instant) -> BTreeMap<UnitId, Vec<(ReadRange, Duration)>> {
    let mut intervals: BTreeMap<UnitId, Vec<(ReadRange, Duration)>> = BTreeMap::new();
    for planned in Budget::of(&bus.line, now).blocks {
        intervals.entry(planned.unit).or_default().push((planned.range, planned.interval));
    }
    intervals
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate, never negative")]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of a message beside its topic and its points: the packet's header, the braces, the time.
const MESSAGE_BYTES: usize = 6 + r#"{"time":"2026-11-22T14:30:00.123Z","values":{}}"#.len();

/// Bytes of a point beside its name: quotes, colon, comma, and a number of usual length.
const POINT_BYTES: usize = 4 + "1234.567".len();

/// The levels below the topic of the gateway of a unit's state.
const STATE_LEVELS: usize = 3;

/// Messages per second a connection carries at least.
const PACE_MIN: u32 = 200;
