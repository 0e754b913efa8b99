//! The built program as an edge node of Sparkplug: births, deaths, rebirths, the primary host.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use metergate::sparkplug::{Metric, MetricValue, Payload};
use nix::sys::signal::Signal;
use prost::Message;

use super::program::{Site, meter_of};
use crate::support::mqtt_broker::{Broker, Publish, Seen, publish, publish_bytes};
use crate::support::page::get_until;
use crate::support::program::chain;

const NDEATH: &str = "spBv1.0/site/NDEATH/harbour";
const NBIRTH: &str = "spBv1.0/site/NBIRTH/harbour";
const NCMD: &str = "spBv1.0/site/NCMD/harbour";
const STATE: &str = "spBv1.0/STATE/scada";

/// Meters 1 and 2 on a line; the gateway is the node `harbour`.
fn site(broker: &Broker, more: &str) -> Site {
    let site = Site::new(broker.address(), "");
    site.configure(&entry(broker.address(), more), "1-2");
    site
}

fn entry(broker: SocketAddr, more: &str) -> String {
    format!(
        "  - broker: mqtt://{broker}\n    client_id: metergate-test\n    publish: sparkplug\n    every: 1s\n    \
         sparkplug: {{group: site, node: harbour{more}}}\n"
    )
}

fn topic(kind: &str, unit: u8) -> String {
    format!("spBv1.0/site/{kind}/harbour/riser-a-{unit}")
}

fn payload(message: &Publish) -> Payload {
    Payload::decode(&message.bytes[..]).unwrap_or_else(|error| panic!("{error}: {message:?}"))
}

fn bd_seq(payload: &Payload) -> MetricValue {
    let metric = payload.metrics.iter().find(|metric| metric.name.as_deref() == Some("bdSeq"));
    metric.and_then(|metric| metric.value.clone()).unwrap_or_else(|| panic!("{payload:?}"))
}

fn rebirth() -> Vec<u8> {
    let metric = Metric {
        name: Some("Node Control/Rebirth".to_owned()),
        value: Some(MetricValue::Boolean(true)),
        ..Metric::default()
    };
    let payload = Payload { timestamp: Some(0), metrics: vec![metric], seq: None };
    publish_bytes(0x30, NCMD, &payload.encode_to_vec())
}

/// What comes until this message, checked as a host checks it: topics, QoS, seq without a gap.
fn until(broker: &Broker, last: &str) -> Vec<(String, Payload)> {
    let mut all: Vec<(String, Payload)> = Vec::new();
    broker.wait_for(last, |seen| {
        let message = seen.into_publish()?;
        let content = payload(&message);
        assert!(!message.retained && content.timestamp.is_some(), "{message:?}");
        assert_eq!(message.qos, u8::from(message.topic == NDEATH), "{}", message.topic);
        if message.topic == NBIRTH {
            assert_eq!(content.seq, Some(0));
        } else if let Some((before, one)) = all.last()
            && message.topic != NDEATH
        {
            assert_eq!(content.seq, one.seq.map(|seq| (seq + 1) % 256), "{} after {before}", message.topic);
        }
        let topic = message.topic;
        all.push((topic.clone(), content));
        (topic == last).then_some(())
    });
    all
}

fn topics(all: &[(String, Payload)]) -> Vec<&str> {
    all.iter().map(|(topic, _)| topic.as_str()).collect()
}

