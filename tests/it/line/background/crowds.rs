//! Many clients and one shared reading that fails: their ranges are retried for all of them at once.

use super::*;

const CLIENTS: u64 = 100;
const PARTS: [ReadRange; 2] = [registers(260, 2), registers(300, 6)];

/// A line with a block too old for the clients, all of whom wait for it, half of them for each of its parts.
fn crowd(settings: LineSettings) -> Rig {
    let mut rig = Rig::of(settings);
    rig.serve(1, FLOATS, 7);
    rig.now += 10 * SECOND;
    for to in 0..CLIENTS {
        rig.read(to, 1, part_of(to), 5 * SECOND);
    }
    assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
    rig
}

fn part_of(client: u64) -> ReadRange {
    PARTS[usize::try_from(client).unwrap() % PARTS.len()]
}

/// Both parts are read once, in whatever order, before anything but background blocks; and every client has its answer.
fn assert_read_once_for_all(rig: &mut Rig) {
    let mut read = Vec::new();
    while read.len() < PARTS.len() {
        let (_, pdu) = rig.next_sent().unwrap();
        let range = RequestPdu::decode(pdu).unwrap().range().unwrap();
        rig.answer(1, &reply(range, 9), 20 * MS);
        if PARTS.contains(&range) {
            read.push(range);
        } else {
            assert!(range.quantity > 10, "{range:?} is no half of the block");
        }
    }
    assert_ne!(read[0], read[1]);
    for to in 0..CLIENTS {
        assert_eq!(rig.answered(to), Answer::Reply(reply(part_of(to), 9)), "client {to}");
    }
}

fn polled_hourly(retries: u32) -> LineSettings {
    LineSettings { retries, ..settings(Pace::Every(3600 * SECOND), Duration::ZERO) }
}

#[test]
fn what_many_wanted_of_a_silent_block_is_read_once_for_all_who_want_the_same() {
    let mut rig = crowd(polled_hourly(0));
    assert_read_once_for_all(&mut rig);
}

#[test]
fn what_many_wanted_of_a_refused_block_is_read_once_for_all_who_want_the_same() {
    let mut rig = crowd(polled_hourly(0));
    rig.answer(1, &exception_reply(FLOATS.function, ExceptionCode::ILLEGAL_DATA_ADDRESS), 20 * MS);
    assert_read_once_for_all(&mut rig);
}

#[test]
fn a_block_that_came_damaged_is_read_whole_again_for_all_its_clients() {
    let mut rig = crowd(polled_hourly(1));
    let mut adu = rtu::encode(1, &reply(FLOATS, 8)).to_vec();
    adu[40] ^= 1;
    rig.now += 120 * MS;
    rig.line.handle_bytes(&adu, rig.now);
    rig.drain();
    rig.serve(1, FLOATS, 9);
    for to in 0..CLIENTS {
        assert_eq!(rig.answered(to), Answer::Reply(reply(part_of(to), 9)), "client {to}");
    }
}

#[test]
fn a_part_that_is_not_answered_either_is_not_sent_more_often_than_retries_allow() {
    let mut settings = polled_hourly(1);
    settings.late_guard = 100 * MS;
    settings.response_timeout = 100 * MS;
    settings.units[0].response_timeout = 100 * MS;
    let mut rig = crowd(settings);
    let sent: Vec<_> = PARTS.iter().filter_map(|_| rig.next_sent()).map(|(_, pdu)| pdu).collect();
    assert!(PARTS.iter().all(|part| sent.contains(&part.request())), "{sent:?}");
    assert_eq!(rig.next_sent(), None, "neither is sent a second time");
    let failed = Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    assert!((0..CLIENTS).all(|to| rig.answered(to) == failed));
}

#[test]
fn a_part_whose_block_was_sent_and_that_is_not_sent_in_time_is_answered_with_0x0b() {
    let mut rig = crowd(polled_hourly(0));
    // The block was not answered; now its unit owes an answer, and the line is not called until all is too late.
    rig.now += 600 * MS;
    rig.line.handle_timeout(rig.now);
    rig.drain();
    rig.now += 10 * SECOND;
    rig.line.handle_timeout(rig.now);
    rig.drain();
    let failed = Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    assert!((0..CLIENTS).all(|to| rig.answered(to) == failed));
}
