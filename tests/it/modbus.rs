//! The limits of the standard at their edges, and what counts as a read.

use bytes::Bytes;
use metergate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange, RequestPdu};
use proptest::prelude::*;

fn decode(pdu: &[u8]) -> Result<RequestPdu, ExceptionCode> {
    RequestPdu::decode(Bytes::copy_from_slice(pdu))
}

const OK: Option<ExceptionCode> = None;
const FUNCTION: Option<ExceptionCode> = Some(ExceptionCode::ILLEGAL_FUNCTION);
const ADDRESS: Option<ExceptionCode> = Some(ExceptionCode::ILLEGAL_DATA_ADDRESS);
const VALUE: Option<ExceptionCode> = Some(ExceptionCode::ILLEGAL_DATA_VALUE);

/// A request of function, address, quantity, byte count and as many zero bytes.
fn write(function: u8, start: u16, quantity: u16, count: u8, bytes: usize) -> Vec<u8> {
    let mut pdu = vec![function];
    pdu.extend(start.to_be_bytes());
    pdu.extend(quantity.to_be_bytes());
    pdu.push(count);
    pdu.resize(6 + bytes, 0);
    pdu
}

fn read(function: u8, start: u16, quantity: u16) -> Vec<u8> {
    let mut pdu = vec![function];
    pdu.extend(start.to_be_bytes());
    pdu.extend(quantity.to_be_bytes());
    pdu
}

#[test]
fn reads_keep_their_quantity_and_their_range() {
    for (function, most) in [(1, 2000), (2, 2000), (3, 125), (4, 125)] {
        for (start, quantity, expected) in [
            (0, 0, VALUE),
            (0, 1, OK),
            (0, most, OK),
            (0, most + 1, VALUE),
            (0xFFFF, 1, OK),
            (0xFFFF, 2, ADDRESS),
            // 65536 - most is the last start for a whole block.
            (0_u16.wrapping_sub(most), most, OK),
            (1_u16.wrapping_sub(most), most, ADDRESS),
            // Both are wrong: the quantity is judged first.
            (0xFFFF, 0xFFFF, VALUE),
        ] {
            let pdu = read(function, start, quantity);
            assert_eq!(decode(&pdu).err(), expected, "{function} {start} {quantity}");
        }
    }
}

#[test]
fn writes_keep_quantity_byte_count_and_length_in_step() {
    for (pdu, expected) in [
        (write(0x0F, 0, 1968, 246, 246), OK),
        (write(0x0F, 0, 1969, 247, 247), VALUE),
        (write(0x0F, 0, 9, 2, 2), OK),
        (write(0x0F, 0, 9, 1, 1), VALUE),
        (write(0x0F, 0, 0, 0, 0), VALUE),
        (write(0x10, 0, 123, 246, 246), OK),
        (write(0x10, 0, 124, 248, 247), VALUE),
        (write(0x10, 0, 1, 2, 1), VALUE),
        (write(0x10, 0, 1, 2, 3), VALUE),
        (write(0x10, 0, 0x8000, 0, 0), VALUE),
        (write(0x10, 0xFFFF, 1, 2, 2), OK),
        (write(0x10, 0xFFFF, 2, 4, 4), ADDRESS),
        (write(0x10, 0, 1, 2, 2)[..5].to_vec(), VALUE),
    ] {
        assert_eq!(decode(&pdu).err(), expected, "{pdu:02X?}");
    }
}

