//! Bytes on a line as "exported PDUs": behind tags that select Wireshark's dissector.
//!
//! Owns the tags. There is no link type for Modbus RTU; with these tags Wireshark and tshark dissect the frames without
//! configuration. Their addresses are synthetic: 0.0.B.U for unit U of the B-th line of the file, a bus or the
//! line of a serial client; 0.0.B.0 for the end that sends its requests, 0.0.B.255 for all units; each unit has a
//! conversation of its own. Source: Wireshark,
//! `wsutil/exported_pdu_tlvs.h`.

use crate::modbus::AduFraming;

/// One end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// The end that sends the requests: the gateway on a bus, the client on its own line.
    Requester,
    /// A unit, or the gateway in its place.
    Unit(u8),
    /// All units, or an unknown one.
    Unknown,
}

/// Bytes from one end to another on the line with this number in the file, from 1.
pub(super) fn packet(framing: AduFraming, line: u8, from: LineEnd, to: LineEnd, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + bytes.len());
    // Of the two dissectors for Modbus/TCP, that of datagrams takes each ADU by itself.
    let dissector: &[u8] = match framing {
        AduFraming::Tcp => b"mbudp",
        AduFraming::Rtu => b"mbrtu",
    };
    tag(&mut out, DISSECTOR_NAME, dissector);
    tag(&mut out, IPV4_SOURCE, &address(line, from));
    tag(&mut out, IPV4_DESTINATION, &address(line, to));
    // UDP, where packets are independent: the rest of a broken frame must not make the dissector wait for more.
    tag(&mut out, PORT_TYPE, &PORT_TYPE_UDP.to_be_bytes());
    tag(&mut out, SOURCE_PORT, &port(framing, from).to_be_bytes());
    tag(&mut out, DESTINATION_PORT, &port(framing, to).to_be_bytes());
    tag(&mut out, END_OF_TAGS, &[]);
    out.extend_from_slice(bytes);
    out
}

fn address(line: u8, end: LineEnd) -> [u8; 4] {
    let last = match end {
        LineEnd::Requester => 0,
        LineEnd::Unit(unit) => unit,
        LineEnd::Unknown => 255,
    };
    [0, 0, line, last]
}

/// Wireshark distinguishes a request from its answer by the server's port, if that is configured.
fn port(framing: AduFraming, end: LineEnd) -> u32 {
    match (end, framing) {
        (LineEnd::Requester, _) => REQUESTER_PORT,
        (LineEnd::Unit(_) | LineEnd::Unknown, AduFraming::Tcp) => MODBUS_PORT,
        (LineEnd::Unit(_) | LineEnd::Unknown, AduFraming::Rtu) => UNIT_PORT,
    }
}

fn tag(out: &mut Vec<u8>, tag: u16, value: &[u8]) {
    let padded = value.len().next_multiple_of(4);
    out.extend_from_slice(&tag.to_be_bytes());
    out.extend_from_slice(&u16::try_from(padded).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len() + padded - value.len(), 0);
}

/// The port of every unit: for Wireshark's preference `mbrtu.tcp.port`.
const UNIT_PORT: u32 = 1;

/// The port by which Wireshark knows the server of Modbus/TCP.
const MODBUS_PORT: u32 = 502;

/// The port of the end that sends the requests.
const REQUESTER_PORT: u32 = 2;

const END_OF_TAGS: u16 = 0;
const DISSECTOR_NAME: u16 = 12;
const IPV4_SOURCE: u16 = 20;
const IPV4_DESTINATION: u16 = 21;
const PORT_TYPE: u16 = 24;
const SOURCE_PORT: u16 = 25;
const DESTINATION_PORT: u16 = 26;
const PORT_TYPE_UDP: u32 = 3;
