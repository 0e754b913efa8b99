//! Traffic as lines of text, and the filter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metergate::line::{BusId, UnitId};
use metergate::meter::Profile;
use metergate::modbus::rtu;
use metergate::server::{ListenerSettings, Writes};
use metergate::trace::{Ending, Filter, Origin, line};
use metergate::traffic::{TrafficEvent, UnitDirectory, UnitName};

use crate::support::captured::{Act, Rig, told};
use crate::support::clients::{WRITE, settings};

/// Unit 1 is a 4000-R; of unit 2 nothing is known.
fn names() -> UnitDirectory {
    let mut names = UnitDirectory::default();
    let profile = Some(Arc::new(Profile::builtin("leviton-4000r").unwrap().clone()));
    let named = |alias: u8, profile| (UnitId::new(alias).unwrap(), UnitName { alias, name: None, profile });
    names.insert(BusId(0), "riser-a", BTreeMap::from([named(1, profile), named(2, None)]));
    names
}

async fn run() -> Vec<Arc<TrafficEvent>> {
    let listener = ListenerSettings { writes: Writes::Allow, max_age: Duration::from_secs(10), ..settings() };
    let mut rig = Rig::start(listener);
    let mut peer = rig.connect("10.0.0.5:40001", "10.0.0.1:502");
    let mut other = rig.connect("10.0.0.6:40001", "10.0.0.1:502");
    let (_, follower) = rig.traffic.follow();
    // Configuration from register 130 on, one of three points with a word of its own.
    let configuration = [3, 0, 129, 0, 3];
    rig.script(&configuration, [Act::Reply(vec![3, 6, 0, 12, 0, 200, 0, 0])]);
    for _ in 0..2 {
        peer.ask(1, &configuration).await.unwrap();
    }
    rig.script(WRITE, [Act::Silent]);
    assert_eq!(other.ask(2, WRITE).await.unwrap()[..], [0x86, 0x0B]);
    let read = [4, 0, 9, 0, 1];
    let damaged = [&[1][..], &rtu::encode(1, &[4, 2, 0, 5])].concat();
    rig.script(&read, [Act::Raw(vec![2, 4, 2]), Act::Reply(vec![4, 2, 0, 5])]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    other.ask(2, &read).await.unwrap();
    rig.script(&[1, 0, 0, 0, 1], [Act::Raw(damaged), Act::Reply(vec![0x81, 1])]);
    other.ask(2, &[1, 0, 0, 0, 1]).await.unwrap();
    other.ask(77, &read).await.unwrap();
    told(follower).await
}

/// Without the time in front.
fn shown(events: &[Arc<TrafficEvent>], filter: Filter) -> Vec<String> {
    let names = names();
    let passing = events.iter().filter(|event| filter.passes(event, &names));
    passing.filter_map(|event| line(event, &names, |_| 0)).map(|line| line[12..].to_owned()).collect()
}

const READ_BY_LINE: &str = " riser-a      unit 1   10.0.0.5              read holding registers 130-132 \
    (system_type, ct_primary, reserved_132): answered after 15.8 ms = 12, 200 A, 0";
const READ_AT_HAND: &str = " -            unit 1   10.0.0.5              read holding registers 130-132 \
    (system_type, ct_primary, reserved_132): answered from the snapshot after 0.0 ms = 12, 200 A, 0";
const WRITE_LOST: &str =
    " riser-a      unit 2   10.0.0.6              write single register 2: no answer in 500.8 ms";
const WRITE_TOLD: &str = " -            unit 2   10.0.0.6              write single register 2: exception 0x0B \
    gateway target device failed to respond by the gateway";
const BROKEN_OFF: &str = " riser-a      unit 2   10.0.0.6              read input registers 10: the answer broke off \
    in 68.8 ms, 3 bytes of no frame";
const AGAIN: &str = " riser-a      unit 2   10.0.0.6              read input registers 10: answered after 15.8 ms, \
    attempt 2 = 5";
const NOISY: &str = " riser-a      unit 2   10.0.0.6              read coils 1: no answer in 500.8 ms, and a frame \
    that does not answer it, 1 bytes of no frame";
const REFUSED: &str = " riser-a      unit 2   10.0.0.6              read coils 1: exception 0x01 illegal function \
    after 15.8 ms, attempt 2";
const NO_ROUTE: &str = " -            unit 77  10.0.0.6              read input registers 10: exception 0x0A gateway \
    path unavailable by the gateway";

#[tokio::test(start_paused = true)]
async fn a_line_shows_client_unit_request_and_answer() {
    let events = run().await;
    let all =
        [READ_BY_LINE, READ_AT_HAND, WRITE_LOST, WRITE_TOLD, BROKEN_OFF, AGAIN, NOISY, REFUSED, NO_ROUTE];
    assert_eq!(shown(&events, Filter::default()), all);
}

#[tokio::test(start_paused = true)]
async fn only_what_was_asked_for_is_shown() {
    let events = run().await;
    let shown = |filter| shown(&events, filter);
    assert_eq!(shown(Filter { unit: Some(1), ..Filter::default() }), [READ_BY_LINE, READ_AT_HAND]);
    assert_eq!(shown(Filter { unit: Some(77), ..Filter::default() }), [NO_ROUTE]);
    assert_eq!(
        shown(Filter { client: Some("10.0.0.5".parse().unwrap()), ..Filter::default() }),
        [READ_BY_LINE, READ_AT_HAND]
    );
    let ending = |word: &str| Filter { outcome: Some(word.parse().unwrap()), ..Filter::default() };
    assert_eq!(shown(ending("answered")), [READ_BY_LINE, READ_AT_HAND, AGAIN]);
    assert_eq!(shown(ending("silent")), [WRITE_LOST, NOISY]);
    assert_eq!(shown(ending("damaged")), [BROKEN_OFF]);
    assert_eq!(shown(ending("failed")), [WRITE_LOST, WRITE_TOLD, BROKEN_OFF, NOISY, NO_ROUTE]);
    assert_eq!(shown(ending("exception")), [WRITE_TOLD, REFUSED, NO_ROUTE]);
    assert_eq!(shown(ending("stray")), [""; 0]);
    // All of it is for clients; what a gateway does on its own is tried with a program.
    assert_eq!(shown(Filter { origin: Origin::Clients, ..Filter::default() }).len(), 9);
    let unknown = "lost".parse::<Ending>().unwrap_err();
    assert_eq!(unknown.to_string(), "allowed: failed, exception, answered, silent, damaged, stray");
}

#[tokio::test(start_paused = true)]
async fn the_time_is_local_time() {
    let events = run().await;
    let times = |offset| line(&events[1], &names(), |_| offset).map(|line| line[..12].to_owned());
    let (utc, east) = (times(0).unwrap(), times(5 * 3600 + 1800).unwrap());
    let seconds = |time: &str| {
        let part = |at: usize| time[at..at + 2].parse::<u32>().unwrap();
        part(0) * 3600 + part(3) * 60 + part(6)
    };
    assert_eq!((seconds(&utc) + 5 * 3600 + 1800) % 86_400, seconds(&east));
    assert_eq!(utc[8..], east[8..]);
}
