//! The built program with brokers of every kind: what it publishes, what it keeps, what it says.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::mqtt_broker::{Broker, Manners, Publish, Seen, publish};
use crate::support::page::{get, get_until};
use crate::support::program::{Folder, Program, chain};

pub(super) struct Site {
    folder: Folder,
    config: PathBuf,
    pub(super) line: PathBuf,
}

impl Site {
    /// Meters 1 and 2 on a line; these lines are the entry of the broker.
    pub(super) fn new(broker: SocketAddr, keys: &str) -> Self {
        let folder = Folder::new();
        let (config, line) = (folder.path("metergate.yaml"), folder.path("line"));
        let site = Self { folder, config, line };
        site.configure(&site.entry(broker, keys), "1-2");
        site
    }

    pub(super) fn entry(&self, broker: SocketAddr, keys: &str) -> String {
        format!(
            "  - broker: mqtt://{broker}\n    client_id: metergate-test\n    topic: site\n    every: 1s\n{keys}"
        )
    }

    pub(super) fn configure(&self, brokers: &str, units: &str) {
        self.configure_units(brokers, &format!("{{id: {units}, profile: leviton-4000r, poll: 1s}}"));
    }

    /// The same with entries of units.
    pub(super) fn configure_units(&self, brokers: &str, units: &str) {
        let line = self.line.display();
        let text = format!(
            "status: {{address: '127.0.0.1:0'}}\nlisteners: [{{address: '127.0.0.1:0', max_age: 5s}}]\n\
             buses:\n  - {{name: riser-a, device: {line}, echo: off, offline_after: {{failures: 2, time: 1s}}, \
             units: [{units}]}}\nmqtt:\n{brokers}"
        );
        self.folder.write("metergate.yaml", &text);
    }

    /// Meter 1 at 120 V and meter 2 at 277 V to neutral, so that each value tells whose it is.
    pub(super) fn unlike_meters(&self) -> Program {
        let text = "meters: [{id: 1, voltage: 208}, {id: 2, voltage: 480}]\n";
        let scenario = self.folder.write("scenario.yaml", text);
        let mut meters = Program::start(["simulate", "--link"].map(AsRef::as_ref).into_iter().chain([
            self.line.as_os_str(),
            "--scenario".as_ref(),
            scenario.as_os_str(),
        ]));
        meters.line_with(&self.line.display().to_string());
        meters
    }

    pub(super) fn run(&self) -> Program {
        Program::start(["run".as_ref(), "--config".as_ref(), self.config.as_os_str()])
    }
}

fn time(message: &Publish) -> jiff::Timestamp {
    message.json()["time"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{message:?}"))
}

/// Which of the unlike meters has this voltage.
pub(super) fn meter_of(voltage: f64) -> u8 {
    if voltage < 200.0 { 1 } else { 2 }
}

fn state<'a>(word: &'a str) -> impl Fn(&Publish) -> bool + 'a {
    move |message| message.retained && message.json()["state"] == word
}

