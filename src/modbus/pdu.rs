//! The protocol data unit: function codes, exception codes, and the limits the standard sets on a request.
//!
//! Owns the decisions whether a request may be sent and whether it is a read. It never uses the ADU around the PDU and
//! never changes a byte: a client's request passes through untouched. Source: MODBUS Application Protocol Specification
//! V1.1b3, chapters 4 to 7.

use std::fmt;

use bytes::Bytes;

/// Largest PDU in bytes, function code included (chapter 4.1).
pub const PDU_MAX: usize = 253;

/// A function code on the wire, 0x01 to 0x7F in a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionCode(pub u8);

impl FunctionCode {
    /// 0x01 Read Coils.
    pub const READ_COILS: Self = Self(0x01);
    /// 0x02 Read Discrete Inputs.
    pub const READ_DISCRETE_INPUTS: Self = Self(0x02);
    /// 0x03 Read Holding Registers.
    pub const READ_HOLDING_REGISTERS: Self = Self(0x03);
    /// 0x04 Read Input Registers.
    pub const READ_INPUT_REGISTERS: Self = Self(0x04);
    /// 0x05 Write Single Coil.
    pub const WRITE_SINGLE_COIL: Self = Self(0x05);
    /// 0x06 Write Single Register.
    pub const WRITE_SINGLE_REGISTER: Self = Self(0x06);
    /// 0x08 Diagnostics.
    pub const DIAGNOSTICS: Self = Self(0x08);
    /// 0x0F Write Multiple Coils.
    pub const WRITE_MULTIPLE_COILS: Self = Self(0x0F);
    /// 0x10 Write Multiple Registers.
    pub const WRITE_MULTIPLE_REGISTERS: Self = Self(0x10);
    /// 0x11 Report Server ID.
    pub const REPORT_SERVER_ID: Self = Self(0x11);
    /// 0x15 Write File Record.
    pub const WRITE_FILE_RECORD: Self = Self(0x15);
    /// 0x16 Mask Write Register.
    pub const MASK_WRITE_REGISTER: Self = Self(0x16);
    /// 0x17 Read/Write Multiple Registers.
    pub const READ_WRITE_MULTIPLE_REGISTERS: Self = Self(0x17);
    /// 0x2B Encapsulated Interface Transport.
    pub const ENCAPSULATED_INTERFACE: Self = Self(0x2B);

    /// Whether it may be sent to all units at once: 0x05, 0x06, 0x0F and 0x10.
    #[must_use]
    pub fn may_be_broadcast(self) -> bool {
        matches!(
            self,
            Self::WRITE_SINGLE_COIL
                | Self::WRITE_SINGLE_REGISTER
                | Self::WRITE_MULTIPLE_COILS
                | Self::WRITE_MULTIPLE_REGISTERS
        )
    }

    /// Whether it may be the function of a request: 0x01 to 0x7F (chapter 4.1).
    #[must_use]
    pub fn is_request(self) -> bool {
        self.0 != 0 && self.0 & EXCEPTION_BIT == 0
    }

    /// The code an exception reply to this function carries (chapter 7).
    #[must_use]
    pub fn exception(self) -> Self {
        Self(self.0 | EXCEPTION_BIT)
    }
}

impl fmt::Display for FunctionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X}", self.0)
    }
}

impl fmt::Debug for FunctionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An exception code on the wire (chapter 7). Codes above 0x0B are counted as one: `line/statistics.rs` and
/// `server/listener_metrics.rs` have a counter for each up to 0x0B.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExceptionCode(pub u8);

impl ExceptionCode {
    /// 0x01: the function is not allowed here.
    pub const ILLEGAL_FUNCTION: Self = Self(0x01);
    /// 0x02: the address range does not exist.
    pub const ILLEGAL_DATA_ADDRESS: Self = Self(0x02);
    /// 0x03: a quantity, a byte count or the length of the request violates the standard.
    pub const ILLEGAL_DATA_VALUE: Self = Self(0x03);
    /// 0x06: the gateway's queue is full, or the deadline is too close.
    pub const SERVER_DEVICE_BUSY: Self = Self(0x06);
    /// 0x0A: the unit cannot be reached.
    pub const GATEWAY_PATH_UNAVAILABLE: Self = Self(0x0A);
    /// 0x0B: the unit did not answer.
    pub const GATEWAY_TARGET_FAILED_TO_RESPOND: Self = Self(0x0B);

    /// The name the standard gives the code.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            0x01 => "illegal function",
            0x02 => "illegal data address",
            0x03 => "illegal data value",
            0x04 => "server device failure",
            0x05 => "acknowledge",
            0x06 => "server device busy",
            0x08 => "memory parity error",
            0x0A => "gateway path unavailable",
            0x0B => "gateway target device failed to respond",
            _ => "not in the standard",
        }
    }
}

