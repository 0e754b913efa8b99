//! The order and the content of what a node sends, by instants of the test's choice.

use std::time::{Duration, Instant};

use metergate::sparkplug::{
    DataType, DeviceDefinition, EdgeNode, Ids, Meter, Metric, MetricDefinition, MetricValue, Outgoing,
    Payload, PropertyValueKind, Quality, Received, Taken,
};
use prost::Message;

/// Milliseconds since 1970 at the start.
const START: u64 = 1_800_000_000_000;

/// A node with devices `a` and `b`, and the present.
struct Site {
    node: EdgeNode,
    start: Instant,
    /// Seconds since the start.
    now: u64,
}

/// What was sent.
#[derive(Debug)]
struct Sent {
    /// The type of the message, and the device.
    what: String,
    payload: Payload,
}

impl Sent {
    fn of(outgoing: &Outgoing) -> Self {
        let rest = outgoing.topic.strip_prefix("spBv1.0/group/").unwrap_or_else(|| panic!("{outgoing:?}"));
        let what = match rest.split_once("/node") {
            Some((kind, "")) => kind.to_owned(),
            Some((kind, device)) => format!("{kind} {}", device.strip_prefix('/').unwrap()),
            None => panic!("{outgoing:?}"),
        };
        Self { what, payload: Payload::decode(&outgoing.payload[..]).unwrap() }
    }

    fn metric(&self, name: &str) -> &Metric {
        let found = self.payload.metrics.iter().find(|metric| metric.name.as_deref() == Some(name));
        found.unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    fn bd_seq(&self) -> MetricValue {
        self.metric("bdSeq").value.clone().unwrap()
    }

    /// Alias, value and whether it is historical, of each metric.
    fn data(&self) -> Vec<(u64, Option<MetricValue>, bool)> {
        let metrics = self.payload.metrics.iter();
        let each =
            metrics.map(|one| (one.alias.unwrap(), one.value.clone(), one.is_historical == Some(true)));
        each.collect()
    }
}

/// The value of a metric's property.
fn property(metric: &Metric, key: &str) -> Option<PropertyValueKind> {
    let set = metric.properties.as_ref()?;
    assert_eq!(set.keys.len(), set.values.len());
    let place = set.keys.iter().position(|one| one == key)?;
    set.values[place].value.clone()
}

fn quality(metric: &Metric) -> Option<u32> {
    match property(metric, "Quality")? {
        PropertyValueKind::Int(code) => Some(code),
        PropertyValueKind::String(text) => panic!("{text}"),
    }
}

fn ids(primary_host: Option<&str>) -> Ids {
    Ids { group: "group".into(), node: "node".into(), primary_host: primary_host.map(str::to_owned) }
}

/// A device of a meter that is always the same.
fn device(name: &str, metrics: &[&str]) -> DeviceDefinition {
    device_of(1, name, metrics)
}

fn device_of(unit: u8, name: &str, metrics: &[&str]) -> DeviceDefinition {
    let metric = |name: &&str| MetricDefinition {
        name: (*name).to_owned(),
        datatype: DataType::Double,
        unit: Some("kW"),
    };
    let meter = Meter { bus: "riser".to_owned(), unit };
    DeviceDefinition { name: name.to_owned(), meter, metrics: metrics.iter().map(metric).collect() }
}

fn double(value: f64) -> Option<MetricValue> {
    Some(MetricValue::Double(value))
}

impl Site {
    fn new() -> Self {
        Self::with(None, 1_000_000)
    }

    fn with(primary_host: Option<&str>, limit: usize) -> Self {
        let start = Instant::now();
        let mut node = EdgeNode::new(ids(primary_host), limit, Taken { at: start, time: START });
        node.define(vec![device("a", &["power", "energy"]), device("b", &["power"])]);
        Self { node, start, now: 0 }
    }

    /// A connection that the broker has accepted.
    fn connect(&mut self) {
        self.node.connect(START);
        self.node.begin();
    }

    fn at(&self, seconds: u64) -> Taken {
        Taken { at: self.start + Duration::from_secs(seconds), time: START + seconds * 1000 }
    }

