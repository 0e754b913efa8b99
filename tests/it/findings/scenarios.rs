//! Each fault of the simulator, run against a line in simulated time: it leads to one finding, with the right cause,
//! and to none once it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metergate::findings::Kind;
use metergate::line::{Line, Output, PortEvent};
use metergate::simulator::Wire;
use metergate::simulator::scenario::parse;
use metergate::status::{Depth, History, Published, WireBreak, findings, status};

use crate::support::published::published;

const SECOND: Duration = Duration::from_secs(1);

/// A fault, of meter 2 or of the line, and what is to be found of it.
const FAULTS: &[(&str, Option<u8>, Kind)] = &[
    ("meter: 2, fault: dead", Some(2), Kind::Silent),
    ("meter: 2, fault: late, delay: 800ms", Some(2), Kind::Late),
    ("meter: 2, fault: noisy, share: 30%", Some(2), Kind::Garbled),
    ("meter: 2, fault: wrong_unit, as: 99", Some(2), Kind::AddressChanged),
    ("meter: 2, fault: garbage", Some(2), Kind::Unreadable),
    ("meter: 2, fault: reversed_ct, phase: B", Some(2), Kind::Alert),
    ("meter: 2, fault: phase_loss, phase: A", Some(2), Kind::Alert),
    ("meter: 2, fault: power_cycle", Some(2), Kind::Silent),
    (EVERY_METER_DEAD, None, Kind::LineSilent),
    ("fault: echo", None, Kind::Echo),
    ("fault: noisy, share: 10%", None, Kind::Noise),
];

/// As when a riser loses its power.
const EVERY_METER_DEAD: &str = "meter: 1, fault: dead}, {at: 30s, for: 30s, meter: 2, fault: dead}, \
    {at: 30s, for: 30s, meter: 3, fault: dead}, {at: 30s, for: 30s, meter: 4, fault: dead";

/// A line of meters that is polled every 1.5 s, and everything that looks at it.
struct Stage {
    line: Line<u32>,
    wire: Wire,
    published: Published,
    history: History,
    start: Instant,
    now: Instant,
    next_look: Instant,
}

impl Stage {
    fn new(meters: &str, faults: &str) -> Self {
        Self::with_keys(meters, faults, "")
    }

    /// With further keys of the bus.
    fn with_keys(meters: &str, faults: &str, keys: &str) -> Self {
        let faults = if faults.is_empty() { String::new() } else { format!("faults: [{faults}]\n") };
        let text = format!("seed: 7\nmeters: [{meters}]\n{faults}");
        let chain = parse(&text, "s.yaml").unwrap_or_else(|problems| panic!("{problems}"));
        let config = format!(
            "listeners: [{{address: 127.0.0.1:502}}]\nbuses:\n  - name: riser\n    device: /dev/ttyS0\n{keys}    units: \
             [{{id: 1-4, profile: leviton-4000r, poll: 1500ms}}]\n"
        );
        let start = Instant::now() + SECOND;
        let published = published(&config, start);
        let mut line = Line::new(published.buses[0].settings.line.clone());
        line.handle_port(PortEvent::Opened, start);
        let (wire, history) = (Wire::new(chain, start), History::default());
        Self { line, wire, published, history, start, now: start, next_look: start }
    }

    fn run_until(&mut self, second: u32) {
        let until = self.start + second * SECOND;
        while self.now < until {
            self.exchange();
            let due = [self.line.poll_timeout(), self.wire.poll_timeout(), Some(self.next_look)];
            let next = due.into_iter().flatten().min().expect("a look is always due");
            self.now = self.now.max(next).min(until);
            if self.next_look <= self.now {
                self.next_look += SECOND;
                self.published.at = self.now;
                self.history.sample(&self.published, self.now);
            }
            if self.wire.poll_timeout().is_some_and(|due| due <= self.now) {
                self.wire.handle_timeout(self.now);
            }
            self.exchange();
            if self.line.poll_timeout().is_some_and(|due| due <= self.now) {
                self.line.handle_timeout(self.now);
            }
        }
        self.exchange();
        self.published.at = self.now;
    }

    /// Carries bytes both ways until neither side has any for the other.
    fn exchange(&mut self) {
        loop {
            let mut is_done = true;
            while let Some(output) = self.line.poll_output() {
                match output {
                    Output::Transmit(adu) => {
                        self.wire.handle_bytes(&adu, self.now);
                        is_done = false;
                    }
                    Output::Publish(view) => self.published.buses[0].view = Arc::clone(&view),
                    Output::Event(_) | Output::Record(_) | Output::Disconnect(_) | Output::Reply { .. } => {}
                }
            }
            while let Some(bytes) = self.wire.poll_output() {
                self.line.handle_bytes(&bytes, self.now);
                is_done = false;
            }
            if is_done {
                return;
            }
        }
    }

