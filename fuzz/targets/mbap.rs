//! The MBAP stream decoder: however the stream is cut, it returns the same ADUs or the same error.
//!
//! Input: one byte that seeds the cuts, then the stream. The output is compared with a second implementation of the
//! Messaging guide (chapter 3.1.3) below, which has the whole stream at once.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use metergate::modbus::mbap::{self, Adu, FramingError};

fuzz_target!(|data: &[u8]| {
    let Some((&seed, stream)) = data.split_first() else { return };
    let expected = reading_of_the_guide(stream);
    assert_eq!(decode(std::iter::once(stream)), expected, "the stream in one piece");
    assert_eq!(decode(pieces(stream, seed)), expected, "the stream in pieces");
    assert_eq!(decode(stream.chunks(1)), expected, "the stream byte by byte");
});

/// The result of one stream: the ADUs, how the stream ended, and the bytes that were left.
type Outcome = (Vec<Adu>, Option<FramingError>, Vec<u8>);

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let (mut input, mut adus) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match mbap::decode(&mut input) {
                Ok(Some(adu)) => adus.push(adu),
                Ok(None) => break,
                // Bytes after an error are undefined, and how many of them have come depends on the cuts.
                Err(error) => return (adus, Some(error), Vec::new()),
            }
        }
        assert!(input.len() < mbap::ADU_MAX, "a whole ADU was left in the buffer");
    }
    for adu in &adus {
        let mut out = BytesMut::new();
        adu.encode(&mut out);
        assert_eq!(mbap::decode(&mut out), Ok(Some(adu.clone())), "an encoded ADU decodes to itself");
    }
    (adus, None, input.to_vec())
}

fn reading_of_the_guide(mut rest: &[u8]) -> Outcome {
    let mut adus = Vec::new();
    loop {
        let word = |at: usize| Some(u16::from(*rest.get(at)?) << 8 | u16::from(*rest.get(at + 1)?));
        match (word(2), word(4)) {
            (Some(protocol @ 1..), _) => return (adus, Some(FramingError::ProtocolId(protocol)), Vec::new()),
            (_, Some(length @ (0 | 1 | 255..))) => {
                return (adus, Some(FramingError::Length(length)), Vec::new());
            }
            (Some(0), Some(length @ 2..=254)) if rest.len() >= 6 + usize::from(length) => {
                let (adu, after) = rest.split_at(6 + usize::from(length));
                let transaction_id = u16::from(adu[0]) << 8 | u16::from(adu[1]);
                adus.push(Adu { transaction_id, unit: adu[6], pdu: Bytes::copy_from_slice(&adu[7..]) });
                rest = after;
            }
            (Some(0) | None, Some(2..=254) | None) => return (adus, None, rest.to_vec()),
        }
    }
}

/// Pieces of 1 to 16 bytes, or 0, of a length given by `seed`.
fn pieces(mut stream: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed).wrapping_mul(0x9E37_79B9) | 1;
    std::iter::from_fn(move || {
        if stream.is_empty() {
            return None;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (piece, rest) = stream.split_at(stream.len().min((state >> 24) as usize % 17));
        stream = rest;
        Some(piece)
    })
}
