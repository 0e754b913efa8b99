//! The traffic on the line for one client and for 500 that read the same: registers read in the background, and
//! registers that are learned.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::figures::Row;
use crate::gateway::Gateway;
use crate::load::{FLOATS, Load, Question, Work};
use crate::wire::{ASKED_LENGTH, Pace, Seen, Wire};

pub(crate) fn measure() -> Vec<Row> {
    let line = Wire::start(PACE);
    let gateway = Gateway::serving(&line, PACE.baud_rate, "5s", UNITS);
    let load = Load::new();
    let questions = (1..=8).flat_map(|unit| {
        let number = u16::from(unit - 1) * 2;
        [Question::new(number, unit, FLOATS, 60), Question::new(number + 1, unit, INTEGERS, 50)]
    });
    let work = Work { questions: questions.collect(), in_flight: 1, pause: PAUSE };
    // Until all has been read once and the integers are learned.
    load.run(gateway.address(), 1, &work, WARM_UP);
    let (mut one, mut many) = (Carried::default(), Carried::default());
    // In this order, other load of the machine affects both alike: each reading begins an interval after the one before
    // it began, so a late one delays the next.
    for clients in [1, CLIENTS, CLIENTS, 1] {
        let carried = if clients == 1 { &mut one } else { &mut many };
        line.take_seen();
        let outcome = load.run(gateway.address(), clients, &work, TIME);
        carried.note(&line.take_seen());
        carried.replies += outcome.replies;
        carried.exceptions += outcome.exceptions;
    }
    let ratio = many.per_second() / one.per_second();
    let further = many.readings_unlike(&one);
    vec![
        Row::judged(
            "transactions on the line, 500 clients over one",
            format!("{ratio:.4} ({:.3} to {:.3} per second)", many.per_second(), one.per_second()),
            "within 2 %".into(),
            (ratio - 1.0).abs() <= 0.02,
        ),
        Row::judged(
            "readings for 500 clients that are sooner or of other registers than any for one",
            format!("{further} of {}", many.readings()),
            "none".into(),
            further == 0,
        ),
        Row::told(
            "replies meanwhile, and exceptions",
            format!("{} to {}; {}", many.replies, one.replies, many.exceptions + one.exceptions),
        ),
    ]
}

/// The traffic of the line and the clients in some stretches of time.
#[derive(Default)]
struct Carried {
    /// When each range was read, stretch by stretch.
    stretches: Vec<BTreeMap<[u8; ASKED_LENGTH], Vec<Instant>>>,
    replies: u64,
    exceptions: u64,
}

impl Carried {
    fn note(&mut self, seen: &[Seen]) {
        let mut readings: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for Seen { asked, at, .. } in seen {
            readings.entry(*asked).or_default().push(*at);
        }
        self.stretches.push(readings);
    }

    fn readings(&self) -> usize {
        self.stretches.iter().flat_map(BTreeMap::values).map(Vec::len).sum()
    }

    /// Transactions per second. Each range is counted from its first reading to its last one, so that the place of a
    /// stretch in the interval does not matter; a range read less than twice is counted over the whole stretch.
    fn per_second(&self) -> f64 {
        let rate = |readings: &Vec<Instant>| match readings[..] {
            [first, .., last] => (readings.len() - 1) as f64 / (last - first).as_secs_f64(),
            _ => readings.len() as f64 / TIME.as_secs_f64(),
        };
        let rates = self.stretches.iter().flat_map(BTreeMap::values).map(rate);
        rates.sum::<f64>() / self.stretches.len() as f64
    }

    /// The shortest time between two readings of each range.
    fn shortest(&self) -> BTreeMap<[u8; ASKED_LENGTH], Duration> {
        let mut shortest = BTreeMap::new();
        for (asked, readings) in self.stretches.iter().flatten() {
            let between = readings.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(TIME);
            let known = shortest.entry(*asked).or_insert(between);
            *known = between.min(*known);
        }
        shortest
    }

    /// How many readings came sooner after the one before them than ever in `other`, or are of a range that was not
    /// read there: an average would hide these behind late readings.
    fn readings_unlike(&self, other: &Self) -> usize {
        let usual = other.shortest();
        let unlike = |(asked, readings): (_, &Vec<Instant>)| {
            usual.get(asked).map_or(readings.len(), |usual| {
                readings.windows(2).filter(|pair| pair[1] - pair[0] < usual.mul_f64(SOONER)).count()
            })
        };
        self.stretches.iter().flatten().map(unlike).sum()
    }
}

/// A block read once a minute would fall into one of the two stretches and not into the other.
const UNITS: &str = "{id: 1-8, profile: leviton-4000r, poll_slow: 10m}";
/// Registers of the profile that are not read in the background.
const INTEGERS: u16 = 0;
const PACE: Pace = Pace { baud_rate: 115_200, turnaround: Some(Duration::from_millis(5)) };
const CLIENTS: usize = 500;
/// One client alone repeats every read often enough; 500 leave the line's thread its processor.
const PAUSE: Duration = Duration::from_millis(100);
const WARM_UP: Duration = Duration::from_secs(12);
/// Several periods of the learned ranges, which are read every four seconds.
const TIME: Duration = Duration::from_secs(20);
/// A reading after less than this part of the shortest time otherwise cannot be explained by jitter.
const SOONER: f64 = 0.9;