    fn alive(&mut self, device: &str, is_alive: bool, seconds: u64) {
        let now = self.at(seconds);
        self.node.set_alive(device, is_alive, now);
    }

    fn read(&mut self, device: &str, seconds: u64, values: &[(&str, Option<MetricValue>)]) {
        self.read_as(Quality::Good, device, seconds, values);
    }

    fn read_as(
        &mut self,
        quality: Quality,
        device: &str,
        seconds: u64,
        values: &[(&str, Option<MetricValue>)],
    ) {
        let taken = self.at(seconds);
        self.node.record(device, taken, quality, values.to_vec(), taken.at);
    }

    fn power(&mut self, device: &str, seconds: u64, power: f64) {
        self.read(device, seconds, &[("power", double(power))]);
    }

    /// Both devices answer and were read.
    fn both_read(&mut self) {
        for device in ["a", "b"] {
            self.alive(device, true, 1);
            self.power(device, 1, 5.5);
        }
    }

    /// Everything that is sent now.
    fn send(&mut self) -> Vec<Sent> {
        let now = self.present();
        let next = || self.node.next(now).as_ref().map(Sent::of);
        std::iter::from_fn(next).take(1000).collect()
    }

    fn next(&mut self) -> Sent {
        let now = self.present();
        Sent::of(&self.node.next(now).expect("something is sent"))
    }

    /// The present, on a wall clock that is ahead of every reading.
    fn present(&self) -> Taken {
        Taken { at: self.at(self.now).at, time: START + 1_000_000 }
    }

    fn command(&mut self, metric: &str, value: MetricValue) -> Received {
        let metric = Metric { name: Some(metric.to_owned()), value: Some(value), ..Metric::default() };
        let payload = Payload { timestamp: Some(START), metrics: vec![metric], seq: None };
        self.node.handle_message("spBv1.0/group/NCMD/node", &payload.encode_to_vec())
    }

    fn rebirth(&mut self) {
        let received = self.command("Node Control/Rebirth", MetricValue::Boolean(true));
        assert_eq!(received, Received::Rebirth);
    }

    fn host(&mut self, payload: &str) -> Received {
        self.node.handle_message("spBv1.0/STATE/scada", payload.as_bytes())
    }
}

fn whats(sent: &[Sent]) -> Vec<&str> {
    sent.iter().map(|one| &*one.what).collect()
}

#[test]
fn births_come_first_in_order_and_complete() {
    let mut site = Site::new();
    site.both_read();
    assert!(site.node.next(site.present()).is_none(), "there is no connection");
    site.connect();
    assert_eq!(site.node.filters(), ["spBv1.0/group/NCMD/node"]);
    let sent = site.send();
    assert_eq!(whats(&sent), ["NBIRTH", "DBIRTH a", "DBIRTH b"]);
    for one in &sent {
        assert_eq!(one.payload.timestamp, Some(START + 1_000_000));
        for metric in &one.payload.metrics {
            assert!(
                metric.name.is_some() && metric.datatype.is_some() && metric.timestamp.is_some(),
                "{metric:?}"
            );
            assert!(metric.value.is_some() != (metric.is_null == Some(true)), "{metric:?}");
        }
    }
    let rebirth = sent[0].metric("Node Control/Rebirth");
    assert_eq!(
        (rebirth.datatype, rebirth.alias, &rebirth.value),
        (Some(11), None, &Some(MetricValue::Boolean(false)))
    );
    assert_eq!((sent[0].metric("bdSeq").datatype, sent[0].bd_seq()), (Some(4), MetricValue::Long(0)));
    assert_eq!(sent[0].payload.metrics.len(), 2);
    let power = sent[1].metric("power");
    assert_eq!((&power.value, power.timestamp, power.datatype), (&double(5.5), Some(START + 1000), Some(10)));
    assert_eq!(property(power, "engUnit"), Some(PropertyValueKind::String("kW".into())));
    assert_eq!(quality(power), Some(192));
}

#[test]
fn a_value_that_was_never_read_is_null_and_stale() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    let sent = site.send();
    let energy = sent[1].metric("energy");
    assert_eq!((&energy.value, energy.is_null, quality(energy)), (&None, Some(true), Some(500)));
    assert_eq!(energy.timestamp, Some(START), "since the node began");
    let times: Vec<_> = sent[1].payload.metrics.iter().map(|metric| metric.timestamp).collect();
    assert!(times.is_sorted(), "in the order of time: {times:?}");
    site.read("a", 2, &[("energy", double(1.0))]);
    let sent = site.send();
    assert_eq!(sent[0].data(), [(energy_alias(), double(1.0), false)]);
    assert_eq!(quality(&sent[0].payload.metrics[0]), Some(192));
}

