//! What is published of a snapshot, and when; by instants of the test's choice.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use metergate::config::{Bus, Config};
use metergate::line::{Now, UnitState};
use metergate::mqtt::{Announcements, Message, Outbox};
use metergate::publisher::{Clocks, Plan, Publisher, StateTracks};
use metergate::status::Published;
use serde_json::{Value, json};

use crate::support::published::{self, FLOATS, INTEGERS, SETTINGS, change, change_unit, float, read};

const SITE: &str = "
listeners: [{address: 127.0.0.1:502}]
buses:
  - name: riser a/b
    device: /dev/ttyS0
    units: [{id: 1, name: Panel 1, profile: leviton-4000r, poll: 5s}, {id: 2, as: 12}]
mqtt:
  - broker: mqtt://broker.example
    client_id: harbour
    topic: site
    every: 10s
";

/// A gateway with a broker, and the present by both clocks.
struct Site {
    published: Published,
    plan: Arc<Plan>,
    publisher: Publisher,
    states: Arc<StateTracks>,
    outbox: Outbox,
    start: Instant,
}

/// The wall clock at the start.
const WALL: SystemTime = UNIX_EPOCH;
const WALL_SECONDS: u64 = 1_800_000_000;

impl Site {
    fn new(keys: &str) -> Self {
        let start = Instant::now();
        let text = format!("{SITE}{keys}");
        let published = published::published(&text, start);
        let plan = Arc::new(plan(&published, &text));
        let states = Arc::<StateTracks>::default();
        let publisher = Publisher::new(Arc::clone(&plan), Arc::clone(&states));
        Self { published, plan, publisher, states, outbox: Outbox::new(1_000_000), start }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    /// The unit's floats were read, its request begun then.
    fn read(&mut self, seconds: u64, power: f32) {
        let begun = self.at(seconds);
        let words = float(real_power(), power);
        read(&mut self.published, (0, 1), FLOATS, &words, begun, seconds + 1);
        self.measure(&[FLOATS]);
    }

    /// These ranges are read in the background.
    fn measure(&mut self, ranges: &[metergate::modbus::pdu::ReadRange]) {
        change_unit(&mut self.published, 0, 1, |unit| unit.measured = ranges.into());
    }

    /// The line keeps none of the unit's readings any longer.
    fn forget(&mut self) {
        change_unit(&mut self.published, 0, 1, |unit| unit.snapshot = Arc::default());
    }

    fn is(&mut self, state: UnitState) {
        change_unit(&mut self.published, 0, 1, |unit| unit.state = state);
    }

    /// What is published at that time.
    fn publish(&mut self, seconds: u64) -> Vec<Message> {
        self.publish_at(seconds, WALL + Duration::from_secs(WALL_SECONDS + seconds))
    }

    /// The same while the clock on the wall shows that.
    fn publish_at(&mut self, seconds: u64, wall: SystemTime) -> Vec<Message> {
        self.keep_at(seconds, wall);
        std::iter::from_fn(|| self.outbox.next()).collect()
    }

    /// The same while the broker is away.
    fn keep_at(&mut self, seconds: u64, wall: SystemTime) {
        let clocks = Clocks { now: Now::from(self.at(seconds)), wall };
        self.publisher.publish(&self.published, &clocks, &self.outbox);
    }

    /// The messages of the floats that are published at that time.
    fn of_floats(&mut self, seconds: u64) -> Vec<Message> {
        let mut messages = self.publish(seconds);
        messages.retain(|message| *message.topic == *"site/riser a_b/1/floats");
        messages
    }

    /// Their times, in seconds since the start.
    fn times(&mut self, seconds: u64) -> Vec<u64> {
        self.of_floats(seconds).iter().map(|message| seconds_of(&content(message)["time"])).collect()
    }

    /// This part of the floats was read, its request begun then.
    fn read_part(&mut self, part: metergate::modbus::pdu::ReadRange, seconds: u64) {
        let begun = self.at(seconds);
        read(&mut self.published, (0, 1), part, &[], begun, 100 * seconds + u64::from(part.start));
    }

    /// The readings among them: the time in seconds since the start, and the power.
    fn readings(&mut self, seconds: u64) -> Vec<(u64, Value)> {
        let messages = self.of_floats(seconds);
        messages
            .iter()
            .map(|message| {
                let reading = content(message);
                (seconds_of(&reading["time"]), reading["values"]["real_power_total_f"].clone())
            })
            .collect()
    }
}

/// Parts of the floats, of so many registers each, one behind the other.
fn parts<const N: usize>(quantities: [u16; N]) -> [metergate::modbus::pdu::ReadRange; N] {
    let mut start = FLOATS.start;
    quantities.map(|quantity| {
        let part = metergate::modbus::pdu::ReadRange { start, quantity, ..FLOATS };
        start += quantity;
        part
    })
}

fn plan(published: &Published, text: &str) -> Plan {
    let buses = published.buses.iter().map(|bus| Bus::clone(&bus.settings)).collect();
    let config = Config { buses, ..published::config(text) };
    Plan::new(&config, &config.brokers[0], "Harbour".to_owned(), published.at)
}

fn content(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap_or_else(|error| panic!("{message:?}: {error}"))
}

fn seconds_of(time: &Value) -> u64 {
    let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    u64::try_from(time.as_second()).unwrap() - WALL_SECONDS
}

/// The wire address of the real power.
fn real_power() -> u16 {
    let profile = metergate::meter::Profile::builtin("leviton-4000r").unwrap();
    profile.point("real_power_total_f").unwrap().range.start
}

#[test]
fn a_reading_has_the_instant_its_request_began_and_is_repeated_with_it() {
    let mut site = Site::new("");
    site.read(1, 5.5);
    assert_eq!(site.readings(3), [(1, json!(5.5))], "two seconds later");
    assert_eq!(site.readings(12), [], "the next is due ten seconds after the first");
    assert_eq!(site.readings(13), [(1, json!(5.5))], "no newer one: the same again, with its own time");
    site.read(15, 6.5);
    site.read(20, 7.5);
    assert_eq!(site.readings(23), [(20, json!(7.5))], "only the newest");
}

#[test]
fn a_reading_that_the_line_keeps_no_longer_is_published_again_with_its_own_time() {
    let mut site = Site::new("    change: 10%\n");
    site.read(1, 5.5);
    let first: Vec<_> = site.of_floats(2).iter().map(content).collect();
    assert_eq!(first.len(), 1);
    site.forget();
    assert_eq!(site.times(4), [0; 0], "not due, and nothing has moved");
    for due in [12, 22, 32, 42] {
        assert_eq!(site.of_floats(due).iter().map(content).collect::<Vec<_>>(), first, "at {due}");
    }
    site.read(50, 6.5);
    assert_eq!(site.readings(52), [(50, json!(6.5))]);

    site.forget();
    site.is(UnitState::Offline);
    site.publish(53);
    site.is(UnitState::Online);
    assert_eq!(site.readings(70), [], "it is from before an outage");
}

#[test]
fn after_a_block_was_divided_its_messages_are_of_what_is_still_read() {
    let mut site = Site::new("");
    site.read(1, 5.5);
    let whole = content(&site.of_floats(2)[0]);
    site.forget();
    let rest = metergate::modbus::pdu::ReadRange { start: FLOATS.start + 30, quantity: 60, ..FLOATS };
    for (due, begun) in [(12, 11), (22, 21)] {
        let at = site.at(begun);
        read(&mut site.published, (0, 1), rest, &[], at, begun + 1);
        site.measure(&[rest]);
        let messages = site.of_floats(due);
        assert_eq!(messages.len(), 1, "the others have no newer reading: {messages:?}");
        let reading = content(&messages[0]);
        assert_eq!(seconds_of(&reading["time"]), begun);
        let count = |reading: &Value| reading["values"].as_object().unwrap().len();
        assert!(count(&reading) > 0 && count(&reading) < count(&whole), "{reading}");
    }
}

#[test]
fn an_older_reading_that_is_left_does_not_replace_a_newer_one() {
    let mut site = Site::new("    points: [real_power_total_f]\n");
    let wire = real_power();
    let of_client = metergate::modbus::pdu::ReadRange { start: wire, quantity: 2, ..FLOATS };
    let begun = site.at(1);
    read(&mut site.published, (0, 1), of_client, &float(wire, 4.5), begun, 1);
    let older = site.published.units().next().unwrap().view.unwrap().snapshot.clone();
    site.read(3, 5.5);
    assert_eq!(site.readings(4), [(3, json!(5.5))]);
    change_unit(&mut site.published, 0, 1, |unit| unit.snapshot = older);
    assert_eq!(site.readings(14), [(3, json!(5.5))]);
}

#[test]
fn what_was_slept_since_counts() {
    let mut site = Site::new("");
    site.read(1, 5.5);
    let now = Now { instant: site.at(2), slept: Duration::from_secs(600) };
    let clocks = Clocks { now, wall: WALL + Duration::from_secs(WALL_SECONDS + 602) };
    site.publisher.publish(&site.published, &clocks, &site.outbox);
    let messages: Vec<_> = std::iter::from_fn(|| site.outbox.next()).collect();
    let reading = messages.iter().find(|message| message.topic.ends_with("/floats")).unwrap();
    assert_eq!(seconds_of(&content(reading)["time"]), 1);
}

#[test]
fn what_was_kept_before_the_clock_was_set_has_the_time_by_the_clock_that_was_set() {
    let mut site = Site::new("");
    // No clock of its own: it begins with 1970, or with the time of the last start.
    let unset = |seconds| UNIX_EPOCH + Duration::from_secs(100 + seconds);
    let states = |messages: &[Message]| -> Vec<Value> {
        messages.iter().filter(|message| message.topic.ends_with("/1/state")).map(content).collect()
    };
    for (seconds, power) in [(1, 5.5), (11, 6.5)] {
        site.read(seconds, power);
        site.keep_at(seconds + 1, unset(seconds + 1));
    }
    // NTP has answered.
    let messages = site.publish(15);
    let readings: Vec<_> = messages.iter().filter(|message| message.topic.ends_with("/floats")).collect();
    let times: Vec<_> = readings.iter().map(|one| seconds_of(&content(one)["time"])).collect();
    assert_eq!(times, [1, 11]);
    assert_eq!(seconds_of(&states(&messages)[0]["since"]), 2, "its state, too");

    // What was published is not published again, but as the newest reading; less than half a second is no step.
    let almost = WALL + Duration::from_secs(WALL_SECONDS + 20) + Duration::from_millis(400);
    assert_eq!(site.publish_at(20, almost), []);
    let messages = site.publish(22);
    assert_eq!(messages.iter().map(|one| seconds_of(&content(one)["time"])).collect::<Vec<_>>(), [11]);

    // It is set back.
    let messages = site.publish_at(32, WALL + Duration::from_secs(WALL_SECONDS + 31));
    let reading = messages.iter().find(|message| message.topic.ends_with("/floats")).unwrap();
    assert_eq!(seconds_of(&content(reading)["time"]), 10);
    assert_eq!(states(&messages).len(), 1);
}

#[test]
fn a_late_look_keeps_the_grid_and_a_missed_interval_begins_a_new_one() {
    let mut site = Site::new("");
    site.read(1, 5.5);
    assert_eq!(site.readings(2).len(), 1);
    assert_eq!(site.readings(14).len(), 1, "due at 12");
    assert_eq!(site.readings(21), []);
    assert_eq!(site.readings(22).len(), 1, "due at 22 all the same");
    assert_eq!(site.readings(60).len(), 1, "one, not four");
    assert_eq!(site.readings(69), []);
    assert_eq!(site.readings(70).len(), 1);
}

#[test]
fn a_unit_that_does_not_answer_publishes_its_state_and_no_values() {
    let mut site = Site::new("");
    site.read(1, 5.5);
    let state = |messages: &[Message]| {
        let states = messages.iter().filter(|message| *message.topic == *"site/riser a_b/1/state");
        states.map(|message| (message.retained, content(message)["state"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(state(&site.publish(2)), [(true, json!("online"))]);
    assert_eq!(state(&site.publish(3)), [], "nothing has changed");
    site.is(UnitState::Confirming);
    let messages = site.publish(12);
    assert_eq!(state(&messages), [(true, json!("confirming"))]);
    assert_eq!(messages.len(), 2, "its silence is not certain yet: {messages:?}");
    site.is(UnitState::Offline);
    let messages = site.publish(22);
    assert_eq!(state(&messages), [(true, json!("offline"))]);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(site.publish(60), []);

    // It is back, and has not been read since.
    site.is(UnitState::Online);
    let messages = site.publish(70);
    assert_eq!(state(&messages), [(true, json!("online"))]);
    assert_eq!(messages.len(), 1, "a reading from before the outage is no news: {messages:?}");
    site.read(71, 6.5);
    assert_eq!(site.readings(72), [(71, json!(6.5))]);

    change(&mut site.published, 0, |view| view.port = metergate::line::PortState::Closed);
    let messages = site.publish(90);
    assert_eq!(state(&messages), [(true, json!("unreachable"))]);
    assert_eq!(messages.len(), 2, "the other unit, too: {messages:?}");
}

#[test]
fn since_is_when_the_state_began() {
    let mut site = Site::new("");
    let messages = site.publish(5);
    let states: Vec<_> = messages.iter().map(|message| (&*message.topic, content(message))).collect();
    let never = |unit: &str| {
        let topic = format!("site/riser a_b/{unit}/state");
        let (_, state) = states.iter().find(|(found, _)| *found == topic).unwrap();
        assert_eq!((&state["state"], seconds_of(&state["since"])), (&json!("never_seen"), 5));
    };
    never("1");
    never("12");
    assert_eq!(states.len(), 2, "{states:?}");

    // A broker that a reload adds later is told the same.
    let outbox = Outbox::new(1_000_000);
    let mut later = Publisher::new(Arc::clone(&site.plan), Arc::clone(&site.states));
    let clocks = Clocks { now: Now::from(site.at(90)), wall: WALL + Duration::from_secs(WALL_SECONDS + 90) };
    later.publish(&site.published, &clocks, &outbox);
    assert_eq!(seconds_of(&content(&outbox.next().unwrap())["since"]), 5);
}

#[test]
fn not_available_is_null_and_no_number_is_made_up() {
    let mut site = Site::new("");
    read(
        &mut site.published,
        (0, 1),
        FLOATS,
        &[(real_power(), 0x7FC0), (real_power() + 1, 0)],
        site.start,
        1,
    );
    site.measure(&[FLOATS]);
    assert_eq!(site.readings(1), [(0, Value::Null)]);
}

#[test]
fn a_value_that_moves_is_published_sooner_but_not_more_than_once_a_second() {
    let mut site = Site::new("    change: 10%\n");
    site.read(1, 100.0);
    assert_eq!(site.readings(2).len(), 1);
    site.read(3, 109.0);
    assert_eq!(site.readings(4), [], "nine percent");
    site.read(5, 111.0);
    assert_eq!(site.readings(5), [(5, json!(111.0))]);
    site.read(6, 300.0);
    let almost = Clocks {
        now: Now::from(site.at(5) + Duration::from_millis(900)),
        wall: WALL + Duration::from_secs(WALL_SECONDS + 5) + Duration::from_millis(900),
    };
    site.publisher.publish(&site.published, &almost, &site.outbox);
    assert_eq!(site.outbox.next(), None, "less than a second after the last");
    assert_eq!(site.readings(6), [(6, json!(300.0))]);
    assert_eq!(site.readings(15), [], "ten seconds count from the last message");
    assert_eq!(site.readings(16), [(6, json!(300.0))]);
}

#[test]
fn a_client_that_reads_the_same_values_in_another_way_changes_nothing() {
    let mut site = Site::new("    points: [real_power_total_f]\n    change: 10%\n");
    let wire = real_power();
    let read_range = |site: &mut Site, start: u16, seconds: u64, power: f32| {
        let range = metergate::modbus::pdu::ReadRange { start, quantity: 20, ..FLOATS };
        let begun = site.at(seconds);
        read(&mut site.published, (0, 1), range, &float(wire, power), begun, seconds + 1);
    };
    read_range(&mut site, wire, 1, 100.0);
    assert_eq!(site.readings(2), [(1, json!(100.0))]);
    read_range(&mut site, wire - 2, 3, 101.0);
    assert_eq!(site.readings(4), [], "one percent, read from another register on");
    read_range(&mut site, wire - 4, 5, 120.0);
    assert_eq!(site.readings(6), [(5, json!(120.0))]);
}

#[test]
fn parts_of_a_block_take_turns_each_with_its_own_time_and_times_never_go_back() {
    let mut site = Site::new("");
    let parts = parts([30, 60]);
    site.measure(&parts);
    site.read_part(parts[0], 0);
    site.read_part(parts[1], 2);
    let first = site.of_floats(5);
    let second = site.of_floats(15);
    assert_eq!((first.len(), second.len()), (1, 1), "one message a block: {first:?}, {second:?}");
    let (first, second) = (content(&first[0]), content(&second[0]));
    assert_eq!((seconds_of(&first["time"]), seconds_of(&second["time"])), (0, 2));
    let names =
        |reading: &Value| -> Vec<String> { reading["values"].as_object().unwrap().keys().cloned().collect() };
    assert!(!names(&first).is_empty() && !names(&second).is_empty());
    assert!(names(&first).iter().all(|name| !names(&second).contains(name)), "{first}, {second}");
    assert_eq!(site.times(25), [2], "no newer one: the last again");
    site.read_part(parts[1], 30);
    site.read_part(parts[0], 31);
    assert_eq!(site.times(35), [31], "which has waited longer");
    assert_eq!(site.times(45), [31], "the other one is older");
}

#[test]
fn no_part_of_a_block_keeps_another_from_being_published() {
    let mut site = Site::new("");
    let parts = parts([20, 20, 20, 30]);
    site.measure(&parts);
    let mut times = Vec::new();
    for due in (5..=85).step_by(10) {
        // Three are read again and again, the last one once in a while.
        for (part, ago) in parts.into_iter().zip([4, 3, 2]) {
            site.read_part(part, due - ago);
        }
        if due == 15 || due == 55 {
            site.read_part(parts[3], due - 1);
        }
        times.extend(site.times(due));
    }
    assert_eq!(times, [1, 12, 14, 33, 41, 52, 54, 73, 81], "one message each time, each part in its turn");
}

#[test]
fn a_value_that_moves_in_a_part_of_a_block_is_published_sooner() {
    let mut site = Site::new("    change: 10%\n");
    let parts = parts([30, 60]);
    site.measure(&parts);
    site.read_part(parts[0], 0);
    site.read_part(parts[1], 2);
    assert_eq!(site.times(5), [0]);
    assert_eq!(site.times(6), [2], "its values are news");
    assert_eq!(site.times(7), [0; 0]);
    let begun = site.at(8);
    read(&mut site.published, (0, 1), parts[0], &float(real_power(), 5.5), begun, 9);
    site.read_part(parts[1], 9);
    assert_eq!(site.readings(10), [(8, json!(5.5))]);
    assert_eq!(site.times(12), [0; 0], "nothing has moved in the other");
}

#[test]
fn a_count_whose_exponent_was_not_read_yet_is_left_out() {
    let mut site = Site::new("    points: [real_energy_total]\n");
    let integers = |messages: Vec<Message>| -> Vec<Value> {
        messages.iter().filter(|message| message.topic.ends_with("/integers")).map(content).collect()
    };
    let (begun, exponents) = (site.at(1), site.at(4));
    read(&mut site.published, (0, 1), INTEGERS, &[(1, 700)], begun, 1);
    assert_eq!(integers(site.publish(2)), [] as [Value; 0], "it is not the meter that has none");
    read(&mut site.published, (0, 1), SETTINGS, &[], exponents, 2);
    let readings = integers(site.publish(5));
    assert_eq!(readings.len(), 1);
    assert_eq!(seconds_of(&readings[0]["time"]), 1);
    assert_eq!(readings[0]["values"], json!({"real_energy_total": 700}));

    let mut site = Site::new("    points: [real_energy_total, power_factor_total]\n");
    let (begun, exponents) = (site.at(1), site.at(4));
    read(&mut site.published, (0, 1), INTEGERS, &[(1, 700), (5, 9000)], begun, 1);
    site.measure(&[INTEGERS]);
    assert_eq!(integers(site.publish(2))[0]["values"], json!({"power_factor_total": 0.9}));
    read(&mut site.published, (0, 1), SETTINGS, &[], exponents, 2);
    let both = json!({"real_energy_total": 700, "power_factor_total": 0.9});
    assert_eq!(integers(site.publish(12))[0]["values"], both);
}

#[test]
fn blocks_have_topics_and_times_of_their_own() {
    let mut site = Site::new("    points: [power, alert_bitmap]\n");
    site.read(4, 5.5);
    let begun = site.at(2);
    read(&mut site.published, (0, 1), SETTINGS, &[(145, 3)], begun, 9);
    let messages = site.publish(5);
    let of = |block: &str| {
        let topic = format!("site/riser a_b/1/{block}");
        content(messages.iter().find(|message| *message.topic == *topic).unwrap())
    };
    assert_eq!(seconds_of(&of("floats")["time"]), 4);
    let settings = of("configuration");
    assert_eq!(seconds_of(&settings["time"]), 2);
    assert_eq!(settings["values"], json!({"alert_bitmap": 3}), "flags as the register holds them");
}

#[test]
fn a_count_whose_exponent_changed_after_it_is_not_published_by_the_new_one() {
    let mut site = Site::new("    points: [real_energy_total]\n");
    let mut energy = |range, words: &[(u16, u16)], begun: u64, at: u64| {
        let instant = site.at(begun);
        read(&mut site.published, (0, 1), range, words, instant, begun);
        let messages = site.publish(at);
        let reading = content(messages.iter().rev().find(|one| one.topic.ends_with("/integers"))?);
        Some((seconds_of(&reading["time"]), reading["values"]["real_energy_total"].clone()))
    };
    assert_eq!(energy(SETTINGS, &[(140, 0)], 2, 2), None);
    assert_eq!(energy(INTEGERS, &[(1, 230)], 4, 5), Some((4, json!(230))));
    assert_eq!(energy(SETTINGS, &[(140, 1)], 11, 15), Some((4, Value::Null)), "not 2300");
    assert_eq!(energy(SETTINGS, &[(140, 1)], 13, 25), Some((4, Value::Null)));
    assert_eq!(energy(INTEGERS, &[(1, 23)], 34, 35), Some((34, json!(230))));
}

#[test]
fn points_are_chosen_by_name_and_by_group_each_quantity_once() {
    for (points, expected) in [
        ("[real_power_total]", vec!["real_power_total"]),
        ("[frequency]", vec!["frequency_f"]),
        ("[voltage_an_f, frequency]", vec!["voltage_an_f", "frequency_f"]),
    ] {
        let site = Site::new(&format!("    points: {points}\n    home_assistant: ha\n"));
        let mut names: Vec<String> = announced(&site.plan)
            .iter()
            .filter(|(topic, _)| topic.starts_with("ha/sensor/"))
            .map(|(_, sensor)| {
                let template = sensor["value_template"].as_str().unwrap();
                template.split('\'').nth(3).unwrap().to_owned()
            })
            .collect();
        names.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(names, expected, "{points}");
    }
}

fn announced(plan: &Plan) -> Vec<(String, Value)> {
    let all = (0..).map_while(|index| plan.get(index));
    all.map(|message| {
        assert!(message.retained);
        (message.topic.to_string(), content(&message))
    })
    .collect()
}

#[test]
fn each_quantity_is_an_entity_of_its_meters_device() {
    let site = Site::new("    home_assistant: ha\n");
    let all = announced(&site.plan);
    let (topic, gateway) = &all[0];
    assert_eq!(topic, "ha/binary_sensor/site/connection/config");
    assert_eq!(gateway["state_topic"], "site/status");
    assert_eq!(gateway["device"]["identifiers"], json!(["site"]));
    let mut ids: Vec<&str> = all.iter().map(|(_, one)| one["unique_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "each once");
    let (topic, energy) =
        all.iter().find(|(_, one)| one["unique_id"] == "site/riser a_b/1/real_energy_total").unwrap();
    assert_eq!(topic, "ha/sensor/site/riser_a_b_7fea0b20-1-real_energy_total/config");
    assert_eq!(
        energy,
        &json!({
            "name": "Real energy total",
            "unique_id": "site/riser a_b/1/real_energy_total",
            "state_topic": "site/riser a_b/1/integers",
            "value_template":
                "{{ (value_json['values']['real_energy_total'] if \
                 (now() - as_datetime(value_json['time'])).total_seconds() < 30 else 'None') \
                 if 'real_energy_total' in value_json['values'] }}",
            "availability": [
                {"topic": "site/status"},
                {
                    "topic": "site/riser a_b/1/state",
                    "value_template":
                        "{{ 'online' if value_json['state'] in ['online', 'confirming'] else 'offline' }}",
                },
            ],
            "availability_mode": "all",
            "expire_after": 30,
            "unit_of_measurement": "kWh",
            "device_class": "energy",
            "state_class": "total_increasing",
            "suggested_display_precision": 2,
            "device": {
                "identifiers": ["site/riser a_b/1"],
                "name": "Panel 1",
                "model": "Leviton Series 4000-R",
                "via_device": "site",
            },
            "origin": {"name": "metergate", "sw_version": env!("CARGO_PKG_VERSION")},
        })
    );
}

#[test]
fn a_quantity_that_is_published_twice_is_one_entity() {
    let site = Site::new("    points: [real_power_total, real_power_total_f]\n    home_assistant: ha\n");
    let sensors: Vec<_> =
        announced(&site.plan).into_iter().filter(|(topic, _)| topic.starts_with("ha/sensor/")).collect();
    assert_eq!(sensors.len(), 1, "{sensors:?}");
    assert_eq!(sensors[0].0, "ha/sensor/site/riser_a_b_7fea0b20-1-real_power_total/config");
    assert_eq!(site.plan.count(), 2, "and the gateway's");
}

#[test]
fn names_that_differ_only_in_what_discovery_has_no_place_for_stay_apart() {
    let site = Site::new("    home_assistant: ha\n");
    let mut topics = std::collections::BTreeSet::new();
    for topic in ["site-a", "site/a", "site_a", "Site/a"] {
        let text =
            format!("{SITE}    home_assistant: ha\n").replace("topic: site", &format!("topic: {topic}"));
        let plan = plan(&site.published, &text);
        let announced = announced(&plan);
        for (at, config) in announced {
            assert!(topics.insert(at.clone()), "{at} of {topic}, too");
            assert!(topics.insert(config["unique_id"].to_string()), "{config}");
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            assert!(at.split('/').all(|level| !level.is_empty() && level.chars().all(fits)), "{at}");
        }
    }
}

#[test]
fn only_what_the_gateway_wrote_and_no_longer_publishes_is_left_over() {
    let site = Site::new("    home_assistant: ha\n");
    let (own, other) =
        (r#"{"state_topic":"site/riser a_b/1/floats"}"#, r#"{"state_topic":"sites/x/1/floats"}"#);
    for (topic, payload, is_left_over) in [
        ("ha/sensor/site/riser_a_b_7fea0b20-1-real_power_total/config", own, false),
        ("ha/sensor/site/riser_a_b_7fea0b20-1-real_power/config", own, true),
        ("ha/sensor/site/riser_a_b_7fea0b20-1-real_power/config", other, false),
        ("ha/sensor/site/riser_a_b_7fea0b20-1-real_power/config", "no JSON", false),
        ("ha/sensor/site/riser_a_b_7fea0b20-9-real_power_total/config", own, true),
        ("ha/sensor/site/riser_a_b_1_real_power_total/config", own, true),
        ("ha/sensor/site/riser_a_b_7fea0b20-9-real_power_total", own, false),
        ("ha/binary_sensor/site/connection/config", r#"{"state_topic":"site/status"}"#, false),
        ("ha/binary_sensor/site/link/config", r#"{"state_topic":"site/status"}"#, true),
        ("site/status", "online", false),
        ("site/riser a_b/1/state", "{}", false),
        ("site/riser a_b/12/state", "{}", false),
        ("site/riser a_b/2/state", "{}", true),
        ("site/riser/1/state", "{}", true),
        ("sites/riser/1/state", "{}", false),
        ("site/riser a_b/1/more/state", "{}", false),
        ("site/riser a_b/2/floats", "{}", false),
    ] {
        assert_eq!(site.plan.is_left_over(topic, payload.as_bytes()), is_left_over, "{topic} {payload}");
    }
    let filters = ["site/+/+/state", "ha/sensor/site/+/config", "ha/binary_sensor/site/+/config"];
    assert_eq!(site.plan.filters(), filters);
    assert_eq!(plan(&site.published, SITE).get(0), None);
}

#[test]
fn what_a_reload_announces_no_more_is_removed() {
    let mut site = Site::new("    home_assistant: ha\n");
    site.outbox.announce(Arc::clone(&site.plan) as _);
    let announced: Vec<_> = site.publish(1).into_iter().filter(|one| one.topic.starts_with("ha/")).collect();
    assert_eq!(announced.len(), site.plan.count());
    assert!(announced.len() > 20, "{announced:?}");
    for keys in ["    home_assistant: other\n", ""] {
        let moved = Arc::new(plan(&site.published, &format!("{SITE}{keys}")));
        site.outbox.announce(Arc::clone(&moved) as _);
        let messages: Vec<_> = std::iter::from_fn(|| site.outbox.next()).collect();
        let (removed, new): (Vec<_>, Vec<_>) = messages.into_iter().partition(|one| one.payload.is_empty());
        assert_eq!(new.len(), moved.count());
        assert_eq!(removed.len(), announced.len());
        assert!(removed.iter().all(|one| one.retained), "{removed:?}");
        let binary =
            removed.iter().filter(|one| one.topic.ends_with("/binary_sensor/site/connection/config"));
        assert_eq!(binary.count(), 1, "the gateway's own, too");
    }
}

#[test]
fn the_estimate_is_near_what_is_published() {
    let mut site = Site::new("    points: [power]\n");
    site.read(1, 5.5);
    let message = site.publish(2).into_iter().find(|message| message.topic.ends_with("/floats")).unwrap();
    let volume = site.plan.volume();
    assert_eq!((volume.units, volume.blocks, volume.messages), (2, 1, 8640));
    let real = (message.payload.len() + message.topic.len()) as u64 * 8640;
    assert!(volume.bytes > real / 2 && volume.bytes < 2 * real, "{volume:?} for {real}");
}

#[test]
fn a_plan_that_follows_another_goes_on_where_that_was() {
    let mut site = Site::new("");
    site.read(1, 5.5);
    assert_eq!(site.readings(2).len(), 1);
    let text = format!("{SITE}    change: 1%\n");
    site.plan = Arc::new(plan(&site.published, &text));
    site.publisher.replace_plan(Arc::clone(&site.plan));
    assert_eq!(site.publish(3), [], "neither states nor readings are published anew");
    assert_eq!(site.readings(12), [(1, json!(5.5))]);
}

#[test]
fn a_shorter_interval_counts_from_the_last_message() {
    let mut site = Site::new("");
    site.read(1, 5.5);
    assert_eq!(site.readings(2).len(), 1);
    let text = SITE.replace("every: 10s", "every: 2s");
    site.publisher.replace_plan(Arc::new(plan(&site.published, &text)));
    assert_eq!(site.readings(3), []);
    assert_eq!(site.readings(4).len(), 1, "two seconds after the last, and not ten");
    assert_eq!(site.readings(6).len(), 1);
}

#[test]
fn another_meter_by_the_same_identifier_has_no_values_of_the_one_before() {
    let mut site = Site::new("");
    site.read(1, 5.5);
    assert_eq!(site.readings(2).len(), 1);
    site.forget();
    let text = SITE.replace("{id: 1, name", "{id: 3, as: 1, name");
    let mut replaced = published::published(&text, site.start);
    site.publisher.replace_plan(Arc::new(plan(&replaced, &text)));
    change_unit(&mut replaced, 0, 3, |unit| unit.state = UnitState::Online);
    site.published = replaced;
    let messages = site.publish(12);
    let states: Vec<_> = messages.iter().filter(|one| one.topic.ends_with("/1/state")).map(content).collect();
    assert_eq!(states.len(), 1);
    assert_eq!((&states[0]["state"], seconds_of(&states[0]["since"])), (&json!("online"), 12), "its own");
    assert_eq!(messages.iter().filter(|message| message.topic.ends_with("/floats")).count(), 0);
    let begun = site.at(13);
    read(&mut site.published, (0, 3), FLOATS, &float(real_power(), 7.5), begun, 1);
    change_unit(&mut site.published, 0, 3, |unit| unit.measured = [FLOATS].into());
    assert_eq!(site.readings(14), [(13, json!(7.5))]);
}
