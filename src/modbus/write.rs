//! The contents of a write PDU: the table, the range and the values, for logs and records.
//!
//! Owns the parsing of functions 0x05, 0x06, 0x0F, 0x10, 0x16 and 0x17. It checks nothing: of a PDU that violates the
//! standard it returns what can be read. Source: MODBUS Application Protocol Specification V1.1b3, chapters 6.5 to
//! 6.17.

use bytes::Bytes;

use super::pdu::{FunctionCode, ReadRange, RequestPdu, u16_at};

/// The contents of a write PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The range that is written, with the function that reads it: 0x01 for coils, 0x03 for registers.
    pub range: ReadRange,
    /// The values: registers unchanged, coils as 0 and 1. Of 0x16 the two masks, AND before OR, which are not values of
    /// the register.
    pub values: Vec<u16>,
    /// Whether the values are masks.
    pub masked: bool,
}

impl Written {
    /// `None` for a function without a range, for a read, and if the range is missing.
    #[must_use]
    pub fn of(pdu: &[u8]) -> Option<Self> {
        let (&function, data) = pdu.split_first()?;
        let data = if FunctionCode(function) == FunctionCode::READ_WRITE_MULTIPLE_REGISTERS {
            data.get(4..)?
        } else {
            data
        };
        if data.len() < 4 {
            return None;
        }
        let (start, second) = (u16_at(data, 0), u16_at(data, 2));
        let coils = |quantity| ReadRange { function: FunctionCode::READ_COILS, start, quantity };
        let registers =
            |quantity| ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start, quantity };
        let words = |from: usize| -> Vec<u16> {
            let words = data.get(from..).unwrap_or_default().chunks_exact(2);
            words.map(|word| u16::from_be_bytes([word[0], word[1]])).collect()
        };
        let written = |range, values| Some(Self { range, values, masked: false });
        match FunctionCode(function) {
            FunctionCode::WRITE_SINGLE_COIL => written(coils(1), vec![u16::from(second == 0xFF00)]),
            FunctionCode::WRITE_SINGLE_REGISTER => written(registers(1), vec![second]),
            FunctionCode::WRITE_MULTIPLE_COILS => {
                written(coils(second), bits(data.get(5..).unwrap_or_default(), second))
            }
            FunctionCode::WRITE_MULTIPLE_REGISTERS | FunctionCode::READ_WRITE_MULTIPLE_REGISTERS => {
                written(registers(second), words(5))
            }
            FunctionCode::MASK_WRITE_REGISTER => {
                Some(Self { range: registers(1), values: words(2), masked: true })
            }
            _ => None,
        }
    }
}

/// The range that a request reads, or else writes; `None` if it has none, or violates the standard.
#[must_use]
pub fn touched(pdu: &[u8]) -> Option<ReadRange> {
    let request = RequestPdu::decode(Bytes::copy_from_slice(pdu)).ok()?;
    request.range().or_else(|| Written::of(pdu).map(|written| written.range))
}

/// The values in the reply PDU to a read of a [`Written::range`]: registers unchanged, coils as 0 and 1.
#[must_use]
pub fn values_of(range: &ReadRange, reply: &[u8]) -> Vec<u16> {
    let data = reply.get(2..).unwrap_or_default();
    if range.function == FunctionCode::READ_COILS {
        return bits(data, range.quantity);
    }
    data.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect()
}

fn bits(bytes: &[u8], quantity: u16) -> Vec<u16> {
    let all = bytes.iter().flat_map(|byte| (0..8).map(move |bit| u16::from(byte >> bit & 1)));
    all.take(usize::from(quantity)).collect()
}