/// The second metric of the first device.
fn energy_alias() -> u64 {
    2
}

#[test]
fn what_a_meter_has_no_value_for_is_null_and_bad_until_it_has_one() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    let expected = [(None, Some(true), Some(0)), (double(7.0), None, Some(192)), (double(8.0), None, None)];
    for (seconds, (value, is_null, code)) in (2..).zip(expected) {
        site.read("a", seconds, &[("power", value.clone())]);
        let sent = site.send();
        let metric = &sent[0].payload.metrics[0];
        assert_eq!((&metric.value, metric.is_null, quality(metric)), (&value, is_null, code));
    }
}

#[test]
fn aliases_are_unique_in_the_node_and_data_has_nothing_else() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    let births = site.send();
    let mut aliases: Vec<_> = births[1..]
        .iter()
        .flat_map(|birth| birth.payload.metrics.iter().map(|metric| metric.alias.unwrap()))
        .collect();
    aliases.sort_unstable();
    assert_eq!(aliases, [1, 2, 3]);
    site.power("b", 2, 6.0);
    let sent = site.send();
    assert_eq!(whats(&sent), ["DDATA b"]);
    let metric = &sent[0].payload.metrics[0];
    assert_eq!((metric.alias, &metric.name, metric.datatype), (Some(3), &None, None));
    assert_eq!((metric.timestamp, metric.is_historical), (Some(START + 2000), None));
}

#[test]
fn seq_begins_with_0_in_each_nbirth_and_follows_255_with_0() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    let mut expected = 0;
    let check = |sent: Vec<Sent>, expected: &mut u64| {
        for one in sent {
            if one.what == "NBIRTH" {
                *expected = 0;
            }
            assert_eq!(one.payload.seq, Some(*expected), "{one:?}");
            *expected = (*expected + 1) % 256;
        }
    };
    for seconds in 2..600 {
        let count = f64::from(u32::try_from(seconds).unwrap());
        site.power(if seconds % 3 == 0 { "a" } else { "b" }, seconds, count);
        check(site.send(), &mut expected);
    }
    site.alive("a", false, 600);
    site.now += 1;
    site.rebirth();
    check(site.send(), &mut expected);
    assert_eq!(expected, 2, "an NBIRTH and a DBIRTH");
}

#[test]
fn bd_seq_is_that_of_the_will_and_rises_with_each_connect() {
    let mut site = Site::new();
    for expected in (0..300).map(|count| MetricValue::Long(count % 256)) {
        let will = Sent::of(&site.node.connect(START));
        assert_eq!((&*will.what, will.bd_seq()), ("NDEATH", expected.clone()));
        assert_eq!((will.payload.seq, will.payload.metrics.len()), (None, 1));
        assert_eq!(will.metric("bdSeq").datatype, Some(4));
        site.node.begin();
        assert_eq!(site.next().bd_seq(), expected);
        // A connection that fails before it is accepted counts, too.
        site.node.disconnect();
    }
}

#[test]
fn an_intentional_end_is_an_ndeath_with_the_bd_seq_of_the_birth_and_nothing_follows() {
    let mut site = Site::new();
    site.both_read();
    site.node.connect(START);
    site.connect();
    assert_eq!(site.next().bd_seq(), MetricValue::Long(1));
    let end = Sent::of(&site.node.end(START));
    assert_eq!((&*end.what, end.bd_seq(), end.payload.seq), ("NDEATH", MetricValue::Long(1), None));
    assert!(site.node.next(site.present()).is_none());
}

