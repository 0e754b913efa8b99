//! Whose answer a frame is, where it ends, and what a unit owes.

use super::bench::{Ask, Bench, NO_RESPONSE, reply, settings};

#[test]
fn an_answer_ends_at_its_length() {
    let mut bench = Bench::of(&[1]);
    bench.read(7, Ask::of(1), 0, 2);
    let sent = bench.sent();
    assert_eq!((sent.unit, &sent.pdu[..]), (1, &[3, 0, 0, 0, 2][..]));
    bench.to(20.0);
    bench.frame(1, &[3, 4, 1, 2, 3, 4]);
    assert_eq!(bench.timed_answer(), (7, 20.0, reply(&[3, 4, 1, 2, 3, 4])));
}

#[test]
fn a_pause_inside_an_answer_means_nothing() {
    let mut bench = Bench::of(&[1]);
    bench.read(7, Ask::of(1), 0, 2);
    bench.sent();
    let adu = metergate::modbus::rtu::encode(1, &[3, 4, 1, 2, 3, 4]);
    bench.to(20.0);
    bench.bytes(&adu[..3]);
    bench.to(60.0);
    bench.bytes(&adu[3..]);
    assert_eq!(bench.timed_answer(), (7, 60.0, reply(&[3, 4, 1, 2, 3, 4])));
}

#[test]
fn an_exception_is_done_at_its_fifth_byte_and_passes_untouched() {
    let mut bench = Bench::of(&[1]);
    bench.read(7, Ask::of(1), 0, 100);
    bench.sent();
    bench.to(20.0);
    bench.frame(1, &[0x83, 0x04]);
    assert_eq!(bench.timed_answer(), (7, 20.0, reply(&[0x83, 0x04])));
}

#[test]
fn an_answer_of_unknown_length_ends_by_quiet() {
    let mut bench = Bench::of(&[1]);
    bench.ask(7, Ask::of(1), &[0x41, 1]);
    bench.sent();
    bench.to(20.0);
    bench.frame(1, &[0x41, 9, 8, 7]);
    bench.no_answer();
    let (id, at, answer) = bench.timed_answer();
    assert_eq!((id, answer), (7, reply(&[0x41, 9, 8, 7])));
    assert!((39.9..41.0).contains(&at), "{at}");
}

#[test]
fn zeros_behind_an_answer_of_unknown_length_are_not_passed_on() {
    let mut bench = Bench::of(&[1]);
    bench.ask(7, Ask::of(1), &[0x41, 1]);
    bench.sent();
    bench.to(20.0);
    bench.frame(1, &[0x41, 9, 8, 7]);
    bench.bytes(&[0, 0, 0]);
    assert_eq!(bench.answer(), (7, reply(&[0x41, 9, 8, 7])));
}

#[test]
fn a_frame_of_another_unit_is_skipped_and_the_wait_goes_on() {
    let mut bench = Bench::of(&[1, 2]);
    bench.read(7, Ask::of(1), 0, 1);
    bench.sent();
    bench.to(20.0);
    bench.frame(2, &[3, 2, 0xBA, 0xD0]);
    bench.no_answer();
    bench.to(30.0);
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.answer(), (7, reply(&[3, 2, 0, 5])));
    assert_eq!(bench.view.counters.foreign_frames, 1);
}

#[test]
fn a_short_answer_is_not_given_to_anybody() {
    let mut bench = Bench::of(&[1]);
    bench.ask(7, Ask { deadline: 700.0, ..Ask::of(1) }, &[3, 0, 0, 0, 2]);
    bench.sent();
    bench.to(20.0);
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.answer(), (7, NO_RESPONSE));
}

#[test]
fn a_read_is_tried_again_once_the_guard_is_over() {
    let mut bench = Bench::of(&[1]);
    bench.read(7, Ask::of(1), 0, 1);
    let first = bench.sent();
    let second = bench.sent();
    assert_eq!(first.pdu, second.pdu);
    // The wire time, the response timeout, the guard.
    assert!((1004.1..1005.0).contains(&(second.at - first.at)), "{}", second.at - first.at);
    assert_eq!(bench.answer(), (7, NO_RESPONSE));
}

#[test]
fn a_write_is_never_tried_again() {
    let mut bench = Bench::of(&[1]);
    bench.ask(7, Ask::of(1), &[6, 0, 0, 0, 1]);
    bench.sent();
    let (id, at, answer) = bench.timed_answer();
    assert_eq!((id, answer), (7, NO_RESPONSE));
    assert!((506.0..507.0).contains(&at), "{at}");
    bench.silent_to(5_000.0);
}

#[test]
fn a_garbled_answer_owes_nothing_and_the_read_goes_out_again_without_a_guard() {
    let mut bench = Bench::of(&[1]);
    bench.read(7, Ask::of(1), 0, 1);
    bench.sent();
    bench.to(20.0);
    bench.bytes(&[1, 3, 2, 0, 5, 0xFF, 0xFF]);
    let again = bench.sent();
    assert!(again.at < 100.0, "{}", again.at);
}

#[test]
fn noise_that_looks_like_a_garbled_answer_leaves_the_answer_owed() {
    let mut bench = Bench::of(&[1]);
    bench.read(7, Ask::of(1), 0, 1);
    bench.sent();
    bench.to(20.0);
    bench.bytes(&[0xFF]);
    bench.bytes(&[1, 3, 2, 0, 5, 0xFF, 0xFF]);
    bench.silent_to(500.0);
    bench.frame(1, &[3, 2, 0, 6]);
    assert_eq!(bench.answer(), (7, reply(&[3, 2, 0, 6])));
}