#[test]
fn states_and_readings_come_as_documented_and_a_stop_says_goodbye() {
    let broker = Broker::start();
    let site = Site::new(broker.address(), "");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    let page = program.status_page();

    let connect = broker.connect();
    assert_eq!(connect.client_id, "metergate-test");
    assert!(connect.clean && connect.user.is_none());
    assert_eq!(connect.will, Some(("site/status".into(), "offline".into(), 1, true)));
    let status = broker.message("site/status");
    assert_eq!((status.payload.as_str(), status.retained, status.qos), ("online", true, 1));
    broker.message_with("site/riser-a/2/state", state("online"));

    let reading = broker.message("site/riser-a/2/floats");
    assert!(!reading.retained && reading.qos == 1);
    let json = reading.json();
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["time", "values"]);
    let now = jiff::Timestamp::now();
    assert!(time(&reading) <= now && now.duration_since(time(&reading)).as_secs() < 20, "{reading:?}");
    assert!(json["values"]["voltage_an_f"].is_number(), "{json}");

    // The same value as everywhere else, once the exponent of the count has been read.
    let energy = broker
        .message_with("site/riser-a/2/integers", |one| one.json()["values"]["real_energy_total"].is_number())
        .json();
    let unit = get(page, "/api/v1/units/2").json();
    let point = |name: &str| {
        let points = unit["points"].as_array().unwrap();
        points.iter().find(|point| point["point"] == name).unwrap()["value"].clone()
    };
    let (shown, told) =
        (point("real_energy_total").as_f64().unwrap(), &energy["values"]["real_energy_total"]);
    assert!((shown - told.as_f64().unwrap()).abs() < 2.0, "{shown} {told}");
    assert_eq!(energy["values"].as_object().unwrap().len(), 1, "the point to bill by is read by itself");

    program.signal(Signal::SIGTERM);
    let goodbye = broker.message_with("site/status", |status| status.payload == "offline");
    assert!(goodbye.retained);
    broker.wait_for("DISCONNECT", |seen| (seen == Seen::Disconnect).then_some(()));
    assert!(program.exit().0.success());
}

#[test]
fn a_check_says_how_much_is_published_and_below_which_topic_entities_are_announced() {
    let site = Site::new(SocketAddr::from(([127, 0, 0, 1], 1883)), "    home_assistant: ha\n");
    let check = Command::new(env!("CARGO_BIN_EXE_metergate"))
        .args(["check".as_ref(), site.config.as_os_str()])
        .output()
        .unwrap();
    let printed = String::from_utf8(check.stdout).unwrap();
    let volume = " in 6 blocks of 2 units every 1s: about 518400 messages and ";
    assert!(printed.contains(volume), "{printed}");
    assert!(printed.contains("#   Home Assistant's discovery at ha/+/site/#\n"), "{printed}");
}

#[test]
fn doctor_says_of_each_broker_since_when_it_is_there_and_what_waits() {
    let broker = Broker::start();
    let address = broker.address();
    let site = Site::new(address, "");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    let page = program.status_page();
    broker.message("site/riser-a/1/floats");
    let doctor = || {
        let asked = Command::new(env!("CARGO_BIN_EXE_metergate"))
            .args(["doctor", "--status", &page.to_string()])
            .output();
        String::from_utf8(asked.unwrap().stdout).unwrap()
    };
    let said = doctor();
    assert!(said.contains(&format!("mqtt://{address}: connected for ")), "{said}");
    assert!(said.contains(" readings wait, 0 dropped\n"), "{said}");
    drop(broker);
    let found =
        get_until(page, "/api/v1/checkup", |answer| answer.json()["brokers"][0]["away_for_ms"].is_u64());
    assert_eq!(found.json()["brokers"][0]["connected"], false);
    let said = doctor();
    assert!(said.contains(&format!("mqtt://{address}: not connected for ")), "{said}");
}

#[test]
fn each_block_has_one_message_an_interval_and_none_is_made_up() {
    let broker = Broker::start();
    let site = Site::new(broker.address(), "");
    let _meters = chain(&site.line, "1-2");
    let _program = site.run();
    let mut last = time(&broker.message("site/riser-a/1/floats"));
    // A slow machine sends later, and no more: the message after a late one may be due at once, and the others are not.
    let begun = Instant::now();
    for _ in 0..5 {
        let message = broker.message("site/riser-a/1/floats");
        assert!(time(&message) >= last, "{last} then {message:?}");
        last = time(&message);
    }
    assert!(begun.elapsed() > Duration::from_secs(3), "five messages in {:?}", begun.elapsed());
}

