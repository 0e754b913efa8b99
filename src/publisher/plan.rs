//! What a broker's entry publishes of the configured units: topics, points, intervals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Broker, Bus, Config, Publication, UnitProfile, device_name, topic_level};
use crate::line::{Budget, UnitId};
use crate::meter::{Point, Profile};
use crate::modbus::pdu::ReadRange;
use crate::status::standing_points;

/// Everything one broker is to hold.
#[derive(Debug)]
pub struct Plan {
    pub(super) publication: Publication,
    /// The gateway's name for people.
    pub(super) site: String,
    pub(super) units: Vec<PlannedUnit>,
    /// The gateway in discovery topics.
    pub(super) node: String,
    /// The number of entities before those of each unit.
    entities_before: Vec<usize>,
    /// All entities, and that of the gateway.
    pub(super) entities: usize,
    /// The topics of all states.
    state_topics: BTreeSet<Arc<str>>,
    /// Places of the units by their names in discovery topics.
    by_object: BTreeMap<String, usize>,
}

/// One unit.
#[derive(Debug)]
pub(super) struct PlannedUnit {
    pub(super) bus: String,
    /// The identifier clients use.
    pub(super) alias: u8,
    /// The identifier on the line.
    pub(super) id: UnitId,
    pub(super) name: Option<String>,
    /// Its name as a device of Sparkplug.
    pub(super) device: String,
    /// What its topics begin with.
    pub(super) topic: String,
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
    /// Those among them that stand for their quantity where it is measured once only: as an entity.
    pub(super) entities: Vec<usize>,
    /// Reads that the points are taken from.
    parts: usize,
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
    /// The plan of one broker.
    #[must_use]
    pub fn new(config: &Config, broker: &Broker, site: String, now: Instant) -> Self {
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
                before += unit.blocks.iter().map(|block| block.entities.len()).sum::<usize>();
                at
            })
            .collect();
        let status = publication.status_topic().into();
        let states = units.iter().map(|unit| Arc::clone(&unit.state_topic));
        let by_object = |(place, unit): (usize, &PlannedUnit)| (unit.object_prefix(), place);
        Self {
            node: discovery_level(&publication.topic),
            entities_before,
            entities: if publication.home_assistant.is_some() { before } else { 0 },
            state_topics: states.chain([status]).collect(),
            by_object: units.iter().enumerate().map(by_object).collect(),
            publication,
            site,
            units,
        }
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
                bytes += count(self.bytes(unit, block, profile)) * a_day;
            }
        }
        volume.messages = whole(count(self.messages()) * a_day);
        volume.bytes = whole(bytes);
        volume
    }

    /// Bytes of the readings of a block.
    fn bytes(&self, unit: &PlannedUnit, block: &PlannedBlock, profile: &Profile) -> usize {
        if let Some(ids) = &self.publication.sparkplug {
            let topic = ids.data_topic(&unit.device).len();
            return block.parts * (topic + DATA_BYTES) + block.points.len() * METRIC_BYTES;
        }
        let names = block.points.iter().map(|point| profile.points[*point].name.len() + POINT_BYTES);
        // The parts of a block take turns.
        block.topic.len() + MESSAGE_BYTES + names.sum::<usize>() / block.parts.max(1)
    }

    /// Messages per second that the connection has to carry: twice what is published at most, so that what was kept is
    /// sent off while new readings come.
    #[must_use]
    pub fn pace(&self) -> u32 {
        u32::try_from(2 * self.messages()).unwrap_or(u32::MAX).max(PACE_MIN)
    }

    /// Readings in one interval: of JSON one a block, however many parts it has.
    fn messages(&self) -> usize {
        let blocks = self.units.iter().flat_map(|unit| &unit.blocks);
        match self.publication.sparkplug {
            Some(_) => blocks.map(|block| block.parts).sum(),
            None => blocks.count(),
        }
    }

    /// How old a published value may be: three times the longest time between two of a block.
    pub(super) fn longest(&self, block: &PlannedBlock) -> Duration {
        let turns = u32::try_from(block.parts).unwrap_or(u32::MAX);
        3 * self.publication.every.saturating_mul(turns).max(block.interval)
    }

    /// Whether a state is published at this topic.
    #[must_use]
    pub fn has_state(&self, topic: &str) -> bool {
        self.state_topics.contains(topic)
    }

    /// The topic of discovery below which all entities are; `None`: there is no discovery.
    #[must_use]
    pub fn discovery(&self) -> Option<String> {
        let prefix = self.publication.home_assistant.as_ref()?;
        Some(format!("{prefix}/+/{}/#", self.node))
    }

    /// The unit of that name in discovery topics.
    pub(super) fn unit_of(&self, object: &str) -> Option<&PlannedUnit> {
        self.by_object.get(object).and_then(|place| self.units.get(*place))
    }

    /// The places of the unit, of its block and of the point of an entity.
    pub(super) fn entity(&self, index: usize) -> Option<(&PlannedUnit, &PlannedBlock, &Point)> {
        let unit = self.entities_before.partition_point(|before| *before <= index).checked_sub(1)?;
        let mut rest = index - self.entities_before[unit];
        let unit = &self.units[unit];
        for block in &unit.blocks {
            if let Some(point) = block.entities.get(rest) {
                return Some((unit, block, unit.profile.as_ref()?.points.get(*point)?));
            }
            rest -= block.entities.len();
        }
        None
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
        let name = bus.line.units.iter().find(|unit| unit.id == id).and_then(|unit| unit.name.clone());
        Self {
            bus: bus.line.name.clone(),
            alias,
            id,
            device: device_name(&bus.line.name, alias, name.as_deref()),
            name,
            state_topic: format!("{topic}/state").into(),
            topic,
            profile: known.map(|known| Arc::clone(&known.profile)),
            blocks,
        }
    }

    /// The published points of the block with this topic.
    pub(super) fn points_of(&self, topic: &str) -> Vec<&Point> {
        let Some(profile) = &self.profile else { return Vec::new() };
        let block = self.blocks.iter().filter(|block| *block.topic == *topic);
        block.flat_map(|block| &block.points).map(|place| &profile.points[*place]).collect()
    }

    /// Whether a point of this quantity is an entity.
    pub(super) fn has_entity(&self, quantity: &str) -> bool {
        let Some(profile) = &self.profile else { return false };
        let mut entities = self.blocks.iter().flat_map(|block| &block.entities);
        entities.any(|point| self::quantity(&profile.points[*point]) == quantity)
    }

    /// The unit in discovery topics.
    pub(super) fn object_prefix(&self) -> String {
        format!("{}-{}", discovery_level(&self.bus), self.alias)
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
    let mut quantities: BTreeSet<&str> = BTreeSet::new();
    let block = |(place, block): (usize, &crate::meter::Block)| {
        let of_block = profile.points.iter().enumerate().filter(|(_, point)| point.block == place);
        let published = of_block.filter(|(_, point)| is_published(point));
        let points: Vec<usize> = published.map(|(place, _)| place).collect();
        let is_first = |point: &&usize| quantities.insert(quantity(&profile.points[**point]));
        let entities = points.iter().filter(is_first).copied().collect();
        let covers =
            |range: &ReadRange| points.iter().any(|point| range.covers(&profile.points[*point].range));
        let read_of =
            |point: &usize| planned.iter().position(|(range, _)| range.covers(&profile.points[*point].range));
        let parts = points.iter().map(read_of).collect::<BTreeSet<_>>().len();
        let reads = planned.iter().filter(|(range, _)| covers(range)).map(|(_, interval)| *interval);
        PlannedBlock {
            topic: format!("{unit_topic}/{}", block.name).into(),
            entities,
            parts,
            interval: reads.max().unwrap_or_default(),
            points,
        }
    };
    let all = profile.blocks.iter().enumerate().map(block);
    all.filter(|block| !block.points.is_empty()).collect()
}

/// What a point measures, whichever register it is read from.
pub(super) fn quantity(point: &Point) -> &str {
    point.copy_of.as_ref().unwrap_or(&point.name)
}

/// A name as a level of discovery topics, or as a part of one: letters, digits and underscores. A name that has others gets
/// its hash, so that two names stay two.
pub(super) fn discovery_level(name: &str) -> String {
    let level: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if level == name {
        return level;
    }
    // FNV-1a: the topics of entities with a history must not change with the version of a library.
    let hash =
        name.bytes().fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{level}_{hash:08x}")
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

/// Bytes of a DDATA beside its topic and its metrics: the packet's header, time and sequence number.
const DATA_BYTES: usize = 6 + 11;

/// Bytes of a metric in a DDATA: its own length, alias, time, and a double.
const METRIC_BYTES: usize = 2 + 3 + 7 + 9;

/// Messages per second a connection carries at least.
const PACE_MIN: u32 = 200;