    fn found(&self) -> Vec<(Option<u8>, Kind)> {
        findings(&self.published, &self.history).iter().map(|one| (one.line_unit, one.kind)).collect()
    }

    fn told(&self) -> String {
        let all = findings(&self.published, &self.history);
        let all = all.iter().map(|one| format!("\n  {:?} {}", one.line_unit, one.what));
        let units = self.published.buses[0].view.units.iter();
        let units = units.map(|unit| {
            format!(
                "\n  unit {}: {:?} {:?} {}",
                unit.id, unit.state, unit.counters, unit.statistics.unreadable
            )
        });
        all.chain(units).collect()
    }
}

#[test]
fn each_fault_ends_in_one_finding_of_its_cause_and_in_none_when_it_is_over() {
    let mut wrong = Vec::new();
    for (fault, unit, kind) in FAULTS {
        let mut stage = Stage::new("{id: 1-4}", &format!("{{at: 30s, for: 30s, {fault}}}"));
        stage.run_until(29);
        if !stage.found().is_empty() {
            wrong.push(format!("{fault}: before it: {:?}{}", stage.found(), stage.told()));
        }
        stage.run_until(55);
        if stage.found() != [(*unit, *kind)] {
            wrong.push(format!("{fault}: {:?}{}", stage.found(), stage.told()));
        }
        stage.run_until(140);
        if !stage.found().is_empty() {
            wrong.push(format!("{fault}: after it: {:?}{}", stage.found(), stage.told()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_timeout_that_a_late_meter_needs_is_that_of_its_slowest_answer() {
    let mut stage = Stage::new("{id: 1-4}", "{at: 30s, for: 30s, meter: 2, fault: late, delay: 800ms}");
    stage.run_until(55);
    let [found] = &findings(&stage.published, &stage.history)[..] else { panic!("{}", stage.told()) };
    assert!(found.what.ends_with("; the slowest took 805 ms"), "{}", found.what);
    assert_eq!(found.remedy.steps[0], "Set `response_timeout: 1100ms` for this unit");
}

#[test]
fn meters_that_were_set_up_wrongly_are_recognised_by_what_they_send() {
    let run = |meters: &str| {
        let mut stage = Stage::new(meters, "");
        stage.run_until(40);
        (stage.found(), stage.told())
    };
    let other_rate = run("{id: 1}, {id: 2, baud_rate: 9600}, {id: 3-4}");
    assert_eq!(other_rate.0, [(Some(2), Kind::Silent)], "{}", other_rate.1);
    let twice = run("{id: 1}, {id: 2, turnaround: 5ms}, {id: 2, turnaround: 6ms}, {id: 3-4}");
    assert_eq!(twice.0, [(Some(2), Kind::DuplicateAddress)], "{}", twice.1);
}

#[test]
fn a_meter_that_is_back_is_not_held_to_what_it_lost() {
    let mut stage = Stage::new("{id: 1-4}", "{at: 30s, for: 20s, meter: 2, fault: dead}");
    stage.run_until(48);
    assert_eq!(stage.found(), [(Some(2), Kind::Silent)]);
    let mut second = 50;
    while !stage.found().is_empty() {
        second += 1;
        assert!(second < 70, "{:?}{}", stage.found(), stage.told());
        stage.run_until(second);
        let found = stage.found();
        assert!(found.is_empty() || found == [(Some(2), Kind::Silent)], "{found:?}{}", stage.told());
    }
}

/// Meters 3 and 4, the end of the wire.
const END_DEAD: &str =
    "{at: 30s, for: 30s, meter: 3, fault: dead}, {at: 30s, for: 30s, meter: 4, fault: dead}";

#[test]
fn a_broken_wire_is_one_finding_that_names_the_meters_on_both_sides() {
    let mut stage = Stage::with_keys("{id: 1-4}", END_DEAD, "    wire_order: yes\n");
    let mut second = 30;
    // Until the meters before the break have answered once more, the others are silent, one sooner than the other.
    while stage.found() != [(None, Kind::WireBreak)] {
        second += 1;
        assert!(second < 40, "{}", stage.told());
        let is_behind = |(unit, _): &(Option<u8>, Kind)| matches!(unit, Some(3 | 4));
        assert!(stage.found().iter().all(is_behind), "{}", stage.told());
        stage.run_until(second);
    }
    stage.run_until(55);
    let [found] = &findings(&stage.published, &stage.history)[..] else { panic!("{}", stage.told()) };
    let expected =
        "Everything from unit 3 to unit 4 fell silent at once, 24 s ago, and everything up to unit 2 answers";
    assert_eq!(found.what, expected);
    let steps = [
        "the cable from unit 2 to unit 3, and its terminals at both ends",
        "the power of everything behind unit 2",
    ];
    assert_eq!(found.remedy.steps, steps);
    let status = status(&stage.published, |_| Depth::Counters);
    assert_eq!(status.buses[0].wire_break, Some(WireBreak { after: 2, before: 3 }));
    stage.run_until(140);
    assert!(stage.found().is_empty(), "{}", stage.told());
}

#[test]
fn a_wire_that_is_broken_from_the_start_is_found() {
    let faults = END_DEAD.replace("at: 30s, for: 30s", "at: 0s, for: 60s");
    let mut stage = Stage::with_keys("{id: 1-4}", &faults, "    wire_order: yes\n");
    stage.run_until(40);
    let [found] = &findings(&stage.published, &stage.history)[..] else { panic!("{}", stage.told()) };
    let expected =
        "Nothing from unit 3 to unit 4 has answered since the start, and everything up to unit 2 answers";
    assert_eq!((found.kind, &*found.what), (Kind::WireBreak, expected));
}

#[test]
fn a_meter_that_was_dead_long_before_neither_hides_a_break_nor_is_hidden_by_it() {
    let keys = "    wire_order: yes\n";
    let dead = |meter: u8, at: &str| format!("{{at: {at}, for: 300s, meter: {meter}, fault: dead}}");
    let both = [dead(3, "120s"), dead(4, "120s")].join(", ");
    for (early, faults, expected) in [
        // Before the break.
        (
            1,
            [dead(1, "10s"), both.clone()].join(", "),
            "Everything from unit 3 to unit 4 fell silent at once, 59 s ago, and everything else up to unit 2 answers; \
             unit 1 was silent before",
        ),
        // Beside it.
        (
            2,
            [dead(2, "10s"), both].join(", "),
            "Everything from unit 3 to unit 4 fell silent at once, 59 s ago, and everything else up to unit 1 answers; \
             unit 2 was silent before",
        ),
        // Behind it.
        (
            4,
            [dead(4, "10s"), dead(2, "120s"), dead(3, "120s")].join(", "),
            "Everything from unit 2 to unit 3 fell silent at once, 59 s ago, and everything else up to unit 1 answers; \
             unit 4 was silent before",
        ),
    ] {
        let mut stage = Stage::with_keys("{id: 1-4}", &faults, keys);
        stage.run_until(115);
        assert_eq!(stage.found(), [(Some(early), Kind::Silent)], "{}", stage.told());
        stage.run_until(180);
        assert_eq!(stage.found(), [(None, Kind::WireBreak), (Some(early), Kind::Silent)], "{}", stage.told());
        // A request is on its way when the wire breaks, or the last answer was a moment before.
        let what = findings(&stage.published, &stage.history)[0].what.replace("60 s ago", "59 s ago");
        assert_eq!(what, expected);
    }
}

#[test]
fn where_the_order_does_not_show_a_break_each_meter_is_a_finding() {
    let (second, fourth) = ((Some(2), Kind::Silent), (Some(4), Kind::Silent));
    for (faults, keys, expected) in [
        // The order of the wire is not known.
        (END_DEAD, "", [(Some(3), Kind::Silent), fourth].as_slice()),
        // Not the end of the wire.
        (
            "{at: 30s, for: 30s, meter: 2, fault: dead}, {at: 30s, for: 30s, meter: 4, fault: dead}",
            "    wire_order: yes\n",
            &[second, fourth],
        ),
        // One after the other.
        (
            "{at: 30s, for: 60s, meter: 4, fault: dead}, {at: 42s, for: 60s, meter: 3, fault: dead}",
            "    wire_order: yes\n",
            &[(Some(3), Kind::Silent), fourth],
        ),
        // One alone.
        ("{at: 30s, for: 30s, meter: 4, fault: dead}", "    wire_order: yes\n", &[fourth]),
    ] {
        let mut stage = Stage::with_keys("{id: 1-4}", faults, keys);
        stage.run_until(58);
        assert_eq!(stage.found(), expected, "{faults} {keys}{}", stage.told());
    }
}
