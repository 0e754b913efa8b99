//! Addresses to listen on: which exclude each other, and how to bind one that is about to become free.
//!
//! Owns the retries while an old listener closes. It never closes one itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::server::{Families, listener};

/// An address and the address families a socket there accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BindAddress {
    pub(super) address: SocketAddr,
    pub(super) families: Families,
}

impl From<SocketAddr> for BindAddress {
    /// Accepts only the family of the address.
    fn from(address: SocketAddr) -> Self {
        Self { address, families: Families::Own }
    }
}

impl BindAddress {
    /// The endpoint of a listener: `[::]` accepts IPv4, too, unless one of `all` listeners has the port on IPv4.
    pub(super) fn of_listener(address: SocketAddr, mut all: impl Iterator<Item = SocketAddr>) -> Self {
        let has_port = |other: SocketAddr| other.is_ipv4() && other.port() == address.port();
        let is_unspecified = address.is_ipv6() && address.ip().is_unspecified();
        let port_is_shared = address.port() != 0 && all.any(has_port);
        let families = if is_unspecified && !port_is_shared { Families::Both } else { Families::Own };
        Self { address, families }
    }

    fn has_both_families(self) -> bool {
        self.address.is_ipv6() && self.families == Families::Both
    }
}

/// Whether the two endpoints exclude each other.
pub(super) fn collide(one: impl Into<BindAddress>, other: impl Into<BindAddress>) -> bool {
    let (one, other) = (one.into(), other.into());
    let (a, b) = (one.address, other.address);
    let meet = if a.is_ipv4() == b.is_ipv4() {
        a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified()
    } else {
        one.has_both_families() || other.has_both_families()
    };
    a.port() == b.port() && meet
}

/// Binds an address, without retries.
pub(super) fn bind(address: impl Into<BindAddress>) -> io::Result<TcpListener> {
    let BindAddress { address, families } = address.into();
    listener::bind_for(address, families)
}

/// Binds an address, with retries while its old listener closes.
pub(super) async fn bind_with_retries(address: impl Into<BindAddress>) -> io::Result<TcpListener> {
    let address = address.into();
    let mut bound = bind(address);
    for _ in 0..REBIND_RETRIES {
        if bound.is_ok() {
            break;
        }
        tokio::time::sleep(REBIND_PAUSE).await;
        bound = bind(address);
    }
    bound
}

/// Retries while an old listener closes.
const REBIND_RETRIES: u32 = 100;

/// Pause between two attempts.
const REBIND_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_unspecified_ipv6_address_accepts_ipv4_unless_a_listener_has_the_port_there() {
        for (address, others, expected) in [
            ("[::]:502", &["[::]:502"][..], Families::Both),
            ("[::]:502", &["[::]:502", "0.0.0.0:503"], Families::Both),
            ("[::]:502", &["[::]:502", "10.0.0.1:502"], Families::Own),
            ("[::1]:502", &["[::1]:502"], Families::Own),
            ("0.0.0.0:502", &["0.0.0.0:502"], Families::Own),
        ] {
            let endpoint = BindAddress::of_listener(at(address), others.iter().map(|other| at(other)));
            assert_eq!(endpoint.families, expected, "{address} beside {others:?}");
        }
    }

    #[test]
    fn endpoints_collide_within_the_families_they_accept() {
        use Families::{Both, Own};
        for (one, other, expected) in [
            (("[::]:502", Both), ("127.0.0.1:502", Own), true),
            (("[::]:502", Own), ("127.0.0.1:502", Own), false),
            (("[::]:502", Both), ("[::1]:502", Own), true),
            (("[::]:502", Both), ("127.0.0.1:503", Own), false),
            (("0.0.0.0:502", Own), ("127.0.0.1:502", Own), true),
            (("127.0.0.2:502", Own), ("127.0.0.1:502", Own), false),
        ] {
            let endpoint = |(address, families)| BindAddress { address: at(address), families };
            let (one, other) = (endpoint(one), endpoint(other));
            assert_eq!((collide(one, other), collide(other, one)), (expected, expected), "{one:?} {other:?}");
        }
    }
}
