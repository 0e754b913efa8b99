//! A bus of Modbus TCP units: its connection is made, kept, ended in the usual course, lost, and made again, over real
//! sockets.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use metergate::line::{Answer, PortState};
use metergate::modbus::mbap::{self, Adu};
use metergate::modbus::pdu::ExceptionCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::server::{NO_PATH, NO_PATH_AT_ONCE, READ, Rig, accept, drop_everything, reply, server, within};

fn start_at(server: &TcpListener) -> Rig {
    Rig::start(&format!("modbus-tcp://{}", server.local_addr().unwrap()))
}

/// A bus, and the server's end of its first connection.
async fn connected(server: &TcpListener) -> (Rig, TcpStream) {
    let rig = start_at(server);
    let stream = accept(server).await;
    rig.opened(1).await;
    (rig, stream)
}

/// A request is answered with its key as data.
async fn exchange(rig: &mut Rig, stream: &mut TcpStream, key: u16) {
    rig.ask(key.into()).await;
    serve(stream, key).await;
    assert_eq!(rig.answer().await, (key.into(), reply(key)));
}

/// Reads one request, which is [`READ`] for unit 1.
async fn request(stream: &mut TcpStream) -> Adu {
    let mut bytes = [0; mbap::HEADER_LENGTH + READ.len()];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    let adu = mbap::decode(&mut BytesMut::from(&bytes[..])).unwrap().expect("a whole ADU");
    assert_eq!((adu.unit, &adu.pdu[..]), (1, &READ[..]));
    adu
}

async fn respond(stream: &mut TcpStream, request: &Adu, value: u16) {
    let [high, low] = value.to_be_bytes();
    let mut bytes = BytesMut::new();
    Adu { pdu: Bytes::copy_from_slice(&[3, 2, high, low]), ..request.clone() }.encode(&mut bytes);
    stream.write_all(&bytes).await.unwrap();
}

async fn serve(stream: &mut TcpStream, value: u16) -> Adu {
    let adu = request(stream).await;
    respond(stream, &adu, value).await;
    adu
}

