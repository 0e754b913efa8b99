//! The history, minute by minute: what a mean is of, what is kept, and for how long.

use std::time::{Duration, Instant};

use metergate::line::{UnitCounters, UnitState};
use metergate::meter::Group;
use metergate::status::{
    BusMinute, Depth, HEALTH_MINUTES, History, Published, READING_MINUTES, RecordFilter, UnitMinute,
    status_for_pages,
};
use serde_json::{Value, json};

use crate::support::published::{
    self, FLOATS, SECOND, TWO_LINES, change, change_unit, float, page, published, read,
};

const POWER: u16 = 260;

/// Looks once a second, as the gateway does, for so long.
fn watch(history: &mut History, published: &Published, from: Instant, seconds: u32) -> Instant {
    for second in 0..seconds {
        history.sample(published, from + second * SECOND);
    }
    from + seconds * SECOND
}

fn of_unit(history: &History, published: &Published, now: Instant) -> Value {
    serde_json::from_str(&page(published, history, "/api/v1/units/1/history", now)).unwrap()
}

fn means(history: &History, published: &Published, quantity: &str, now: Instant) -> Value {
    let shown = of_unit(history, published, now);
    let readings = shown["readings"].as_array().unwrap();
    readings.iter().find(|one| one["quantity"] == quantity).unwrap()["means"].clone()
}

#[test]
fn a_mean_is_that_of_the_minutes_readings_each_counted_once_however_long_it_stood() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let mut history = History::default();
    read(&mut published, (0, 1), FLOATS, &float(POWER, 10.0), start, 1);
    let now = watch(&mut history, &published, start, 50);
    read(&mut published, (0, 1), FLOATS, &float(POWER, 40.0), now, 2);
    let now = watch(&mut history, &published, now, 11);
    assert_eq!(means(&history, &published, "real_power_total", now), json!([25.0]));
}

#[test]
fn a_minute_without_a_reading_stays_empty_and_what_a_meter_never_gives_takes_no_room() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let mut history = History::default();
    let no_voltage = [(270, 0x7FC0), (POWER, 0x4120)];
    read(&mut published, (0, 1), FLOATS, &no_voltage, start, 1);
    let now = watch(&mut history, &published, start, 125);
    let words = [(270, 0x7FC0), (POWER, 0x41A0)];
    read(&mut published, (0, 1), FLOATS, &words, now, 2);
    let now = watch(&mut history, &published, now, 60);
    assert_eq!(means(&history, &published, "real_power_total", now), json!([10.0, null, 20.0]));
    assert_eq!(means(&history, &published, "voltage_ln_avg", now), json!([]));
}

#[test]
fn minutes_in_which_nobody_looked_are_empty_and_the_others_keep_their_place() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let mut history = History::default();
    read(&mut published, (0, 1), FLOATS, &float(POWER, 1.0), start, 1);
    history.sample(&published, start);
    // The process was held for three minutes and a half.
    history.sample(&published, start + 210 * SECOND);
    let now = start + 220 * SECOND;
    assert_eq!(means(&history, &published, "real_power_total", now), json!([1.0, null, null]));
    let shown = of_unit(&history, &published, now);
    assert_eq!(shown["last_minute_ended_ms"], json!(40_000));
    let empty: Vec<_> = shown["health"].as_array().unwrap().iter().map(Value::is_null).collect();
    assert_eq!(empty, [false, true, true]);
}

#[test]
fn health_is_counted_minute_by_minute_and_a_bus_that_starts_over_does_not_count_backwards() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let mut history = History::default();
    let count = |published: &mut Published, transactions, timeouts, busy| {
        change_unit(published, 0, 1, |unit| {
            unit.state = UnitState::Online;
            unit.response_time = Some(Duration::from_millis(8));
            unit.counters = UnitCounters { transactions, timeouts, crc_errors: 1, ..UnitCounters::default() };
        });
        change(published, 0, |view| {
            view.counters.transactions = transactions;
            view.counters.busy = busy;
        });
    };
    count(&mut published, 100, 5, 10 * SECOND);
    history.sample(&published, start);
    count(&mut published, 160, 8, 40 * SECOND);
    let now = watch(&mut history, &published, start + SECOND, 60);
    count(&mut published, 7, 2, 6 * SECOND);
    let now = watch(&mut history, &published, now, 60);
    let health = of_unit(&history, &published, now)["health"].clone();
    let minute = |transactions, errors| json!({"state": "online", "transactions": transactions, "errors": errors, "answer_time_ms": 8.0, "age_ms": null});
    assert_eq!(health, json!([minute(60, 3), minute(7, 3)]));
    let bus = page(&published, &history, "/api/v1/buses/riser-a/history", now);
    let bus: Value = serde_json::from_str(&bus).unwrap();
    assert_eq!(bus["minutes"][0]["utilisation_percent"], json!(50.0));
    assert_eq!(bus["minutes"][1]["utilisation_percent"], json!(10.0));
}