#[test]
fn a_rebirth_sends_every_birth_with_the_same_bd_seq_before_more_data() {
    let mut site = Site::new();
    site.both_read();
    site.node.connect(START);
    site.connect();
    site.send();
    site.power("a", 2, 6.0);
    site.power("a", 3, 7.0);
    site.now += 1;
    site.rebirth();
    let sent = site.send();
    assert_eq!(whats(&sent), ["NBIRTH", "DBIRTH a", "DBIRTH b", "DDATA a"]);
    assert_eq!(sent[0].bd_seq(), MetricValue::Long(1));
    assert_eq!((sent[0].payload.seq, sent[3].payload.seq), (Some(0), Some(3)));
    assert_eq!(sent[1].metric("power").value, double(7.0), "the newest");
    assert_eq!(
        sent[3].data(),
        [(1, double(6.0), true)],
        "older than the birth, and the newest is not sent twice"
    );
}

#[test]
fn a_request_stops_data_at_once_and_rebirths_without_end_do_not_keep_births_from_being_complete() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    let mut sent = Vec::new();
    for second in 100..110 {
        site.now = second;
        site.power("a", second, f64::from(u32::try_from(second).unwrap()));
        // Requested before each message, as a fast host does over a slow uplink.
        for _ in 0..4 {
            site.rebirth();
            let now = site.present();
            sent.extend(site.node.next(now).as_ref().map(|one| (second, Sent::of(one).what)));
        }
    }
    for second in 100..110 {
        let all = sent.iter().filter(|(at, _)| *at == second).map(|(_, what)| what.as_str());
        assert_eq!(all.collect::<Vec<_>>(), ["NBIRTH", "DBIRTH a", "DBIRTH b"], "in second {second}");
    }
    // Requested while the last births were sent.
    site.power("a", 110, 5.0);
    assert_eq!(site.send().len(), 0);
    site.now = 110;
    let sent = site.send();
    assert_eq!(whats(&sent)[..3], ["NBIRTH", "DBIRTH a", "DBIRTH b"]);
    assert!(sent.len() > 3 && sent[3..].iter().all(|one| one.what == "DDATA a"), "{:?}", whats(&sent));
}

#[test]
fn requests_within_a_second_of_births_are_one_and_no_data_is_sent_before_the_answer() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    site.now = 20;
    site.rebirth();
    assert!(
        site.node.rebirth_due().is_some_and(|due| due <= site.at(20).at),
        "the first is answered at once"
    );
    assert_eq!(site.send().len(), 3);
    assert_eq!(site.node.rebirth_due(), None);
    site.power("a", 20, 6.0);
    assert_eq!(whats(&site.send()), ["DDATA a"]);
    site.rebirth();
    site.rebirth();
    assert_eq!(site.node.rebirth_due(), Some(site.at(21).at));
    site.power("a", 20, 7.0);
    assert_eq!(site.send().len(), 0, "neither data nor births");
    site.now = 21;
    let sent = site.send();
    assert_eq!(whats(&sent), ["NBIRTH", "DBIRTH a", "DBIRTH b"]);
    assert_eq!(sent[1].metric("power").value, double(7.0), "the births have what waited");
    site.now = 40;
    assert_eq!(site.send().len(), 0);
}

#[test]
fn nothing_but_a_rebirth_is_obeyed() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    let node = "spBv1.0/group/NCMD/node";
    assert_eq!(site.command("Node Control/Rebirth", MetricValue::Boolean(false)), Received::Ignored);
    assert_eq!(site.command("Node Control/Reboot", MetricValue::Boolean(true)), Received::Ignored);
    assert_eq!(site.node.handle_message(node, &[0xFF; 9]), Received::Ignored);
    assert_eq!(site.node.handle_message(node, b""), Received::Ignored);
    assert_eq!(site.node.handle_message("spBv1.0/group/NCMD/other", b""), Received::Ignored);
    assert_eq!(site.send().len(), 0);
    site.node.disconnect();
    assert_eq!(site.command("Node Control/Rebirth", MetricValue::Boolean(true)), Received::Ignored);
}