#[test]
fn a_session_begins_with_the_will_and_births_and_ends_with_the_death() {
    let broker = Broker::start();
    let site = site(&broker, "");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    let connect = broker.connect();
    let (will_topic, _, qos, retained) = connect.will.clone().unwrap();
    assert_eq!((will_topic.as_str(), qos, retained, connect.clean), (NDEATH, 1, false, true));
    let will = Payload::decode(&connect.will_bytes[..]).unwrap();
    assert_eq!((bd_seq(&will), will.seq, will.metrics.len()), (MetricValue::Long(0), None, 1));
    let filters = broker
        .wait_for("SUBSCRIBE", |seen| if let Seen::Subscribe(filters) = seen { Some(filters) } else { None });
    assert_eq!(filters, [NCMD]);

    let all = until(&broker, &topic("DDATA", 2));
    assert_eq!(all[0].0, NBIRTH);
    assert_eq!(bd_seq(&all[0].1), MetricValue::Long(0));
    for unit in [1, 2] {
        let of_unit = |kind: &str| all.iter().position(|(found, _)| *found == topic(kind, unit));
        let (birth, data) = (of_unit("DBIRTH").unwrap(), of_unit("DDATA"));
        assert!(data.is_none_or(|data| birth < data), "{:?}", topics(&all));
    }
    let (_, birth) = all.iter().find(|(found, _)| *found == topic("DBIRTH", 1)).unwrap();
    let power =
        birth.metrics.iter().find(|metric| metric.name.as_deref() == Some("real_power_total_f")).unwrap();
    assert_eq!(power.datatype, Some(9));
    // Null if another block of the meter was read first: the node's beginning is its time then.
    assert!(matches!(power.value, None | Some(MetricValue::Float(_))), "{power:?}");
    let age = jiff::Timestamp::now().as_millisecond() - i64::try_from(power.timestamp.unwrap()).unwrap();
    assert!((0..30_000).contains(&age), "{age}");

    let page = program.status_page();
    let status =
        get_until(page, "/api/v1/brokers", |answer| answer.json()[0]["published"].as_u64() > Some(4));
    assert_eq!(status.json()[0]["status_topic"], NDEATH);

    program.signal(Signal::SIGTERM);
    let all = until(&broker, NDEATH);
    assert_eq!(bd_seq(&all.last().unwrap().1), MetricValue::Long(0));
    broker.wait_for("DISCONNECT", |seen| {
        assert!(!matches!(seen, Seen::Publish(_)), "{seen:?}");
        (seen == Seen::Disconnect).then_some(())
    });
    assert!(program.exit().0.success());
}

#[test]
fn a_host_gets_every_birth_again_when_it_requests_them_without_a_new_connection() {
    let broker = Broker::start();
    let site = site(&broker, "");
    let _meters = chain(&site.line, "1-2");
    let _program = site.run();
    until(&broker, &topic("DDATA", 1));
    broker.send(&rebirth());
    let all = until(&broker, NBIRTH);
    assert_eq!(bd_seq(&all.last().unwrap().1), MetricValue::Long(0));
    let all = until(&broker, &topic("DBIRTH", 2));
    assert_eq!(topics(&all), [topic("DBIRTH", 1), topic("DBIRTH", 2)]);
    // Within the pause: data goes on.
    broker.send(&rebirth());
    until(&broker, &topic("DDATA", 1));
}

#[test]
fn a_meter_that_is_lost_dies_and_is_born_again() {
    let broker = Broker::start();
    let site = site(&broker, "");
    let meters = chain(&site.line, "1-2");
    let _program = site.run();
    until(&broker, &topic("DDATA", 1));
    drop(meters);
    until(&broker, &topic("DDEATH", 1));
    let back = jiff::Timestamp::now().as_millisecond();
    let _meters = chain(&site.line, "1");
    let all = until(&broker, &topic("DBIRTH", 1));
    let of_unit = all.iter().filter(|(found, _)| *found == topic("DDATA", 1)).count();
    assert_eq!(of_unit, 0, "a device that was lost sends nothing before its birth");
    let values = all.last().unwrap().1.metrics.iter().filter(|metric| metric.value.is_some());
    let times: Vec<_> = values.map(|metric| i64::try_from(metric.timestamp.unwrap()).unwrap()).collect();
    assert!(!times.is_empty() && times.iter().all(|time| *time >= back), "{back} {times:?}");
}

#[test]
fn what_changed_while_the_broker_was_away_follows_the_births_as_historical() {
    let broker = Broker::start();
    let address = broker.address();
    let site = site(&broker, "");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    until(&broker, &topic("DDATA", 1));
    drop(broker);
    let page = program.status_page();
    get_until(page, "/api/v1/brokers", |answer| answer.json()[0]["queued"].as_u64() >= Some(8));
    let broker = Broker::again_at(address);
    let will = Payload::decode(&broker.connect().will_bytes[..]).unwrap();
    assert_ne!(bd_seq(&will), MetricValue::Long(0), "another CONNECT");
    let all = until(&broker, &topic("DDATA", 1));
    assert_eq!(topics(&all)[..3], [NBIRTH, &topic("DBIRTH", 1), &topic("DBIRTH", 2)]);
    assert_eq!(bd_seq(&all[0].1), bd_seq(&will));
    let born = all[1].1.metrics.iter().filter(|metric| metric.value.is_some());
    let newest = born.filter_map(|metric| metric.timestamp).max().unwrap();
    let (_, data) = all.last().unwrap();
    assert!(data.metrics.iter().all(|metric| metric.is_historical == Some(true)), "{data:?}");
    assert!(data.metrics.iter().all(|metric| metric.timestamp < Some(newest)), "{newest} {data:?}");
}