#[test]
fn each_function_has_its_own_length() {
    for (pdu, expected) in [
        (&[][..], FUNCTION),
        (&[0x00], FUNCTION),
        (&[0x80, 1, 2], FUNCTION),
        (&[0xFF], FUNCTION),
        (&[0x03, 0, 0, 0], VALUE),
        (&[0x03, 0, 0, 0, 1, 0], VALUE),
        (&[0x05, 0, 0, 0xFF, 0x00], OK),
        (&[0x05, 0, 0, 0x00, 0x00], OK),
        // Relay boards take others; the value is the device's business.
        (&[0x05, 0, 0, 0x55, 0x00], OK),
        (&[0x05, 0, 0, 0xFF, 0x01], OK),
        (&[0x05, 0, 0, 0xFF], VALUE),
        (&[0x06, 0, 0, 0x12, 0x34], OK),
        (&[0x06, 0, 0, 0x12], VALUE),
        (&[0x07], OK),
        (&[0x07, 0], VALUE),
        (&[0x08, 0, 0], VALUE),
        (&[0x08, 0, 0, 0xA5, 0x37], OK),
        (&[0x08, 0, 0, 1, 2, 3, 4], OK),
        (&[0x08, 0, 0, 1, 2, 3], VALUE),
        (&[0x08, 0, 1, 0xFF, 0], OK),
        (&[0x08, 0, 1, 0xFF, 0, 0, 0], VALUE),
        (&[0x0B], OK),
        (&[0x0C, 0], VALUE),
        (&[0x11], OK),
        (&[0x11, 0], VALUE),
        (&[0x16, 0, 4, 0, 0xF2, 0, 0x25], OK),
        (&[0x16, 0, 4, 0, 0xF2, 0], VALUE),
        (&[0x18, 4, 0xDE], OK),
        (&[0x18, 4], VALUE),
        (&[0x2B], VALUE),
        (&[0x2B, 0x0E, 1, 0], OK),
        (&[0x2B, 0x0E, 4, 0], OK),
        (&[0x2B, 0x0E, 0, 0], VALUE),
        (&[0x2B, 0x0E, 5, 0], VALUE),
        (&[0x2B, 0x0E, 1], VALUE),
        (&[0x2B, 0x0D, 9, 9, 9], OK),
        // The standard does not define these: whatever follows is the unit's business.
        (&[0x41], OK),
        (&[0x7F, 1, 2, 3], OK),
    ] {
        assert_eq!(decode(pdu).err(), expected, "{pdu:02X?}");
    }
    assert_eq!(decode(&[0x41; 253]).err(), OK);
    assert_eq!(decode(&[0x41; 254]).err(), VALUE);
}

#[test]
fn a_read_and_write_keeps_both_halves_within_their_limits() {
    let both = |read_start: u16, read: u16, quantity: u16| {
        let mut pdu = vec![0x17];
        pdu.extend(read_start.to_be_bytes());
        pdu.extend(read.to_be_bytes());
        let count = u8::try_from(quantity * 2).unwrap();
        pdu.extend(&write(0, 0, quantity, count, usize::from(count))[1..]);
        decode(&pdu).err()
    };
    assert_eq!(both(0, 125, 121), OK);
    assert_eq!(both(0, 126, 1), VALUE);
    assert_eq!(both(0, 1, 122), VALUE);
    assert_eq!(both(0, 0, 1), VALUE);
    assert_eq!(both(0, 1, 0), VALUE);
    assert_eq!(both(0xFFFF, 2, 1), ADDRESS);
    // Quantities come before addresses, whichever half they are in.
    assert_eq!(both(0xFFFF, 2, 122), VALUE);
    assert_eq!(both(0xFFFF, 126, 1), VALUE);
    assert_eq!(decode(&[0x17, 0, 0, 0, 0, 0xFF, 0xFF, 0, 2, 4, 0, 0, 0, 0]).err(), VALUE);
}

#[test]
fn of_file_records_only_the_lengths_are_checked() {
    let typed = |reference_type: u8, file: u16, number: u16, length: u16| {
        let mut record = vec![reference_type];
        for word in [file, number, length] {
            record.extend(word.to_be_bytes());
        }
        record
    };
    let record = |file, number, length| typed(6, file, number, length);
    let asked = |records: &[Vec<u8>]| {
        let data = records.concat();
        let mut pdu = vec![0x14, u8::try_from(data.len()).unwrap()];
        pdu.extend(data);
        decode(&pdu).err()
    };
    assert_eq!(asked(&[record(4, 1, 2), record(3, 9, 2)]), OK);
    assert_eq!(asked(&[]), VALUE);
    assert_eq!(asked(&[record(4, 1, 2)[..6].to_vec()]), VALUE);
    // Which files and records there are, the device knows.
    for others in [record(0, 1, 2), record(4, 10_000, 2), record(4, 0xFFFF, 9), typed(7, 4, 1, 2)] {
        assert_eq!(asked(&[others]), OK);
    }
    // 124 words and their header fit the answer's 251 bytes, 125 do not.
    assert_eq!(asked(&[record(4, 1, 124)]), OK);
    assert_eq!(asked(&[record(4, 1, 125)]), VALUE);

    let written = |length: u16, words: usize| {
        let mut pdu = vec![0x15, u8::try_from(7 + words * 2).unwrap()];
        pdu.extend(typed(7, 0, 10_000, length));
        pdu.resize(2 + 7 + words * 2, 0);
        decode(&pdu).err()
    };
    assert_eq!(written(3, 3), OK);
    assert_eq!(written(4, 3), VALUE);
    assert_eq!(written(1, 0), VALUE);
}

