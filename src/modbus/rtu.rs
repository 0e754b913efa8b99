//! The serial ADU: unit identifier, PDU, CRC; and character times.
//!
//! Source: MODBUS over Serial Line Specification and Implementation Guide V1.02, chapters 2.3 and 2.5.1.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::pdu::MEI_READ_DEVICE_IDENTIFICATION;

/// Largest serial ADU in bytes.
pub const ADU_MAX: usize = 256;

/// Bytes around a PDU: the unit identifier and the CRC.
pub const OVERHEAD: usize = 3;

/// The serial ADU that carries `pdu` (1 to 253 bytes) to or from `unit` (0: broadcast).
#[must_use]
pub fn encode(unit: u8, pdu: &[u8]) -> Bytes {
    let mut adu = BytesMut::with_capacity(pdu.len() + OVERHEAD);
    append(&mut adu, unit, pdu);
    adu.freeze()
}

/// Appends to `out` the serial ADU that carries `pdu` (1 to 253 bytes) to or from `unit` (0: broadcast).
pub fn append(out: &mut BytesMut, unit: u8, pdu: &[u8]) {
    let start = out.len();
    out.reserve(pdu.len() + OVERHEAD);
    out.put_u8(unit);
    out.put_slice(pdu);
    let crc = crc(&out[start..]);
    // The low byte of the CRC goes first (chapter 2.5.1.2).
    out.put_u16_le(crc);
}

/// The length of the request ADU that begins with `adu` (chapter 6 of the application protocol); `None`: too few bytes,
/// or requests of this function do not tell their length.
#[must_use]
pub fn request_length(adu: &[u8]) -> Option<usize> {
    let counted = |at: usize, around: usize| adu.get(at).map(|count| around + usize::from(*count));
    match adu.get(1)? {
        0x01..=0x06 => Some(8),
        0x07 | 0x0B | 0x0C | 0x11 => Some(4),
        0x0F | 0x10 => counted(6, 9),
        0x14 | 0x15 => counted(2, 5),
        0x16 => Some(10),
        0x17 => counted(10, 13),
        0x18 => Some(6),
        0x2B if adu.get(2) == Some(&MEI_READ_DEVICE_IDENTIFICATION) => Some(7),
        _ => None,
    }
}

/// The length of the request ADU with a right CRC that `bytes` begin with. Where the function does not tell the length,
/// it is all of them.
#[must_use]
pub fn request_at_front(bytes: &[u8]) -> Option<usize> {
    let length = request_length(bytes).unwrap_or(bytes.len());
    bytes.get(..length).filter(|adu| length <= ADU_MAX && crc_is_right(adu)).map(|_| length)
}

/// Whether `adu` is long enough and ends in the CRC of the bytes before.
#[must_use]
pub fn crc_is_right(adu: &[u8]) -> bool {
    adu.len() > OVERHEAD && crc(adu) == 0
}

/// CRC-16 of the serial line: polynomial 0xA001 reflected, start value 0xFFFF (chapter 6.2.2 of the guide).
#[must_use]
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| crc_with(crc, byte))
}

/// The CRC-16 of bytes whose CRC-16 without the last, `byte`, is `crc`.
#[must_use]
pub fn crc_with(crc: u16, byte: u8) -> u16 {
    (crc >> 8) ^ CRC_TABLE[usize::from((crc ^ u16::from(byte)) & 0xFF)]
}

/// The time `bytes` characters of `bits` bits each take at `baud_rate`, rounded up to a nanosecond.
#[must_use]
pub fn wire_time(bytes: usize, bits: u32, baud_rate: u32) -> Duration {
    let nanos = (bytes as u64 * u64::from(bits) * 1_000_000_000).div_ceil(u64::from(baud_rate));
    Duration::from_nanos(nanos)
}

/// The silence that separates two frames: 3.5 characters of 11 bits, and no less than 1.75 ms from 19200
/// baud on (chapter 2.5.1.1). Eleven bits at any framing: the standard's character always has them.
#[must_use]
pub fn silence(baud_rate: u32) -> Duration {
    let characters = Duration::from_nanos(38_500_000_000_u64.div_ceil(u64::from(baud_rate)));
    characters.max(SILENCE_FLOOR)
}

/// t3.5 above 19200 baud (chapter 2.5.1.1).
const SILENCE_FLOOR: Duration = Duration::from_micros(1750);

const CRC_TABLE: [u16; 256] = {
    let mut table = [0_u16; 256];
    let mut index = 0_u16;
    while index < 256 {
        let mut crc = index;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 };
            bit += 1;
        }
        table[index as usize] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_of_the_guides_example() {
        // Chapter 6.2.2: unit 02, function 07 gives CRC 1241, low byte first.
        assert_eq!(encode(0x02, &[0x07])[..], [0x02, 0x07, 0x41, 0x12]);
    }

    #[test]
    fn an_encoded_adu_has_a_right_crc_until_a_bit_flips() {
        let adu = encode(17, &[3, 0, 0x6B, 0, 3]);
        assert_eq!(adu[..], [0x11, 0x03, 0x00, 0x6B, 0x00, 0x03, 0x76, 0x87]);
        assert!(crc_is_right(&adu));
        for bit in 0..adu.len() * 8 {
            let mut flipped = adu.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!crc_is_right(&flipped), "bit {bit}");
        }
    }

    #[test]
    fn silence_is_three_and_a_half_characters_with_a_floor() {
        assert_eq!(silence(9600), Duration::from_nanos(4_010_417));
        assert_eq!(silence(19200), Duration::from_nanos(2_005_209));
        assert_eq!(silence(38400), Duration::from_micros(1750));
        assert_eq!(silence(115_200), Duration::from_micros(1750));
    }

    #[test]
    fn eight_bytes_at_19200_take_4_2_milliseconds() {
        assert_eq!(wire_time(8, 10, 19200), Duration::from_nanos(4_166_667));
    }
}