#[test]
fn births_wait_for_the_primary_host_which_is_shown_and_its_end_ends_the_session() {
    let broker = Broker::start();
    let site = site(&broker, ", primary_host: scada");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    let page = program.status_page();
    program.line_with("connected as metergate-test, waiting for the primary host scada");
    let waiting = get_until(page, "/api/v1/brokers", |answer| answer.json()[0]["queued"].as_u64() > Some(2));
    let shown = &waiting.json()[0];
    assert_eq!((&shown["connected"], &shown["published"]), (&false.into(), &0.into()), "{shown}");
    assert_eq!(shown["last_error"], "the primary host scada is not on-line");

    broker.send(&publish(STATE, r#"{"online":true,"timestamp":1000}"#));
    let all = until(&broker, &topic("DBIRTH", 2));
    assert_eq!(all[0].0, NBIRTH);
    broker.send(&publish(STATE, r#"{"online":false,"timestamp":999}"#));
    until(&broker, &topic("DDATA", 1));

    broker.retain(STATE, r#"{"online":false,"timestamp":1000}"#);
    broker.send(&publish(STATE, r#"{"online":false,"timestamp":1000}"#));
    until(&broker, NDEATH);
    broker.wait_for("DISCONNECT", |seen| (seen == Seen::Disconnect).then_some(()));
    program.line_with("the primary host has gone off-line; readings are kept meanwhile");
    let again = broker.connect();
    assert_eq!(bd_seq(&Payload::decode(&again.will_bytes[..]).unwrap()), MetricValue::Long(1));
    let seen = broker.everything_for(Duration::from_secs(2));
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::Publish(_))), "{seen:?}");
    broker.send(&publish(STATE, r#"{"online":true,"timestamp":1001}"#));
    let all = until(&broker, &topic("DDATA", 1));
    assert_eq!(all[0].0, NBIRTH);
    assert!(all.last().unwrap().1.metrics.iter().all(|metric| metric.is_historical == Some(true)), "{all:?}");
}

#[test]
fn a_reload_sends_the_births_of_other_devices_and_keeps_the_connection() {
    let broker = Broker::start();
    let site = site(&broker, "");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    until(&broker, &topic("DDATA", 2));
    site.configure(&entry(broker.address(), ""), "1");
    program.signal(Signal::SIGHUP);
    program.line_with("INFO reloaded");
    let all = until(&broker, &topic("DBIRTH", 1));
    let position = |wanted: &str| topics(&all).iter().position(|found| *found == wanted);
    assert!(
        position(&topic("DDEATH", 2)).is_some_and(|death| Some(death) < position(NBIRTH)),
        "{:?}",
        topics(&all)
    );
    assert_eq!(bd_seq(&all[position(NBIRTH).unwrap()].1), MetricValue::Long(0), "the same connection");
    until(&broker, &topic("DDATA", 1));

    // Another node: the old one dies first.
    site.configure(&entry(broker.address(), "").replace("harbour", "pier"), "1");
    let begun = Instant::now();
    program.signal(Signal::SIGHUP);
    until(&broker, NDEATH);
    broker.connect();
    broker.message("spBv1.0/site/NBIRTH/pier");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn names_that_are_exchanged_by_a_reload_never_have_a_value_of_the_other_meter() {
    let broker = Broker::start();
    let site = site(&broker, "");
    let entry = entry(broker.address(), "") + "    points: [voltage_an_f]\n    change: 1%\n";
    let configure = |names: [&str; 2]| {
        let unit =
            |id: u8, name: &str| format!("{{id: {id}, name: {name}, profile: leviton-4000r, poll: 1s}}");
        site.configure_units(&entry, &[unit(1, names[0]), unit(2, names[1])].join(", "));
    };
    let mut names = ["pump", "roof"];
    configure(names);
    let _meters = site.unlike_meters();
    let mut program = site.run();
    let topic = |kind: &str, name: &str| format!("spBv1.0/site/{kind}/harbour/{name}");
    until(&broker, NBIRTH);
    for round in 0..3 {
        // From the births on each name is that of its meter.
        let mut seen = [0; 2];
        while seen.iter().any(|count| *count < 2) {
            let (name, values) = broker.wait_for("value", |seen| {
                let message = seen.into_publish()?;
                let kinds = ["DBIRTH", "DDATA"];
                let of_kind = |kind: &&str| names.iter().find(|name| message.topic == topic(kind, name));
                let name = kinds.iter().find_map(of_kind)?;
                Some((*name, payload(&message).metrics))
            });
            let place = names.iter().position(|one| *one == name).unwrap();
            for metric in values {
                let Some(MetricValue::Float(voltage)) = metric.value else { panic!("{metric:?}") };
                assert_eq!(
                    usize::from(meter_of(voltage.into())),
                    place + 1,
                    "{name} in round {round}: {voltage}"
                );
                seen[place] += 1;
            }
        }
        names.reverse();
        configure(names);
        program.signal(Signal::SIGHUP);
        // What comes before the births is by the names of before, and the old names die before them.
        let all = until(&broker, NBIRTH);
        let mut dead: Vec<_> = topics(&all).into_iter().filter(|one| one.contains("/DDEATH/")).collect();
        dead.sort_unstable();
        assert_eq!(dead, [topic("DDEATH", "pump"), topic("DDEATH", "roof")], "{:?}", topics(&all));
        program.line_with("INFO reloaded");
    }
}

#[test]
fn births_that_a_host_requests_within_the_pause_come_when_it_is_over_although_nothing_else_happens() {
    let broker = Broker::start();
    let site = site(&broker, "");
    site.configure(&entry(broker.address(), "").replace("every: 1s", "every: 1h"), "1-2");
    let _meters = chain(&site.line, "1-2");
    let _program = site.run();
    for unit in [1, 2] {
        until(&broker, &topic("DBIRTH", unit));
    }
    // Blocks that are read later are the last data for an hour.
    while broker.everything_for(Duration::from_secs(3)).iter().any(|seen| matches!(seen, Seen::Publish(_))) {}
    broker.send(&rebirth());
    until(&broker, &topic("DBIRTH", 2));
    let complete = Instant::now();
    for _ in 0..3 {
        broker.send(&rebirth());
    }
    let all = until(&broker, &topic("DBIRTH", 2));
    let pause = complete.elapsed();
    assert_eq!(topics(&all), [NBIRTH, &topic("DBIRTH", 1), &topic("DBIRTH", 2)]);
    assert!(pause < Duration::from_secs(8), "{pause:?}");
    let seen = broker.everything_for(Duration::from_secs(1));
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::Publish(_))), "three requests are one: {seen:?}");
}

#[test]
fn a_node_goes_on_with_its_bd_seq_and_what_waits_under_another_client_id_host_or_broker() {
    let (broker, other) = (Broker::start(), Broker::start());
    let site = site(&broker, "");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    let page = program.status_page();
    let will = |broker: &Broker| {
        let connect = broker.connect();
        (connect.client_id, bd_seq(&Payload::decode(&connect.will_bytes[..]).unwrap()))
    };
    assert_eq!(will(&broker), ("metergate-test".to_owned(), MetricValue::Long(0)));
    until(&broker, &topic("DDATA", 1));

    let renamed = entry(broker.address(), "").replace("metergate-test", "metergate-other");
    site.configure(&renamed, "1-2");
    program.signal(Signal::SIGHUP);
    let all = until(&broker, NDEATH);
    assert_eq!(bd_seq(&all.last().unwrap().1), MetricValue::Long(0));
    assert_eq!(will(&broker), ("metergate-other".to_owned(), MetricValue::Long(1)));
    let all = until(&broker, &topic("DBIRTH", 2));
    assert_eq!(topics(&all), [NBIRTH, &topic("DBIRTH", 1), &topic("DBIRTH", 2)], "born at once");

    let waiting = entry(broker.address(), ", primary_host: scada");
    site.configure(&waiting, "1-2");
    program.signal(Signal::SIGHUP);
    until(&broker, NDEATH);
    assert_eq!(will(&broker), ("metergate-test".to_owned(), MetricValue::Long(2)));
    get_until(page, "/api/v1/brokers", |answer| answer.json()[0]["queued"].as_u64() >= Some(8));

    site.configure(&entry(other.address(), ""), "1-2");
    program.signal(Signal::SIGHUP);
    assert_eq!(will(&other), ("metergate-test".to_owned(), MetricValue::Long(3)));
    let all = until(&other, &topic("DDATA", 1));
    let (_, data) = all.last().unwrap();
    assert!(data.metrics.iter().all(|metric| metric.is_historical == Some(true)), "what waited: {data:?}");
}
