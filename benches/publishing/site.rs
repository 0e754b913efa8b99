//! A gateway with eight lines of meters, with a broker or without.

use std::fmt::Write;
use std::ops::Range;

use metergate::meter::Profile;

use crate::UNIT_COUNT;
use crate::gateway::Gateway;
use crate::load::FLOATS;
use crate::mqtt_broker::Broker;
use crate::viewers::until_all_is_read;
use crate::wire::{Pace, Wire};

/// How is published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Json,
    Sparkplug,
}

impl Form {
    /// In rows of the table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Sparkplug => "Sparkplug",
        }
    }

    /// The keys of an entry that no other form has.
    fn keys(self) -> &'static str {
        match self {
            Self::Json => "topic: bench",
            Self::Sparkplug => "publish: sparkplug, sparkplug: {group: bench, node: bench}",
        }
    }
}

/// Which registers of the published blocks change, without which an edge node has nothing to send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moving {
    All,
    /// Those that no client of this bench reads, and so compares.
    Unread,
}

impl Moving {
    /// The addresses of them.
    fn registers(self) -> Range<u16> {
        match self {
            Self::All => 0..BLOCKS_END,
            Self::Unread => FLOATS + READ..BLOCKS_END,
        }
    }
}

/// A gateway whose meters have all been read.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) lines: Vec<Wire>,
    /// `None`: nothing is published.
    pub(crate) broker: Option<Broker>,
}

impl Site {
    /// Two sites with listeners with this `max_age`: one that does not publish and one that does.
    pub(crate) fn pair(max_age: &str, form: Form, moving: Moving) -> [Self; 2] {
        [Self::start(max_age, None, moving), Self::start(max_age, Some((Broker::start(), form)), moving)]
    }

    fn start(max_age: &str, broker: Option<(Broker, Form)>, moving: Moving) -> Self {
        let lines: Vec<Wire> = (0..LINES).map(|_| Wire::start_moving(PACE, moving.registers())).collect();
        let mut text = format!(
            "listeners: [{{address: '127.0.0.1:0', max_age: {max_age}}}]\nstatus: {{address: '127.0.0.1:0'}}\nbuses:\n"
        );
        for (index, line) in lines.iter().enumerate() {
            let units = units_of(index);
            let (first, last) = (units[0], units[units.len() - 1]);
            let device = line.device().display();
            writeln!(
                text,
                "  - {{name: line-{index}, device: {device}, baud_rate: {}, units: [{{id: {first}-{last}, \
                 profile: leviton-4000r, blocks: [{}], poll: 10s}}]}}",
                PACE.baud_rate,
                BLOCKS.join(", ")
            )
            .expect("a String takes everything");
        }
        if let Some((broker, form)) = &broker {
            let (address, keys, points) = (broker.address(), form.keys(), points().join(", "));
            writeln!(
                text,
                "mqtt: [{{broker: 'mqtt://{address}', client_id: bench, {keys}, points: [{points}], every: 10s}}]"
            )
            .expect("a String takes everything");
        }
        let mut gateway = Gateway::run(&lines[0], &text);
        until_all_is_read(gateway.status_address());
        Self { gateway, lines, broker: broker.map(|(broker, _)| broker) }
    }
}

/// The units of a line; together they are all.
pub(crate) fn units_of(line: usize) -> Vec<u8> {
    let each = UNIT_COUNT.div_ceil(LINES);
    let of_line = (1..=UNIT_COUNT).skip(line * each).take(each);
    of_line.filter_map(|unit| u8::try_from(unit).ok()).collect()
}

/// The names of the published points.
fn points() -> Vec<String> {
    let profile = Profile::builtin("leviton-4000r").expect("the program has this profile");
    let blocks = BLOCKS.map(|name| profile.block(name).expect("the profile has this block"));
    let of_blocks = blocks.into_iter().flat_map(|block| profile.points_of(block));
    let published = of_blocks.filter(|point| point.format.is_number() && point.group.is_measurement());
    let names: Vec<String> = published.take(POINTS).map(|point| point.name.clone()).collect();
    assert_eq!(names.len(), POINTS, "the blocks have fewer points");
    names
}

const LINES: usize = 8;

/// Registers that a client reads at once.
pub(crate) const READ: u16 = 60;

/// The published points of a meter.
const POINTS: usize = 60;

/// The blocks that hold them.
const BLOCKS: [&str; 2] = ["floats", "integers"];

/// The first address behind them.
const BLOCKS_END: u16 = 346;

/// Faster than most lines, so that every meter is read every ten seconds; the silence is the shortest possible.
pub(crate) const PACE: Pace =
    Pace { baud_rate: 115_200, turnaround: Some(std::time::Duration::from_millis(5)) };