#[test]
fn only_what_has_changed_is_sent() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    site.read("a", 2, &[("power", double(5.5)), ("energy", double(1.0))]);
    let sent = site.send();
    assert_eq!(sent[0].data(), [(2, double(1.0), false)]);
    site.read("a", 3, &[("power", double(5.5)), ("energy", double(1.0))]);
    assert_eq!(site.send().len(), 0);
    site.now += 1;
    site.rebirth();
    let sent = site.send();
    assert_eq!(sent[1].metric("power").timestamp, Some(START + 3000), "a birth has the newest reading");
}

#[test]
fn a_reading_that_gets_old_turns_stale_with_its_own_time() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    site.read_as(Quality::Stale, "a", 1, &[("power", double(5.5))]);
    site.read_as(Quality::Stale, "a", 1, &[("power", double(5.5))]);
    let sent = site.send();
    assert_eq!(sent.len(), 1, "{sent:?}");
    let power = &sent[0].payload.metrics[0];
    assert_eq!(
        (&power.value, quality(power), power.timestamp),
        (&double(5.5), Some(500), Some(START + 1000))
    );
    assert_eq!(power.is_historical, None);
    site.power("a", 60, 5.5);
    assert_eq!(quality(&site.send()[0].payload.metrics[0]), Some(192));
}

#[test]
fn what_was_good_before_it_turned_stale_follows_the_birth_as_historical() {
    let mut site = Site::new();
    site.both_read();
    site.read_as(Quality::Stale, "a", 1, &[("power", double(5.5))]);
    site.connect();
    let sent = site.send();
    assert_eq!(whats(&sent), ["NBIRTH", "DBIRTH a", "DBIRTH b", "DDATA a"]);
    assert_eq!(quality(sent[1].metric("power")), Some(500));
    assert_eq!(sent[3].data(), [(1, double(5.5), true)]);
    assert_eq!(quality(&sent[3].payload.metrics[0]), Some(192));
}

#[test]
fn a_lost_device_dies_and_is_born_again_with_what_was_read_since() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    site.alive("a", false, 5);
    let sent = site.send();
    assert_eq!(whats(&sent), ["DDEATH a"]);
    assert_eq!((sent[0].payload.seq, sent[0].payload.metrics.len()), (Some(3), 0));
    site.power("a", 6, 1.0);
    assert_eq!(site.send().len(), 0, "a device that is lost sends nothing");

    site.alive("a", true, 9);
    assert_eq!(site.send().len(), 0, "not read yet");
    site.read("a", 10, &[("energy", double(2.0))]);
    let sent = site.send();
    assert_eq!(whats(&sent), ["DBIRTH a"]);
    assert_eq!(sent[0].metric("energy").value, double(2.0));
    let power = sent[0].metric("power");
    assert_eq!((power.is_null, quality(power), power.timestamp), (Some(true), Some(500), Some(START + 5000)));
    site.power("a", 11, 5.5);
    assert_eq!(site.send()[0].data(), [(1, double(5.5), false)], "the same value as before the loss is news");
}

#[test]
fn a_device_that_is_back_before_its_death_was_sent_dies_all_the_same() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    site.alive("a", false, 5);
    site.alive("a", true, 6);
    site.power("a", 7, 1.0);
    assert_eq!(whats(&site.send()), ["DDEATH a", "DBIRTH a"]);
}

#[test]
fn a_device_that_does_not_answer_is_not_born() {
    let mut site = Site::new();
    site.alive("b", true, 1);
    site.power("b", 1, 1.0);
    site.connect();
    assert_eq!(whats(&site.send()), ["NBIRTH", "DBIRTH b"]);
    site.alive("a", true, 2);
    site.power("a", 2, 1.0);
    assert_eq!(whats(&site.send()), ["DBIRTH a"]);
    site.alive("a", false, 3);
    site.now += 1;
    site.rebirth();
    assert_eq!(whats(&site.send()), ["DDEATH a", "NBIRTH", "DBIRTH b"]);
}

