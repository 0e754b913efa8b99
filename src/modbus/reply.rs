//! Replies: how long the answer to a request is, and whether a whole frame may be that answer.
//!
//! Owns what can be derived of a reply from its request and from its own counts. Works on reply PDUs, function code
//! first; the unit identifier and the CRC belong to the framing. Source: MODBUS Application Protocol Specification
//! V1.1b3, chapters 6 and 7.

use super::pdu::{EXCEPTION_BIT, FunctionCode, MEI_READ_DEVICE_IDENTIFICATION, PDU_MAX, RequestPdu, u16_at};

/// The length of a reply PDU, as far as its first bytes determine it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// This many bytes, function code included.
    Exact(usize),
    /// The count that determines it has not arrived.
    Pending,
    /// Not determined, or the counts contradict the request.
    Unknown,
}

/// The length of the reply to `request`, of which `reply` (at least the function code) has arrived.
///
/// `reply` may be longer than the reply itself. Its function code must be the request's, or that one with the
/// exception bit.
#[must_use]
pub fn length(request: &RequestPdu, reply: &[u8]) -> Length {
    if reply[0] & EXCEPTION_BIT != 0 {
        return Length::Exact(EXCEPTION_LENGTH);
    }
    let asked = request.data();
    match request.function().0 {
        0x01..=0x04 => {
            let count = request.range().map_or(0, |range| range.byte_count());
            counted(reply, count)
        }
        0x08 => match u16_at(asked, 0) {
            0x00 => Length::Exact(request.bytes().len()),
            0x01..=0x04 | 0x0A..=0x12 | 0x14 => Length::Exact(5),
            _ => Length::Unknown,
        },
        0x14 => counted(reply, read_file_record_count(asked)),
        0x15 => Length::Exact(request.bytes().len()),
        0x17 => counted(reply, usize::from(u16_at(asked, 2)) * 2),
        _ => length_by_counts(reply),
    }
}

/// The length of a reply whose request is not known, by its own counts.
#[must_use]
pub fn length_by_counts(reply: &[u8]) -> Length {
    let length = match reply[0] {
        function if function & EXCEPTION_BIT != 0 => Length::Exact(EXCEPTION_LENGTH),
        0x01..=0x04 | 0x0C | 0x11 | 0x14 | 0x15 | 0x17 => match reply.get(1) {
            Some(&count) => Length::Exact(2 + usize::from(count)),
            None => Length::Pending,
        },
        0x05 | 0x06 | 0x0B | 0x0F | 0x10 => Length::Exact(5),
        0x07 => Length::Exact(2),
        0x16 => Length::Exact(7),
        0x18 if reply.len() >= 3 => Length::Exact(3 + usize::from(u16_at(reply, 1))),
        0x18 => Length::Pending,
        0x2B => device_identification_length(reply),
        _ => Length::Unknown,
    };
    match length {
        Length::Exact(bytes) if bytes > PDU_MAX => Length::Unknown,
        Length::Exact(_) | Length::Pending | Length::Unknown => length,
    }
}

/// Whether `reply`, a whole frame's PDU, has the shape of an answer to `request`: function, length and byte
/// count, and for a write the echoed address and value. An exception of the same function always has.
#[must_use]
pub fn answers(request: &RequestPdu, reply: &[u8]) -> bool {
    let function = request.function();
    match reply.first() {
        Some(&code) if code == function.exception().0 => return reply.len() == EXCEPTION_LENGTH,
        Some(&code) if code == function.0 => {}
        Some(_) | None => return false,
    }
    let length_is_right = match length(request, reply) {
        Length::Exact(bytes) => bytes == reply.len(),
        Length::Pending => false,
        // Functions the standard does not define: any frame with a correct CRC. A defined function whose counts
        // contradict the request does not answer it.
        Length::Unknown => !has_known_length(request),
    };
    length_is_right && echoes(request, reply)
}

/// Whether `reply` answers a write by 05, 06, 0F or 10 with the right address and another value or quantity: the device
/// limited the value.
#[must_use]
pub fn is_limited_write(request: &RequestPdu, reply: &[u8]) -> bool {
    let asked = request.bytes();
    let is_write = matches!(
        request.function(),
        FunctionCode::WRITE_SINGLE_COIL
            | FunctionCode::WRITE_SINGLE_REGISTER
            | FunctionCode::WRITE_MULTIPLE_COILS
            | FunctionCode::WRITE_MULTIPLE_REGISTERS
    );
    is_write && reply.len() == 5 && reply[..3] == asked[..3] && reply[3..] != asked[3..5]
}

