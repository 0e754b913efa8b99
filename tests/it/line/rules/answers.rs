//! Which request a frame answers, where it ends, and what a unit owes.

use metergate::line::{Answer, LineSettings};

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
fn a_short_answer_reaches_no_client() {
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
    assert!((504.1..504.2).contains(&at), "{at}");
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
    let mut bench = Bench::new(LineSettings { retries: 0, ..settings(&[1]) });
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
fn a_late_answer_is_too_old_for_a_client_that_came_after_its_request() {
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
    assert!((504.1..504.2).contains(&next.at), "{}", next.at);
}

/// A line without retries whose unit 1 once answered so long after it had been given up, and has rested since.
fn late_by(late: f64) -> Bench {
    let offline_after =
        metergate::line::OfflineAfter { failures: 100, time: std::time::Duration::from_secs(60) };
    let line = LineSettings { retries: 0, offline_after, ..settings(&[1]) };
    let mut bench = Bench::new(line);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    let given_up = bench.now();
    bench.to(given_up + late);
    bench.frame(1, &[3, 2, 0, 5]);
    bench.to(given_up + 20_000.0);
    bench
}

/// After how long `pdu` is sent if an answer to the read of register 0 was lost, counted from when that was given up.
fn asked_after(bench: &mut Bench, pdu: &[u8]) -> f64 {
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    let given_up = bench.now();
    bench.ask(2, Ask::of(1), pdu);
    bench.sent().at - given_up
}

#[test]
fn an_answer_that_came_after_the_guard_forbids_only_what_could_be_confused() {
    let plain = 500.0..500.1;
    // Five quarters of 4 s, and 5 s at most.
    let late = 5_000.0..5_000.1;
    let table: [(&[u8], _, _); 5] = [
        (&[3, 0, 0, 0, 1], &plain, "the same read"),
        (&[3, 0, 9, 0, 2], &plain, "another length"),
        (&[4, 0, 9, 0, 1], &plain, "another function"),
        (&[3, 0, 9, 0, 1], &late, "another read of the same length"),
        (&[6, 0, 9, 0, 1], &late, "a write"),
    ];
    for (pdu, after, what) in table {
        let asked = asked_after(&mut late_by(4_000.0), pdu);
        assert!(after.contains(&asked), "{what}: {asked}");
    }
}

#[test]
fn lateness_within_the_guard_or_beyond_five_seconds_teaches_nothing() {
    for late in [300.0, 5_001.0] {
        let asked = asked_after(&mut late_by(late), &[3, 0, 9, 0, 1]);
        assert!((500.0..500.1).contains(&asked), "{late}: {asked}");
    }
}

#[test]
fn lateness_is_forgotten_by_halves() {
    let mut bench = late_by(3_000.0);
    for (minutes, after) in [(11.0, 1_875.0), (21.0, 937.5), (31.0, 500.0)] {
        bench.to(minutes * 60_000.0);
        let asked = asked_after(&mut bench, &[3, 0, 9, 0, 1]);
        assert!((asked - after).abs() < 1.0, "{minutes}: {asked}");
        assert_eq!(bench.answer(), (2, NO_RESPONSE));
    }
}

#[test]
fn the_answer_to_a_read_sent_again_counts_as_begun_when_it_was_sent_first() {
    let mut bench = late_by(4_000.0);
    bench.read(1, Ask::of(1), 0, 1);
    bench.sent();
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    let first = bench.now();
    bench.read(2, Ask { max_age: 60_000.0, ..Ask::of(1) }, 0, 1);
    let again = bench.sent();
    bench.to(again.at + 20.0);
    // It answers the first, or the second.
    bench.frame(1, &[3, 2, 0, 5]);
    assert_eq!(bench.answer(), (2, reply(&[3, 2, 0, 5])));
    let begun = bench.view.units[0].snapshot.blocks()[0].begun.instant;
    assert!((bench.millis(begun) - (first - 504.167)).abs() < 0.1, "{}", bench.millis(begun));
}

/// A meter that answers in order and keeps what comes while it is busy.
struct Queueing {
    /// How long each request takes.
    takes: f64,
    free_at: f64,
    /// The request of this number takes so much longer.
    busy: (usize, f64),
    /// The answer of this number comes twice, so long after it.
    twice: (usize, f64),
    /// Reads of one register, or of one and two in turn.
    lengths: u8,
}

impl Queueing {
    /// What a client that reads the registers 0 to 99 in turn until `until` receives, as (register, value).
    fn read_in_turn(mut self, until: f64) -> (Bench, Vec<(u8, u8)>) {
        let mut bench = Bench::of(&[1]);
        let (mut frames, mut values, mut count) = (Vec::<(f64, u8, u8)>::new(), Vec::new(), 0);
        let mut register = 0;
        bench.read(0, Ask::of(1), register, 1 + register % self.lengths);
        while bench.now() < until {
            while let Some(sent) = bench.next_sent() {
                count += 1;
                let longer = if count == self.busy.0 { self.busy.1 } else { 0.0 };
                self.free_at = self.free_at.max(sent.at + 10.0) + self.takes + longer;
                frames.push((self.free_at, sent.pdu[2], sent.pdu[4]));
                if count == self.twice.0 {
                    frames.push((self.free_at + self.twice.1, sent.pdu[2], sent.pdu[4]));
                }
            }
            if let Some((_, answer)) = bench.take_answer() {
                if let Answer::Reply(pdu) = answer {
                    values.push((register, pdu[3]));
                }
                register = (register + 1) % 100;
                bench.read(0, Ask::of(1), register, 1 + register % self.lengths);
                continue;
            }
            frames.sort_by(|one, other| one.0.total_cmp(&other.0));
            let timer = bench.next_due().unwrap_or(f64::INFINITY);
            match frames.first().copied() {
                Some((at, value, quantity)) if at <= timer => {
                    frames.remove(0);
                    bench.to(at);
                    bench.frame(1, &[&[3, 2 * quantity][..], &[0, value].repeat(quantity.into())].concat());
                }
                Some(_) | None => bench.step(),
            }
        }
        (bench, values)
    }
}

fn wrong(values: &[(u8, u8)]) -> usize {
    values.iter().filter(|(register, value)| register != value).count()
}

const STEADY: Queueing = Queueing { takes: 20.0, free_at: 0.0, busy: (0, 0.0), twice: (0, 0.0), lengths: 1 };

#[test]
fn an_answer_later_than_the_guard_shifts_none_that_follow() {
    for (busy_for, misassigned) in [(1_300.0, 0), (2_300.0, 1)] {
        let (bench, values) = Queueing { busy: (30, busy_for), ..STEADY }.read_in_turn(15_000.0);
        assert!(values.len() > 300, "{}", values.len());
        assert_eq!(wrong(&values), misassigned, "busy for {busy_for}");
        assert!(bench.view.units[0].counters.late_answers > 0);
    }
}

#[test]
fn a_shift_ends_with_the_next_rest_and_its_delay_is_kept_after_each_answer() {
    let (bench, values) = Queueing { takes: 100.0, twice: (20, 50.0), ..STEADY }.read_in_turn(60_000.0);
    let shifted: Vec<usize> =
        (0..values.len()).filter(|index| values[*index].0 != values[*index].1).collect();
    let last = *shifted.last().expect("nothing tells the second answer from the next");
    assert!(last < 250, "the last wrong value is the {last}th of {}", values.len());
    assert!(values.len() - last > 150, "{}", values.len());
    assert!(bench.view.units[0].counters.unexpected > 0);
}

#[test]
fn a_second_answer_makes_misfits_until_the_next_rest_at_most() {
    let doubled = Queueing { takes: 100.0, twice: (20, 50.0), lengths: 2, ..STEADY };
    let (bench, values) = doubled.read_in_turn(30_000.0);
    assert_eq!(wrong(&values), 0);
    assert!(values.len() > 140, "{} of {}", values.len(), bench.view.units[0].counters.transactions);
}

#[test]
fn data_that_a_late_answer_casts_doubt_on_is_not_kept() {
    let mut bench = Bench::new(LineSettings { retries: 0, ..settings(&[1]) });
    let cached = Ask { max_age: 60_000.0, ..Ask::of(1) };
    bench.read(1, cached, 0, 1);
    bench.sent();
    assert_eq!(bench.answer(), (1, NO_RESPONSE));
    bench.read(2, cached, 50, 1);
    let next = bench.sent();
    bench.to(next.at + 30.0);
    // The answer to the first.
    bench.frame(1, &[3, 2, 0, 0]);
    assert_eq!(bench.answer(), (2, reply(&[3, 2, 0, 0])));
    bench.read(3, cached, 80, 1);
    bench.to(next.at + 60.0);
    // The answer to the second: it is given to none, and the first is forgotten.
    bench.frame(1, &[3, 2, 0, 50]);
    bench.no_answer();
    assert_eq!(bench.next_sent(), None, "the unit rests");
    assert!(bench.view.units[0].snapshot.blocks().is_empty());
    bench.read(4, cached, 50, 1);
    assert_eq!(bench.sent().pdu, [3, 0, 80, 0, 1]);
}

#[test]
fn a_unit_that_is_asked_without_a_pause_rests_now_and_then() {
    let (_, values) = STEADY.read_in_turn(30_000.0);
    assert_eq!(wrong(&values), 0);
    // 32 ms each, which would be 937 without a rest of 200 ms every ten seconds.
    assert!((915..=930).contains(&values.len()), "{}", values.len());
}

#[test]
fn a_pause_inside_an_answer_is_waited_out_up_to_byte_timeout() {
    for (pause, is_answered) in [(150.0, true), (240.0, true), (300.0, false)] {
        let mut line = settings(&[1]);
        line.retries = 0;
        line.units[0].byte_timeout = std::time::Duration::from_millis(250);
        let mut bench = Bench::new(line);
        bench.read(7, Ask::of(1), 0, 60);
        bench.sent();
        let pdu = [&[3, 120][..], &[9; 120]].concat();
        let adu = metergate::modbus::rtu::encode(1, &pdu);
        bench.to(30.0);
        bench.bytes(&adu[..100]);
        // The last 25 bytes take 13 ms besides.
        bench.to(30.0 + pause);
        bench.bytes(&adu[100..]);
        let expected = if is_answered { reply(&pdu) } else { NO_RESPONSE };
        assert_eq!(bench.answer(), (7, expected), "{pause}");
    }
}

#[test]
fn a_glitch_byte_before_each_answer_costs_nothing() {
    for glitch in [0x00, 0xFF, 0xE0, 0x20, 0x7F] {
        let mut bench = Bench::of(&[1, 2]);
        for unit in [1, 2, 1] {
            for (id, pdu) in [[3, 0, 0, 0, 1], [4, 0, 9, 0, 40]].into_iter().enumerate() {
                let id = u32::try_from(id).expect("small");
                bench.ask(id, Ask::of(unit), &pdu);
                let sent = bench.sent();
                bench.to(sent.at + 20.0);
                let answer = super::bench::registers(&pdu, unit);
                bench.bytes(&[glitch]);
                let adu = metergate::modbus::rtu::encode(unit, &answer);
                let (head, rest) = adu.split_at(3);
                bench.bytes(head);
                bench.to(sent.at + 22.0);
                bench.bytes(rest);
                assert_eq!(bench.timed_answer(), (id, sent.at + 22.0, reply(&answer)), "{glitch:02X}");
            }
        }
        assert_eq!(bench.view.units[0].counters.timeouts, 0);
    }
}
