//! The messages of a client and the gateway as TCP segments in synthetic IP packets.
//!
//! Owns the synthetic headers and the sequence numbers, one stream per connection and direction: each ADU is one
//! segment, and handshakes, acknowledgements and the real segments are not represented. Checksums are correct. Source:
//! RFC 791, RFC 8200, RFC 9293.

use std::net::{IpAddr, SocketAddr};

/// The sequence numbers of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct SequenceNumbers {
    /// The number of the client's next byte.
    pub(super) client: u32,
    /// The number of the gateway's next byte.
    pub(super) gateway: u32,
}

impl Default for SequenceNumbers {
    fn default() -> Self {
        Self { client: 1, gateway: 1 }
    }
}

/// One segment from `from` to `to` with `data`, the number of its first byte, and of the next one expected.
pub(super) fn packet(from: SocketAddr, to: SocketAddr, sequence: u32, awaited: u32, data: &[u8]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(TCP_HEADER + data.len());
    segment.extend_from_slice(&from.port().to_be_bytes());
    segment.extend_from_slice(&to.port().to_be_bytes());
    segment.extend_from_slice(&sequence.to_be_bytes());
    segment.extend_from_slice(&awaited.to_be_bytes());
    segment.extend_from_slice(&[5 << 4, PUSH | ACKNOWLEDGED]);
    segment.extend_from_slice(&WINDOW.to_be_bytes());
    // Checksum and urgent pointer.
    segment.extend_from_slice(&[0; 4]);
    segment.extend_from_slice(data);
    let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
    let (header, pseudo) = match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from.octets(), to.octets(), length),
        (from, to) => ipv6(octets(from), octets(to), length),
    };
    let sum = checksum(&[&pseudo, &segment]);
    segment[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&sum.to_be_bytes());
    [header, segment].concat()
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The header, and the pseudo-header for the TCP checksum.
fn ipv4(from: [u8; 4], to: [u8; 4], length: u16) -> (Vec<u8>, Vec<u8>) {
    let mut header = vec![0x45, 0];
    header.extend_from_slice(&length.saturating_add(IPV4_HEADER).to_be_bytes());
    // No identification; don't fragment.
    header.extend_from_slice(&[0, 0, 0x40, 0, HOPS, TCP, 0, 0]);
    header.extend_from_slice(&from);
    header.extend_from_slice(&to);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut pseudo = [from, to].concat();
    pseudo.extend_from_slice(&[0, TCP]);
    pseudo.extend_from_slice(&length.to_be_bytes());
    (header, pseudo)
}

fn ipv6(from: [u8; 16], to: [u8; 16], length: u16) -> (Vec<u8>, Vec<u8>) {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&[TCP, HOPS]);
    header.extend_from_slice(&from);
    header.extend_from_slice(&to);
    let mut pseudo = [from, to].concat();
    pseudo.extend_from_slice(&u32::from(length).to_be_bytes());
    pseudo.extend_from_slice(&[0, 0, 0, TCP]);
    (header, pseudo)
}

/// The one's complement of the one's complement sum. All parts but the last have an even number of bytes.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum = words.fold(0_u32, |sum, word| {
        sum + u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or_default()]))
    });
    let folded = (sum & 0xFFFF) + (sum >> 16);
    let folded = (folded & 0xFFFF) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

const TCP: u8 = 6;
const HOPS: u8 = 64;
const PUSH: u8 = 0x08;
const ACKNOWLEDGED: u8 = 0x10;
const WINDOW: u16 = 0xFFFF;
const TCP_HEADER: usize = 20;
const IPV4_HEADER: u16 = 20;
/// Offset in the TCP header.
const CHECKSUM_AT: usize = 16;