/// Whether `reply` repeats what it must repeat of its request.
fn echoes(request: &RequestPdu, reply: &[u8]) -> bool {
    let asked = request.bytes();
    match request.function() {
        FunctionCode::WRITE_SINGLE_COIL
        | FunctionCode::WRITE_SINGLE_REGISTER
        | FunctionCode::WRITE_FILE_RECORD
        | FunctionCode::MASK_WRITE_REGISTER => reply == &asked[..],
        FunctionCode::WRITE_MULTIPLE_COILS | FunctionCode::WRITE_MULTIPLE_REGISTERS => reply == &asked[..5],
        FunctionCode::DIAGNOSTICS if asked[1..3] == [0, 0] => reply == &asked[..],
        FunctionCode::DIAGNOSTICS => reply.len() >= 3 && reply[1..3] == asked[1..3],
        FunctionCode::ENCAPSULATED_INTERFACE if asked[1] == MEI_READ_DEVICE_IDENTIFICATION => {
            reply.len() >= 3 && reply[1..3] == asked[1..3]
        }
        FunctionCode::ENCAPSULATED_INTERFACE => reply.get(1) == asked.get(1),
        _ => true,
    }
}

/// Whether request or counts determine the length of the reply, as long as they do not contradict each other.
fn has_known_length(request: &RequestPdu) -> bool {
    let data = request.data();
    match request.function().0 {
        0x08 => matches!(u16_at(data, 0), 0x00..=0x04 | 0x0A..=0x12 | 0x14),
        0x2B => data[0] == MEI_READ_DEVICE_IDENTIFICATION,
        0x01..=0x07 | 0x0B | 0x0C | 0x0F..=0x11 | 0x14..=0x18 => true,
        _ => false,
    }
}

/// A reply with its byte count in its second byte, where the request determines the count.
fn counted(reply: &[u8], count: usize) -> Length {
    match reply.get(1) {
        Some(&seen) if usize::from(seen) != count => Length::Unknown,
        Some(_) | None => Length::Exact(2 + count),
    }
}

/// The byte count of the answer to a checked 0x14 request: a length and a reference type per record, and its words
/// (chapter 6.14).
fn read_file_record_count(asked: &[u8]) -> usize {
    asked[1..].chunks_exact(7).map(|record| 2 + usize::from(u16_at(record, 5)) * 2).sum()
}

/// 0x2B/0x0E: a header of seven bytes, then objects of identifier, length and value (chapter 6.21).
fn device_identification_length(reply: &[u8]) -> Length {
    match reply.get(1) {
        None => return Length::Pending,
        Some(&MEI_READ_DEVICE_IDENTIFICATION) => {}
        Some(_) => return Length::Unknown,
    }
    let Some(&objects) = reply.get(6) else { return Length::Pending };
    let mut length = 7;
    for _ in 0..objects {
        let Some(&value) = reply.get(length + 1) else { return Length::Pending };
        length += 2 + usize::from(value);
        if length > PDU_MAX {
            return Length::Unknown;
        }
    }
    Length::Exact(length)
}

