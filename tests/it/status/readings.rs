//! What the pages say of a gateway, decision by decision: readings, ages, identifiers, metrics.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use metergate::line::{PortState, UnitState};
use metergate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange};
use metergate::status::{
    Bus, BusHistory, Clients, DoctorReport, History, Listener, LocatedFinding, Published, Status, Unit,
    UnitHistory,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::published::{
    FLOATS, INTEGERS, SECOND, SETTINGS, TWO_LINES, ask, change, change_unit, float, json, page, published,
    read,
};

/// Real energy and real power, all phases, as floats; the energy as a count, and the exponent it has.
const ENERGY: u16 = 256;
const POWER: u16 = 260;
const ENERGY_COUNT: u16 = 0;
const ENERGY_EXPONENT: u16 = 140;
const ALERTS: u16 = 145;
const SYSTEM_TYPE: u16 = 129;

fn point<'v>(unit: &'v Value, name: &str) -> &'v Value {
    unit["points"].as_array().unwrap().iter().find(|point| point["point"] == name).unwrap()
}

/// The samples of a family: labels and value.
fn samples(published: &Published, family: &str, now: Instant) -> Vec<String> {
    let metrics = page(published, &History::default(), "/metrics", now);
    let own =
        |line: &&str| line.starts_with(&format!("{family}{{")) || line.starts_with(&format!("{family} "));
    metrics.lines().filter(own).map(|line| line[family.len()..].to_owned()).collect()
}

#[test]
fn a_reading_has_its_value_as_the_meter_gave_it_its_unit_and_its_own_age() {
    let now = Instant::now() + 100 * SECOND;
    let mut published = published(TWO_LINES, now);
    let words = [float(ENERGY, 123_456.7), float(POWER, 0.1)].concat();
    read(&mut published, (0, 1), FLOATS, &words, now - Duration::from_millis(700), 1);
    let unit = json(&published, "/api/v1/units/1", now);
    assert_eq!(
        (&unit["state"], &unit["name"], &unit["profile"]),
        (&json!("online"), &json!("Panel 1"), &json!("leviton-4000r"))
    );
    let power = point(&unit, "real_power_total_f");
    assert_eq!(power["value"].to_string(), "0.1", "not 0.10000000149");
    assert_eq!(
        (&power["unit"], &power["age_ms"], &power["register"]),
        (&json!("kW"), &json!(700), &json!(261))
    );
    assert_eq!(point(&unit, "real_energy_total_f")["value"].to_string(), "123456.7");
    assert_eq!(unit["headline"][0], *power);
    assert_eq!(unit["blocks"], json!([{"function": 3, "address": 256, "quantity": 90, "age_ms": 700}]));
}

#[test]
fn what_has_no_value_is_null_and_says_why() {
    let now = Instant::now() + 100 * SECOND;
    let mut published = published(TWO_LINES, now);
    let words = [vec![(POWER, 0x7FC0)], float(POWER + 2, f32::INFINITY).to_vec()].concat();
    read(&mut published, (0, 1), FLOATS, &words, now, 1);
    read(&mut published, (0, 1), INTEGERS, &[(2, 0x8000), (6, 5)], now, 2);
    let unit = json(&published, "/api/v1/units/1", now);
    for (name, problem) in [
        ("real_power_total_f", "not_available"),
        ("reactive_power_total_f", "not_a_number"),
        ("real_power_total", "not_available"),
        ("voltage_ll_avg", "exponent_not_read"),
        ("system_type", "not_read"),
    ] {
        let point = point(&unit, name);
        assert_eq!((&point["value"], &point["problem"]), (&Value::Null, &json!(problem)), "{name}");
    }
    assert_eq!(
        samples(&published, "metergate_meter_real_power_watts", now)
            .iter()
            .filter(|one| one.contains("total"))
            .count(),
        0
    );
    // Nothing was read of this one at all, and nobody knows what the registers of that one mean.
    assert!(
        json(&published, "/api/v1/units/11", now)["points"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["value"].is_null())
    );
    assert_eq!(json(&published, "/api/v1/units/2?bus=riser-a", now)["points"], json!([]));
}

