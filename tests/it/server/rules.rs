//! The rules of a listener, on connections of clients.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use metergate::audit::{Audit, AuditLog, AuditSettings};
use metergate::line::{Answer, BusId};
use metergate::modbus::pdu::{ExceptionCode, FunctionCode, exception_reply};
use metergate::serial::BusHandle;
use metergate::server::{Broadcast, ListenerSettings, ListenerState, Permission, Routes, Rule, Writes};

use super::requests_and_replies::connect;
use crate::support::clients::{READ, Requests, WRITE, settings, units};

const ANY: Rule = Rule {
    roles: BTreeSet::new(),
    from: Vec::new(),
    units: BTreeSet::new(),
    registers: None,
    may: Permission::Read,
};

fn exception(function: u8, code: ExceptionCode) -> Bytes {
    exception_reply(FunctionCode(function), code)
}

/// Answers the next request as a unit that carries out every write.
async fn echo(requests: &mut Requests) {
    let request = requests.recv().await.unwrap();
    let reply = request.pdu.bytes().clone();
    request.to.send(Answer::Reply(reply));
}

#[tokio::test(start_paused = true)]
async fn what_no_rule_allows_gets_0x01_and_only_refused_writes_are_audited() {
    let file = std::env::temp_dir().join(format!("metergate-rules-{}.jsonl", std::process::id()));
    let log = Arc::new(AuditLog::open(&AuditSettings { file: file.clone(), max_size: 1_000_000 }).unwrap());
    let audit = Arc::new(Audit::new(Arc::default(), Some(Arc::clone(&log)), Arc::default()));
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    let write_unit_2 = Rule { units: BTreeSet::from([2]), may: Permission::Write, ..ANY };
    let read_unit_1 = Rule { units: BTreeSet::from([1]), ..ANY };
    let settings =
        ListenerSettings { rules: vec![write_unit_2, read_unit_1], writes: Writes::Allow, ..settings() };
    let routes = Routes::new(vec![(bus, units(1..=3))]).with_read_functions(3, [FunctionCode(0x41)]);
    let state = ListenerState { audit, diagnostics_unit: Some(200), ..ListenerState::new(settings, routes) };
    let (mut peer, task) = connect(state);
    let forbidden = |function| exception(function, ExceptionCode::ILLEGAL_FUNCTION);
    assert_eq!(peer.ask(1, WRITE).await.unwrap(), forbidden(6), "unit 1 may be read only");
    assert_eq!(peer.ask(3, READ).await.unwrap(), forbidden(3));
    assert_eq!(peer.ask(3, &[0x41, 1]).await.unwrap(), forbidden(0x41));
    assert_eq!(peer.ask(200, READ).await.unwrap(), forbidden(3), "the diagnostics unit has rules, too");
    assert_eq!(peer.ask(4, WRITE).await.unwrap(), exception(6, ExceptionCode::GATEWAY_PATH_UNAVAILABLE));
    assert!(requests.try_recv().is_err(), "nothing of it reached the line");
    for (unit, pdu) in [(1, READ), (2, READ), (2, WRITE)] {
        peer.send(9, unit, pdu).await;
        echo(&mut requests).await;
        assert_eq!(&peer.receive().await.unwrap().pdu[..], pdu);
    }
    drop(peer);
    task.await.unwrap();
    Arc::into_inner(log).expect("the connection has ended").close();
    let audited = std::fs::read_to_string(&file).unwrap();
    let outcomes: Vec<&str> =
        audited.lines().filter_map(|line| line.split("\"outcome\":\"").nth(1)?.split('"').next()).collect();
    let refused = "refused here, never sent";
    assert_eq!(outcomes, [refused, refused, "answered"], "{audited}");
    std::fs::remove_file(file).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_invalid_request_gets_0x03_only_where_a_rule_could_allow_its_function() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    let write_registers =
        Rule { units: BTreeSet::from([1]), registers: Some(10..=19), may: Permission::Write, ..ANY };
    let elsewhere = Rule { from: vec!["10.0.0.0/8".parse().unwrap()], may: Permission::Write, ..ANY };
    let nothing = Rule { units: BTreeSet::from([3]), may: Permission::Nothing, ..ANY };
    let settings = ListenerSettings { rules: vec![write_registers, elsewhere, nothing, ANY], ..settings() };
    let (mut peer, _task) = connect(ListenerState::new(settings, Routes::new(vec![(bus, units(1..=3))])));
    let (value, denied) = (ExceptionCode::ILLEGAL_DATA_VALUE, ExceptionCode::ILLEGAL_FUNCTION);
    for (unit, pdu, code) in [
        // Some registers of unit 1 may be written.
        (1, &[6, 0][..], value),
        (1, &[16, 0, 10, 0, 1, 3], value),
        (1, &[22, 0], value),
        (1, &[23, 0, 10, 0, 1], value),
        // Coils and functions without registers fit no rule that names registers.
        (1, &[5, 0], denied),
        (1, &[15, 0, 10, 0, 1], denied),
        (1, &[21, 0], denied),
        // Reads are allowed, but not writes.
        (2, &[3, 0], value),
        (2, &[20, 0], value),
        (2, &[8], value),
        (2, &[6, 0], denied),
        (2, &[8, 0, 1], denied),
        // Nothing is allowed.
        (3, &[3, 0], denied),
        (3, &[6, 0], denied),
    ] {
        assert_eq!(peer.ask(unit, pdu).await.unwrap(), exception(pdu[0], code), "unit {unit}: {pdu:02X?}");
    }
    assert!(requests.try_recv().is_err(), "nothing of it reached the line");
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_is_refused_if_one_unit_may_not_be_written() {
    for (held_back, is_refused) in [(3, true), (4, false)] {
        let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
        let nothing = Rule { units: BTreeSet::from([held_back]), may: Permission::Nothing, ..ANY };
        let rules = vec![nothing, Rule { may: Permission::Write, ..ANY }];
        let settings = ListenerSettings { rules, broadcast: Broadcast::Acknowledge, ..settings() };
        let (mut peer, _task) = connect(ListenerState::new(settings, Routes::new(vec![(bus, units(1..=3))])));
        if is_refused {
            assert_eq!(peer.ask(0, WRITE).await.unwrap(), exception(6, ExceptionCode::ILLEGAL_FUNCTION));
            assert!(requests.try_recv().is_err(), "nothing of it reached the line");
        } else {
            peer.send(9, 0, WRITE).await;
            requests.recv().await.unwrap().to.send(Answer::Sent);
            assert_eq!(&peer.receive().await.unwrap().pdu[..], WRITE);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn networks_are_those_of_the_client_and_registers_those_of_the_profile() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    // The clients of these tests connect from 127.0.0.1.
    let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let elsewhere = Rule { from: vec!["10.0.0.0/8".parse().unwrap()], may: Permission::Write, ..ANY };
    let registers = Rule {
        from: vec![here.ip().into()],
        registers: Some(40_130..=40_131),
        may: Permission::Write,
        ..ANY
    };
    let settings = ListenerSettings { rules: vec![elsewhere, registers], ..settings() };
    let routes = Routes::new(vec![(bus, units([7]))]).with_first_register(7, 40_001);
    let routes = routes.with_unit_map(&[(1, 7)].into());
    let (mut peer, _task) = connect(ListenerState::new(settings, routes));
    let inside: &[u8] = &[6, 0, 130, 0, 1];
    peer.send(1, 1, inside).await;
    echo(&mut requests).await;
    assert_eq!(&peer.receive().await.unwrap().pdu[..], inside);
    let outside: &[u8] = &[6, 0, 131, 0, 1];
    assert_eq!(peer.ask(1, outside).await.unwrap(), exception(6, ExceptionCode::ILLEGAL_FUNCTION));
}