#[test]
fn what_changed_while_there_was_no_connection_follows_the_births_as_historical_oldest_first() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    site.node.disconnect();
    for (seconds, power) in [(2, 6.0), (3, 7.0), (4, 8.0)] {
        site.power("a", seconds, power);
        site.power("b", seconds, power);
    }
    site.connect();
    let sent = site.send();
    assert_eq!(whats(&sent)[..3], ["NBIRTH", "DBIRTH a", "DBIRTH b"]);
    assert_eq!(sent[1].metric("power").value, double(8.0));
    let data: Vec<_> =
        sent[3..].iter().map(|one| (&*one.what, one.data(), one.payload.metrics[0].timestamp)).collect();
    let row = |what, alias, power, seconds: u64| {
        (what, vec![(alias, double(power), true)], Some(START + seconds * 1000))
    };
    let expected = [
        row("DDATA a", 1, 6.0, 2),
        row("DDATA b", 3, 6.0, 2),
        row("DDATA a", 1, 7.0, 3),
        row("DDATA b", 3, 7.0, 3),
    ];
    assert_eq!(data, expected);
    for one in &sent[3..] {
        assert_eq!(quality(&one.payload.metrics[0]), Some(192), "what is historical has its quality");
    }
    site.power("a", 5, 9.0);
    assert_eq!(site.send()[0].data(), [(1, double(9.0), false)]);
}

#[test]
fn what_is_kept_of_a_lost_device_waits_for_its_birth() {
    let mut site = Site::new();
    site.both_read();
    site.power("a", 2, 6.0);
    site.alive("a", false, 3);
    site.connect();
    assert_eq!(whats(&site.send()), ["NBIRTH", "DBIRTH b"]);
    assert_eq!(site.node.counts().queued, 2);
    site.alive("a", true, 9);
    site.power("a", 9, 1.0);
    let sent = site.send();
    assert_eq!(whats(&sent), ["DBIRTH a", "DDATA a", "DDATA a"]);
    assert_eq!(sent[1].data(), [(1, double(5.5), true)]);
    assert_eq!(sent[2].data(), [(1, double(6.0), true)]);
    assert_eq!(site.node.counts().queued, 0);
}

#[test]
fn the_oldest_changes_make_room_and_are_counted() {
    let mut site = Site::with(None, 2000);
    site.both_read();
    for seconds in 2..1000 {
        site.power("a", seconds, f64::from(u32::try_from(seconds).unwrap()));
    }
    let counts = site.node.counts();
    assert!(counts.bytes <= 2000 && counts.queued > 2, "{counts:?}");
    assert_eq!(counts.dropped, 1000 - counts.queued as u64);
    assert_eq!(counts.last_dropped, Some(site.at(999).at));
    site.connect();
    let sent = site.send();
    assert_eq!(sent.last().unwrap().data(), [(1, double(998.0), true)]);
    assert_eq!((site.node.counts().queued, site.node.counts().bytes), (0, 0));
}

#[test]
fn a_change_that_was_dropped_is_sent_with_the_next_reading() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    site.power("a", 2, 6.0);
    site.node.set_limit(0);
    site.node.set_limit(1_000_000);
    assert_eq!(site.send().len(), 0);
    site.power("a", 3, 6.0);
    assert_eq!(site.send()[0].data(), [(1, double(6.0), false)], "the hosts hold another value");
}