#[test]
fn a_garbled_answer_may_be_of_another_unit_that_owes_one() {
    let mut bench = Bench::of(&[1, 2]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.read(2, Ask::of(2).on(2, 2), 0, 1);
    let second = bench.sent();
    assert_eq!(second.unit, 2);
    // What unit 1 owed, with a damaged identifier.
    bench.to(second.at + 10.0);
    bench.bytes(&[2, 3, 2, 0, 5, 0xFF, 0xFF]);
    bench.silent_to(second.at + 200.0);
    bench.frame(2, &[3, 2, 0, 6]);
    assert_eq!(bench.answer(), (2, reply(&[3, 2, 0, 6])));
}

#[test]
fn a_truncated_answer_stays_owed() {
    let mut bench = Bench::of(&[1]);
    bench.read(7, Ask::of(1), 0, 1);
    let first = bench.sent();
    bench.to(20.0);
    bench.bytes(&[1, 3, 2, 0]);
    let again = bench.sent();
    assert!(again.at - first.at > 1_000.0, "{}", again.at);
}

#[test]
fn a_late_answer_is_not_given_to_the_next_request() {
    let mut bench = Bench::new(metergate::bus::settings::LineSettings { retries: 0, ..settings(&[1]) });
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.to(100.0);
    bench.read(2, Ask::of(1), 50, 1);
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    bench.silent_to(800.0);
    bench.frame(1, &[3, 2, 0xBA, 0xD0]);
    bench.no_answer();
    // It has come, so the unit owes nothing any more.
    let next = bench.sent();
    assert!((802.0..802.1).contains(&next.at), "{}", next.at);
    assert_eq!(next.pdu, [3, 0, 50, 0, 1]);
    assert_eq!(bench.view.units[0].counters.late_answers, 1);
}

#[test]
fn a_late_answer_answers_the_request_that_still_waits_for_it() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.silent_to(800.0);
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.timed_answer(), (1, 800.0, reply(&[3, 2, 0, 5])));
    bench.silent_to(5_000.0);
}

#[test]
fn a_late_answer_is_too_old_for_who_came_after_it_was_asked() {
    let mut bench = Bench::of(&[1]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.to(600.0);
    bench.read(2, Ask::of(1).on(2, 2), 0, 1);
    bench.to(800.0);
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.answer(), (1, reply(&[3, 2, 0, 5])));
    bench.no_answer();
    bench.serve(9);
    assert_eq!(bench.answer(), (2, reply(&[3, 2, 9, 9])));
}

#[test]
fn the_guard_holds_only_its_own_unit() {
    let mut bench = Bench::of(&[1, 2]);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    bench.read(2, Ask::of(2), 0, 1);
    let next = bench.sent();
    assert_eq!(next.unit, 2);
    assert!((506.1..506.2).contains(&next.at), "{}", next.at);
}

#[test]
fn an_answer_of_the_wrong_length_lengthens_no_guard() {
    let mut bench = Bench::new(metergate::bus::settings::LineSettings { retries: 5, ..settings(&[1]) });
    bench.ask(7, Ask::of(1), &[3, 0, 0, 0, 2]);
    let mut last = bench.sent();
    for _ in 0..3 {
        bench.to(last.at + 20.0);
        bench.frame(1, &[3, 2, 0, 5]);
        let next = bench.sent();
        // The response timeout and the guard, each time: it came at once, and waiting longer would not mend it.
        assert!((1004.1..1005.0).contains(&(next.at - last.at)), "{}", next.at - last.at);
        last = next;
    }
}

#[test]
fn an_answer_that_comes_after_the_guard_lengthens_it() {
    let mut bench = Bench::new(metergate::bus::settings::LineSettings { retries: 0, ..settings(&[1]) });
    bench.read(1, Ask::of(1), 0, 1);
    let first = bench.sent();
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    bench.read(2, Ask::of(1), 0, 2);
    let second = bench.sent();
    // One register: the answer to the first, given up some 505 ms after it was sent.
    bench.to(first.at + 1_105.0);
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.answer(), (2, NO_RESPONSE));
    bench.read(3, Ask::of(1), 0, 1);
    let third = bench.sent();
    // The response timeout, and a guard of five quarters of 600 ms and the 20 ms after which it was known to be whole.
    assert!((1_279.0..1_281.0).contains(&(third.at - second.at)), "{}", third.at - second.at);
}

#[test]
fn the_guard_is_learned_from_the_last_four_requests_given_up() {
    for (count, learns) in [(4, true), (5, false)] {
        let offline_after = metergate::bus::settings::OfflineAfter {
            failures: 100,
            time: std::time::Duration::from_secs(60),
        };
        let mut bench = Bench::new(metergate::bus::settings::LineSettings {
            retries: 0,
            offline_after,
            ..settings(&[1])
        });
        for quantity in 1..=count {
            bench.read(u32::from(quantity), Ask::of(1), 0, quantity);
            bench.sent();
            assert_eq!(bench.answer(), (u32::from(quantity), NO_RESPONSE));
        }
        // The answer to the first.
        bench.frame(1, &[3, 2, 0, 5]);
        bench.read(10, Ask::of(1), 0, 10);
        let before = bench.sent();
        bench.read(11, Ask::of(1), 0, 11);
        let after = bench.sent();
        assert_eq!(after.at - before.at > 2_000.0, learns, "{count}: {}", after.at - before.at);
    }
}
