//! RTU frames on a connection for Modbus TCP.
//!
//! Owns the decision in which of the two framings a client begins. The two overlap: the usual poll of RTU, N registers
//! from address 0, reads as the header of an ADU, with the address as protocol identifier and N as length.
//!
//! The transaction identifier of a client of Modbus TCP, and the bytes behind it, may happen to have a right CRC. So
//! that alone makes no client one of RTU: bytes are RTU only if they begin with a frame that has a right CRC and
//!
//! - do not read as Modbus TCP: a header is wrong, or the first ADU does not have the length of its function, or its
//!   function is neither in the standard nor carried out here; or
//! - go on with a second frame that has a right CRC, which is one chance in 4 thousand million.

use super::function;
use super::mbap::{self, HEADER_LENGTH};
use super::pdu::FunctionCode;
use super::rtu::{self, request_length};

/// Whether the first bytes of a client are RTU frames. `is_served`: whether a function that the standard does not
/// define is carried out under a unit identifier.
pub fn is_rtu(input: &[u8], is_served: impl Fn(u8, FunctionCode) -> bool) -> bool {
    let Some(first) = rtu::request_at_front(input) else { return false };
    rtu::request_at_front(&input[first..]).is_some() || !reads_as_modbus_tcp(input, is_served)
}

/// Whether bytes that are not Modbus TCP may be an RTU frame once more of them have come.
#[must_use]
pub fn is_incomplete_rtu(input: &[u8]) -> bool {
    match (request_length(input), input.get(1)) {
        (Some(length), _) => input.len() < length,
        // The byte that counts the rest has not come yet.
        (None, Some(0x0F | 0x10 | 0x14 | 0x15 | 0x17)) => true,
        (None, _) => false,
    }
}

/// Whether all of the bytes are ADUs, as far as they have come, and the first of them may be a request.
fn reads_as_modbus_tcp(input: &[u8], is_served: impl Fn(u8, FunctionCode) -> bool) -> bool {
    let mut rest = input;
    loop {
        let length = match mbap::adu_length(rest) {
            Ok(Some(length)) => length,
            Ok(None) => return true,
            Err(_) => return false,
        };
        let (adu, behind) = rest.split_at(length.min(rest.len()));
        // What a client sends behind its first request has no part in the CRC of a read.
        if rest.len() == input.len()
            && !may_be_request(adu.get(UNIT..).unwrap_or_default(), length - UNIT, &is_served)
        {
            return false;
        }
        rest = behind;
    }
}

/// Whether the unit identifier and the PDU behind a header, of `length` bytes when all have come, may be a request.
/// Quantities and values do not count: a client that asks for too much is a client all the same.
fn may_be_request(bytes: &[u8], length: usize, is_served: impl Fn(u8, FunctionCode) -> bool) -> bool {
    let [unit, function, ..] = *bytes else { return true };
    let function = FunctionCode(function);
    match request_length(bytes) {
        Some(expected) => expected == length + CRC,
        None if function::name(function).is_some() => true,
        None => function.is_request() && is_served(unit, function),
    }
}

/// Where the unit identifier stands in an ADU of Modbus TCP.
const UNIT: usize = HEADER_LENGTH - 1;

/// Bytes that an RTU frame has behind its PDU.
const CRC: usize = 2;

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::super::mbap::Adu;
    use super::*;

    fn frame(unit: u8, pdu: &[u8]) -> Vec<u8> {
        rtu::encode(unit, pdu).to_vec()
    }

    fn none(_: u8, _: FunctionCode) -> bool {
        false
    }

    fn all(_: u8, _: FunctionCode) -> bool {
        true
    }

    /// Reads of every function from address 0, whose header reads as one of Modbus TCP.
    fn polls() -> impl Iterator<Item = Vec<u8>> {
        let quantities = (1..=4).flat_map(|function| (2..=125).map(move |quantity| (function, quantity)));
        quantities.flat_map(|(function, quantity)| {
            (1..=247).map(move |unit| frame(unit, &[function, 0, 0, 0, quantity]))
        })
    }

    #[test]
    fn a_poll_from_address_0_is_seen_by_its_first_frame_or_its_second() {
        let (mut first, mut total) = (0, 0);
        for poll in polls() {
            total += 1;
            first += usize::from(is_rtu(&poll, none));
            for served in [none, all] {
                assert!(is_rtu(&[&poll[..], &poll[..]].concat(), served), "{poll:02X?}");
            }
        }
        assert!(first * 100 > total * 94, "{first} of {total} by the first");
    }

    #[test]
    fn other_frames_are_seen_whole_and_waited_for_in_pieces() {
        let write = [&[16, 0, 0, 0, 5, 10][..], &[0; 10]].concat();
        for pdu in [
            &[3, 0, 0, 0, 1][..],
            &[3, 1, 0, 0, 2],
            &[1, 0, 0, 7, 0xD0],
            &[6, 0, 1, 0, 5],
            &write,
            &[0x11],
            &[7],
            &[8, 0, 0, 0xA5, 0x37],
            &[0x41, 1, 2, 3, 4],
        ] {
            let frame = frame(1, pdu);
            assert!(is_rtu(&frame, none), "{frame:02X?}");
            for end in 4..frame.len() {
                assert!(!is_rtu(&frame[..end], none), "{:02X?}", &frame[..end]);
                assert!(is_incomplete_rtu(&frame[..end]) || matches!(pdu[0], 8 | 0x41));
            }
        }
    }

    #[test]
    fn no_request_of_modbus_tcp_is_rtu_whatever_its_transaction_identifier() {
        let requests: [&[u8]; 9] = [
            &[3, 0, 0, 0, 2],
            // Too many registers.
            &[4, 0, 0, 0, 126],
            &[6, 0, 0, 0, 0],
            &[7],
            &[0x0B],
            &[0x11],
            &[0x2B, 0x0E, 1, 0],
            &[0x10, 0, 0, 0, 1, 2, 0, 0],
            // Not in the standard, but carried out here.
            &[0x41],
        ];
        let mut alike = 0;
        for pdu in requests {
            for unit in [1, 247] {
                for transaction_id in 0..=u16::MAX {
                    let mut adu = BytesMut::new();
                    Adu { transaction_id, unit, pdu: Bytes::copy_from_slice(pdu) }.encode(&mut adu);
                    if rtu::request_at_front(&adu).is_none() {
                        continue;
                    }
                    alike += 1;
                    for end in 8..=adu.len() {
                        assert!(!is_rtu(&adu[..end], all), "{adu:02X?}");
                    }
                    // The next request, of a function that is not carried out here, has no part in it.
                    let next = Adu { transaction_id: 9, unit, pdu: Bytes::from_static(&[0x42, 1, 2]) };
                    next.encode(&mut adu);
                    let is_first = |_: u8, function: FunctionCode| function == FunctionCode(pdu[0]);
                    assert!(!is_rtu(&adu, is_first), "{adu:02X?}");
                }
            }
        }
        assert!(alike > 0, "some have a right CRC by chance");
    }
}
