//! Request PDUs: accepted ones are within the limits of the standard, and no method panics.
//!
//! Input: length of the request's PDU, the PDU, then a reply. The limits are implemented a second time below, from the
//! tables of the application protocol (V1.1b3, chapter 6) and section 4 of the contract.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use metergate::modbus::pdu::{FunctionCode, ReadRange, RequestPdu};
use metergate::modbus::reply::{self, Length};

fuzz_target!(|data: &[u8]| {
    let Some((&length, rest)) = data.split_first() else { return };
    let (pdu, answer) = rest.split_at(rest.len().min(usize::from(length)));
    match RequestPdu::decode(Bytes::copy_from_slice(pdu)) {
        Err(code) => {
            assert!((1..=3).contains(&code.0), "refused with {code}");
            assert!(!keeps_the_limits(pdu), "refused with {code}, though the standard allows it");
        }
        Ok(request) => {
            assert!(keeps_the_limits(pdu), "passed, though the standard does not allow it");
            assert_eq!(request.bytes(), pdu, "passed, but not untouched");
            assert_eq!(request.is_read(), is_read(pdu), "a read by the contract");
            if request.function().may_be_broadcast() {
                assert!(reply::answers(&request, &request.acknowledgement()), "an acknowledgement answers");
            }
            assert!(request.acknowledgement().len() <= pdu.len());
            check_reply(&request, answer);
            check_cut(&request, answer);
        }
    }
});

/// The properties of a reply are consistent: an answer has the length that was predicted at any byte.
fn check_reply(request: &RequestPdu, answer: &[u8]) {
    let fits = reply::answers(request, answer);
    let exception = request.function().exception().0;
    let Some(&code) = answer.first() else { return };
    if code != request.function().0 && code != exception {
        assert!(!fits, "an answer of another function");
        return;
    }
    for seen in 1..=answer.len() {
        if let Length::Exact(bytes) = reply::length(request, &answer[..seen]) {
            assert!((2..=253).contains(&bytes), "a reply of {bytes} bytes");
            assert!(!fits || bytes == answer.len(), "foretold {bytes} bytes after {seen}");
        }
    }
}

/// A part of a reply has the values the reply has at those addresses.
fn check_cut(request: &RequestPdu, values: &[u8]) {
    let Some(range) = request.range() else { return };
    let mut whole = vec![range.function.0, u8::try_from(range.byte_count()).expect("at most 250")];
    whole.extend(values.iter().copied().chain(std::iter::repeat(0x5A)).take(range.byte_count()));
    let whole = Bytes::from(whole);
    assert!(reply::answers(request, &whole), "a whole reply answers");
    let pick = |at: usize| u16::from(values.get(at).copied().unwrap_or(0));
    let quantity = 1 + (pick(0) << 8 | pick(1)) % range.quantity;
    let start = range.start + (pick(2) << 8 | pick(3)) % (range.quantity - quantity + 1);
    let part = ReadRange { function: range.function, start, quantity };
    let cut = range.cut(&whole, &part).expect("a part is covered");
    assert!(reply::answers(&part.into(), &cut), "a part answers its own request");
    let bits = range.function <= FunctionCode::READ_DISCRETE_INPUTS;
    let value = |reply: &[u8], index: u16| {
        let index = usize::from(index);
        if bits {
            u16::from(reply[2 + index / 8] >> (index % 8) & 1)
        } else {
            u16::from(reply[2 + index * 2]) << 8 | u16::from(reply[3 + index * 2])
        }
    };
    for index in 0..quantity {
        assert_eq!(value(&cut, index), value(&whole, start - range.start + index), "value {index}");
    }
    assert!(range.cut(&whole.slice(..whole.len() - 1), &part).is_none(), "a short reply is not cut");
}

/// Section 4 of the contract.
fn is_read(pdu: &[u8]) -> bool {
    match pdu {
        [0x01..=0x04 | 0x07 | 0x0B | 0x0C | 0x11 | 0x14 | 0x18, ..] => true,
        [0x2B, mei, ..] => *mei == 0x0E,
        [0x08, high, low, ..] => *high == 0 && (*low == 0 || *low == 2 || (0x0B..=0x12).contains(low)),
        _ => false,
    }
}

/// The request tables of chapter 6.
fn keeps_the_limits(pdu: &[u8]) -> bool {
    let word = |at: usize| usize::from(pdu[at]) * 256 + usize::from(pdu[at + 1]);
    let range =
        |at: usize, most: usize| (1..=most).contains(&word(at + 2)) && word(at) + word(at + 2) <= 0x1_0000;
    let Some(&function) = pdu.first() else { return false };
    match (function, pdu.len()) {
        (0 | 0x80.., _) | (_, 254..) => false,
        (0x01 | 0x02, 5) => range(1, 0x07D0),
        (0x03 | 0x04, 5) => range(1, 0x007D),
        // Any value of 0x05 passes: there are devices that define more than on and off.
        (0x05 | 0x06, 5) | (0x07 | 0x0B | 0x0C | 0x11, 1) | (0x16, 7) | (0x18, 3) => true,
        (0x08, length) if length >= 5 && length % 2 == 1 => length == 5 || word(1) == 0,
        (0x0F, length @ 7..) => {
            let bytes = word(3).div_ceil(8);
            range(1, 0x07B0) && usize::from(pdu[5]) == bytes && length == 6 + bytes
        }
        (0x10, length @ 8..) => {
            range(1, 0x007B) && usize::from(pdu[5]) == 2 * word(3) && length == 6 + 2 * word(3)
        }
        (0x17, length @ 12..) => {
            let written = 2 * word(7);
            range(1, 0x007D) && range(5, 0x0079) && usize::from(pdu[9]) == written && length == 10 + written
        }
        // Files and records are the device's business.
        (0x14, length) => {
            let groups = length.saturating_sub(2) / 7;
            let header =
                (1..=35).contains(&groups) && length == 2 + 7 * groups && usize::from(pdu[1]) == 7 * groups;
            let mut answer = 2;
            if header {
                answer += (0..groups).map(|group| 2 + 2 * word(7 + 7 * group)).sum::<usize>();
            }
            header && answer <= 253
        }
        (0x15, length @ 11..) => {
            let mut at = 2;
            while at + 7 <= length {
                at += 7 + 2 * word(at + 5);
            }
            at == length && usize::from(pdu[1]) == length - 2
        }
        (0x2B, length @ 2..) => pdu[1] != 0x0E || (length == 4 && (1..=4).contains(&pdu[2])),
        (0x01..=0x08 | 0x0B | 0x0C | 0x0F..=0x11 | 0x14..=0x18 | 0x2B, _) => false,
        // Functions the standard does not define pass with any data.
        (0x09 | 0x0A | 0x0D | 0x0E | 0x12 | 0x13 | 0x19..=0x2A | 0x2C..=0x7F, _) => true,
    }
}