#[test]
fn births_wait_for_the_primary_host_and_its_end_ends_the_session() {
    let mut site = Site::with(Some("scada"), 1_000_000);
    site.both_read();
    site.connect();
    assert_eq!(site.node.filters(), ["spBv1.0/group/NCMD/node", "spBv1.0/STATE/scada"]);
    assert_eq!(site.node.awaited_host(), Some("scada"));
    assert_eq!(site.send().len(), 0);
    for ignored in ["ONLINE", "{}", r#"{"online":true}"#, r#"{"online":false,"timestamp":10}"#] {
        assert_eq!(site.host(ignored), Received::Ignored, "{ignored}");
    }
    let other = site.node.handle_message("spBv1.0/STATE/other", br#"{"online":true,"timestamp":11}"#);
    assert_eq!(other, Received::Ignored);
    assert_eq!(site.host(r#"{"online":true,"timestamp":9}"#), Received::Ignored, "older than the last");
    assert_eq!(site.send().len(), 0);
    assert_eq!(site.host(r#"{"online":true,"timestamp":10}"#), Received::HostOnline);
    assert_eq!(whats(&site.send()), ["NBIRTH", "DBIRTH a", "DBIRTH b"]);
    assert_eq!(site.node.awaited_host(), None);

    assert_eq!(site.host(r#"{"online":true,"timestamp":11}"#), Received::Ignored, "on-line already");
    assert_eq!(site.host(r#"{"online":false,"timestamp":10}"#), Received::Ignored, "older than on-line");
    site.power("a", 2, 6.0);
    assert_eq!(site.send().len(), 1);
    assert_eq!(site.host(r#"{"online":false,"timestamp":11}"#), Received::HostOffline);
    assert_eq!(Sent::of(&site.node.end(START)).what, "NDEATH");

    // The next connection asks anew, and what changed meanwhile is kept.
    site.power("a", 3, 7.0);
    site.power("a", 4, 8.0);
    site.connect();
    assert_eq!(site.send().len(), 0);
    assert_eq!(
        site.host(r#"{"online":true,"timestamp":5}"#),
        Received::HostOnline,
        "what the broker keeps counts"
    );
    let sent = site.send();
    assert_eq!(whats(&sent), ["NBIRTH", "DBIRTH a", "DBIRTH b", "DDATA a"]);
    assert_eq!(sent[3].data(), [(1, double(7.0), true)]);
}

#[test]
fn other_devices_are_born_anew_and_those_that_go_die_first() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    site.node.define(vec![device("a", &["power", "energy"]), device("b", &["power"])]);
    assert_eq!(site.send().len(), 0, "nothing has changed");
    site.node.define(vec![device("c", &["power"]), device("b", &["energy", "power"])]);
    site.alive("c", true, 2);
    site.power("c", 2, 1.0);
    let sent = site.send();
    assert_eq!(whats(&sent), ["DDEATH a", "NBIRTH", "DBIRTH c", "DBIRTH b"]);
    assert_eq!(sent[1].bd_seq(), MetricValue::Long(0), "the same session");
    assert_eq!(sent[3].metric("power").value, double(5.5), "what was known of it stays");
    assert_eq!(sent[3].metric("power").alias, Some(3));
    assert_eq!(sent[3].metric("energy").is_null, Some(true));
}

#[test]
fn what_is_kept_stays_with_its_metric_when_others_come_before_it() {
    let mut site = Site::new();
    site.both_read();
    site.read("b", 2, &[("power", double(6.0))]);
    site.read("a", 2, &[("power", double(6.0)), ("energy", double(1.0))]);
    site.read("a", 3, &[("power", double(7.0)), ("energy", double(2.0))]);
    site.node.define(vec![device("a", &["frequency", "energy"])]);
    site.connect();
    let sent = site.send();
    assert_eq!(whats(&sent), ["NBIRTH", "DBIRTH a", "DDATA a"]);
    assert_eq!(sent[2].data(), [(2, double(1.0), true)]);
    assert_eq!(site.node.counts().bytes, 0);
}

#[test]
fn a_name_that_moves_to_another_meter_is_another_device_without_the_values_of_the_first() {
    for swapped in [
        // Labels, then identifiers behind the labels: the devices are in the order of these.
        [device_of(1, "b", &["power"]), device_of(2, "a", &["power"])],
        [device_of(2, "a", &["power"]), device_of(1, "b", &["power"])],
    ] {
        let mut site = Site::new();
        site.node.define(vec![device_of(1, "a", &["power"]), device_of(2, "b", &["power"])]);
        site.both_read();
        site.connect();
        assert_eq!(whats(&site.send()), ["NBIRTH", "DBIRTH a", "DBIRTH b"]);
        site.power("a", 2, 100.0);
        site.node.define(swapped.to_vec());
        assert_eq!(whats(&site.send()), ["DDEATH a", "DDEATH b", "NBIRTH"]);
        assert_eq!(site.node.counts().bytes, 0, "what waited of the first is not sent of the other");
        site.alive("a", true, 3);
        assert_eq!(site.send().len(), 0, "nothing was read of it");
        site.power("a", 3, 7.0);
        let sent = site.send();
        assert_eq!(whats(&sent), ["DBIRTH a"]);
        assert_eq!(sent[0].metric("power").value, double(7.0));
    }
}

#[test]
fn what_a_reload_takes_away_is_counted() {
    let mut site = Site::new();
    site.both_read();
    site.read("a", 2, &[("energy", double(1.0))]);
    site.read("a", 3, &[("power", double(6.0)), ("energy", double(2.0))]);
    assert_eq!(site.node.counts().queued, 4);
    // Of `a` one change is of a metric that goes and one of both; `b` is another meter from now on.
    site.node.define(vec![device("a", &["power"]), device_of(2, "b", &["power"])]);
    let counts = site.node.counts();
    assert_eq!((counts.queued, counts.dropped, counts.last_dropped), (2, 2, None));
    site.node.define(Vec::new());
    let counts = site.node.counts();
    assert_eq!((counts.queued, counts.bytes, counts.dropped), (0, 0, 4));
}

#[test]
fn what_waits_when_the_clock_is_set_has_the_time_by_the_clock_that_was_set() {
    const STEP: u64 = 1_000_000_000;
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    site.node.disconnect();
    site.power("a", 2, 6.0);
    site.power("a", 3, 7.0);
    site.alive("b", false, 4);
    site.node.shift_times(i64::try_from(STEP).unwrap());
    site.connect();
    let sent = site.send();
    assert_eq!(whats(&sent), ["NBIRTH", "DBIRTH a", "DDATA a"]);
    let time = |seconds: u64| Some(START + STEP + seconds * 1000);
    assert_eq!(sent[1].metric("power").timestamp, time(3));
    assert_eq!(sent[1].metric("energy").timestamp, time(0), "never read: since the node began");
    assert_eq!(sent[2].data(), [(1, double(6.0), true)]);
    assert_eq!(sent[2].payload.metrics[0].timestamp, time(2));
    site.alive("b", true, 5);
    site.read("b", 5, &[("power", None)]);
    assert_eq!(whats(&site.send()), ["DBIRTH b"]);
}

#[test]
fn births_follow_when_the_clock_is_set_because_the_hosts_hold_false_times() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    site.send();
    site.now = 5;
    site.node.shift_times(-5000);
    let sent = site.send();
    assert_eq!(whats(&sent), ["NBIRTH", "DBIRTH a", "DBIRTH b"]);
    assert_eq!(sent[1].metric("power").timestamp, Some(START + 1000 - 5000));
    assert_eq!(sent[0].bd_seq(), MetricValue::Long(0), "the same session");
    // A clock that is set again and again costs as many births as a host that requests them.
    site.node.shift_times(2000);
    assert_eq!(site.send().len(), 0);
    site.now = 6;
    assert_eq!(site.send().len(), 3);
}

#[test]
fn another_primary_host_counts_from_the_next_connection_on() {
    let mut site = Site::new();
    site.both_read();
    site.connect();
    assert_eq!(site.send().len(), 3);
    site.node.set_primary_host(Some("scada".to_owned()));
    assert_eq!(site.node.ids(), &ids(Some("scada")));
    assert_eq!(Sent::of(&site.node.end(START)).what, "NDEATH");
    site.connect();
    assert_eq!(site.send().len(), 0);
    assert_eq!(site.host(r#"{"online":true,"timestamp":1}"#), Received::HostOnline);
    let sent = site.send();
    assert_eq!((&*sent[0].what, sent[0].bd_seq()), ("NBIRTH", MetricValue::Long(1)));
}
