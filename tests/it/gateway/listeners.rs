//! The listeners of a gateway: families, unit maps, functions declared read only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use metergate::config::{self, Config};
use metergate::gateway::Gateway;
use metergate::line::UnitId;
use metergate::modbus::pdu::{ExceptionCode, FunctionCode};
use tokio::net::TcpStream;

use crate::support::clients::Peer;

/// A bus with units 3 and 5, known as 30 and 50, on a device that is not there: what may go to it is answered 0x0A.
fn config(addresses: &[SocketAddr]) -> Config {
    let listeners: Vec<String> =
        addresses.iter().map(|address| format!("{{address: '{address}'}}")).collect();
    let text = format!(
        "status: off\ndiagnostics_unit: 200\nlisteners: [{}]\nbuses:\n  - name: a\n    device: /dev/not-there\n    \
         units: [{{id: 3, as: 30}}, {{id: 5, as: 50}}]\n",
        listeners.join(", ")
    );
    config::parse(&text, "metergate.yaml").unwrap().config
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port()
}

/// Whether a connection to this address is served.
async fn is_served(address: impl Into<SocketAddr>) -> bool {
    match TcpStream::connect(address.into()).await {
        Ok(stream) => Peer::new(stream).ask(200, &[4, 0, 0, 0, 1]).await.is_some(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_reload_gives_ipv4_to_the_listener_that_names_it_and_back() {
    let port = free_port();
    let all_of_ipv6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let (one, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let named = SocketAddr::from((one, port));
    let mut gateway = Gateway::start(&config(&[all_of_ipv6])).unwrap();
    assert!(is_served((one, port)).await && is_served((other, port)).await);
    // In either order of the file.
    for addresses in [[all_of_ipv6, named], [named, all_of_ipv6]] {
        gateway.reload(&config(&addresses)).await.unwrap();
        assert!(is_served((one, port)).await && is_served((Ipv6Addr::LOCALHOST, port)).await);
        assert!(!is_served((other, port)).await, "{addresses:?}");
        gateway.reload(&config(&[all_of_ipv6])).await.unwrap();
        assert!(is_served((other, port)).await && is_served((Ipv6Addr::LOCALHOST, port)).await);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_unit_map_and_read_functions_reach_the_routes() {
    let mut config = config(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]);
    config.listeners[0].unit_map = Some(BTreeMap::from([(0, 30), (255, 50)]));
    config.buses[0].read_functions =
        BTreeMap::from([(UnitId::new(5).unwrap(), BTreeSet::from([FunctionCode(0x41)]))]);
    let gateway = Gateway::start(&config).unwrap();
    let mut peer = Peer::new(TcpStream::connect(gateway.addresses()[0]).await.unwrap());
    // The diagnostics unit shows the units by what clients of this listener send.
    for (unit, is_shown) in [(0_u8, true), (255, true), (30, false), (50, false)] {
        let [high, low] = (100 + 20 * u16::from(unit)).to_be_bytes();
        let reply = peer.ask(200, &[4, high, low, 0, 1]).await.unwrap();
        assert_eq!(reply[0] == 4, is_shown, "{unit}");
    }
    // Writes are denied here, which the function passes on one unit only.
    let no_path = ExceptionCode::GATEWAY_PATH_UNAVAILABLE;
    assert_eq!(peer.ask(255, &[0x41, 5, 3]).await.unwrap()[..], [0xC1, no_path.0]);
    let denied = ExceptionCode::ILLEGAL_FUNCTION;
    assert_eq!(peer.ask(0, &[0x41, 5, 3]).await.unwrap()[..], [0xC1, denied.0]);
    gateway.stop().await;
}
