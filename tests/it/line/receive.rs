//! Bytes of the line into frames: by length, however they are delivered.

use bytes::Bytes;
use metergate::line::{Expected, Finality, Receiver, UnitId};
use metergate::modbus::pdu::RequestPdu;
use metergate::modbus::rtu;
use proptest::prelude::*;

fn unit(id: u8) -> UnitId {
    UnitId::new(id).expect("1 to 247")
}

fn request(pdu: &[u8]) -> RequestPdu {
    RequestPdu::decode(Bytes::copy_from_slice(pdu)).expect("a good request")
}

/// A receiver while `request` is on the wire to unit 1.
struct Rig {
    receiver: Receiver,
    request: RequestPdu,
}

impl Rig {
    fn awaiting(pdu: &[u8]) -> Self {
        Self { receiver: Receiver::default(), request: request(pdu) }
    }

    /// Unit and PDU of the frames that are whole now.
    fn push(&mut self, bytes: &[u8], finality: Finality) -> Vec<(UnitId, Bytes)> {
        self.receiver.push(bytes);
        let request = &self.request;
        let asked = |to: UnitId, function: u8| {
            (to == unit(1) && function == request.function().0).then_some((request, Expected::OnTheWire))
        };
        std::iter::from_fn(|| self.receiver.next(asked, |to| to == unit(1), finality))
            .map(|frame| (frame.unit, frame.pdu))
            .collect()
    }
}

const READ_TWO: [u8; 5] = [0x03, 0, 0, 0, 2];
const TWO: [u8; 6] = [0x03, 4, 1, 2, 3, 4];

fn frame(id: u8, pdu: &[u8]) -> (UnitId, Bytes) {
    (unit(id), Bytes::copy_from_slice(pdu))
}

#[test]
fn an_answer_ends_at_its_last_byte() {
    let mut rig = Rig::awaiting(&READ_TWO);
    let adu = rtu::encode(1, &TWO);
    let (last, first) = adu.split_last().expect("not empty");
    assert_eq!(rig.push(first, Finality::Open), []);
    assert_eq!(rig.receiver.missing(), 1);
    assert_eq!(rig.push(&[*last], Finality::Open), [frame(1, &TWO)]);
}

#[test]
fn an_exception_ends_at_byte_5() {
    let mut rig = Rig::awaiting(&READ_TWO);
    let adu = rtu::encode(1, &[0x83, 0x02]);
    assert_eq!(adu.len(), 5);
    assert_eq!(rig.push(&adu[..4], Finality::Open), []);
    assert_eq!(rig.push(&adu[4..], Finality::Open), [frame(1, &[0x83, 0x02])]);
}

#[test]
fn a_frame_of_another_unit_is_cut_out_by_its_own_counts() {
    let mut rig = Rig::awaiting(&READ_TWO);
    let other = [0x04, 2, 9, 9];
    let line = [rtu::encode(7, &other), rtu::encode(1, &TWO)].concat();
    assert_eq!(rig.push(&line, Finality::Open), [frame(7, &other), frame(1, &TWO)]);
}

#[test]
fn an_unknown_function_ends_by_quiet_and_a_right_checksum() {
    let mut rig = Rig::awaiting(&[0x41, 7]);
    let adu = rtu::encode(1, &[0x41, 1, 2, 3]);
    assert_eq!(rig.push(&adu[..4], Finality::Open), []);
    assert_eq!(rig.push(&[], Finality::Quiet), [], "a lump of an adapter, not the end");
    assert_eq!(rig.push(&adu[4..], Finality::Open), [], "more may come");
    assert_eq!(rig.push(&[], Finality::Quiet), [frame(1, &[0x41, 1, 2, 3])]);
}

#[test]
fn counts_that_contradict_the_request_fall_back_to_quiet() {
    let mut rig = Rig::awaiting(&READ_TWO);
    let short = [0x03, 2, 1, 2];
    assert_eq!(rig.push(&rtu::encode(1, &short), Finality::Open), []);
    assert_eq!(rig.push(&[], Finality::Quiet), [frame(1, &short)], "whole, but its reader must refuse it");
}

