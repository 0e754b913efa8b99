//! A reload passes its settings to the running line: what they do not change continues.

use metergate::line::PortSettingsChange;

use super::*;

fn reload(rig: &mut Rig, settings: LineSettings) {
    rig.line.handle_settings(settings, PortSettingsChange::Unchanged, rig.now);
    rig.drain();
}

/// How often the block of unit 1 is read in `time`.
fn readings(rig: &mut Rig, time: Duration) -> usize {
    let until = rig.now + time;
    rig.pass(until).iter().filter(|(_, id, range)| (*id, *range) == (1, FLOATS)).count()
}

#[test]
fn a_unit_with_another_profile_loses_its_blocks_and_the_others_keep_theirs() {
    let before = settings(Pace::Every(3600 * SECOND), Duration::ZERO);
    let mut rig = Rig::of(before.clone());
    rig.serve(1, FLOATS, 7);
    rig.read(1, 2, registers(10, 4), 60 * SECOND);
    rig.serve(2, registers(10, 4), 5);
    let mut after = before;
    after.units[0].polling.blocks[0].range = registers(256, 60);
    reload(&mut rig, after);
    assert_eq!(rig.held(1, registers(256, 2), 60 * SECOND), None);
    assert_eq!(rig.held(2, registers(10, 4), 60 * SECOND), Some(reply(registers(10, 4), 5)));
    assert_eq!(rig.view.units[0].measured[..], [registers(256, 60)]);
    rig.serve(1, registers(256, 60), 8);
}

#[test]
fn another_interval_takes_effect_and_costs_no_block() {
    let before = settings(Pace::Every(10 * SECOND), Duration::ZERO);
    let mut rig = Rig::of(before.clone());
    let count = readings(&mut rig, 60 * SECOND);
    assert!((6..=7).contains(&count), "{count} in a minute");
    let mut after = before;
    after.units[0].polling.blocks[0].pace = Pace::Every(2 * SECOND);
    reload(&mut rig, after);
    assert!(rig.held(1, FLOATS, 60 * SECOND).is_some());
    let count = readings(&mut rig, 60 * SECOND);
    assert!((29..=32).contains(&count), "{count} in a minute");
}

#[test]
fn another_interval_takes_effect_on_a_block_that_is_read_in_parts() {
    let before = settings(Pace::Every(10 * SECOND), Duration::ZERO);
    let mut rig = Rig::of(before.clone());
    let refusing = |_, range| {
        let refusal = exception_reply(FLOATS.function, ExceptionCode::ILLEGAL_DATA_ADDRESS);
        Some(if range == FLOATS { refusal } else { reply(range, 1) })
    };
    let until = rig.now + 60 * SECOND;
    rig.pass_with(until, refusing);
    let mut after = before;
    after.units[0].polling.blocks[0].pace = Pace::Every(2 * SECOND);
    reload(&mut rig, after);
    let until = rig.now + 60 * SECOND;
    let read = rig.pass_with(until, refusing);
    let count = read.iter().filter(|(.., range)| *range == registers(256, 44)).count();
    assert!((28..=34).contains(&count), "{count} in a minute");
}

#[test]
fn another_share_changes_the_automatic_interval() {
    let mut before = settings(Pace::Auto, Duration::ZERO);
    let block = |index: u16| PolledBlock {
        range: registers(index * 100, 90),
        core: None,
        measured: true,
        pace: Pace::Auto,
    };
    before.units[0].polling.blocks = (0..8).map(block).collect();
    let mut rig = Rig::of(before.clone());
    let until = rig.now + 20 * SECOND;
    rig.pass(until);
    let interval = rig.view.polling.interval;
    reload(&mut rig, LineSettings { poll_share: before.poll_share / 3.0, ..before });
    assert!(
        rig.view.polling.interval > interval * 29 / 10,
        "{interval:?}, then {:?}",
        rig.view.polling.interval
    );
}

#[test]
fn what_was_learned_goes_on_after_a_reload() {
    let before = settings(Pace::Every(3600 * SECOND), Duration::ZERO);
    let mut rig = Rig::of(before.clone());
    rig.serve(1, FLOATS, 7);
    for to in 0..2 {
        rig.read(to, 2, registers(10, 4), SECOND);
        rig.serve(2, registers(10, 4), 5);
        rig.now += 2 * SECOND;
    }
    let mut after = before;
    after.retries = 2;
    after.units[1].response_timeout = 600 * MS;
    reload(&mut rig, after);
    assert_eq!(rig.view.polling.learned, 1);
    rig.read(3, 2, registers(11, 2), SECOND);
    rig.serve(2, registers(10, 4), 6);
}
