//! The TCP ADU: MBAP header, stream decoder, encoder.
//!
//! Owns the split of a byte stream into ADUs, however it is segmented. It never checks a PDU. Source: MODBUS Messaging
//! on TCP/IP Implementation Guide V1.0b, chapter 3.1.3.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::pdu::PDU_MAX;

/// Bytes of the MBAP header, unit identifier included.
pub const HEADER_LENGTH: usize = 7;

/// Largest TCP ADU in bytes.
pub const ADU_MAX: usize = HEADER_LENGTH + PDU_MAX;

/// One ADU as a client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adu {
    /// Chosen by the client, repeated in the answer.
    pub transaction_id: u16,
    /// The unit identifier byte, 0 to 255.
    pub unit: u8,
    /// The PDU, 1 to 253 bytes, not checked.
    pub pdu: Bytes,
}

impl Adu {
    /// Appends the ADU to `out`. The PDU must have 1 to [`PDU_MAX`] bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        debug_assert!((1..=PDU_MAX).contains(&self.pdu.len()));
        out.reserve(HEADER_LENGTH + self.pdu.len());
        let length = u16::try_from(self.pdu.len() + 1).expect("a PDU has at most 253 bytes");
        let ([t1, t0], [p1, p0], [l1, l0]) =
            (self.transaction_id.to_be_bytes(), PROTOCOL_ID.to_be_bytes(), length.to_be_bytes());
        out.put_slice(&[t1, t0, p1, p0, l1, l0, self.unit]);
        out.put_slice(&self.pdu);
    }
}

/// The stream is not Modbus TCP; nothing after this point can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// The protocol identifier is not 0.
    ProtocolId(u16),
    /// The length field is outside 2..=254.
    Length(u16),
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProtocolId(id) => write!(f, "protocol identifier {id}, expected 0: this is not Modbus TCP"),
            Self::Length(length) => write!(f, "MBAP length {length}, allowed are 2 to 254"),
        }
    }
}

impl std::error::Error for FramingError {}

/// Removes the next whole ADU from the front of `input`; `None` if it is incomplete.
///
/// # Errors
/// As soon as the protocol identifier or the length is wrong, however few bytes have come.
pub fn decode(input: &mut BytesMut) -> Result<Option<Adu>, FramingError> {
    let Some(length) = adu_length(input)?.filter(|length| input.len() >= *length) else { return Ok(None) };
    // A copy: a slice would keep the whole receive buffer alive for as long as the request is queued.
    let pdu = Bytes::copy_from_slice(&input[HEADER_LENGTH..length]);
    let adu = Adu { transaction_id: u16::from_be_bytes([input[0], input[1]]), unit: input[6], pdu };
    input.advance(length);
    Ok(Some(adu))
}

/// The length of the ADU that `input` begins with, from its header; `None` if too few bytes have come.
///
/// # Errors
/// As soon as the protocol identifier or the length is wrong.
pub fn adu_length(input: &[u8]) -> Result<Option<usize>, FramingError> {
    let word = |at: usize| input.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    if let Some(id) = word(2).filter(|&id| id != PROTOCOL_ID) {
        return Err(FramingError::ProtocolId(id));
    }
    let Some(length) = word(4) else { return Ok(None) };
    // The unit identifier and at least a function code; at most the unit identifier and a whole PDU.
    if !(2..=254).contains(&length) {
        return Err(FramingError::Length(length));
    }
    Ok(Some(HEADER_LENGTH - 1 + usize::from(length)))
}

/// The protocol identifier of Modbus.
const PROTOCOL_ID: u16 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(adus: &[Adu]) -> BytesMut {
        let mut out = BytesMut::new();
        for adu in adus {
            adu.encode(&mut out);
        }
        out
    }

    fn adu(transaction_id: u16, unit: u8, pdu: &[u8]) -> Adu {
        Adu { transaction_id, unit, pdu: Bytes::copy_from_slice(pdu) }
    }

    #[test]
    fn the_example_of_the_guide_decodes() {
        // Messaging guide, chapter 4.4.2.1 in our numbers: transaction 0x1501, unit 0xFF, read register 4.
        let mut input = BytesMut::from(&[0x15, 0x01, 0, 0, 0, 6, 0xFF, 0x03, 0x00, 0x04, 0x00, 0x01][..]);
        let expected = adu(0x1501, 0xFF, &[3, 0, 4, 0, 1]);
        assert_eq!(decode(&mut input), Ok(Some(expected)));
        assert!(input.is_empty());
    }

    #[test]
    fn any_split_of_the_stream_gives_the_same_adus() {
        let adus = [adu(1, 1, &[3, 0, 0, 0, 2]), adu(2, 247, &[0x11]), adu(3, 9, &[0x41; PDU_MAX])];
        let whole = stream(&adus);
        for cut in 1..whole.len() {
            let mut input = BytesMut::new();
            let mut seen = Vec::new();
            for part in whole.chunks(cut) {
                input.extend_from_slice(part);
                while let Some(adu) = decode(&mut input).unwrap() {
                    seen.push(adu);
                }
            }
            assert_eq!(seen, adus, "chunks of {cut}");
        }
    }

    #[test]
    fn a_wrong_protocol_identifier_is_seen_at_its_byte() {
        let mut input = BytesMut::from(&[0, 1, 0, 1][..]);
        assert_eq!(decode(&mut input), Err(FramingError::ProtocolId(1)));
    }

    #[test]
    fn lengths_are_judged_at_their_edges() {
        for (length, ok) in [(0, false), (1, false), (2, true), (254, true), (255, false), (0xFFFF, false)] {
            let mut input = BytesMut::new();
            input.put_u16(7);
            input.put_u16(0);
            input.put_u16(length);
            assert_eq!(decode(&mut input).is_ok(), ok, "length {length}");
        }
    }
}
