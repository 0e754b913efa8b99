//! Whether another program listens on an address that a configuration names, without opening a port.
//!
//! Owns the comparison with the kernel's tables, and the search for the process that has the socket. What runs as a
//! gateway here is no stranger: a configuration is checked while its own gateway runs.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::client::{ListeningSocket, listening_sockets};

/// Who listens on `address`, in words, if that is not a gateway.
pub(super) fn stranger_at(address: SocketAddr) -> Option<String> {
    let socket = listening_sockets().into_iter().find(|socket| excludes(socket.address, address))?;
    match holder(&socket) {
        Some((_, name)) if name == GATEWAY => None,
        Some((process, name)) => Some(format!("{name} (process {process})")),
        // Only root sees what the processes of other users have open.
        None if runs_gateway(socket.user) => None,
        None => Some(format!("a program of the user with the id {}", socket.user)),
    }
}

/// Whether a socket at the first address makes one at the second impossible, as far as the two addresses show.
fn excludes(taken: SocketAddr, wanted: SocketAddr) -> bool {
    let (one, other) = (taken.ip().to_canonical(), wanted.ip().to_canonical());
    let is_all = one.is_unspecified() || other.is_unspecified();
    let is_same_family = one.is_ipv4() == other.is_ipv4();
    // A socket for all addresses of IPv6 usually accepts IPv4, too.
    let covers_both = one.is_unspecified() && one.is_ipv6() || other.is_unspecified() && other.is_ipv6();
    taken.port() == wanted.port() && (one == other || is_all && (is_same_family || covers_both))
}

/// The process that has the socket, and its name.
fn holder(socket: &ListeningSocket) -> Option<(u32, String)> {
    let link = format!("socket:[{}]", socket.inode);
    let has_it = |process: &PathBuf| {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        descriptors
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|to| to.as_os_str() == link.as_str())
    };
    let process = processes().find(has_it)?;
    let number = process.file_name()?.to_str()?.parse().ok()?;
    Some((number, name(&process)))
}

/// Whether this user runs a gateway.
fn runs_gateway(user: u32) -> bool {
    let is_of_user = |process: &PathBuf| {
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        users.and_then(|users| users.split_ascii_whitespace().next()) == Some(user.to_string().as_str())
    };
    let is_this_process = |process: &PathBuf| process.ends_with(std::process::id().to_string());
    processes().any(|process| name(&process) == GATEWAY && !is_this_process(&process) && is_of_user(&process))
}

/// The folders of all processes.
fn processes() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_process =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok());
    entries.map(|entry| entry.path()).filter(is_process)
}

fn name(process: &std::path::Path) -> String {
    fs::read_to_string(process.join("comm")).unwrap_or_default().trim_end().to_owned()
}

/// The name of a process that runs a gateway.
const GATEWAY: &str = "metergate";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_exclude_each_other_by_port_and_by_what_they_cover() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        for (taken, wanted, expected) in [
            ("127.0.0.1:502", "127.0.0.1:502", true),
            ("127.0.0.1:502", "127.0.0.1:503", false),
            ("127.0.0.1:502", "127.0.0.2:502", false),
            ("0.0.0.0:502", "127.0.0.2:502", true),
            ("127.0.0.2:502", "0.0.0.0:502", true),
            ("[::]:502", "0.0.0.0:502", true),
            ("[::1]:502", "0.0.0.0:502", false),
            ("[::ffff:127.0.0.1]:502", "127.0.0.1:502", true),
        ] {
            assert_eq!(excludes(at(taken), at(wanted)), expected, "{taken} {wanted}");
        }
    }
}