#[test]
fn a_meter_that_dies_is_off_line_and_its_values_stop() {
    let broker = Broker::start();
    let site = Site::new(broker.address(), "");
    let meters = chain(&site.line, "1-2");
    let _program = site.run();
    broker.message("site/riser-a/1/floats");
    drop(meters);
    broker.message_with("site/riser-a/1/state", state("unreachable"));
    broker.message_with("site/riser-a/2/state", state("unreachable"));
    let seen = broker.everything_for(Duration::from_secs(3));
    let readings = seen.iter().filter(|seen| matches!(seen, Seen::Publish(publish) if !publish.retained));
    assert_eq!(readings.collect::<Vec<_>>(), [] as [&Seen; 0]);

    // Only one of the two comes back.
    let back = jiff::Timestamp::now();
    let _meters = chain(&site.line, "2");
    broker.message_with("site/riser-a/2/state", state("online"));
    let reading = broker.message("site/riser-a/2/floats");
    assert!(time(&reading) > back, "a reading from before the outage is not news: {reading:?}");
    broker.message_with("site/riser-a/1/state", state("offline"));
    let seen = broker.everything_for(Duration::from_secs(2));
    assert!(
        !seen
            .iter()
            .any(|seen| matches!(seen, Seen::Publish(one) if one.topic.contains("/1/") && !one.retained)),
        "{seen:?}"
    );
}

#[test]
fn what_was_kept_while_the_broker_was_away_comes_oldest_first_with_its_own_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let site = Site::new(address, "");
    let _meters = chain(&site.line, "1-2");
    let started = Instant::now();
    let mut program = site.run();
    let page = program.status_page();
    program.line_with("connection refused by");
    get_until(page, "/api/v1/status", |answer| {
        let broker = &answer.json()["brokers"][0];
        broker["queued"].as_u64().unwrap_or_default() >= 12
    });
    let broker = Broker::again_at(address);
    broker.connect();
    let connected = jiff::Timestamp::now();
    let mut times: Vec<jiff::Timestamp> = Vec::new();
    broker.wait_for("newer reading", |seen| {
        let message = seen.into_publish().filter(|message| message.topic == "site/riser-a/1/floats")?;
        times.push(time(&message));
        (times.last() > Some(&connected)).then_some(())
    });
    assert!(times.len() > 3, "{times:?}");
    assert!(times.is_sorted(), "{times:?}");
    let age = connected.duration_since(times[0]);
    assert!(age.as_secs_f32() > 1.5 && age.unsigned_abs() < started.elapsed(), "{age}");
}

#[test]
fn a_broker_that_forgets_to_acknowledge_gets_the_same_readings_again() {
    let broker = Broker::start_with(&[Manners::NoAcknowledgement, Manners::Good]);
    let site = Site::new(broker.address(), "");
    let _meters = chain(&site.line, "1-2");
    let _program = site.run();
    broker.connect();
    let first = broker.message("site/riser-a/1/floats");
    // 30 s later the gateway gives up.
    broker.wait_for("a second CONNECT", |seen| matches!(seen, Seen::End).then_some(()));
    broker.connect();
    assert_eq!(broker.message("site/riser-a/1/floats"), first);
}

