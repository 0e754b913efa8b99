//! The TCP listener and its connections, on real sockets with the real clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use metergate::line::BusId;
use metergate::modbus::pdu::ExceptionCode;
use metergate::serial::BusHandle;
use metergate::server::{ListenerSettings, ListenerState, Routes, listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_modbus::client::Reader;
use tokio_modbus::prelude::{Slave, SlaveContext};

use crate::support::at_last::at_last;
use crate::support::clients::{
    self, Peer, READ, answer, answering_bus, bytes_of, read_from, reply_of, serve, settings, units,
};
use crate::support::log::Log;

/// A listener with one bus whose units 1 to 4 answer at once.
fn answering_server(settings: ListenerSettings) -> clients::Server {
    serve(settings, vec![(answering_bus("riser-a"), units(1..=4))])
}

#[tokio::test]
async fn an_independent_client_reads_a_unit() {
    let server = answering_server(settings());
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut context = tokio_modbus::client::tcp::attach(stream);
    context.set_slave(Slave(3));
    assert_eq!(context.read_holding_registers(0x1234, 2).await.unwrap().unwrap(), [3, 0x1234]);
}

#[tokio::test]
async fn requests_in_one_segment_are_all_answered() {
    let server = answering_server(settings());
    for count in [2, 16, 100] {
        let mut peer = Peer::connect(&server).await;
        let mut segment = BytesMut::new();
        for transaction in 0..count {
            segment.extend_from_slice(&bytes_of(transaction, 2, &read_from(transaction)));
        }
        peer.stream.write_all(&segment).await.unwrap();
        for transaction in 0..count {
            let reply = peer.receive().await.unwrap();
            assert_eq!((reply.transaction_id, reply.pdu), (transaction, reply_of(2, transaction)));
        }
    }
}

#[tokio::test]
async fn a_request_in_single_bytes_is_answered() {
    let server = answering_server(settings());
    let mut peer = Peer::connect(&server).await;
    peer.stream.set_nodelay(true).unwrap();
    for byte in bytes_of(0xBEEF, 1, READ) {
        peer.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.receive().await.unwrap().transaction_id, 0xBEEF);
}

#[tokio::test]
async fn sixteen_in_flight_to_four_units_come_back_in_any_order_each_once() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    let server = serve(settings(), vec![(bus, units(1..=4))]);
    let mut peer = Peer::connect(&server).await;
    for index in 0..16_u16 {
        peer.send(0x1000 + index, u8::try_from(index % 4 + 1).unwrap(), &read_from(index)).await;
    }
    let mut taken = Vec::new();
    for _ in 0..16 {
        taken.push(requests.recv().await.unwrap());
    }
    // An order far from the one they came in.
    for step in 0..16 {
        let middle = step % taken.len();
        taken.rotate_left(middle);
        answer(taken.pop().unwrap());
    }
    let mut seen = Vec::new();
    for _ in 0..16 {
        let reply = peer.receive().await.unwrap();
        let index = reply.transaction_id - 0x1000;
        assert_eq!(reply.unit, u8::try_from(index % 4 + 1).unwrap());
        assert_eq!(reply.pdu, reply_of(reply.unit, index));
        seen.push(index);
    }
    assert!(!seen.is_sorted());
    seen.sort_unstable();
    assert_eq!(seen, (0..16).collect::<Vec<_>>());
    // Nothing comes twice: the next reply is that of the next request.
    peer.send(7, 1, READ).await;
    answer(requests.recv().await.unwrap());
    assert_eq!(peer.receive().await.unwrap().transaction_id, 7);
}

#[tokio::test]
async fn what_is_not_modbus_tcp_closes_only_its_own_connection() {
    let server = answering_server(settings());
    let mut neighbour = Peer::connect(&server).await;
    for bad in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 1, 0, 0, 0, 1, 1], &[0, 1, 0, 0, 0, 255], &[0, 1, 0, 0, 0, 0]]
    {
        let mut peer = Peer::connect(&server).await;
        peer.stream.write_all(bad).await.unwrap();
        assert_eq!(peer.receive().await, None, "{bad:02X?}");
        assert!(neighbour.ask(1, READ).await.is_some());
    }
}

#[tokio::test]
async fn strangers_get_one_log_line_each_and_not_without_end() {
    // The runtime of this test has no thread but this one.
    let log = Log::start();
    let server = answering_server(settings());
    for _ in 0..50 {
        let mut peer = Peer::connect(&server).await;
        peer.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(peer.receive().await, None);
    }
    let text = log.text();
    assert_eq!(text.lines().count(), 10, "{text}");
    assert!(text.lines().all(|line| line.contains("client=127.0.0.1:")), "{text}");
    assert!(text.lines().all(|line| line.contains("this is not Modbus TCP")), "{text}");
}

#[tokio::test]
async fn the_first_odd_unit_of_a_connection_earns_a_hint() {
    let log = Log::start();
    let server = answering_server(settings());
    let mut peer = Peer::connect(&server).await;
    for unit in [1, 255, 9, 255] {
        assert!(peer.ask(unit, READ).await.is_some());
    }
    let text = log.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("unit=255") && text.contains("configured=1-4"), "{text}");
}