impl fmt::Display for ExceptionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X} {}", self.0, self.name())
    }
}

impl fmt::Debug for ExceptionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X}", self.0)
    }
}

/// The two-byte exception reply to `function` (chapter 7).
#[must_use]
pub fn exception_reply(function: FunctionCode, code: ExceptionCode) -> Bytes {
    Bytes::copy_from_slice(&[function.exception().0, code.0])
}

/// The range of a 0x01 to 0x04 request: `quantity` coils, inputs or registers from `start`, addresses from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadRange {
    /// Which of the four tables, named by the function code that reads it (0x01 to 0x04).
    pub function: FunctionCode,
    /// Starting address, from 0.
    pub start: u16,
    /// Coils, inputs or registers, at least 1.
    pub quantity: u16,
}

impl ReadRange {
    /// The address and the quantity that the data of a request begins with, as a range of holding registers.
    pub(crate) fn first_of(data: &[u8]) -> Self {
        Self {
            function: FunctionCode::READ_HOLDING_REGISTERS,
            start: u16_at(data, 0),
            quantity: u16_at(data, 2),
        }
    }

    /// Whether a reply to `self` contains every value of `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let end = |r: &Self| u32::from(r.start) + u32::from(r.quantity);
        self.function == other.function && self.start <= other.start && end(self) >= end(other)
    }

    /// Whether the two have a value in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let end = |r: &Self| u32::from(r.start) + u32::from(r.quantity);
        self.function == other.function
            && u32::from(self.start) < end(other)
            && u32::from(other.start) < end(self)
    }

    /// The request PDU of this range.
    #[must_use]
    pub fn request(&self) -> Bytes {
        let [s1, s0] = self.start.to_be_bytes();
        let [q1, q0] = self.quantity.to_be_bytes();
        Bytes::copy_from_slice(&[self.function.0, s1, s0, q1, q0])
    }

    /// Bytes of values in the reply to this range.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        if self.is_bits() { usize::from(self.quantity).div_ceil(8) } else { usize::from(self.quantity) * 2 }
    }

    /// The part of `reply` (a checked reply PDU to `self`) that answers `part`, as a reply PDU of its own.
    ///
    /// `None` if `self` does not cover `part`, or `reply` does not have the length of a reply to `self`.
    #[must_use]
    pub fn cut(&self, reply: &Bytes, part: &Self) -> Option<Bytes> {
        if !self.covers(part) || reply.len() != 2 + self.byte_count() {
            return None;
        }
        if self == part {
            return Some(reply.clone());
        }
        let values = &reply[2..];
        let offset = usize::from(part.start - self.start);
        let count = part.byte_count();
        let mut cut = Vec::with_capacity(2 + count);
        cut.push(part.function.0);
        cut.push(u8::try_from(count).expect("a part of a reply is no longer than the reply"));
        if self.is_bits() {
            cut.resize(2 + count, 0);
            for bit in 0..usize::from(part.quantity) {
                let from = offset + bit;
                let value = (values[from / 8] >> (from % 8)) & 1;
                cut[2 + bit / 8] |= value << (bit % 8);
            }
        } else {
            cut.extend_from_slice(&values[offset * 2..offset * 2 + count]);
        }
        Some(Bytes::from(cut))
    }

    fn is_bits(&self) -> bool {
        self.function <= FunctionCode::READ_DISCRETE_INPUTS
    }
}

/// A request PDU within the limits of the standard: the only kind that may be sent on the line.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestPdu {
    bytes: Bytes,
    /// Whether the configuration declares its function to be read only.
    is_declared_read: bool,
}

impl RequestPdu {
    /// Checks a request PDU, at most [`PDU_MAX`] bytes, against the standard's limits.
    ///
    /// # Errors
    /// The exception for the client: 0x01 for function code 0 or from 0x80 on, 0x02 for a range past address 65535,
    /// 0x03 for a length, quantity, byte count or value outside the standard's limits. Function codes the standard does
    /// not define pass with any data.
    pub fn decode(pdu: Bytes) -> Result<Self, ExceptionCode> {
        Self::decode_or_return(pdu).map_err(|(code, _)| code)
    }

    /// The same, for a message about the refused PDU.
    ///
    /// # Errors
    /// Those of [`decode`](Self::decode), and the PDU.
    pub fn decode_or_return(pdu: Bytes) -> Result<Self, (ExceptionCode, Bytes)> {
        let checked = match pdu.first() {
            None => Err(ExceptionCode::ILLEGAL_FUNCTION),
            Some(&function) if !FunctionCode(function).is_request() => Err(ExceptionCode::ILLEGAL_FUNCTION),
            Some(_) if pdu.len() > PDU_MAX => Err(ExceptionCode::ILLEGAL_DATA_VALUE),
            Some(&function) => check_data(FunctionCode(function), &pdu[1..]),
        };
        match checked {
            Ok(()) => Ok(Self { bytes: pdu, is_declared_read: false }),
            Err(code) => Err((code, pdu)),
        }
    }

