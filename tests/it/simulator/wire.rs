//! The simulated line, step by step: what arrives, which meters answer, when each byte is visible.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use metergate::modbus::rtu;
use metergate::simulator::{ChainSettings, Wire};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> ChainSettings {
    ChainSettings::plain(NonZeroU32::new(19200).unwrap(), Duration::from_millis(5), &[1, 2, 3], 1)
}

fn read_pdu(printed: u16, quantity: u16) -> Vec<u8> {
    [&[3], &(printed - 1).to_be_bytes()[..], &quantity.to_be_bytes()].concat()
}

fn write_pdu(printed: u16, value: u16) -> Vec<u8> {
    [&[6], &(printed - 1).to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// What becomes visible, and when, after `pieces` were put on the line at these offsets from `start`.
fn exchange(wire: &mut Wire, start: Instant, pieces: &[(Duration, &[u8])]) -> Vec<(Duration, u8)> {
    let mut visible = Vec::new();
    let take = |wire: &mut Wire, now: Instant, visible: &mut Vec<(Duration, u8)>| {
        while let Some(bytes) = wire.poll_output() {
            visible.extend(bytes.iter().map(|byte| (now - start, *byte)));
        }
    };
    for (offset, bytes) in pieces {
        while let Some(due) = wire.poll_timeout().filter(|due| *due <= start + *offset) {
            wire.handle_timeout(due);
            take(wire, due, &mut visible);
        }
        wire.handle_bytes(bytes, start + *offset);
        take(wire, start + *offset, &mut visible);
    }
    while let Some(due) = wire.poll_timeout() {
        wire.handle_timeout(due);
        take(wire, due, &mut visible);
    }
    visible
}

fn bytes_of(visible: &[(Duration, u8)]) -> Vec<u8> {
    visible.iter().map(|(_, byte)| *byte).collect()
}

fn request(unit: u8, pdu: &[u8]) -> Vec<u8> {
    rtu::encode(unit, pdu).to_vec()
}

#[test]
fn the_last_byte_of_a_reply_arrives_when_it_would_on_the_wire() {
    let start = Instant::now();
    let mut wire = Wire::new(settings(), start);
    let visible = exchange(&mut wire, start, &[(SECOND, &request(1, &read_pdu(1, 52)))]);
    let character = |count| rtu::wire_time(count, 10, 19200);
    let begins = SECOND + character(8) + Duration::from_millis(5);
    assert_eq!(visible.len(), 5 + 104);
    assert_eq!(visible.last().unwrap().0, begins + character(109));
    for (index, (at, _)) in visible.iter().enumerate() {
        let passed = begins + character(index + 1);
        assert!(*at >= passed, "byte {index} is not visible before it has passed");
        assert!(*at <= passed + Duration::from_millis(2), "byte {index} is not held back");
    }
}

#[test]
fn eleven_bit_characters_take_a_tenth_longer() {
    let start = Instant::now();
    let at = |character_bits| {
        let mut wire = Wire::new(ChainSettings { character_bits, ..settings() }, start);
        exchange(&mut wire, start, &[(SECOND, &request(1, &read_pdu(1, 52)))]).last().unwrap().0
    };
    let spent = |bits| at(bits) - SECOND - Duration::from_millis(5);
    assert!(spent(11).abs_diff(spent(10) * 11 / 10) < Duration::from_micros(1));
}

#[test]
fn the_wire_time_of_a_request_is_not_counted_twice_when_it_comes_byte_by_byte() {
    let start = Instant::now();
    let request = request(1, &read_pdu(1, 1));
    let character = rtu::wire_time(1, 10, 19200);
    let slow: Vec<(Duration, &[u8])> = (1_u32..)
        .zip(request.chunks(1))
        .map(|(index, byte)| (SECOND + character * (index - 1), byte))
        .collect();
    let end = |pieces: &[(Duration, &[u8])]| {
        exchange(&mut Wire::new(settings(), start), start, pieces).last().unwrap().0
    };
    assert_eq!(end(&slow), end(&[(SECOND, &request)]));
}

#[test]
fn a_wrong_crc_is_met_with_silence_and_the_next_request_is_answered() {
    let start = Instant::now();
    let mut wire = Wire::new(settings(), start);
    let good = request(1, &read_pdu(1, 1));
    let mut bad = good.clone();
    bad[4] ^= 1;
    assert_eq!(exchange(&mut wire, start, &[(SECOND, &bad)]), []);
    assert_eq!(wire.counters().garbled, 1);
    assert!(!exchange(&mut wire, start, &[(2 * SECOND, &good)]).is_empty());
}

#[test]
fn noise_and_half_a_request_are_forgotten_after_silence() {
    let start = Instant::now();
    let good = request(1, &read_pdu(1, 1));
    for noise in [&[0xFF][..], &[0; 300], &good[..5], &[1, 0x10, 0, 0, 0, 1, 200, 0]] {
        let mut wire = Wire::new(settings(), start);
        assert_eq!(exchange(&mut wire, start, &[(SECOND, noise)]), []);
        assert_eq!(wire.counters().garbled, 1);
        assert!(!exchange(&mut wire, start, &[(2 * SECOND, &good)]).is_empty(), "{noise:?}");
    }
}

#[test]
fn a_request_without_silence_before_it_is_lost() {
    let start = Instant::now();
    let mut wire = Wire::new(settings(), start);
    let two = request(1, &read_pdu(1, 1)).repeat(2);
    assert_eq!(exchange(&mut wire, start, &[(SECOND, &two)]), []);
}

#[test]
fn a_request_during_a_reply_is_ignored_and_counted() {
    let start = Instant::now();
    let mut wire = Wire::new(settings(), start);
    let (first, second) = (request(1, &read_pdu(1, 52)), request(2, &read_pdu(1, 1)));
    let pieces: [(Duration, &[u8]); 2] = [(SECOND, &first), (SECOND + SECOND / 50, &second)];
    let visible = exchange(&mut wire, start, &pieces);
    assert_eq!((visible.len(), visible[0].1), (109, 1));
    let counters = wire.counters();
    assert_eq!((counters.requests, counters.replies, counters.collisions), (1, 1, 1));
}

#[test]
fn a_broadcast_is_acted_on_by_all_and_answered_by_none() {
    let start = Instant::now();
    let mut wire = Wire::new(settings(), start);
    assert_eq!(exchange(&mut wire, start, &[(SECOND, &request(0, &write_pdu(142, 33)))]), []);
    for unit in 1..=3 {
        let asked = request(unit, &read_pdu(142, 1));
        let visible = exchange(&mut wire, start, &[(SECOND * (u32::from(unit) + 1), &asked)]);
        assert_eq!(bytes_of(&visible), request(unit, &[3, 2, 0, 33]));
    }
}

#[test]
fn a_unit_that_is_not_there_is_silent() {
    let start = Instant::now();
    let mut wire = Wire::new(settings(), start);
    assert_eq!(exchange(&mut wire, start, &[(SECOND, &request(9, &read_pdu(1, 1)))]), []);
    assert_eq!(wire.counters().requests, 1);
}

#[test]
fn a_function_of_unknown_length_ends_by_silence() {
    let start = Instant::now();
    let mut wire = Wire::new(settings(), start);
    let visible = exchange(&mut wire, start, &[(SECOND, &request(1, &[0x41, 1, 2, 3]))]);
    assert_eq!(bytes_of(&visible), request(1, &[0xC1, 1]));
}

proptest! {
    #[test]
    fn any_split_of_a_request_gets_the_same_answer(
        cuts in proptest::collection::vec((0_usize..40, 0_u64..4000), 0..8),
        which in 0_usize..5,
    ) {
        let start = Instant::now();
        let pdu = [
            read_pdu(257, 90), write_pdu(142, 7), vec![0x11], vec![0x2B, 0x0E, 1, 0],
            vec![0x10, 0, 141, 0, 2, 4, 0, 5, 0, 6],
        ][which].clone();
        let request = request(2, &pdu);
        let mut ends: Vec<usize> = cuts.iter().map(|(at, _)| at % request.len()).collect();
        ends.push(request.len());
        ends.sort_unstable();
        // Two pauses in one place would make a silence.
        ends.dedup();
        let (mut pieces, mut from, mut at) = (Vec::new(), 0, SECOND);
        for (index, end) in ends.iter().enumerate() {
            pieces.push((at, &request[from..*end]));
            from = *end;
            at += Duration::from_micros(cuts.get(index).map_or(0, |(_, pause)| *pause));
        }
        let whole = exchange(&mut Wire::new(settings(), start), start, &[(SECOND, &request)]);
        let split = exchange(&mut Wire::new(settings(), start), start, &pieces);
        prop_assert_eq!(bytes_of(&whole), bytes_of(&split));
    }

    #[test]
    fn no_bytes_make_the_line_panic_or_hang(
        pieces in proptest::collection::vec((0_u64..20, proptest::collection::vec(any::<u8>(), 0..80)), 0..40),
    ) {
        let start = Instant::now();
        let mut wire = Wire::new(settings(), start);
        let mut at = Duration::ZERO;
        let timed: Vec<(Duration, &[u8])> = pieces.iter().map(|(pause, bytes)| {
            at += Duration::from_millis(*pause);
            (at, &bytes[..])
        }).collect();
        exchange(&mut wire, start, &timed);
        let good = request(1, &read_pdu(1, 1));
        prop_assert!(!exchange(&mut wire, start, &[(at + SECOND, &good)]).is_empty());
    }
}