#[tokio::test]
async fn when_full_the_longest_idle_connection_makes_room() {
    let server = answering_server(ListenerSettings { max_connections: 2, ..settings() });
    let mut first = Peer::connect(&server).await;
    assert!(first.ask(1, READ).await.is_some());
    let mut second = Peer::connect(&server).await;
    assert!(second.ask(1, READ).await.is_some());
    assert!(first.ask(1, READ).await.is_some());
    let mut third = Peer::connect(&server).await;
    assert_eq!(second.receive().await, None);
    assert!(third.ask(1, READ).await.is_some());
    assert!(first.ask(1, READ).await.is_some());
}

#[tokio::test]
async fn when_all_are_busy_the_newcomer_is_closed() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    let settings = ListenerSettings { max_connections: 2, ..settings() };
    let server = serve(settings, vec![(bus, units(1..=4))]);
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut peer = Peer::connect(&server).await;
        peer.send(1, 1, READ).await;
        busy.push((peer, requests.recv().await.unwrap()));
    }
    let mut newcomer = Peer::connect(&server).await;
    assert_eq!(newcomer.receive().await, None);
    for (mut peer, request) in busy {
        answer(request);
        assert!(peer.receive().await.is_some());
    }
}

#[tokio::test]
async fn the_limit_per_address_leaves_other_addresses_alone() {
    let server = answering_server(ListenerSettings { max_connections_per_ip: 1, ..settings() });
    let mut other = Peer::connect_from([127, 0, 0, 2], &server).await;
    assert!(other.ask(1, READ).await.is_some());
    let mut first = Peer::connect(&server).await;
    assert!(first.ask(1, READ).await.is_some());
    let mut second = Peer::connect(&server).await;
    assert_eq!(first.receive().await, None);
    assert!(second.ask(1, READ).await.is_some());
    assert!(other.ask(1, READ).await.is_some());
}

#[tokio::test]
async fn only_allowed_networks_get_in() {
    let allow = vec!["127.0.0.2/32".parse().unwrap()];
    let server = answering_server(ListenerSettings { allow, ..settings() });
    let mut stranger = Peer::connect(&server).await;
    assert_eq!(stranger.receive().await, None);
    let mut allowed = Peer::connect_from([127, 0, 0, 2], &server).await;
    assert!(allowed.ask(1, READ).await.is_some());
}

#[tokio::test]
async fn a_reload_changes_the_routes_of_open_connections() {
    let server = answering_server(settings());
    let mut peer = Peer::connect(&server).await;
    assert_eq!(peer.ask(1, READ).await.unwrap(), reply_of(1, 0));
    let routes = Routes::new(vec![(answering_bus("riser-b"), units([9]))]);
    server.listening.store(Arc::new(ListenerState::new(settings(), routes)));
    let no_path = [0x83, ExceptionCode::GATEWAY_PATH_UNAVAILABLE.0];
    assert_eq!(peer.ask(1, READ).await.unwrap(), no_path[..]);
    assert_eq!(peer.ask(9, READ).await.unwrap(), reply_of(9, 0));
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight_and_refuses_new_connections() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    let server = serve(settings(), vec![(bus, units(1..=4))]);
    let mut idle = Peer::connect(&server).await;
    let mut busy = Peer::connect(&server).await;
    busy.send(5, 1, READ).await;
    let request = requests.recv().await.unwrap();
    server.stop.cancel();
    assert_eq!(idle.receive().await, None);
    assert!(!server.task.is_finished());
    answer(request);
    assert_eq!(busy.receive().await.unwrap().transaction_id, 5);
    assert_eq!(busy.receive().await, None);
    server.task.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn closing_with_requests_unread_does_not_cost_the_replies_before_them() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    let settings = ListenerSettings { max_in_flight: 1, ..settings() };
    let server = serve(settings, vec![(bus, units([1]))]);
    let mut peer = Peer::connect(&server).await;
    // More than the gateway's own buffer takes: the rest stays with the kernel.
    for transaction in 0..1000 {
        peer.send(transaction, 1, READ).await;
    }
    let request = requests.recv().await.unwrap();
    server.stop.cancel();
    while TcpStream::connect(server.address).await.is_ok() {}
    answer(request);
    server.task.await.unwrap();
    assert_eq!(peer.receive().await.unwrap().transaction_id, 0);
    assert_eq!(peer.stream.read(&mut [0]).await.unwrap(), 0);
    assert!(peer.stream.take_error().unwrap().is_none(), "closed, not reset");
}

#[tokio::test]
async fn a_stop_does_not_wait_longer_than_its_grace_period() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    let patient = ListenerSettings { request_deadline: Duration::from_secs(600), ..settings() };
    let server = serve(patient, vec![(bus, units([1]))]);
    let mut peer = Peer::connect(&server).await;
    peer.send(1, 1, READ).await;
    let request = requests.recv().await.unwrap();
    let hasty = ListenerSettings { request_deadline: Duration::from_millis(1), ..settings() };
    server.listening.store(Arc::new(ListenerState::new(hasty, Routes::new(Vec::new()))));
    server.stop.cancel();
    server.task.await.unwrap();
    assert!(request.to.is_gone());
    assert_eq!(peer.receive().await, None);
}

#[tokio::test]
async fn an_address_can_be_bound_again_at_once_and_not_twice() {
    let server = answering_server(settings());
    assert!(listener::bind(server.address).is_err());
    let mut peer = Peer::connect(&server).await;
    assert!(peer.ask(1, READ).await.is_some());
    server.stop.cancel();
    server.task.await.unwrap();
    // The connection the gateway closed first is in TIME_WAIT now.
    assert_eq!(peer.receive().await, None);
    at_last(|| listener::bind(server.address));
}