#[test]
fn a_count_whose_exponent_changes_around_it_is_not_shown_by_the_new_one() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let at = |seconds: u32| start + seconds * SECOND;
    let unit_at = |published: &Published, seconds| json(published, "/api/v1/units/11", at(seconds));
    let energy =
        |published: &Published, seconds| point(&unit_at(published, seconds), "real_energy_total").clone();
    let settings = |published: &mut Published, exponent: u16, second, generation| {
        read(published, (1, 1), SETTINGS, &[(ENERGY_EXPONENT, exponent)], at(second), generation);
    };
    let count = |published: &mut Published, count: u16, second, generation| {
        read(published, (1, 1), INTEGERS, &[(ENERGY_COUNT + 1, count)], at(second), generation);
    };
    settings(&mut published, 0, 10, 1);
    count(&mut published, 230, 20, 2);
    let shown = energy(&published, 21);
    assert_eq!(
        (shown["value"].to_string().as_str(), &shown["age_ms"], &shown["scale_age_ms"], &shown["problem"]),
        ("230", &json!(1000), &json!(11_000), &Value::Null),
        "nothing is known yet of what comes after"
    );
    let family = "metergate_meter_real_energy_watthours_total";
    let has_energy = |published: &Published, seconds| {
        samples(published, family, at(seconds)).iter().any(|one| one.contains(r#""real_energy_total""#))
    };
    assert!(has_energy(&published, 21));
    // The meter counts tens from now on; its count of before is still the newest.
    settings(&mut published, 1, 22, 3);
    for seconds in [22, 24] {
        let shown = energy(&published, seconds);
        assert_eq!(
            (&shown["value"], &shown["problem"], &shown["scale_age_ms"]),
            (&Value::Null, &json!("exponent_changed"), &Value::Null),
            "not 2300"
        );
        assert!(!has_energy(&published, seconds));
        settings(&mut published, 1, seconds + 1, u64::from(seconds));
    }
    let html = page(&published, &History::default(), "/units/11", at(26));
    assert!(html.contains("its exponent changed while it was read") && !html.contains("2300"));
    count(&mut published, 23, 30, 40);
    let shown = energy(&published, 31);
    assert_eq!((shown["value"].to_string().as_str(), &shown["scale_age_ms"]), ("230", &json!(6000)));
    let html = page(&published, &History::default(), "/units/11", at(31));
    assert!(html.contains(r#"1.0 s<span class="sub">scale 6.0 s</span>"#), "{html}");
}

#[test]
fn counts_are_scaled_exactly_and_codes_and_flags_have_their_words() {
    let now = Instant::now() + 100 * SECOND;
    let mut published = published(TWO_LINES, now);
    let exponent = u16::from_be_bytes((-2_i16).to_be_bytes());
    read(&mut published, (1, 1), INTEGERS, &[(ENERGY_COUNT, 1), (ENERGY_COUNT + 1, 5)], now, 1);
    let words = [(ENERGY_EXPONENT, exponent), (SYSTEM_TYPE, 31), (ALERTS, 1 << 9 | 1 << 0)];
    read(&mut published, (1, 1), SETTINGS, &words, now - SECOND, 2);
    let unit = json(&published, "/api/v1/units/11", now);
    assert_eq!(point(&unit, "real_energy_total")["value"].to_string(), "655.41");
    assert_eq!(point(&unit, "system_type")["text"], "delta, three wires");
    assert_eq!(point(&unit, "voltage_ln_avg")["meaningful"], json!(false));
    assert_eq!(point(&unit, "voltage_ll_avg")["meaningful"], json!(true));
    assert_eq!(point(&unit, "real_power_a")["meaningful"], Value::Null);
    let alerts: Vec<_> = unit["alerts"].as_array().unwrap().iter().map(|one| &one["alert"]).collect();
    assert_eq!(alerts, ["voltage_a", "phase_loss_b"]);
    let raised = samples(&published, "metergate_meter_alert", now);
    assert_eq!(raised.len(), 15, "every flag that has a name");
    assert_eq!(raised.iter().filter(|one| one.ends_with(" 1")).count(), 2);
    let energies = samples(&published, "metergate_meter_real_energy_watthours_total", now);
    let expected = r#"{bus="riser b/c",unit="11",point="real_energy_total"} 655410"#;
    assert!(energies.iter().any(|one| one == expected), "{energies:?}");
}

#[test]
fn a_counter_does_not_change_between_representations_with_who_read_last() {
    let now = Instant::now() + 100 * SECOND;
    let mut published = published(TWO_LINES, now);
    let exponent = [(ENERGY_EXPONENT, 0)];
    read(&mut published, (0, 1), SETTINGS, &exponent, now, 1);
    read(&mut published, (0, 1), FLOATS, &float(ENERGY, 16_777_216.0), now - 2 * SECOND, 2);
    let family = "metergate_meter_real_energy_watthours_total";
    let energy = |published: &Published| -> Vec<String> {
        samples(published, family, now).into_iter().filter(|one| one.contains("real_energy_total")).collect()
    };
    let by_float = [r#"{bus="riser-a",unit="1",point="real_energy_total"} 16777216000"#];
    assert_eq!(energy(&published), by_float);
    // A client reads the counts, later than that: the floats are what is read in the background, and stay.
    read(&mut published, (0, 1), INTEGERS, &[(ENERGY_COUNT, 0x0100), (ENERGY_COUNT + 1, 1)], now - SECOND, 3);
    assert_eq!(energy(&published), by_float);
}

#[test]
fn energy_is_the_count_to_bill_by_as_long_as_that_is_read_in_the_background() {
    let now = Instant::now() + 100 * SECOND;
    let mut published = published(TWO_LINES, now);
    let count =
        ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start: ENERGY_COUNT, quantity: 2 };
    change_unit(&mut published, 0, 1, |unit| unit.measured = [count].into());
    let family = "metergate_meter_real_energy_watthours_total";
    let energy = |published: &Published| -> Vec<String> {
        samples(published, family, now).into_iter().filter(|one| one.contains("real_energy_total")).collect()
    };
    read(&mut published, (0, 1), FLOATS, &float(ENERGY, 16_777_216.0), now - SECOND, 1);
    assert!(energy(&published).is_empty(), "a float would step when the count comes");
    let shown = |published: &Published| {
        let unit = json(published, "/api/v1/units/1", now);
        let mut headline = unit["headline"].as_array().unwrap().iter();
        let energy = headline.find(|point| point["quantity"] == "real_energy_total").unwrap();
        (energy["point"].as_str().unwrap().to_owned(), energy["value"].to_string())
    };
    assert_eq!(
        shown(&published),
        ("real_energy_total_f".to_owned(), "16777216.0".to_owned()),
        "until the count comes"
    );
    read(&mut published, (0, 1), INTEGERS, &[(ENERGY_COUNT, 0x0100), (ENERGY_COUNT + 1, 1)], now - SECOND, 2);
    assert_eq!(shown(&published).0, "real_energy_total_f", "until its exponent comes");
    read(&mut published, (0, 1), SETTINGS, &[(ENERGY_EXPONENT, 0)], now - SECOND, 2);
    read(&mut published, (0, 1), INTEGERS, &[(ENERGY_COUNT, 0x0100), (ENERGY_COUNT + 1, 1)], now - SECOND, 3);
    let by_count = [r#"{bus="riser-a",unit="1",point="real_energy_total"} 16777217000"#];
    assert_eq!(energy(&published), by_count, "no float holds it");
    assert_eq!(shown(&published), ("real_energy_total".to_owned(), "16777217".to_owned()));
    read(&mut published, (0, 1), FLOATS, &float(ENERGY, 16_777_216.0), now, 4);
    assert_eq!(energy(&published), by_count, "whoever read last");
    // A unit that refuses the count has floats alone.
    change_unit(&mut published, 0, 1, |unit| unit.measured = [FLOATS].into());
    let by_float = [r#"{bus="riser-a",unit="1",point="real_energy_total"} 16777216000"#];
    assert_eq!(energy(&published), by_float);
}

#[test]
fn readings_that_are_too_old_leave_the_metrics_and_stay_on_the_page_with_their_age() {
    let now = Instant::now() + 1000 * SECOND;
    let power = |age: Duration| {
        let mut published = published(TWO_LINES, now);
        read(&mut published, (0, 1), FLOATS, &float(POWER, 12.5), now - age, 1);
        let shown = json(&published, "/api/v1/units/1", now);
        let point = point(&shown, "real_power_total_f");
        assert_eq!(point["value"], json!(12.5));
        assert_eq!(point["age_ms"], json!(u64::try_from(age.as_millis()).unwrap()));
        samples(&published, "metergate_meter_real_power_watts", now)
    };
    let fresh = power(30 * SECOND);
    assert!(
        fresh.contains(&r#"{bus="riser-a",unit="1",point="real_power_total"} 12500"#.to_owned()),
        "{fresh:?}"
    );
    assert_eq!(power(30 * SECOND + Duration::from_millis(1)), Vec::<String>::new());
}

#[test]
fn what_is_read_seldom_by_configuration_may_be_that_much_older() {
    let now = Instant::now() + 10_000 * SECOND;
    let slow =
        TWO_LINES.replacen("profile: leviton-4000r}", "profile: leviton-4000r, poll: 5m, poll_slow: 10m}", 1);
    for (age, shown) in [(900, true), (901, false)] {
        let mut published = published(&slow, now);
        read(&mut published, (0, 1), FLOATS, &float(POWER, 1.0), now - age * SECOND, 1);
        assert_eq!(!samples(&published, "metergate_meter_real_power_watts", now).is_empty(), shown, "{age}");
    }
    for (age, shown) in [(1800, true), (1801, false)] {
        let mut published = published(&slow, now);
        read(&mut published, (0, 1), SETTINGS, &[], now - age * SECOND, 1);
        assert_eq!(!samples(&published, "metergate_meter_alert", now).is_empty(), shown, "{age}");
    }
}

#[test]
fn a_unit_is_found_by_the_identifier_clients_use_and_by_its_bus_where_there_are_two() {
    let now = Instant::now();
    let published = published(TWO_LINES, now);
    assert_eq!(json(&published, "/api/v1/units/11", now)["line_unit"], 1);
    assert_eq!(json(&published, "/api/v1/units/2?bus=riser-a", now)["bus"], "riser-a");
    for path in [
        "/api/v1/units/2?bus=riser%20b%2Fc",
        "/api/v1/units/2?bus=riser+b%2fc",
        "/api/v1/units/2/history?x=1&bus=riser%20b/c",
    ] {
        assert_eq!(json(&published, path, now)["bus"], "riser b/c", "{path}");
    }
    assert_eq!(json(&published, "/api/v1/buses/riser%20b%2Fc/history", now)["bus"], "riser b/c");
    for (path, expected) in [
        ("/api/v1/units/2", 409),
        ("/api/v1/units/3", 404),
        ("/api/v1/units/1?bus=riser%20b%2Fc", 404),
        ("/api/v1/units/0", 404),
        ("/api/v1/buses/riser", 404),
    ] {
        let response = ask(&published, &History::default(), path, now);
        let said: Value = serde_json::from_str(response.body()).unwrap();
        assert_eq!(response.status(), expected, "{path}");
        assert!(said["error"].is_string(), "{path}: {said}");
    }
}

#[test]
fn ready_takes_an_open_port_and_a_unit_that_answers_on_that_very_bus() {
    let now = Instant::now();
    let status = |published: &Published| ask(published, &History::default(), "/ready", now).status();
    let mut published = published(TWO_LINES, now);
    assert_eq!(status(&published), 503, "nobody has answered yet");
    for (state, expected) in [
        (UnitState::Online, 200),
        (UnitState::Confirming, 200),
        (UnitState::Offline, 503),
        (UnitState::NeverSeen, 503),
    ] {
        change_unit(&mut published, 0, 2, |unit| unit.state = state);
        assert_eq!(status(&published), expected, "{state}");
    }
    change_unit(&mut published, 0, 2, |unit| unit.state = UnitState::Online);
    for (port, expected) in [(PortState::Closed, 503), (PortState::Occupied, 503), (PortState::Open, 200)] {
        change(&mut published, 0, |view| view.port = port);
        assert_eq!(status(&published), expected, "{port:?}");
    }
}

/// What comes of a document that is read into the model and written again.
fn again<T: Serialize + DeserializeOwned>(text: &str) -> Value {
    let model: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap()
}

#[test]
fn the_json_is_the_model_and_is_read_back_into_it() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let exponent = u16::from_be_bytes((-2_i16).to_be_bytes());
    let words = [float(ENERGY, 123_456.7), float(POWER, 0.1)].concat();
    read(&mut published, (0, 1), FLOATS, &words, start, 1);
    read(&mut published, (1, 1), INTEGERS, &[(ENERGY_COUNT, 1), (ENERGY_COUNT + 1, 5)], start, 1);
    let words = [(ENERGY_EXPONENT, exponent), (SYSTEM_TYPE, 31), (ALERTS, 1 << 9 | 1)];
    read(&mut published, (1, 1), SETTINGS, &words, start, 2);
    change_unit(&mut published, 0, 2, |unit| unit.counters.timeouts = 20);
    let client = published.listeners[0].metrics.connected("[::1]:1000".parse().unwrap(), start);
    client.note_exception(ExceptionCode(0x55));
    let mut history = History::default();
    (0..70).for_each(|second| history.sample(&published, start + second * SECOND));
    let now = start + 70 * SECOND;
    for (path, again) in [
        ("status", again::<Status<'_>> as fn(&str) -> Value),
        ("buses", again::<Vec<Bus<'_>>>),
        ("units", again::<Vec<Unit<'_>>>),
        ("units/1", again::<Unit<'_>>),
        ("units/11", again::<Unit<'_>>),
        ("units/1/history", again::<UnitHistory<'_>>),
        ("buses/riser-a/history", again::<BusHistory<'_>>),
        ("findings", again::<Vec<LocatedFinding<'_>>>),
        ("listeners", again::<Vec<Listener<'_>>>),
        ("clients", again::<Clients>),
        ("checkup", again::<DoctorReport>),
    ] {
        let text = page(&published, &history, &format!("/api/v1/{path}"), now);
        assert_eq!(again(&text), serde_json::from_str::<Value>(&text).unwrap(), "{path}");
    }
}

#[test]
fn no_series_stands_twice_and_every_family_stands_together() {
    let now = Instant::now() + 100 * SECOND;
    let mut published = published(TWO_LINES, now);
    for unit in [(0, 1), (1, 1)] {
        for (generation, range) in [(1, FLOATS), (2, INTEGERS), (3, SETTINGS)] {
            read(&mut published, unit, range, &[], now, generation);
        }
    }
    let metrics = page(&published, &History::default(), "/metrics", now);
    let (mut series, mut families, mut family) = (BTreeSet::new(), BTreeSet::new(), String::new());
    let mut histogram = false;
    for line in metrics.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            histogram = kind == "histogram";
            assert!(families.insert(name.to_owned()), "{name} begins twice");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            family = name.to_owned();
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(series.insert(name.to_owned()), "{name} stands twice");
            let own = name.split('{').next().unwrap();
            let part = own.strip_prefix(&family).unwrap_or_else(|| panic!("{line} stands with {family}"));
            assert_eq!(matches!(part, "_bucket" | "_sum" | "_count"), histogram, "{line}");
            assert!(part.is_empty() || histogram, "{line}");
            assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
        }
    }
    assert!(series.len() > 200, "{}", series.len());
}

#[test]
fn exceptions_are_counted_by_code_for_the_listener_and_for_each_client() {
    let now = Instant::now();
    let published = published(TWO_LINES, now);
    let metrics = &published.listeners[0].metrics;
    let (one, other) = (
        metrics.connected("10.0.0.1:1000".parse().unwrap(), now),
        metrics.connected("10.0.0.2:2000".parse().unwrap(), now + SECOND),
    );
    for client in [&one, &other] {
        client.note_requests(1, 0, now + 3 * SECOND);
        client.note_exception(ExceptionCode(0x0B));
    }
    one.note_exception(ExceptionCode(0x55));
    one.note_hit();
    one.note_miss();
    one.note_answer(Duration::from_millis(80));
    one.note_answer(Duration::from_millis(160));
    let now = now + 10 * SECOND;
    let clients = json(&published, "/api/v1/clients", now);
    assert_eq!(
        clients,
        json!({"connections": 2, "clients": [
            {"client": "10.0.0.1:1000", "listener": "127.0.0.1:502", "connected_ms": 10000, "last_request_ms": 7000,
             "answer_time_ms": 90.0, "requests": 1, "snapshot_hits": 1, "snapshot_misses": 1,
             "exceptions": [{"code": null, "count": 1}, {"code": 11, "count": 1}]},
            {"client": "10.0.0.2:2000", "listener": "127.0.0.1:502", "connected_ms": 9000, "last_request_ms": 7000,
             "answer_time_ms": null, "requests": 1, "snapshot_hits": 0, "snapshot_misses": 0,
             "exceptions": [{"code": 11, "count": 1}]}
        ], "departed": []})
    );
    drop(one);
    let left = json(&published, "/api/v1/clients", now);
    assert_eq!(left["connections"], 1);
    let left_ms = left["departed"][0]["left_ms"].as_u64().unwrap();
    assert!(left_ms <= 10_000, "{left_ms}");
    assert_eq!(
        left["departed"],
        json!([{"client": "10.0.0.1", "listener": "127.0.0.1:502", "left_ms": left_ms, "connections": 1,
                "requests": 1, "snapshot_hits": 1, "snapshot_misses": 1,
                "exceptions": [{"code": null, "count": 1}, {"code": 11, "count": 1}]}])
    );
    let listener = &json(&published, "/api/v1/listeners", now)[0];
    assert_eq!(
        (&listener["connections"], &listener["accepted"], &listener["requests"]),
        (&json!(1), &json!(2), &json!(2))
    );
    let coded = samples(&published, "metergate_listener_exceptions_total", now);
    for expected in
        [r#"{listener="127.0.0.1:502",code="0b"} 2"#, r#"{listener="127.0.0.1:502",code="other"} 1"#]
    {
        assert!(coded.iter().any(|one| one == expected), "{coded:?}");
    }
    let counters = metrics.counters();
    assert_eq!(
        (counters.connections, counters.requests, counters.exceptions),
        (1, 2, 3),
        "the diagnostics unit's"
    );
}