/// Function code and exception code.
const EXCEPTION_LENGTH: usize = 2;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn request(pdu: &[u8]) -> RequestPdu {
        RequestPdu::decode(Bytes::copy_from_slice(pdu)).expect("a good request")
    }

    /// Request and reply of each function as the specification's own examples print them (chapter 6).
    const EXAMPLES: [(&[u8], &[u8]); 19] = [
        (&[0x01, 0x00, 0x13, 0x00, 0x13], &[0x01, 0x03, 0xCD, 0x6B, 0x05]),
        (&[0x02, 0x00, 0xC4, 0x00, 0x16], &[0x02, 0x03, 0xAC, 0xDB, 0x35]),
        (&[0x03, 0x00, 0x6B, 0x00, 0x03], &[0x03, 0x06, 0x02, 0x2B, 0x00, 0x00, 0x00, 0x64]),
        (&[0x04, 0x00, 0x08, 0x00, 0x01], &[0x04, 0x02, 0x00, 0x0A]),
        (&[0x05, 0x00, 0xAC, 0xFF, 0x00], &[0x05, 0x00, 0xAC, 0xFF, 0x00]),
        (&[0x06, 0x00, 0x01, 0x00, 0x03], &[0x06, 0x00, 0x01, 0x00, 0x03]),
        (&[0x07], &[0x07, 0x6D]),
        (&[0x08, 0x00, 0x00, 0xA5, 0x37], &[0x08, 0x00, 0x00, 0xA5, 0x37]),
        (&[0x08, 0x00, 0x0B, 0x00, 0x00], &[0x08, 0x00, 0x0B, 0x00, 0x21]),
        (&[0x0B], &[0x0B, 0xFF, 0xFF, 0x01, 0x08]),
        (&[0x0C], &[0x0C, 0x08, 0x00, 0x00, 0x01, 0x08, 0x01, 0x21, 0x20, 0x00]),
        (&[0x0F, 0x00, 0x13, 0x00, 0x0A, 0x02, 0xCD, 0x01], &[0x0F, 0x00, 0x13, 0x00, 0x0A]),
        (&[0x10, 0x00, 0x01, 0x00, 0x02, 0x04, 0x00, 0x0A, 0x01, 0x02], &[0x10, 0x00, 0x01, 0x00, 0x02]),
        (&[0x11], &[0x11, 0x03, 0xF7, 0xFF, 0x4C]),
        (
            &[0x14, 0x0E, 0x06, 0x00, 0x04, 0x00, 0x01, 0x00, 0x02, 0x06, 0x00, 0x03, 0x00, 0x09, 0x00, 0x02],
            &[0x14, 0x0C, 0x05, 0x06, 0x0D, 0xFE, 0x00, 0x20, 0x05, 0x06, 0x33, 0xCD, 0x00, 0x40],
        ),
        (
            &[0x15, 0x0D, 0x06, 0x00, 0x04, 0x00, 0x07, 0x00, 0x03, 0x06, 0xAF, 0x04, 0xBE, 0x10, 0x0D],
            &[0x15, 0x0D, 0x06, 0x00, 0x04, 0x00, 0x07, 0x00, 0x03, 0x06, 0xAF, 0x04, 0xBE, 0x10, 0x0D],
        ),
        (&[0x16, 0x00, 0x04, 0x00, 0xF2, 0x00, 0x25], &[0x16, 0x00, 0x04, 0x00, 0xF2, 0x00, 0x25]),
        (&[0x18, 0x04, 0xDE], &[0x18, 0x00, 0x06, 0x00, 0x02, 0x01, 0xB8, 0x12, 0x84]),
        (
            &[0x2B, 0x0E, 0x01, 0x00],
            &[0x2B, 0x0E, 0x01, 0x01, 0x00, 0x00, 0x02, 0x00, 0x02, 0x4C, 0x65, 0x01, 0x01, 0x34],
        ),
    ];

    #[test]
    fn the_length_of_each_example_is_known_before_its_end() {
        for (asked, reply) in EXAMPLES {
            let request = request(asked);
            for seen in 1..reply.len() {
                match length(&request, &reply[..seen]) {
                    Length::Exact(bytes) => assert_eq!(bytes, reply.len(), "{request:?} after {seen}"),
                    Length::Pending => assert!(seen < reply.len(), "{request:?} after {seen}"),
                    Length::Unknown => panic!("{request:?} after {seen}"),
                }
            }
            assert_eq!(length(&request, reply), Length::Exact(reply.len()), "{request:?}");
        }
    }

    #[test]
    fn each_example_answers_its_own_request_and_no_other() {
        for (asked, _) in EXAMPLES {
            for (other, reply) in EXAMPLES {
                let fits = asked == other;
                assert_eq!(answers(&request(asked), reply), fits, "{asked:02X?} {reply:02X?}");
            }
        }
    }

    #[test]
    fn an_exception_ends_at_its_second_byte() {
        for (asked, _) in EXAMPLES {
            let request = request(asked);
            let reply = [asked[0] | 0x80, 0x02, 0x99];
            assert_eq!(length(&request, &reply[..1]), Length::Exact(2));
            assert!(answers(&request, &reply[..2]));
            assert!(!answers(&request, &reply), "longer than an exception");
        }
    }

    #[test]
    fn a_write_is_answered_only_by_its_own_address_and_value() {
        let write = request(&[0x06, 0x00, 0x01, 0x00, 0x03]);
        assert!(!answers(&write, &[0x06, 0x00, 0x02, 0x00, 0x03]));
        assert!(!answers(&write, &[0x06, 0x00, 0x01, 0x00, 0x04]));
        let write = request(&[0x10, 0x00, 0x01, 0x00, 0x01, 0x02, 0x00, 0x0A]);
        assert!(!answers(&write, &[0x10, 0x00, 0x01, 0x00, 0x02]));
    }

    #[test]
    fn a_short_answer_is_no_answer() {
        let read = request(&[0x03, 0x00, 0x00, 0x00, 0x0A]);
        let short = [0x03, 0x04, 0x00, 0x01, 0x00, 0x02];
        assert_eq!(length(&read, &short), Length::Unknown);
        assert!(!answers(&read, &short));
    }

    #[test]
    fn an_unknown_function_is_answered_by_whatever_it_gives() {
        let vendor = request(&[0x41, 0x01]);
        assert_eq!(length(&vendor, &[0x41]), Length::Unknown);
        assert!(answers(&vendor, &[0x41, 0x01, 0x02, 0x03]));
        assert!(!answers(&vendor, &[0x42, 0x01]));
    }
}