#[test]
fn a_broker_with_bad_manners_is_described_and_costs_no_client() {
    let huge = [0x30, 0xFF, 0xFF, 0xFF, 0x7F].to_vec();
    let broker = Broker::start_with(&[
        Manners::Refuse(5),
        Manners::Instead(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Manners::Then(huge),
        Manners::Good,
    ]);
    let site = Site::new(broker.address(), "");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    let page = program.status_page();
    program.line_with("does not let this client in; check `username`, `password_file` and the broker's ACL");
    program.line_with("what answers there is no MQTT broker");
    program.line_with("the broker sent a packet of more than 262144 bytes");
    program.line_with("connected as metergate-test");
    let status = get(page, "/api/v1/status").json();
    assert_eq!(status["units"].as_array().unwrap().len(), 2);
    broker.message("site/riser-a/1/floats");
}

#[test]
fn a_broker_that_reads_nothing_holds_up_no_other_and_no_stop() {
    let (deaf, good) = (Broker::start_with(&[Manners::Deaf]), Broker::start());
    let site = Site::new(deaf.address(), "    buffer: 64kB\n");
    let entries = [deaf.address(), good.address()].map(|address| site.entry(address, "    buffer: 64kB\n"));
    site.configure(&entries.concat(), "1-2");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    program.line_with("connected as");
    program.line_with("connected as");
    for _ in 0..3 {
        good.message("site/riser-a/2/floats");
    }
    let begun = Instant::now();
    program.signal(Signal::SIGTERM);
    assert!(program.exit().0.success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_reload_changes_what_is_published_and_keeps_the_connection() {
    let (broker, other) = (Broker::start(), Broker::start());
    let site = Site::new(broker.address(), "");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    broker.message_with("site/riser-a/2/state", state("online"));
    broker.message("site/riser-a/2/floats");

    // Another broker, fewer points, and a unit that is gone.
    let fewer = "    points: [power]\n";
    let entries = [site.entry(broker.address(), fewer), site.entry(other.address(), "")].concat();
    site.configure(&entries, "1");
    program.signal(Signal::SIGHUP);
    program.line_with("INFO reloaded");
    let removed = broker.message_with("site/riser-a/2/state", |state| state.payload.is_empty());
    assert!(removed.retained, "an empty retained message removes it");
    let reading = broker.message_with("site/riser-a/1/floats", |reading| {
        reading.json()["values"].as_object().is_some_and(|values| values.len() < 20)
    });
    let values = reading.json()["values"].clone();
    assert!(values.as_object().unwrap().keys().all(|name| name.contains("power")), "{values}");
    other.message("site/riser-a/1/floats");

    // The first broker goes, and forgets what was retained; the second keeps its connection.
    site.configure(&site.entry(other.address(), ""), "1");
    program.signal(Signal::SIGHUP);
    program.line_with("INFO reloaded");
    let mut retained = Vec::new();
    broker.wait_for("DISCONNECT", |seen| {
        assert!(!matches!(seen, Seen::Connect(_)), "the connection was made anew");
        if let Seen::Publish(one) = &seen {
            retained.push((one.topic.clone(), one.payload.clone()));
        }
        (seen == Seen::Disconnect).then_some(())
    });
    let last = |topic: &str| retained.iter().rev().find(|(at, _)| at == topic).map(|(_, payload)| &**payload);
    assert_eq!(last("site/riser-a/1/state"), Some(""));
    assert_eq!(last("site/status"), Some("offline"));
    assert_eq!(retained.last().unwrap().0, "site/status", "the last of all");
    other.wait_for("reading", |seen| match seen {
        Seen::Connect(_) | Seen::End => panic!("the connection was made anew"),
        Seen::Publish(one) => (one.topic == "site/riser-a/1/floats").then_some(()),
        Seen::Subscribe(_) | Seen::Unsubscribe(_) | Seen::Disconnect => None,
    });
}

#[test]
fn meters_that_exchange_their_identifiers_by_a_reload_never_have_a_value_of_the_other() {
    let broker = Broker::start();
    let site = Site::new(broker.address(), "");
    let configure = |aliases: [u8; 2]| {
        let unit = |id: u8, alias: u8| format!("{{id: {id}, as: {alias}, profile: leviton-4000r, poll: 1s}}");
        let units = [unit(1, aliases[0]), unit(2, aliases[1])].join(", ");
        let keys = "    points: [voltage_an_f]\n    change: 5%\n";
        site.configure_units(&site.entry(broker.address(), keys), &units);
    };
    configure([1, 2]);
    let _meters = site.unlike_meters();
    let mut program = site.run();
    // The meter of each reading at the topic of 1 and at that of 2, and when it was read.
    let next = || {
        broker.wait_for("reading", |seen| {
            let message = seen.into_publish().filter(|one| one.topic.ends_with("/floats"))?;
            let meter = meter_of(message.json()["values"]["voltage_an_f"].as_f64()?);
            let alias = if message.topic == "site/riser-a/1/floats" { 1 } else { 2 };
            Some((alias, meter, time(&message)))
        })
    };
    let mut aliases = [1, 2];
    for _ in 0..3 {
        let mut seen = [0; 2];
        while seen.iter().any(|count| *count < 2) {
            let (alias, meter, _) = next();
            assert_eq!(
                aliases[usize::from(meter) - 1],
                alias,
                "meter {meter} under the identifier of the other"
            );
            seen[usize::from(meter) - 1] += 1;
        }
        aliases.reverse();
        configure(aliases);
        program.signal(Signal::SIGHUP);
        program.line_with("INFO reloaded");
        let reloaded = jiff::Timestamp::now();
        // What was published before the reload is still on its way; from the first of the other on it is over.
        let mut is_exchanged = [false; 2];
        while is_exchanged.contains(&false) {
            let (alias, meter, time) = next();
            let place = usize::from(meter) - 1;
            if aliases[place] == alias {
                is_exchanged[usize::from(alias) - 1] = true;
            } else {
                let is_of_before = !is_exchanged[usize::from(alias) - 1] && time < reloaded;
                assert!(is_of_before, "meter {meter} under the identifier of the other, read at {time}");
            }
        }
    }
}

#[test]
fn what_waits_for_a_broker_stays_when_the_client_gets_another_name() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let site = Site::new(address, "");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    let page = program.status_page();
    program.line_with("connection refused by");
    get_until(page, "/api/v1/brokers", |answer| answer.json()[0]["queued"].as_u64() >= Some(8));
    site.configure(&site.entry(address, "").replace("metergate-test", "metergate-other"), "1-2");
    let before = jiff::Timestamp::now();
    program.signal(Signal::SIGHUP);
    program.line_with("INFO reloaded");
    let broker = Broker::again_at(address);
    assert_eq!(broker.connect().client_id, "metergate-other");
    let first = broker.message("site/riser-a/1/floats");
    assert!(time(&first) < before, "{before}: {first:?}");
}

#[test]
fn home_assistant_finds_each_point_and_forgets_what_is_gone() {
    let broker = Broker::start();
    broker.retain(
        "ha/sensor/site/riser_a_0b2ca2c0-9-real_power_total/config",
        r#"{"state_topic":"site/riser-a/9/floats"}"#,
    );
    broker.retain("ha/sensor/other/riser_a_0b2ca2c0-9-real_power_total/config", "{}");
    broker.retain("ha/sensor/site/riser_a_0b2ca2c0-1-real_power_total/config", "{}");
    broker.retain("site/riser-a/9/state", "{}");
    broker.retain("site/riser-a/1/state", "{}");
    let site = Site::new(broker.address(), "    home_assistant: ha\n");
    let _meters = chain(&site.line, "1-2");
    let _program = site.run();
    let filters = broker
        .wait_for("SUBSCRIBE", |seen| if let Seen::Subscribe(filters) = seen { Some(filters) } else { None });
    let expected = ["site/+/+/state", "ha/sensor/site/+/config", "ha/binary_sensor/site/+/config"];
    assert_eq!(filters, expected);
    let mut removed: Vec<String> = Vec::new();
    let mut sensors: Vec<Value> = Vec::new();
    broker.wait_for("end of the subscription", |seen| {
        if matches!(seen, Seen::Unsubscribe(_)) {
            return Some(());
        }
        let message = seen.into_publish()?;
        if message.retained && message.payload.is_empty() {
            removed.push(message.topic);
        } else if message.topic.starts_with("ha/sensor/") {
            sensors.push(message.json());
        }
        None
    });
    removed.sort();
    assert_eq!(
        removed,
        ["ha/sensor/site/riser_a_0b2ca2c0-9-real_power_total/config", "site/riser-a/9/state"]
    );
    let power =
        sensors.iter().find(|sensor| sensor["unique_id"] == "site/riser-a/1/real_power_total").unwrap();
    assert_eq!(power["state_topic"], "site/riser-a/1/floats");
    assert!(power["value_template"].as_str().unwrap().contains("value_json['values']['real_power_total_f']"));
    assert_eq!((&power["device_class"], &power["state_class"]), (&"power".into(), &"measurement".into()));
    assert_eq!(power["expire_after"], 3);
    assert_eq!(power["device"]["via_device"], "site");
    let energy =
        sensors.iter().find(|sensor| sensor["unique_id"] == "site/riser-a/1/real_energy_total").unwrap();
    assert_eq!(
        (&energy["device_class"], &energy["state_class"]),
        (&"energy".into(), &"total_increasing".into())
    );
    assert_eq!(energy["unit_of_measurement"], "kWh");
    assert_eq!(energy["availability_mode"], "all");
    let ids: std::collections::BTreeSet<_> =
        sensors.iter().map(|sensor| sensor["unique_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), sensors.len(), "each once");
}

#[test]
fn a_status_that_another_client_leaves_behind_is_corrected() {
    let broker = Broker::start();
    let site = Site::new(broker.address(), "");
    let _meters = chain(&site.line, "1-2");
    let _program = site.run();
    broker.message_with("site/status", |status| status.payload == "online");
    broker.wait_for("subscription to the status", |seen| {
        matches!(seen, Seen::Subscribe(filters) if filters == ["site/status"]).then_some(())
    });
    broker.send(&publish("site/status", "offline"));
    let corrected = broker.message("site/status");
    assert_eq!((corrected.payload.as_str(), corrected.retained), ("online", true));
}

#[test]
fn a_broker_that_is_replaced_is_gone_before_the_new_client_says_that_it_is_there() {
    let broker = Broker::start();
    let site = Site::new(broker.address(), "");
    let _meters = chain(&site.line, "1-2");
    let program = site.run();
    broker.message("site/riser-a/1/floats");
    let other = site.entry(broker.address(), "").replace("metergate-test", "metergate-other");
    site.configure(&other, "1-2");
    program.signal(Signal::SIGHUP);
    let mut statuses = Vec::new();
    broker.wait_for("a reading of the new client", |seen| {
        match seen {
            Seen::Connect(connect) => statuses.push(connect.client_id),
            Seen::Publish(one) if one.topic == "site/status" => statuses.push(one.payload),
            Seen::Publish(one) if one.topic.ends_with("/1/floats") && statuses.len() == 3 => return Some(()),
            Seen::Publish(one) => {
                assert!(!one.payload.is_empty(), "the new client publishes it again: {one:?}")
            }
            Seen::Subscribe(_) | Seen::Unsubscribe(_) | Seen::Disconnect | Seen::End => {}
        }
        None
    });
    assert_eq!(statuses, ["offline", "metergate-other", "online"]);
}

#[test]
fn a_message_that_ends_connections_is_dropped_and_named() {
    let broker = Broker::start_with(&[Manners::HangUpAt("site/riser-a/2/state".to_owned())]);
    let site = Site::new(broker.address(), "");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    program.line_with(
        "the message at site/riser-a/2/state was dropped, because the connection was lost with it",
    );
    broker.connect();
    broker.message("site/riser-a/1/floats");
}

#[test]
fn a_retained_message_of_the_gateway_itself_is_left_alone() {
    // A broker that sends everything back, as it may while the subscription lasts.
    let broker = Broker::start_with(&[Manners::Then(publish("site/riser-a/1/state", "{}"))]);
    let site = Site::new(broker.address(), "");
    let _meters = chain(&site.line, "1-2");
    let _program = site.run();
    broker.message("site/riser-a/1/floats");
    let seen = broker.everything_for(Duration::from_secs(1));
    assert!(
        !seen.iter().any(|seen| matches!(seen, Seen::Publish(one) if one.payload.is_empty())),
        "{seen:?}"
    );
}
