//! What is made of profiles and snapshots: devices, types, values.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use metergate::config::{Bus, Config, device_name};
use metergate::line::{Now, UnitState};
use metergate::mqtt::SparkplugOutbox;
use metergate::publisher::{Clocks, Plan, Publisher, StateTracks, devices};
use metergate::sparkplug::{DataType, EdgeNode, MetricDefinition, Payload, Taken};
use metergate::status::Published;
use prost::Message;

use crate::support::published::{self, FLOATS, change_unit, float, read};

const SITE: &str = "
listeners: [{address: 127.0.0.1:502}]
buses:
  - name: riser a/b
    device: /dev/ttyS0
    units: [{id: 1, name: Panel 1/2, profile: leviton-4000r, poll: 5s}, {id: 2, as: 12, profile: leviton-4000r}, {id: 3}]
mqtt:
  - broker: mqtt://broker.example
    client_id: harbour
    publish: sparkplug
    sparkplug: {group: site, node: harbour}
    every: 10s
";

struct Site {
    published: Published,
    plan: Arc<Plan>,
    publisher: Publisher,
    outbox: SparkplugOutbox,
    start: Instant,
}

impl Site {
    fn new() -> Self {
        let start = Instant::now();
        let published = published::published(SITE, start);
        let plan = Arc::new(plan(&published, SITE));
        let ids = published::config(SITE).brokers[0].publication.sparkplug.clone().unwrap();
        let outbox = SparkplugOutbox::new(EdgeNode::new(ids, 1_000_000, Taken::new(start, UNIX_EPOCH)));
        outbox.define(devices(&plan));
        let publisher = Publisher::new(Arc::clone(&plan), Arc::<StateTracks>::default());
        Self { published, plan, publisher, outbox, start }
    }

    /// The unit's floats were read, its request begun then.
    fn read(&mut self, seconds: u64, power: f32) {
        let profile = metergate::meter::Profile::builtin("leviton-4000r").unwrap();
        let wire = profile.point("real_power_total_f").unwrap().range.start;
        let begun = self.start + Duration::from_secs(seconds);
        read(&mut self.published, (0, 1), FLOATS, &float(wire, power), begun, seconds + 1);
        change_unit(&mut self.published, 0, 1, |unit| unit.measured = [FLOATS].into());
    }

    /// A reload with this text, which changes nothing on the line.
    fn reload(&mut self, text: &str) {
        let replaced = published::published(text, self.start);
        for (bus, now) in self.published.buses.iter_mut().zip(replaced.buses) {
            bus.settings = now.settings;
        }
        self.plan = Arc::new(plan(&self.published, text));
        self.publisher.replace_plan(Arc::clone(&self.plan));
        self.outbox.define(devices(&self.plan));
    }

    /// The line keeps none of the unit's readings any longer.
    fn forget(&mut self) {
        change_unit(&mut self.published, 0, 1, |unit| unit.snapshot = Arc::default());
    }

