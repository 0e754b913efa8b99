//! Time the machine was suspended counts as age of all data read before.

use metergate::line::Now;

use super::*;

const SLEPT: Duration = Duration::from_secs(60);

fn awake(rig: &Rig) -> Now {
    Now { instant: rig.now, slept: SLEPT }
}

#[test]
fn a_block_is_older_by_what_the_machine_has_slept_since() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig.now += SECOND;
    let snapshot = Arc::clone(&rig.view.units[0].snapshot);
    let answer = |max_age| snapshot.answer(&FLOATS, max_age, ListenerId::default(), awake(&rig));
    assert_eq!(answer(60 * SECOND), None);
    assert_eq!(answer(62 * SECOND), Some(reply(FLOATS, 7)));
    let request = rig.request(1, 1, &FLOATS.request(), 60 * SECOND);
    let now = awake(&rig);
    rig.line.handle_request(request, now);
    rig.drain();
    assert_eq!(rig.next_sent(), Some((1, FLOATS.request())), "the line itself finds it too old");
}

#[test]
fn a_read_from_before_the_sleep_is_not_joined() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
    let request = rig.request(1, 1, &registers(260, 2).request(), 30 * SECOND);
    let now = awake(&rig);
    rig.line.handle_request(request, now);
    rig.line.handle_bytes(&rtu::encode(1, &reply(FLOATS, 7)), Now { instant: rig.now + 20 * MS, ..now });
    rig.now += 20 * MS;
    rig.drain();
    assert!(rig.answers.is_empty(), "its data is a minute old");
}

#[test]
fn an_answer_that_comes_late_after_a_sleep_is_as_old_as_its_request() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
    rig.now += 600 * MS;
    rig.line.handle_timeout(rig.now);
    rig.now += 50 * MS;
    let now = awake(&rig);
    rig.line.handle_bytes(&rtu::encode(1, &reply(FLOATS, 7)), now);
    rig.drain();
    let snapshot = &rig.view.units[0].snapshot;
    assert_eq!(snapshot.answer(&FLOATS, 30 * SECOND, ListenerId::default(), now), None);
    assert!(snapshot.answer(&FLOATS, 90 * SECOND, ListenerId::default(), now).is_some());
}

#[test]
fn a_late_answer_from_before_the_sleep_is_not_for_a_client_that_asked_after_it() {
    let line = settings(Pace::Every(3600 * SECOND), Duration::ZERO);
    let mut rig = Rig::of(LineSettings { retries: 1, late_guard: SECOND, ..line });
    rig.serve(1, FLOATS, 7);
    rig.now += SECOND;
    let range = registers(700, 2);
    let first = rig.request(1, 1, &range.request(), 30 * SECOND);
    rig.line.handle_request(first, rig.now);
    assert_eq!(rig.next_sent(), Some((1, range.request())));
    rig.now += 600 * MS;
    rig.line.handle_timeout(rig.now);
    let second = rig.request(2, 1, &range.request(), 30 * SECOND);
    let now = awake(&rig);
    rig.line.handle_request(second, now);
    rig.now += 50 * MS;
    let now = awake(&rig);
    rig.line.handle_bytes(&rtu::encode(1, &reply(range, 8)), now);
    rig.drain();
    let answered: Vec<_> = rig.answers.iter().map(|(id, _)| *id).collect();
    assert_eq!(answered, [1], "its data is a minute old");
}