#[test]
fn reads_are_the_functions_of_the_contract_and_everything_else_is_a_write() {
    let reads: [&[u8]; 14] = [
        &[0x01, 0, 0, 0, 1],
        &[0x02, 0, 0, 0, 1],
        &[0x03, 0, 0, 0, 1],
        &[0x04, 0, 0, 0, 1],
        &[0x07],
        &[0x0B],
        &[0x0C],
        &[0x11],
        &[0x18, 0, 0],
        &[0x2B, 0x0E, 1, 0],
        &[0x08, 0, 0x00, 0, 0],
        &[0x08, 0, 0x02, 0, 0],
        &[0x08, 0, 0x0B, 0, 0],
        &[0x08, 0, 0x12, 0, 0],
    ];
    let writes: [&[u8]; 11] = [
        &[0x05, 0, 0, 0xFF, 0],
        &[0x06, 0, 0, 0, 0],
        &[0x0F, 0, 0, 0, 1, 1, 1],
        &[0x10, 0, 0, 0, 1, 2, 0, 0],
        &[0x16, 0, 0, 0, 0, 0, 0],
        &[0x17, 0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 0],
        &[0x2B, 0x0D, 0],
        &[0x08, 0, 0x01, 0, 0],
        &[0x08, 0, 0x0A, 0, 0],
        &[0x08, 0, 0x13, 0, 0],
        &[0x41],
    ];
    for pdu in reads {
        assert!(decode(pdu).unwrap().is_read(), "{pdu:02X?}");
    }
    for pdu in writes {
        assert!(!decode(pdu).unwrap().is_read(), "{pdu:02X?}");
    }
    assert!(decode(&[0x14, 7, 6, 0, 4, 0, 1, 0, 2]).unwrap().is_read());
}

#[test]
fn a_range_covers_what_lies_inside_it_in_the_same_table() {
    let range = |function, start, quantity| ReadRange { function: FunctionCode(function), start, quantity };
    let whole = range(3, 100, 10);
    assert!(whole.covers(&whole));
    assert!(whole.covers(&range(3, 100, 1)) && whole.covers(&range(3, 109, 1)));
    assert!(!whole.covers(&range(3, 99, 2)) && !whole.covers(&range(3, 109, 2)));
    assert!(!whole.covers(&range(4, 100, 10)), "another table");
    assert!(range(3, 0xFFFF, 1).covers(&range(3, 0xFFFF, 1)));
}

/// The values of a reply to `range`, each made from its address, as bits or words.
fn reply(range: ReadRange) -> Bytes {
    let mut pdu = vec![range.function.0, u8::try_from(range.byte_count()).unwrap()];
    let addresses = (0..range.quantity).map(|index| range.start.wrapping_add(index));
    if range.function.0 <= 2 {
        pdu.resize(2 + range.byte_count(), 0);
        for (index, address) in addresses.enumerate() {
            let value = u8::from(address.count_ones() % 2 == 1);
            pdu[2 + index / 8] |= value << (index % 8);
        }
    } else {
        pdu.extend(addresses.flat_map(|address| address.wrapping_mul(0x9E37).to_be_bytes()));
    }
    Bytes::from(pdu)
}

proptest! {
    #[test]
    fn a_part_cut_out_of_a_reply_is_the_reply_to_that_part(
        function in 1_u8..=4, start in 0_u16..60_000, quantity in 1_u16..=125, from in 0_u16..125, part in 1_u16..=125,
    ) {
        let whole = ReadRange { function: FunctionCode(function), start, quantity };
        let wanted = ReadRange { function: FunctionCode(function), start: start + from, quantity: part };
        let cut = whole.cut(&reply(whole), &wanted);
        if from + part <= quantity {
            prop_assert_eq!(cut, Some(reply(wanted)));
        } else {
            prop_assert_eq!(cut, None);
        }
    }

    #[test]
    fn no_request_panics(pdu in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(request) = decode(&pdu) {
            let _ = (request.is_read(), request.range(), request.acknowledgement(), request.function().may_be_broadcast());
            prop_assert!(request.bytes().len() <= 253);
        }
    }
}
