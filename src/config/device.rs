//! Checks of device names: against the file system, and whether two of them mean one device.
//!
//! Follows links, never opens a device. An absent device is not an error: it may be plugged in later.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;

use crate::serial::{PortDevice, ServerAddress};

/// The device behind a name; follows links if the device is present. The name of a serial server is not looked up:
/// `check` needs no network.
pub(super) fn resolve(device: &PortDevice) -> PortDevice {
    match device {
        // The name of an absent device is only normalised: doubled slashes and dots are removed.
        PortDevice::Path(path) => {
            PortDevice::Path(fs::canonicalize(path).unwrap_or_else(|_| path.components().collect()))
        }
        PortDevice::Server(server) => PortDevice::Server(server.without_final_dot()),
        PortDevice::ModbusTcp(server) => PortDevice::ModbusTcp(server.without_final_dot()),
    }
}

/// Whether a connection to the server, as its host is written, reaches this listener of this machine.
pub(super) fn leads_to(server: &ServerAddress, listener: SocketAddr) -> bool {
    let hosts: Vec<IpAddr> = match server.host().trim_end_matches('.') {
        "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        host => host.parse().map(connected_to).into_iter().collect(),
    };
    let reaches = |host: IpAddr| {
        let is_here = || host.is_loopback() || is_own(host);
        // A listener on [::] accepts IPv4, too, where no other has its port.
        let is_accepted = host.is_ipv4() == listener.is_ipv4() || listener.is_ipv6();
        host == listener.ip() || (listener.ip().is_unspecified() && is_accepted && is_here())
    };
    server.port() == listener.port() && hosts.into_iter().any(reaches)
}

/// The address that a connection to this one is made to: Linux takes all zeros for this machine.
fn connected_to(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => host,
    }
}

/// Whether this machine has the address.
fn is_own(address: IpAddr) -> bool {
    let Ok(interfaces) = getifaddrs() else { return false };
    let own = interfaces.filter_map(|interface| {
        let own = interface.address?;
        let v4 = own.as_sockaddr_in().map(|own| IpAddr::V4(own.ip()));
        v4.or_else(|| own.as_sockaddr_in6().map(|own| IpAddr::V6(own.ip())))
    });
    own.into_iter().any(|own| own == address)
}

/// Warning and help for a name that the kernel assigns in the order of plugging in.
pub(super) fn unstable_name(device: &Path) -> Option<(String, String)> {
    let name = device.to_str()?;
    let numbered = |prefix: &str| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    if !numbered("/dev/ttyUSB") && !numbered("/dev/ttyACM") {
        return None;
    }
    let advice = match stable_name(Path::new(STABLE_NAMES), device) {
        Some(stable) => format!("it is now {}, which does not change", stable.display()),
        None => format!("use its link below {STABLE_NAMES}, which does not change"),
    };
    Some((format!("the name {name} may belong to another adapter after the next plug-in or restart"), advice))
}

/// The alphabetically first link in `names` that leads to the device.
fn stable_name(names: &Path, device: &Path) -> Option<PathBuf> {
    let device = fs::canonicalize(device).ok()?;
    let links = fs::read_dir(names).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    links.filter(|link| fs::canonicalize(link).is_ok_and(|target| target == device)).min()
}

const STABLE_NAMES: &str = "/dev/serial/by-id";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_either_address_of_this_machine() {
        let server = ServerAddress::parse("localhost:5020").unwrap();
        for (listener, leads) in [
            ("127.0.0.1:5020", true),
            ("[::1]:5020", true),
            ("0.0.0.0:5020", true),
            ("10.0.0.7:5020", false),
            ("[::1]:502", false),
        ] {
            assert_eq!(leads_to(&server, listener.parse().unwrap()), leads, "{listener}");
        }
    }

    #[test]
    fn an_address_leads_to_listeners_of_its_family_only_except_that_of_all_addresses() {
        for (server, listener, leads) in [
            ("[::1]:502", "0.0.0.0:502", false),
            ("[::1]:502", "[::]:502", true),
            ("127.0.0.1:502", "[::]:502", true),
            ("127.0.0.1:502", "0.0.0.0:502", true),
            ("0.0.0.0:502", "0.0.0.0:502", true),
            ("0.0.0.0:502", "10.0.0.7:502", false),
            ("0.0.0.0:502", "127.0.0.1:502", true),
            ("[::]:502", "[::1]:502", true),
            ("[::]:502", "127.0.0.1:502", false),
            ("[::ffff:127.0.0.1]:502", "127.0.0.1:502", true),
            ("[::ffff:127.0.0.1]:502", "[::]:502", true),
            ("[::ffff:127.0.0.1]:502", "[::1]:502", false),
        ] {
            let server = ServerAddress::parse(server).unwrap();
            assert_eq!(leads_to(&server, listener.parse().unwrap()), leads, "{server:?} {listener}");
        }
    }

    #[test]
    fn the_addresses_of_the_interfaces_are_those_of_this_machine() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()));
        // Reserved for documentation (RFC 5737).
        assert!(!is_own(Ipv4Addr::new(203, 0, 113, 77).into()));
    }

    #[test]
    fn a_link_to_the_device_is_its_stable_name() {
        let directory = std::env::temp_dir().join(format!("metergate-names-{}", std::process::id()));
        let names = directory.join("by-id");
        fs::create_dir_all(&names).unwrap();
        let (device, other) = (directory.join("ttyUSB0"), directory.join("ttyUSB1"));
        fs::write(&device, "").unwrap();
        fs::write(&other, "").unwrap();
        for (name, target) in [("usb-B", &device), ("usb-A", &other), ("usb-C", &device)] {
            std::os::unix::fs::symlink(target, names.join(name)).unwrap();
        }
        let found = stable_name(&names, &device);
        let expected = names.join("usb-B");
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found, Some(expected));
    }
}
