//! A unit whose input registers repeat its holding registers: one reading serves both.

use super::*;

/// Unit 1 as with a profile that says so.
fn mirrored(pace: Pace) -> Rig {
    let mut settings = settings(pace, Duration::ZERO);
    settings.units[0].polling.mirrored = true;
    Rig::of(settings)
}

fn input(start: u16, quantity: u16) -> ReadRange {
    ReadRange { function: FunctionCode::READ_INPUT_REGISTERS, ..registers(start, quantity) }
}

#[test]
fn a_miss_in_either_table_reads_the_planned_block_and_is_answered_in_its_own() {
    let mut rig = mirrored(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig.now += 10 * SECOND;
    rig.read(1, 1, input(260, 2), 5 * SECOND);
    rig.read(2, 1, registers(300, 6), 5 * SECOND);
    rig.serve(1, FLOATS, 9);
    assert_eq!(rig.answered(1), Answer::Reply(reply(input(260, 2), 9)));
    assert_eq!(rig.answered(2), Answer::Reply(reply(registers(300, 6), 9)));
    assert_eq!(rig.held(1, input(260, 2), SECOND), Some(reply(input(260, 2), 9)));
    assert_eq!(rig.next_sent(), None, "one reading for both");
}

#[test]
fn a_read_of_the_other_table_joins_the_one_that_waits_and_the_one_on_the_wire() {
    let mut rig = mirrored(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig.read(1, 2, registers(0, 2), SECOND);
    assert_eq!(rig.next_sent(), Some((2, registers(0, 2).request())));
    rig.read(2, 1, registers(10, 4), SECOND);
    rig.read(3, 1, input(10, 4), SECOND);
    rig.answer(2, &reply(registers(0, 2), 1), 20 * MS);
    assert_eq!(rig.next_sent(), Some((1, registers(10, 4).request())));
    rig.read(4, 1, input(12, 2), SECOND);
    rig.answer(1, &reply(registers(10, 4), 5), 20 * MS);
    assert_eq!(rig.answered(2), Answer::Reply(reply(registers(10, 4), 5)));
    assert_eq!(rig.answered(3), Answer::Reply(reply(input(10, 4), 5)));
    assert_eq!(rig.answered(4), Answer::Reply(reply(input(12, 2), 5)));
    assert_eq!(rig.next_sent(), None);
}

#[test]
fn a_range_is_learned_once_whichever_table_is_asked() {
    let mut rig = mirrored(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig.read(1, 1, registers(10, 4), SECOND);
    rig.serve(1, registers(10, 4), 1);
    for to in 2..4 {
        rig.now += 2 * SECOND;
        rig.read(to, 1, input(10, 4), SECOND);
        rig.serve(1, registers(10, 4), 2);
        assert_eq!(rig.answered(to), Answer::Reply(reply(input(10, 4), 2)));
    }
    assert_eq!(rig.view.polling.learned, 1);
}

#[test]
fn what_was_read_of_one_table_takes_the_place_of_what_was_read_of_the_other() {
    let mut rig = mirrored(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig.now += SECOND;
    let whole = input(FLOATS.start, FLOATS.quantity);
    // A client that accepts no aged data reads the very table it names, and its data serves others.
    rig.read(1, 1, whole, Duration::ZERO);
    rig.serve(1, whole, 8);
    assert_eq!(rig.answered(1), Answer::Reply(reply(whole, 8)));
    assert_eq!(rig.held(1, FLOATS, 60 * SECOND), Some(reply(FLOATS, 8)));
    assert_eq!(rig.view.units[0].snapshot.blocks().len(), 1);
}

#[test]
fn an_exception_that_is_shared_carries_the_function_of_each_client() {
    let mut rig = mirrored(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig.now += 10 * SECOND;
    rig.read(1, 1, input(260, 2), 5 * SECOND);
    assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
    let code = ExceptionCode::SERVER_DEVICE_BUSY;
    rig.answer(1, &exception_reply(FLOATS.function, code), 20 * MS);
    let expected = exception_reply(FunctionCode::READ_INPUT_REGISTERS, code);
    assert_eq!(rig.answered(1), Answer::Reply(expected));
}

#[test]
fn what_was_wanted_of_a_refused_block_is_read_in_the_table_it_was_asked_of() {
    for code in [ExceptionCode::ILLEGAL_DATA_ADDRESS, ExceptionCode(4)] {
        let mut rig = mirrored(Pace::Every(3600 * SECOND));
        rig.serve(1, FLOATS, 7);
        rig.now += 10 * SECOND;
        // A refusal of one table proves nothing about the other.
        rig.read(1, 1, input(260, 2), 5 * SECOND);
        assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
        rig.answer(1, &exception_reply(FLOATS.function, code), 20 * MS);
        rig.serve(1, input(260, 2), 3);
        assert_eq!(rig.answered(1), Answer::Reply(reply(input(260, 2), 3)));
    }
}

#[test]
fn without_a_word_of_the_profile_each_table_is_read_itself() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig.now += 10 * SECOND;
    rig.read(1, 1, input(260, 2), 5 * SECOND);
    rig.serve(1, input(260, 2), 3);
    assert_eq!(rig.answered(1), Answer::Reply(reply(input(260, 2), 3)));
}