    /// The same request, with its function declared read only by the configuration (`read_functions`).
    #[must_use]
    pub fn as_declared_read(self) -> Self {
        Self { is_declared_read: true, ..self }
    }

    /// The function code.
    #[must_use]
    pub fn function(&self) -> FunctionCode {
        FunctionCode(self.bytes[0])
    }

    /// The whole PDU, function code first.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What follows the function code.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.bytes[1..]
    }

    /// Whether the request is a read: repeating it changes nothing in the unit.
    ///
    /// Everything that is not known to be a read counts as a write, unknown function codes included.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.is_declared_read || is_read(&self.bytes)
    }

    /// The range of a 0x01 to 0x04 request; `None` for every other function.
    #[must_use]
    pub fn range(&self) -> Option<ReadRange> {
        let function = self.function();
        (FunctionCode::READ_COILS..=FunctionCode::READ_INPUT_REGISTERS)
            .contains(&function)
            .then(|| ReadRange { function, ..ReadRange::first_of(self.data()) })
    }

    /// The reply of a unit that carried out a write that [may be broadcast](FunctionCode::may_be_broadcast): 0x05 and 0x06 are
    /// repeated whole, 0x0F and 0x10 up to their quantity (chapters 6.5, 6.6, 6.11, 6.12).
    #[must_use]
    pub fn acknowledgement(&self) -> Bytes {
        self.bytes.slice(..self.bytes.len().min(ACKNOWLEDGEMENT_LENGTH))
    }
}

impl fmt::Debug for RequestPdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestPdu({:02X?})", &self.bytes[..])
    }
}

impl From<ReadRange> for RequestPdu {
    /// The request of a range that comes from a checked request or lies inside one.
    fn from(range: ReadRange) -> Self {
        Self { bytes: range.request(), is_declared_read: false }
    }
}

/// Whether a PDU is a read, even one that violates the standard's limits. In doubt it is a write.
#[must_use]
pub fn is_read(pdu: &[u8]) -> bool {
    match pdu {
        [0x01..=0x04 | 0x07 | 0x0B | 0x0C | 0x11 | 0x14 | 0x18, ..] => true,
        [0x2B, MEI_READ_DEVICE_IDENTIFICATION, ..] => true,
        // 00 echoes, 02 returns the diagnostic register, 0B to 12 return counters.
        [0x08, 0x00, 0x00 | 0x02 | 0x0B..=0x12, ..] => true,
        _ => false,
    }
}

/// Whether a PDU that violates the standard's limits may have been meant as a read: it is one, or ends before the byte
/// that tells (the sub-function of 0x08, the MEI type of 0x2B).
#[must_use]
pub fn may_be_read(pdu: &[u8]) -> bool {
    is_read(pdu) || matches!(pdu, [0x08] | [0x08, 0x00] | [0x2B])
}

/// The reply that acknowledges this write of function 0x05, 0x06, 0x0F or 0x10 unchanged; `None` for all others.
#[must_use]
pub fn acknowledgement(pdu: &[u8]) -> Option<&[u8]> {
    match pdu {
        [0x05 | 0x06 | 0x0F | 0x10, ..] => pdu.get(..ACKNOWLEDGEMENT_LENGTH),
        _ => None,
    }
}

/// MEI type 0x0E of function 0x2B, Read Device Identification (chapter 6.21).
pub(crate) const MEI_READ_DEVICE_IDENTIFICATION: u8 = 0x0E;

/// Set in the function code of an exception reply.
pub(crate) const EXCEPTION_BIT: u8 = 0x80;

/// The big-endian word at `at`.
pub(crate) fn u16_at(data: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([data[at], data[at + 1]])
}

