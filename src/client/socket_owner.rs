//! Who listens at a port of this machine: asked before a token is sent there, because any user can listen at a port that
//! is free.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

/// The users whose sockets listen at the port of this address. Empty where the system does not say.
pub(super) fn listening_users(address: SocketAddr) -> BTreeSet<u32> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    tables.iter().flat_map(|table| users_in(table, address.port())).collect()
}

/// The users of the listening sockets of a table of the kernel.
fn users_in(table: &str, port: u16) -> impl Iterator<Item = u32> {
    let port = format!(":{port:04X}");
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_listening = fields.get(3) == Some(&LISTENING) && fields.get(1)?.ends_with(&port);
        if is_listening { fields.get(7)?.parse().ok() } else { None }
    })
}

/// The state of a listening socket.
const LISTENING: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_listen_at_the_port_count() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2136 00000000:0000 0A 00000000:00000000 00:00000000 00000000   997        0 100 1
   1: 0100007F:2136 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 101 1
   2: 0100007F:2137 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 102 1
";
        assert_eq!(users_in(table, 8502).collect::<Vec<_>>(), [997]);
        assert_eq!(users_in(table, 1).count(), 0);
    }
}
