//! One client that reads the points of eight meters one after the other, and all of them again every two seconds.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Read, ask};
use crate::figures::{Row, median};
use crate::gateway::{Gateway, Setup};
use crate::wire::{HOLDING, INPUT, Pace, Wire};

/// Integers by 0x03 and floats by 0x04 of meters with a profile; then every second of them.
pub(crate) fn with_profile() -> Vec<Row> {
    let setup = |merge_gap| Setup { units: "{id: 1-8, profile: leviton-4000r}", ..setup(merge_gap) };
    let integers = || points(HOLDING, 0, 1, 39);
    let floats = || points(INPUT, FLOATS, 2, 45);
    [
        Habit::new("312 integers", setup(0), integers(), Some(INTEGER_BLOCK)),
        Habit::new("360 floats by 0x04", setup(0), floats(), Some(FLOAT_BLOCK)),
        Habit::new("every second of the integers", setup(1), every_second(integers()), Some(INTEGER_BLOCK)),
        Habit::new("every second of the floats", setup(1), every_second(floats()), Some(FLOAT_BLOCK)),
    ]
    .iter()
    .flat_map(Habit::measure)
    .collect()
}

/// Adjacent registers of meters without a profile; then every second of them.
pub(crate) fn without_profile() -> Vec<Row> {
    let registers = || points(HOLDING, 0, 1, 40);
    [
        Habit::new("320 registers", setup(0), registers(), None),
        Habit::new("every second of them", setup(1), every_second(registers()), None),
    ]
    .iter()
    .flat_map(Habit::measure)
    .collect()
}

/// The reads that a client repeats.
struct Habit {
    what: String,
    setup: Setup,
    points: Vec<Read>,
    /// Registers of the profile's block that holds the points of one meter.
    block: Option<u16>,
}

impl Habit {
    fn new(what: &str, setup: Setup, points: Vec<Read>, block: Option<u16>) -> Self {
        let what = format!("{what}, merge_gap {}", setup.merge_gap);
        Self { what, setup, points, block }
    }

    fn measure(&self) -> Vec<Row> {
        let line = Wire::start(PACE);
        let gateway = Gateway::set_up(&line, &self.setup);
        let mut stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
        stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
        // A learned range is known after two requests, a profile's block after one.
        let steady = if self.block.is_some() { 1 } else { 2 };
        let (mut walks, mut from) = (Vec::new(), Instant::now());
        for index in 0..WALKS {
            let begun = Instant::now();
            if index == steady {
                line.take_seen();
                from = begun;
            }
            walks.push(self.walk(&mut stream));
            thread::sleep(PERIOD.saturating_sub(begun.elapsed()));
        }
        let busy: Duration = line.take_seen().iter().filter_map(|seen| seen.took()).sum();
        let used = busy.as_secs_f64() / from.elapsed().as_secs_f64();
        self.judge(&walks, steady, used)
    }

    /// The time to read every point once, in seconds.
    fn walk(&self, stream: &mut TcpStream) -> f64 {
        let begun = Instant::now();
        for (transaction, point) in (0..).zip(&self.points) {
            assert_eq!(ask(stream, transaction, *point), None, "an exception on a good line");
        }
        begun.elapsed().as_secs_f64()
    }

    fn judge(&self, walks: &[f64], steady: usize, used: f64) -> Vec<Row> {
        let Self { what, block, .. } = self;
        let later = median(&walks[steady..]);
        let is_steady = later.max(walks[steady]) < WALK_MAX;
        let mut rows = vec![Row::judged(
            what,
            format!(
                "walk 1 {:.2} s, 2 {:.3}, 3 {:.3}; from {} on {later:.3} at the median; {:.0} % of the line",
                walks[0],
                walks[1],
                walks[2],
                steady + 1,
                used * 100.0
            ),
            format!("walk {} and the median below {WALK_MAX} s; line below 70 %", steady + 1),
            is_steady && used < 0.7,
        )];
        if let Some(block) = block {
            let asked: Duration =
                [*block, FLOAT_BLOCK].map(|quantity| PACE.period(quantity) * 8).iter().sum();
            let ratio = walks[0] / asked.as_secs_f64();
            rows.push(Row::judged(
                "its first walk over reading the blocks and one planned block for each",
                format!("{ratio:.2} ({:.2} to {:.2} s)", walks[0], asked.as_secs_f64()),
                "at most 1.5".into(),
                ratio <= 1.5,
            ));
        }
        rows
    }
}

/// `count` points of each of eight meters, meter by meter.
fn points(function: u8, first: u16, quantity: u16, count: u16) -> Vec<Read> {
    let of = |unit| {
        (0..count).map(move |index| Read { unit, function, start: first + index * quantity, quantity })
    };
    (1..=8).flat_map(of).collect()
}

/// Leaves out every second point of each meter.
fn every_second(points: Vec<Read>) -> Vec<Read> {
    let is_kept = |point: &Read| ((point.start % FLOATS) / point.quantity).is_multiple_of(2);
    points.into_iter().filter(is_kept).collect()
}

fn setup(merge_gap: u16) -> Setup {
    Setup { max_age: "5s", merge_gap, ..Setup::new(PACE.baud_rate) }
}

const PACE: Pace = Pace { baud_rate: 19200, turnaround: Some(Duration::from_millis(5)) };
const WALKS: usize = 8;
const PERIOD: Duration = Duration::from_secs(2);
/// Seconds; a walk that waits for the line takes longer.
const WALK_MAX: f64 = 0.2;

/// The address of the profile's first float.
const FLOATS: u16 = 256;
/// Registers of the profile's blocks.
const INTEGER_BLOCK: u16 = 52;
const FLOAT_BLOCK: u16 = 90;