#[tokio::test]
async fn units_are_read_as_soon_as_the_connection_is_made() {
    let server = server().await;
    let (mut rig, mut stream) = connected(&server).await;
    let opened = Instant::now();
    rig.ask(7).await;
    let first = serve(&mut stream, 0x1234).await;
    assert_eq!(rig.answer().await, (7, reply(0x1234)));
    assert!(opened.elapsed() < Duration::from_millis(200), "{:?}: nothing is owed", opened.elapsed());
    rig.ask(8).await;
    let second = serve(&mut stream, 0x5678).await;
    assert_eq!(second.transaction_id, first.transaction_id.wrapping_add(1));
    assert_eq!(rig.answer().await, (8, reply(0x5678)));
    let address = server.local_addr().unwrap();
    assert_eq!(rig.port_view.load().report, format!("connected to {address}"));
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_costs_no_request_an_exception() {
    let server = server().await;
    let mut rig = start_at(&server);
    let serving = tokio::spawn(async move {
        let mut last = None;
        for value in 1..=10 {
            let mut stream = accept(&server).await;
            let served = serve(&mut stream, value).await.transaction_id;
            assert_ne!(last.replace(served), Some(served), "identifiers go on");
        }
        server
    });
    rig.opened(1).await;
    for value in 1..=10 {
        rig.ask(value).await;
        assert_eq!(rig.answer().await, (value, reply(u16::try_from(value).unwrap())));
    }
    within(serving).await.unwrap();
    let port = rig.port_view.load();
    assert_eq!((port.openings, port.losses, port.problem.as_deref()), (1, 0, None), "no fault");
}

#[tokio::test]
async fn a_request_waits_for_the_connection_that_the_server_closed_meanwhile() {
    let server = server().await;
    let (mut rig, mut stream) = connected(&server).await;
    exchange(&mut rig, &mut stream, 1).await;
    // With a request on its way.
    rig.ask(2).await;
    request(&mut stream).await;
    drop(stream);
    let mut stream = accept(&server).await;
    serve(&mut stream, 2).await;
    assert_eq!(rig.answer().await, (2, reply(2)));
    assert_eq!(rig.handle.view().load().port, PortState::Open);
    assert_eq!(rig.port_view.load().losses, 0);
}

#[tokio::test]
async fn a_request_on_which_the_server_hangs_up_costs_no_other_the_connection() {
    let server = server().await;
    let mut rig = start_at(&server);
    let unanswered = Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    rig.opened(1).await;
    let mut at = Vec::new();
    for key in 1..=2 {
        rig.ask(key).await;
        for _ in 0..2 {
            let mut stream = accept(&server).await;
            at.push(Instant::now());
            request(&mut stream).await;
        }
        assert_eq!(rig.answer().await, (key, unanswered.clone()), "its own failure");
    }
    assert!(at[3] - at[2] >= Duration::from_millis(70), "ever less often");
    assert_eq!(rig.handle.view().load().port, PortState::Open);
    rig.ask(3).await;
    let mut stream = accept(&server).await;
    serve(&mut stream, 3).await;
    assert_eq!(rig.answer().await, (3, reply(3)));
    let port = rig.port_view.load();
    assert_eq!((port.openings, port.losses, port.problem.as_deref()), (1, 0, None), "no fault");
}

#[tokio::test]
async fn a_server_that_closes_idle_connections_is_no_fault_and_connected_to_for_the_next_request() {
    let server = server().await;
    let mut rig = start_at(&server);
    let idle = Duration::from_millis(1_100);
    for _ in 0..4 {
        let stream = accept(&server).await;
        tokio::time::sleep(idle).await;
        drop(stream);
    }
    assert_eq!(rig.handle.view().load().port, PortState::Open);
    let asked = Instant::now();
    rig.ask(1).await;
    let mut stream = accept(&server).await;
    serve(&mut stream, 1).await;
    assert_eq!(rig.answer().await, (1, reply(1)));
    assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
    let port = rig.port_view.load();
    assert_eq!((port.openings, port.losses, port.problem.as_deref()), (1, 0, None), "no fault");
}

#[tokio::test]
async fn a_server_that_closes_a_connection_it_has_not_served_is_a_fault_and_tried_ever_less_often() {
    let server = server().await;
    let mut rig = start_at(&server);
    let mut pauses = Vec::new();
    for problem in ["the Modbus TCP server closed the connection", &dismissed(&server), &dismissed(&server)] {
        drop(accept(&server).await);
        let closed = Instant::now();
        let port = rig.port(|port| port.problem.as_deref() == Some(problem)).await;
        assert_eq!(
            (port.openings, port.losses),
            (1, 1),
            "a connection that is closed at once counts for none"
        );
        rig.ask(1).await;
        assert!(matches!(rig.answer().await.1, NO_PATH_AT_ONCE | NO_PATH));
        pauses.push(closed);
    }
    let mut stream = accept(&server).await;
    let between: Vec<_> = pauses.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert!(between.iter().zip([250, 500]).all(|(pause, least)| pause + 100 >= least), "{between:?}");
    rig.opened(2).await;
    exchange(&mut rig, &mut stream, 2).await;
}

#[tokio::test]
async fn a_server_that_has_no_connection_free_is_a_closed_port_while_requests_wait() {
    let server = server().await;
    let mut rig = start_at(&server);
    rig.opened(1).await;
    rig.ask(1).await;
    for _ in 0..2 {
        request(&mut accept(&server).await).await;
    }
    let unanswered = Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    assert_eq!(rig.answer().await, (1, unanswered));
    rig.ask(2).await;
    request(&mut accept(&server).await).await;
    drop(accept(&server).await);
    let port = rig.port(|port| port.problem.is_some()).await;
    assert_eq!(
        port.problem,
        Some(dismissed(&server)),
        "what it leaves before a request has no unit for a cause"
    );
    assert_eq!(rig.answer().await, (2, NO_PATH));
    let mut stream = accept(&server).await;
    rig.opened(2).await;
    exchange(&mut rig, &mut stream, 3).await;
}

fn dismissed(server: &TcpListener) -> String {
    format!(
        "{} accepted the connection and closed it at once; it may serve another client",
        server.local_addr().unwrap()
    )
}

#[tokio::test]
async fn what_speaks_something_else_is_named_and_its_connection_closed() {
    let server = server().await;
    let (mut rig, mut stream) = connected(&server).await;
    rig.ask(1).await;
    request(&mut stream).await;
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").await.unwrap();
    assert_eq!(rig.answer().await, (1, NO_PATH));
    let problem = rig.problem().await;
    assert!(problem.ends_with("this is not Modbus TCP"), "{problem}");
    let mut rest = Vec::new();
    let ended = within(stream.read_to_end(&mut rest)).await;
    assert!(ended.is_err() || rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_serves_within_three_seconds_of_its_return() {
    let first = server().await;
    let address = first.local_addr().unwrap();
    let (mut rig, mut stream) = connected(&first).await;
    exchange(&mut rig, &mut stream, 1).await;
    drop((first, stream));
    assert_eq!(rig.problem().await, format!("connection refused by {address}"));
    assert_eq!(rig.port_view.load().losses, 1);
    rig.ask(2).await;
    assert_eq!(rig.answer().await, (2, NO_PATH_AT_ONCE));
    let again = TcpListener::bind(address).await.unwrap();
    let back = Instant::now();
    let mut stream = accept(&again).await;
    rig.opened(2).await;
    exchange(&mut rig, &mut stream, 3).await;
    assert!(back.elapsed() < Duration::from_secs(3), "good values after {:?}", back.elapsed());
}

#[tokio::test]
async fn a_connection_into_which_everything_vanishes_is_given_up_and_made_again() {
    let server = server().await;
    let (mut rig, mut stream) = connected(&server).await;
    exchange(&mut rig, &mut stream, 1).await;
    drop_everything(&stream);
    rig.ask(2).await;
    let unanswered = Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    assert_eq!(rig.answer().await, (2, unanswered), "the server took it, as far as is known");
    assert_eq!(rig.problem().await, "the Modbus TCP server acknowledges nothing any more");
    let mut again = accept(&server).await;
    rig.opened(2).await;
    exchange(&mut rig, &mut again, 3).await;
}

#[tokio::test]
async fn a_server_that_takes_requests_and_answers_none_any_more_is_connected_to_anew() {
    let server = server().await;
    let (mut rig, mut stream) = connected(&server).await;
    exchange(&mut rig, &mut stream, 1).await;
    let mut key = 1;
    let hung = Instant::now();
    let mut again = loop {
        key += 1;
        rig.ask(key).await;
        assert_eq!(rig.answer().await.0, key);
        tokio::select! {
            stream = accept(&server) => break stream,
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    };
    assert!(hung.elapsed() >= Duration::from_secs(10), "{:?}", hung.elapsed());
    let mut probe = [0; mbap::HEADER_LENGTH];
    within(again.read_exact(&mut probe)).await.unwrap();
    assert_eq!(rig.port_view.load().losses, 0, "no fault of the port");
}

#[tokio::test]
async fn transaction_identifiers_begin_elsewhere_in_each_task() {
    let server = server().await;
    let mut first = Vec::new();
    for _ in 0..4 {
        let (rig, mut stream) = connected(&server).await;
        rig.ask(1).await;
        first.push(request(&mut stream).await.transaction_id);
    }
    assert!(first.iter().any(|id| *id != first[0]), "{first:?}");
}
