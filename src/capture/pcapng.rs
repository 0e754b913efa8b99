//! Blocks of a pcapng file, as bytes.
//!
//! Owns lengths, padding and options of section header, interface and packet; the contents of packets are opaque.
//! Source: draft-ietf-opsawg-pcapng, chapters 3.1, 3.5, 4.1, 4.2 and 4.3.

use std::time::{SystemTime, UNIX_EPOCH};

/// The first bytes of an interface's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkType {
    /// An IPv4 or IPv6 header.
    RawIp,
    /// Tags that select the dissector, then the bytes (Wireshark's "exported PDU").
    UpperPdu,
}

impl LinkType {
    fn code(self) -> u16 {
        match self {
            Self::RawIp => 101,
            Self::UpperPdu => 252,
        }
    }
}

/// The head of a file: little-endian on every machine, so that equal records give equal bytes.
pub(super) fn section(out: &mut Vec<u8>, application: &str) {
    let mut body = Vec::new();
    body.extend_from_slice(&BYTE_ORDER.to_le_bytes());
    body.extend_from_slice(&[1, 0, 0, 0]);
    // Its length is unknown.
    body.extend_from_slice(&u64::MAX.to_le_bytes());
    option(&mut body, SHB_USERAPPL, application.as_bytes());
    option(&mut body, END, &[]);
    block(out, SECTION_HEADER, &body);
}

/// An interface; they are numbered from 0 in order. Times are in nanoseconds.
pub(super) fn interface(out: &mut Vec<u8>, link: LinkType, name: &str, description: &str) {
    let mut body = Vec::new();
    body.extend_from_slice(&link.code().to_le_bytes());
    body.extend_from_slice(&[0, 0]);
    // Packets are never truncated.
    body.extend_from_slice(&0_u32.to_le_bytes());
    option(&mut body, IF_NAME, name.as_bytes());
    option(&mut body, IF_DESCRIPTION, description.as_bytes());
    option(&mut body, IF_TSRESOL, &[9]);
    option(&mut body, END, &[]);
    block(out, INTERFACE_DESCRIPTION, &body);
}

/// A packet, with a comment if there is one.
pub(super) fn packet(out: &mut Vec<u8>, interface: u32, at: SystemTime, bytes: &[u8], comment: Option<&str>) {
    let nanos = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    // Sufficient until the year 2554.
    let [a, b, c, d, e, f, g, h] = u64::try_from(nanos).unwrap_or(u64::MAX).to_be_bytes();
    let (high, low) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut body = Vec::new();
    for word in [interface, high, low, length, length] {
        body.extend_from_slice(&word.to_le_bytes());
    }
    body.extend_from_slice(bytes);
    pad(&mut body);
    if let Some(comment) = comment {
        option(&mut body, COMMENT, comment.as_bytes());
        option(&mut body, END, &[]);
    }
    block(out, ENHANCED_PACKET, &body);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Names of buses and descriptions of faults are far shorter.
    let value = &value[..value.len().min(OPTION_MAX)];
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(value);
    pad(body);
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX);
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(&length.to_le_bytes());
}

/// Pads to the next multiple of four.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

const BYTE_ORDER: u32 = 0x1A2B_3C4D;
const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const END: u16 = 0;
const COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const SHB_USERAPPL: u16 = 4;
const IF_TSRESOL: u16 = 9;

/// Bytes of an option, at most.
const OPTION_MAX: usize = 4_096;