/// The limits of chapter 6, function by function.
fn check_data(function: FunctionCode, data: &[u8]) -> Result<(), ExceptionCode> {
    let bad_value = Err(ExceptionCode::ILLEGAL_DATA_VALUE);
    let length = |expected: usize| {
        if data.len() == expected { Ok(()) } else { Err(ExceptionCode::ILLEGAL_DATA_VALUE) }
    };
    match function.0 {
        0x01 | 0x02 => length(4).and_then(|()| check_range(data, 2000)),
        0x03 | 0x04 => length(4).and_then(|()| check_range(data, 125)),
        // Values of 0x05 other than FF00 and 0000 are up to the device: relay boards toggle with 5500.
        0x05 | 0x06 => length(4),
        0x07 | 0x0B | 0x0C | 0x11 => length(0),
        // A sub-function, and data in words: two bytes for all but 00, which echoes any number of them.
        0x08 => match (data.len(), data) {
            (4.., [0, 0, ..]) if data.len().is_multiple_of(2) => Ok(()),
            (4, _) => Ok(()),
            _ => bad_value,
        },
        0x0F => check_write(data, 1968, |quantity| quantity.div_ceil(8)),
        0x10 => check_write(data, 123, |quantity| quantity * 2),
        0x14 => check_read_file_record(data),
        0x15 => check_write_file_record(data),
        0x16 => length(6),
        0x17 => check_read_write(data),
        0x18 => length(2),
        0x2B => match data {
            [MEI_READ_DEVICE_IDENTIFICATION, code, _object] if (1..=4).contains(code) => Ok(()),
            [] | [MEI_READ_DEVICE_IDENTIFICATION, ..] => bad_value,
            [..] => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Starting address and quantity: the quantity is checked before the range, as in the standard's diagrams.
fn check_range(data: &[u8], quantity_max: u16) -> Result<(), ExceptionCode> {
    let (start, quantity) = (u16_at(data, 0), u16_at(data, 2));
    if quantity == 0 || quantity > quantity_max {
        Err(ExceptionCode::ILLEGAL_DATA_VALUE)
    } else if u32::from(start) + u32::from(quantity) > ADDRESSES {
        Err(ExceptionCode::ILLEGAL_DATA_ADDRESS)
    } else {
        Ok(())
    }
}

/// Range, byte count and values of 0x0F and 0x10.
fn check_write(data: &[u8], quantity_max: u16, bytes: fn(usize) -> usize) -> Result<(), ExceptionCode> {
    if data.len() < 5 {
        return Err(ExceptionCode::ILLEGAL_DATA_VALUE);
    }
    let count = bytes(usize::from(u16_at(data, 2)));
    if usize::from(data[4]) != count || data.len() != 5 + count {
        return Err(ExceptionCode::ILLEGAL_DATA_VALUE);
    }
    check_range(data, quantity_max)
}

/// 0x17: at most 125 registers read and 121 written in one transaction (chapter 6.17).
fn check_read_write(data: &[u8]) -> Result<(), ExceptionCode> {
    if data.len() < 9 {
        return Err(ExceptionCode::ILLEGAL_DATA_VALUE);
    }
    let (read, write) = data.split_at(4);
    let checked = [check_range(read, 125), check_write(write, 121, |quantity| quantity * 2)];
    // Both quantities are checked before both ranges, as in the standard's diagram.
    match checked.contains(&Err(ExceptionCode::ILLEGAL_DATA_VALUE)) {
        true => Err(ExceptionCode::ILLEGAL_DATA_VALUE),
        false => checked.into_iter().collect(),
    }
}

/// 0x14: sub-requests of seven bytes, whose answers together fit one PDU (chapter 6.14). Which files and records there
/// are is up to the device.
fn check_read_file_record(data: &[u8]) -> Result<(), ExceptionCode> {
    let records = match data {
        [count, records @ ..]
            if usize::from(*count) == records.len()
                && (7..=0xF5).contains(count)
                && records.len().is_multiple_of(7) =>
        {
            records
        }
        _ => return Err(ExceptionCode::ILLEGAL_DATA_VALUE),
    };
    let mut reply = 2;
    for record in records.chunks_exact(7) {
        reply += 2 + usize::from(u16_at(record, 5)) * 2;
    }
    if reply > PDU_MAX { Err(ExceptionCode::ILLEGAL_DATA_VALUE) } else { Ok(()) }
}

/// 0x15: sub-requests of seven bytes and the record's words (chapter 6.15). Which files and records there are is up to
/// the device.
fn check_write_file_record(data: &[u8]) -> Result<(), ExceptionCode> {
    let bad_value = Err(ExceptionCode::ILLEGAL_DATA_VALUE);
    let mut records = match data {
        [count, records @ ..] if usize::from(*count) == records.len() && (9..=0xFB).contains(count) => {
            records
        }
        _ => return bad_value,
    };
    while !records.is_empty() {
        if records.len() < 7 {
            return bad_value;
        }
        let record = 7 + usize::from(u16_at(records, 5)) * 2;
        if records.len() < record {
            return bad_value;
        }
        records = &records[record..];
    }
    Ok(())
}

/// Bytes of the reply to 0x05, 0x06, 0x0F and 0x10: function, address, and value or quantity.
const ACKNOWLEDGEMENT_LENGTH: usize = 5;

/// Addresses of one table.
const ADDRESSES: u32 = 65536;