#[test]
fn an_answer_longer_than_its_byte_count_ends_by_quiet_and_a_right_checksum() {
    let long = [0x03, 4, 1, 2, 3, 4, 5, 6];
    let adu = rtu::encode(1, &long);
    for split in [9, 10, adu.len()] {
        let mut rig = Rig::awaiting(&READ_TWO);
        assert_eq!(rig.push(&adu[..split], Finality::Open), []);
        assert_eq!(rig.push(&adu[split..], Finality::Open), []);
        assert_eq!(rig.push(&[], Finality::Quiet), [frame(1, &long)], "whole, but its reader must refuse it");
        assert!(!rig.receiver.is_garbled());
    }
}

#[test]
fn a_damaged_answer_hides_no_answer_behind_it() {
    let mut rig = Rig::awaiting(&READ_TWO);
    let mut damaged = rtu::encode(1, &TWO).to_vec();
    damaged[4] ^= 0x10;
    let line = [&damaged[..], &rtu::encode(1, &TWO)].concat();
    assert_eq!(rig.push(&line, Finality::Open), [frame(1, &TWO)]);
    assert_eq!(rig.receiver.take_noise(), damaged.len() as u64);
}

#[test]
fn a_damaged_answer_and_an_incomplete_one_are_distinguished() {
    let mut rig = Rig::awaiting(&READ_TWO);
    let mut adu = rtu::encode(1, &TWO).to_vec();
    adu[4] ^= 0x10;
    assert_eq!(rig.push(&adu, Finality::Open), []);
    assert!(!rig.receiver.is_garbled(), "it may be longer than its byte count says");
    assert_eq!(rig.push(&[], Finality::Quiet), []);
    assert!(rig.receiver.is_garbled() && !rig.receiver.is_truncated());

    let mut rig = Rig::awaiting(&READ_TWO);
    assert_eq!(rig.push(&adu[..6], Finality::Over), []);
    assert!(rig.receiver.is_truncated() && !rig.receiver.is_garbled());
    assert_eq!(rig.receiver.pending(), 0);
}

#[test]
fn noise_that_looks_like_a_long_frame_does_not_hide_the_answer() {
    let mut rig = Rig::awaiting(&READ_TWO);
    // Unit 5, function 3, 200 bytes to come, says the noise.
    let line = [&[5, 3, 200][..], &rtu::encode(1, &TWO)].concat();
    assert_eq!(rig.push(&line, Finality::Open), [frame(1, &TWO)]);
    assert_eq!(rig.receiver.take_noise(), 3);
}

#[test]
fn a_line_that_never_falls_silent_fills_no_memory() {
    let mut rig = Rig::awaiting(&READ_TWO);
    for byte in 0..100_000_u32 {
        rig.push(&[u8::try_from(byte % 251).expect("below 256")], Finality::Open);
        assert!(rig.receiver.pending() <= 2 * rtu::ADU_MAX);
    }
}

fn any_answer() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let pdu = prop_oneof![
        Just(TWO.to_vec()),
        Just(vec![0x83, 0x0B]),
        Just(vec![0x04, 2, 7, 7]),
        Just(vec![0x06, 0, 1, 0, 3]),
        Just(vec![0x11, 3, 0xF7, 0xFF, 0x41]),
    ];
    (1_u8..=247, pdu)
}

proptest! {
    #[test]
    fn any_split_of_the_stream_gives_the_same_frames(
        answers in prop::collection::vec(any_answer(), 1..5),
        cuts in prop::collection::vec(1_usize..20, 1..20),
    ) {
        let line: Vec<u8> = answers.iter().flat_map(|(id, pdu)| rtu::encode(*id, pdu)).collect();
        let whole = Rig::awaiting(&READ_TWO).push(&line, Finality::Open);
        let mut rig = Rig::awaiting(&READ_TWO);
        let (mut rest, mut cuts, mut seen) = (&line[..], cuts.iter().cycle(), Vec::new());
        while !rest.is_empty() {
            let (part, next) = rest.split_at(rest.len().min(*cuts.next().expect("endless")));
            seen.extend(rig.push(part, Finality::Open));
            rest = next;
        }
        prop_assert_eq!(&seen, &whole);
        let expected: Vec<_> = answers.iter().map(|(id, pdu)| frame(*id, pdu)).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn no_bytes_panic_and_nothing_is_left_when_the_line_is_over(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut rig = Rig::awaiting(&READ_TWO);
        rig.push(&bytes, Finality::Open);
        rig.push(&[], Finality::Quiet);
        rig.push(&[], Finality::Over);
        prop_assert_eq!(rig.receiver.pending(), 0);
    }
}
