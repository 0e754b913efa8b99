//! Lines of the log that clients can cause: so many of a kind within a minute, and how many were held back.

use std::time::Duration;

use metergate::line::BusId;
use metergate::modbus::pdu::ExceptionCode;
use metergate::runtime::{LINES, PERIOD, WRITE_LINES};
use metergate::serial::BusHandle;
use metergate::server::{ListenerSettings, Writes};

use crate::support::captured::{Act, Rig};
use crate::support::clients::{self, Peer, READ, WRITE, serve, units};
use crate::support::log::Log;

#[tokio::test(start_paused = true)]
async fn writes_are_logged_up_to_a_number_a_minute_and_the_rest_are_counted() {
    let log = Log::start();
    let said = |text: &str| log.text().matches(text).count();
    let mut rig = Rig::start(ListenerSettings { writes: Writes::Allow, ..clients::settings() });
    let mut peer = rig.connect("10.0.0.5:40001", "10.0.0.1:502");
    rig.script(WRITE, [Act::Reply(WRITE.to_vec())]);
    let first = tokio::time::Instant::now();
    let logged = usize::try_from(WRITE_LINES).unwrap();
    for _ in 0..logged + 5 {
        assert_eq!(peer.ask(1, WRITE).await.unwrap()[..], *WRITE);
    }
    assert!(first.elapsed() < PERIOD, "all of them within one period");
    assert_eq!((said("write: answered"), said("held_back")), (logged, 0));
    tokio::time::sleep(PERIOD).await;
    peer.ask(1, WRITE).await.unwrap();
    assert_eq!((said("write: answered"), said("held_back=5")), (logged + 1, 1));
}

#[tokio::test]
async fn a_stuck_bus_is_told_of_a_few_times_a_minute_and_what_else_happens_is_still_told() {
    let log = Log::start();
    let (bus, _requests) = BusHandle::new(BusId(0), "riser-a");
    let settings = ListenerSettings { request_deadline: Duration::from_millis(100), ..clients::settings() };
    let server = serve(settings, vec![(bus, units([1]))]);
    let mut peer = Peer::connect(&server).await;
    let more = 5;
    for transaction in 0..u16::try_from(LINES).unwrap() + more {
        peer.send(transaction, 1, READ).await;
        let reply = peer.receive().await.unwrap();
        assert_eq!(reply.pdu[1], ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND.0);
    }
    let said = |text: &str| log.text().matches(text).count();
    assert_eq!(said("a bus did not answer by the deadline"), usize::try_from(LINES).unwrap());
    peer.ask(9, READ).await.unwrap();
    assert_eq!(said("unit=9"), 1);
}