#[test]
fn everything_that_is_kept_is_bounded_and_what_is_not_configured_any_more_is_forgotten() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let mut history = History::default();
    let minutes = u32::try_from(READING_MINUTES).unwrap() + 5;
    for minute in 0..minutes {
        let now = start + minute * 60 * SECOND;
        read(&mut published, (0, 1), FLOATS, &float(POWER, 1.0), now, u64::from(minute) + 1);
        history.sample(&published, now);
    }
    let now = start + minutes * 60 * SECOND;
    history.sample(&published, now);
    assert_eq!(
        means(&history, &published, "real_power_total", now).as_array().unwrap().len(),
        READING_MINUTES
    );
    assert_eq!(of_unit(&history, &published, now)["health"].as_array().unwrap().len(), HEALTH_MINUTES);

    let unit = |published: &Published| published.units().next().unwrap().alias;
    assert_eq!(unit(&published), 1);
    let without = published::published(
        &TWO_LINES.replace("      - {id: 1, name: Panel 1, profile: leviton-4000r}\n", ""),
        now,
    );
    history.sample(&without, now + SECOND);
    assert_eq!(of_unit(&history, &published, now + SECOND)["health"], json!([]));
}

#[test]
fn hours_that_are_loaded_after_the_first_reading_are_what_the_page_plots() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let mut history = History::default();
    let unit = published.buses[0].units().next().unwrap().settings.id;
    let bus = published.buses[0].id;
    read(&mut published, (0, 1), FLOATS, &float(POWER, 10.0), start, 1);
    let now = watch(&mut history, &published, start, 2);
    let hours = vec![("real_power_total".to_owned(), vec![6.0; 60])];
    history.preload_unit(bus, unit, hours, Vec::new());
    published.at = now;
    let status = status_for_pages(&published, &history, |_| Depth::Detail, RecordFilter::All);
    let readings = &status.units[0].detail.as_ref().unwrap().readings;
    let power = readings.iter().find(|reading| reading.quantity == "real_power_total").unwrap();
    assert_eq!((power.first.len(), power.means.len()), (0, 60));
}

#[test]
fn what_was_before_the_first_look_comes_first_and_is_bounded() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let mut history = History::default();
    let bus = &published.buses[0];
    let (id, unit) = (bus.id, bus.units().next().unwrap().settings.id);
    let earlier: Vec<f32> = (0..u16::try_from(READING_MINUTES).unwrap() + 5).map(f32::from).collect();
    let minute = UnitMinute { transactions: 7, ..UnitMinute::default() };
    let profile = &bus.units().next().unwrap().profile.unwrap().profile;
    // What only grows has no means.
    let is_tracked = |name: &String| profile.point(name).unwrap().group != Group::Energy;
    let headline: Vec<String> = profile.headline.iter().filter(|name| is_tracked(name)).cloned().collect();
    let of =
        |name: String| if name == "real_power_total" { (name, earlier.clone()) } else { (name, Vec::new()) };
    let readings = headline.into_iter().map(of).collect();
    history.preload_unit(id, unit, readings, vec![minute; HEALTH_MINUTES + 1]);
    history.preload_bus(id, vec![BusMinute { transactions: 9, ..BusMinute::default() }]);
    read(&mut published, (0, 1), FLOATS, &float(POWER, 10.0), start, 1);
    let now = watch(&mut history, &published, start, 61);
    let means = means(&history, &published, "real_power_total", now);
    let means = means.as_array().unwrap();
    assert_eq!((means.len(), &means[0], means.last()), (READING_MINUTES, &json!(6.0), Some(&json!(10.0))));
    let health = of_unit(&history, &published, now)["health"].clone();
    assert_eq!((health.as_array().unwrap().len(), &health[0]["transactions"]), (HEALTH_MINUTES, &json!(7)));
    let minutes = history.bus(&published.buses[0]).map(|track| track.minutes.len());
    assert_eq!(minutes, Some(2));
}
