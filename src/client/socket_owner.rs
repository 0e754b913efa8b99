//! Who listens at a port of this machine, by the tables of the kernel: asked before a token is sent there, because any
//! user can listen at a port that is free, and by a command that may open no port itself. Source: proc_net(5).

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListeningSocket {
    /// Where.
    pub address: SocketAddr,
    /// The user who opened it.
    pub user: u32,
    /// Its number, which the descriptors of its process name.
    pub inode: u64,
}

/// The sockets that listen on this machine. Empty where the system does not say.
#[must_use]
pub fn listening_sockets() -> Vec<ListeningSocket> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    tables.iter().flat_map(|table| listening_in(table)).collect()
}

/// The users whose sockets listen at the port of this address. Empty where the system does not say.
pub(super) fn listening_users(address: SocketAddr) -> BTreeSet<u32> {
    let sockets = listening_sockets().into_iter();
    sockets.filter(|socket| socket.address.port() == address.port()).map(|socket| socket.user).collect()
}

/// The listening sockets of a table.
fn listening_in(table: &str) -> impl Iterator<Item = ListeningSocket> {
    table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if fields.get(3) != Some(&LISTENING) {
            return None;
        }
        let address = address(fields.get(1)?)?;
        let (user, inode) = (fields.get(7)?.parse().ok()?, fields.get(9)?.parse().ok()?);
        Some(ListeningSocket { address, user, inode })
    })
}

/// `0100007F:2136` is 127.0.0.1:8502: words of 32 bits as this machine keeps them, each of four bytes in network order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |index: usize| {
        let word = u32::from_str_radix(ip.get(index * 8..index * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::from(bytes)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// The state of a listening socket.
const LISTENING: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn only_sockets_that_listen_count_with_where_they_do() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2136 00000000:0000 0A 00000000:00000000 00:00000000 00000000   997        0 100 1
   1: 0100007F:2136 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 101 1
   2: 00000000000000000000000001000000:2137 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 \
                     00000000  1001        0 102 1
   3: 0100007F 00000000:0000 0A 00000000:00000000 00:00000000 00000000   997        0 100 1
";
        let socket =
            |address: &str, user, inode| ListeningSocket { address: address.parse().unwrap(), user, inode };
        let expected = [socket("127.0.0.1:8502", 997, 100), socket("[::1]:8503", 1001, 102)];
        assert_eq!(listening_in(table).collect::<Vec<_>>(), expected);
    }
}