    /// How many changes wait after a look at that time.
    fn publish(&mut self, seconds: u64) -> usize {
        self.publish_at(seconds, UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// The same while the clock on the wall shows that.
    fn publish_at(&mut self, seconds: u64, wall: SystemTime) -> usize {
        let clocks = Clocks { now: Now::from(self.start + Duration::from_secs(seconds)), wall };
        self.publisher.publish_sparkplug(&self.published, &clocks, &self.outbox);
        self.outbox.counts().queued
    }
}

fn plan(published: &Published, text: &str) -> Plan {
    let buses = published.buses.iter().map(|bus| Bus::clone(&bus.settings)).collect();
    let config = Config { buses, ..published::config(text) };
    Plan::new(&config, &config.brokers[0], "Harbour".to_owned(), published.at)
}

#[test]
fn a_unit_with_a_profile_is_a_device_by_its_name() {
    let site = Site::new();
    let devices = devices(&site.plan);
    let names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["Panel 1_2", "riser a_b-12"]);
    assert_eq!(device_name("a", 7, Some("x+#")), "x__");
    assert_eq!(device_name("a#b", 7, None), "a_b-7");
}

#[test]
fn a_device_is_that_of_its_meter_whatever_clients_call_it() {
    let plan = |text: &str| {
        let config = published::config(text);
        devices(&Plan::new(&config, &config.brokers[0], "Harbour".to_owned(), Instant::now()))
    };
    let units = "[{id: 1, as: 11, name: A, profile: leviton-4000r}, {id: 2, as: 12, name: B, profile: leviton-4000r}]";
    let site = |units: &str| {
        let (before, rest) = SITE.split_once("    units: ").unwrap();
        let (_, after) = rest.split_once('\n').unwrap();
        format!("{before}    units: {units}\n{after}")
    };
    let before = plan(&site(units));
    let meters: Vec<_> = before.iter().map(|device| (&*device.meter.bus, device.meter.unit)).collect();
    assert_eq!(meters, [("riser a/b", 1), ("riser a/b", 2)]);
    let exchanged =
        plan(&site(&units.replace("id: 1", "id: 3").replace("id: 2", "id: 1").replace("id: 3", "id: 2")));
    for (before, now) in before.iter().zip(&exchanged) {
        assert_eq!((&before.name, &before.metrics), (&now.name, &now.metrics));
        assert_ne!(before, now, "the same name, of the other meter");
    }
}

#[test]
fn types_and_units_are_those_of_the_profile() {
    let site = Site::new();
    let devices = devices(&site.plan);
    let metric = |name: &str| {
        let found = devices[0].metrics.iter().find(|metric| metric.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {devices:?}"))
    };
    let expected = |name: &str, datatype, unit| MetricDefinition { name: name.to_owned(), datatype, unit };
    assert_eq!(metric("real_power_total_f"), &expected("real_power_total_f", DataType::Float, Some("kW")));
    // A count with an exponent, which is known only later.
    assert_eq!(metric("real_energy_total"), &expected("real_energy_total", DataType::Double, Some("kWh")));
    let mut names: Vec<_> = devices[0].metrics.iter().map(|metric| metric.name.to_lowercase()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "each once, by any case");
}

#[test]
fn readings_are_recorded_as_they_come_due_and_only_while_they_change() {
    let mut site = Site::new();
    site.read(1, 5.5);
    assert_eq!(site.publish(2), 1);
    site.read(6, 6.5);
    assert_eq!(site.publish(7), 1, "the next is due at 12");
    assert_eq!(site.publish(12), 2);
    site.read(20, 6.5);
    assert_eq!(site.publish(22), 2, "the same values");
    site.read(30, 7.5);
    assert_eq!(site.publish(32), 3);
}

#[test]
fn the_first_reading_after_an_outage_is_recorded_at_once_and_none_from_before_it() {
    let mut site = Site::new();
    site.read(1, 5.5);
    assert_eq!(site.publish(2), 1);
    change_unit(&mut site.published, 0, 1, |unit| unit.state = UnitState::Offline);
    assert_eq!(site.publish(3), 1);
    change_unit(&mut site.published, 0, 1, |unit| unit.state = UnitState::Online);
    assert_eq!(site.publish(4), 1, "a reading from before the outage is no news");
    site.read(5, 5.5);
    assert_eq!(site.publish(6), 2, "and the next is, though it is due at 12");
}

#[test]
fn a_reading_without_a_successor_is_recorded_once_more_as_stale() {
    let mut site = Site::new();
    site.read(1, 5.5);
    assert_eq!(site.publish(2), 1);
    assert_eq!(site.publish(22), 1);
    assert_eq!(site.publish(32), 2, "three intervals old");
    assert_eq!(site.publish(62), 2);
}

#[test]
fn a_reading_that_the_line_keeps_no_longer_is_recorded_once_more_as_stale() {
    let mut site = Site::new();
    site.read(1, 5.5);
    assert_eq!(site.publish(2), 1);
    site.forget();
    assert_eq!(site.publish(22), 1, "the same values");
    assert_eq!(site.publish(32), 2, "three intervals old: the same values by another quality");
    assert_eq!(site.publish(62), 2);
    site.read(70, 5.5);
    assert_eq!(site.publish(72), 3, "good again");
}

#[test]
fn a_device_that_a_reload_renames_has_its_values_at_once() {
    let mut site = Site::new();
    site.read(1, 5.5);
    assert_eq!(site.publish(2), 1);
    site.reload(&SITE.replace("Panel 1/2", "Panel 1"));
    assert_eq!(site.outbox.counts().queued, 0, "what waited was the earlier device's");
    assert_eq!(site.publish(3), 1, "and the block is due at 12");
    assert_eq!(site.publish(4), 1);
    site.forget();
    site.reload(SITE);
    assert_eq!(site.publish(5), 1, "also what the line keeps no longer");
}

#[test]
fn metrics_that_a_reload_adds_have_their_values_at_once() {
    let mut site = Site::new();
    let points =
        |names: &str| SITE.replace("    every: 10s", &format!("    every: 10s\n    points: {names}"));
    site.reload(&points("[voltage_an_f]"));
    site.read(1, 5.5);
    assert_eq!(site.publish(2), 1);
    site.reload(&points("[voltage_an_f]"));
    assert_eq!(site.publish(3), 1, "nothing has changed");
    site.reload(&points("[voltage_an_f, real_power_total_f]"));
    assert_eq!(site.publish(4), 2);
}

#[test]
fn a_device_that_a_reload_defines_later_is_alive_all_the_same() {
    let mut site = Site::new();
    let devices = devices(&site.plan);
    site.outbox.define(Vec::new());
    site.read(1, 5.5);
    assert_eq!(site.publish(2), 0, "there is no device");
    site.outbox.define(devices);
    assert_eq!(site.publish(12), 1);
}

#[test]
fn what_was_kept_before_the_clock_was_set_has_the_time_by_the_clock_that_was_set() {
    let mut site = Site::new();
    let wall = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    // No clock of its own: it begins with 1970.
    for (seconds, power) in [(1, 5.5), (12, 6.5)] {
        site.read(seconds, power);
        site.publish(seconds + 1);
    }
    site.publish_at(15, wall);
    assert_eq!(site.outbox.counts().queued, 2, "nothing is kept twice");
    site.outbox.connect(wall);
    site.outbox.begin();
    let now = Taken::new(site.start + Duration::from_secs(15), wall);
    let sent: Vec<_> = std::iter::from_fn(|| site.outbox.next(now)).collect();
    let times = |kind: &str| -> Vec<u64> {
        let one = sent.iter().find(|message| message.topic.contains(kind)).unwrap();
        let payload = Payload::decode(&one.payload[..]).unwrap();
        let metrics = payload.metrics.iter().filter(|metric| metric.value.is_some());
        metrics.map(|metric| 1_800_000_000 - metric.timestamp.unwrap() / 1000).collect()
    };
    assert!(times("DBIRTH").iter().all(|before| *before == 3) && !times("DBIRTH").is_empty(), "{sent:?}");
    assert!(times("DDATA").iter().all(|before| *before == 14) && !times("DDATA").is_empty(), "{sent:?}");
}

#[test]
fn a_meter_that_clients_call_otherwise_after_a_reload_does_not_die() {
    let mut site = Site::new();
    site.read(1, 5.5);
    change_unit(&mut site.published, 0, 2, |unit| unit.state = UnitState::Offline);
    site.publish(2);
    site.outbox.connect(UNIX_EPOCH);
    site.outbox.begin();
    let sent = |site: &Site, seconds: u64| -> Vec<String> {
        let now = Taken::new(site.start + Duration::from_secs(seconds), UNIX_EPOCH);
        std::iter::from_fn(|| site.outbox.next(now)).map(|message| message.topic.to_string()).collect()
    };
    assert_eq!(sent(&site, 2).len(), 2);
    let exchanged = SITE
        .replace("{id: 2, as: 12,", "{id: 2, as: 1, name: riser a_b-12,")
        .replace("{id: 1,", "{id: 1, as: 12,");
    for text in [exchanged, SITE.replace("{id: 1,", "{id: 1, as: 7,")] {
        // The lines and the brokers have the new settings, and what is published has not yet.
        let config = published::config(&text);
        let plan = Arc::new(Plan::new(&config, &config.brokers[0], "Harbour".to_owned(), site.start));
        site.publisher.replace_plan(Arc::clone(&plan));
        site.outbox.define(devices(&plan));
        site.publish(3);
        let sent = sent(&site, 3);
        assert!(!sent.iter().any(|topic| topic.contains("/DDEATH/")), "{sent:?} with {text}");
    }
}
