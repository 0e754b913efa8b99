//! Units and ports that are gone: how their return is detected, and what is served meanwhile.

use super::*;

#[test]
fn a_unit_never_heard_is_probed_with_the_first_pair_of_its_first_block() {
    let mut rig = Rig::start(Pace::Every(SECOND));
    while !rig.view.units[0].state.to_string().contains("off") {
        assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
        // Until its guard is over.
        let until = rig.now + 1200 * MS;
        while let Some(at) = rig.line.poll_timeout().filter(|at| *at <= until && rig.sent.is_empty()) {
            rig.now = at;
            rig.line.handle_timeout(at);
            rig.drain();
        }
    }
    assert_eq!(rig.next_sent(), Some((1, registers(256, 2).request())));
}

#[test]
fn while_the_port_is_gone_young_data_is_served_and_everything_else_refused() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig.line.handle_port(PortEvent::Lost, rig.now);
    rig.drain();
    rig.now += SECOND;
    assert_eq!(rig.held(1, FLOATS, 2 * SECOND), Some(reply(FLOATS, 7)), "by the connection itself");
    rig.read(1, 1, FLOATS, 2 * SECOND);
    assert_eq!(rig.answered(1), Answer::Reply(reply(FLOATS, 7)), "and by the line");
    let refused = Answer::Refused(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    rig.read(2, 1, FLOATS, Duration::ZERO);
    assert_eq!(rig.answered(2), refused, "who takes no aged data");
    rig.ask(3, 1, &WRITE, 2 * SECOND);
    assert_eq!(rig.answered(3), refused, "who writes");
    rig.now += 2 * SECOND;
    rig.read(4, 1, FLOATS, 2 * SECOND);
    assert_eq!(rig.answered(4), refused, "what has become too old");
}

#[test]
fn a_read_behind_a_write_of_the_same_connection_is_not_answered_from_before_it() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    // Unit 2 has the line, so the write waits, and the read is handed in behind it.
    rig.read(9, 2, registers(0, 2), Duration::ZERO);
    assert_eq!(rig.next_sent(), Some((2, registers(0, 2).request())));
    rig.ask(1, 1, &WRITE, SECOND);
    rig.read(1, 1, registers(256, 2), SECOND);
    // Another connection is not affected by it.
    rig.read(2, 1, registers(256, 2), SECOND);
    assert_eq!(rig.answered(2), Answer::Reply(reply(registers(256, 2), 7)));
    rig.answer(2, &reply(registers(0, 2), 1), 20 * MS);
    assert_eq!(rig.next_sent().unwrap().1[..], WRITE);
    rig.answer(1, &WRITE, 20 * MS);
    rig.serve(1, FLOATS, 8);
    let answers: Vec<_> = rig.answers.iter().filter(|(to, _)| *to == 1).map(|(_, answer)| answer).collect();
    let expected = [Answer::Reply(Bytes::from_static(&WRITE)), Answer::Reply(reply(registers(256, 2), 8))];
    assert_eq!(answers, expected.iter().collect::<Vec<_>>());
}
