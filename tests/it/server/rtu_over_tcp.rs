//! `framing: rtu`: which bytes are a request, and which requests are answered; on in-memory pipes with a clock that is
//! stepped, and on real sockets.

use std::time::Duration;

use bytes::BytesMut;
use metergate::line::{Answer, BusId, Target};
use metergate::modbus::pdu::ExceptionCode;
use metergate::modbus::reply::{self, Length};
use metergate::modbus::{AduFraming, END_PAUSE, REQUEST_PAUSE, rtu};
use metergate::serial::BusHandle;
use metergate::server::connection::{BACKSTOP_MARGIN, DEADLINE_MARGIN, REFUSAL_DELAY};
use metergate::server::{Broadcast, ListenerSettings, ListenerState, Routes, Writes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::{Instant, advance, sleep, timeout};

use super::requests_and_replies::{Audited, Record, connect, one_bus, until};
use crate::support::captured::{Act, Rig};
use crate::support::clients::{
    READ, Requests, WRITE, answer, answering_bus, bytes_of, read_from, reply_of, serve, units,
};
use crate::support::log::Log;

const NO_PATH: ExceptionCode = ExceptionCode::GATEWAY_PATH_UNAVAILABLE;
const FAILED: ExceptionCode = ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND;

/// The contract's defaults with `framing: rtu`.
fn settings() -> ListenerSettings {
    ListenerSettings { framing: AduFraming::Rtu, ..crate::support::clients::settings() }
}

/// A client of RTU over TCP.
struct RtuPeer<S> {
    stream: S,
    input: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> RtuPeer<S> {
    fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new() }
    }

    async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn send(&mut self, unit: u8, pdu: &[u8]) {
        self.send_bytes(&rtu::encode(unit, pdu)).await;
    }

    /// The unit and the PDU of the next reply; `None` when the gateway closed the connection.
    async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if self.input.len() > 2
                && let Length::Exact(length) = reply::length_by_counts(&self.input[1..])
                && self.input.len() >= length + rtu::OVERHEAD
            {
                let adu = self.input.split_to(length + rtu::OVERHEAD);
                assert!(rtu::crc_is_right(&adu), "{adu:02X?}");
                return Some((adu[0], adu[1..=length].to_vec()));
            }
            let read = timeout(Duration::from_secs(60), self.stream.read_buf(&mut self.input)).await;
            match read.expect("the gateway neither answers nor closes") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn ask(&mut self, unit: u8, pdu: &[u8]) -> Vec<u8> {
        self.send(unit, pdu).await;
        let (from, reply) = self.receive().await.unwrap();
        assert_eq!(from, unit);
        reply
    }

    /// Nothing comes for this long.
    async fn expect_silence(&mut self, period: Duration) {
        let read = timeout(period, self.stream.read_buf(&mut self.input)).await;
        assert!(read.is_err(), "{read:?}: {:02X?}", &self.input[..]);
    }
}

/// A connection to one bus with units 1 to 4, whose requests the test answers.
fn connect_to_bus(settings: ListenerSettings) -> (RtuPeer<DuplexStream>, Requests) {
    let (state, requests) = one_bus(settings);
    (RtuPeer::new(connect(state).0.stream), requests)
}

/// A connection whose requests are answered at once.
fn connect_to_answering(settings: ListenerSettings) -> RtuPeer<DuplexStream> {
    let routes = Routes::new(vec![(answering_bus("riser-a"), units(1..=4))]);
    RtuPeer::new(connect(ListenerState::new(settings, routes)).0.stream)
}

fn exception(function: u8, code: ExceptionCode) -> Vec<u8> {
    vec![function | 0x80, code.0]
}

#[tokio::test(start_paused = true)]
async fn a_read_is_answered_at_once_and_a_refusal_after_ten_milliseconds() {
    let mut peer = connect_to_answering(settings());
    let began = Instant::now();
    assert_eq!(peer.ask(2, &read_from(7)).await, reply_of(2, 7));
    assert_eq!(began.elapsed(), Duration::ZERO);
    for (unit, pdu, code) in [
        // A unit without a route is answered: the client is alone on its connection.
        (9, READ, NO_PATH),
        (255, READ, NO_PATH),
        (1, WRITE, ExceptionCode::ILLEGAL_FUNCTION),
        (1, &[3, 0xFF, 0xFF, 0, 2], ExceptionCode::ILLEGAL_DATA_ADDRESS),
        (1, &[3, 0, 0, 0, 126], ExceptionCode::ILLEGAL_DATA_VALUE),
    ] {
        let before = Instant::now();
        assert_eq!(peer.ask(unit, pdu).await, exception(pdu[0], code), "unit {unit}, {pdu:02X?}");
        assert_eq!(before.elapsed(), REFUSAL_DELAY, "unit {unit}, {pdu:02X?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_length_is_not_known_or_wrong_a_pause_ends_the_request() {
    let mut peer = connect_to_answering(settings());
    for (pdu, code) in [
        (&[0x41, 1, 2, 3][..], ExceptionCode::ILLEGAL_FUNCTION),
        (&[0x00, 1], ExceptionCode::ILLEGAL_FUNCTION),
        // Too short and too long for function 03.
        (&[3, 0, 0], ExceptionCode::ILLEGAL_DATA_VALUE),
        (&[3, 0, 0, 0, 1, 0, 0], ExceptionCode::ILLEGAL_DATA_VALUE),
    ] {
        let before = Instant::now();
        assert_eq!(peer.ask(1, pdu).await, exception(pdu[0], code), "{pdu:02X?}");
        assert_eq!(before.elapsed(), END_PAUSE + REFUSAL_DELAY, "{pdu:02X?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_crc_is_not_answered_and_the_next_request_is() {
    let mut peer = connect_to_answering(settings());
    let mut damaged = rtu::encode(1, READ).to_vec();
    damaged[7] ^= 1;
    // After a pause, and glued to it.
    peer.send_bytes(&damaged).await;
    peer.expect_silence(REQUEST_PAUSE * 2).await;
    assert_eq!(peer.ask(1, READ).await, reply_of(1, 0));
    peer.send_bytes(&[&damaged[..], &rtu::encode(3, &read_from(5))].concat()).await;
    assert_eq!(peer.receive().await, Some((3, reply_of(3, 5).to_vec())));
    peer.expect_silence(Duration::from_secs(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_in_pieces_is_answered_and_half_of_one_is_forgotten_after_a_pause() {
    let mut peer = connect_to_answering(settings());
    let request = rtu::encode(1, READ);
    for byte in &request[..] {
        peer.send_bytes(&[*byte]).await;
        sleep(REQUEST_PAUSE - Duration::from_millis(1)).await;
    }
    assert_eq!(peer.receive().await, Some((1, reply_of(1, 0).to_vec())));
    peer.send_bytes(&request[..5]).await;
    peer.expect_silence(REQUEST_PAUSE + Duration::from_millis(1)).await;
    assert_eq!(peer.ask(4, &read_from(9)).await, reply_of(4, 9));
}

#[tokio::test(start_paused = true)]
async fn the_next_request_supersedes_the_one_before_and_only_it_is_answered() {
    let (mut peer, mut requests) = connect_to_bus(settings());
    peer.send(1, &read_from(1)).await;
    let first = requests.recv().await.unwrap();
    assert!(!first.to.is_gone());
    // The client has timed out. What no bus is needed for supersedes, too, and is superseded.
    peer.send(9, READ).await;
    peer.send(2, &read_from(2)).await;
    let second = requests.recv().await.unwrap();
    assert!(first.to.is_gone() && !second.to.is_gone());
    answer(first);
    peer.expect_silence(REFUSAL_DELAY * 2).await;
    answer(second);
    assert_eq!(peer.receive().await, Some((2, reply_of(2, 2).to_vec())));
    peer.expect_silence(Duration::from_secs(10)).await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_no_client_waits_for_fill_neither_the_bus_nor_the_memory() {
    let (mut peer, mut requests) = connect_to_bus(settings());
    for start in 0..40 {
        peer.send(1, &read_from(start)).await;
    }
    let mut taken = Vec::new();
    while let Ok(request) = timeout(Duration::from_millis(100), requests.recv()).await {
        taken.push(request.unwrap());
    }
    assert_eq!(taken.len(), settings().max_in_flight);
    let last_read = taken.pop().unwrap();
    assert!(!last_read.to.is_gone());
    assert!(taken.iter().all(|request| request.to.is_gone()));
    // As a bus does with what it has not sent; then more is read.
    drop(taken);
    let mut newest = requests.recv().await.unwrap();
    assert!(last_read.to.is_gone());
    while let Ok(request) = timeout(Duration::from_millis(100), requests.recv()).await {
        newest = request.unwrap();
    }
    answer(newest);
    assert_eq!(peer.receive().await, Some((1, reply_of(1, 39).to_vec())));
}

#[tokio::test(start_paused = true)]
async fn a_request_half_read_at_the_limit_is_not_forgotten_while_the_gateway_does_not_read() {
    let (broadcast, writes) = (Broadcast::Silent, Writes::Allow);
    let (mut peer, mut requests) =
        connect_to_bus(ListenerSettings { max_in_flight: 1, broadcast, writes, ..settings() });
    let second = rtu::encode(2, &read_from(2));
    let (head, tail) = second.split_at(4);
    // A broadcast makes room without a reply to be written.
    peer.send_bytes(&[&rtu::encode(0, WRITE)[..], head].concat()).await;
    let first = requests.recv().await.unwrap();
    peer.send_bytes(tail).await;
    sleep(REQUEST_PAUSE * 2).await;
    first.to.send(Answer::Sent);
    answer(timeout(Duration::from_secs(1), requests.recv()).await.expect("the second request").unwrap());
    assert_eq!(peer.receive().await, Some((2, reply_of(2, 2).to_vec())));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_only_a_pause_would_end_is_answered_when_the_client_ends_its_stream() {
    let mut peer = connect_to_answering(settings());
    peer.send(1, &[0x41, 1, 2, 3]).await;
    let began = Instant::now();
    peer.stream.shutdown().await.unwrap();
    assert_eq!(peer.receive().await, Some((1, exception(0x41, ExceptionCode::ILLEGAL_FUNCTION))));
    assert_eq!(began.elapsed(), REFUSAL_DELAY);
    assert_eq!(peer.receive().await, None);
}

#[tokio::test]
async fn half_a_request_is_not_forgotten_where_the_process_stood_still_and_the_rest_has_arrived() {
    let server = serve(settings(), vec![(answering_bus("riser-a"), units(1..=4))]);
    let mut peer = RtuPeer::new(TcpStream::connect(server.address).await.unwrap());
    assert_eq!(peer.ask(1, READ).await, reply_of(1, 0));
    let request = rtu::encode(2, &read_from(2));
    let (head, tail) = request.split_at(4);
    peer.send_bytes(head).await;
    sleep(REQUEST_PAUSE / 5).await;
    peer.send_bytes(tail).await;
    // Everything of this test is on one thread, the gateway included.
    std::thread::sleep(REQUEST_PAUSE * 2);
    let reply = timeout(Duration::from_secs(5), peer.receive()).await;
    assert_eq!(reply.expect("no answer"), Some((2, reply_of(2, 2).to_vec())));
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_is_never_answered_and_is_sent_where_it_may_be() {
    for (broadcast, writes, pdu, is_sent) in [
        (Broadcast::Refuse, Writes::Allow, WRITE, false),
        (Broadcast::Silent, Writes::Allow, WRITE, true),
        (Broadcast::Acknowledge, Writes::Allow, WRITE, true),
        (Broadcast::Acknowledge, Writes::Deny, WRITE, false),
        // Not a function for all, and none the standard allows.
        (Broadcast::Acknowledge, Writes::Allow, READ, false),
        (Broadcast::Silent, Writes::Allow, &[3, 0, 0, 0, 126], false),
    ] {
        let (mut peer, mut requests) = connect_to_bus(ListenerSettings { broadcast, writes, ..settings() });
        peer.send(0, pdu).await;
        // It does not wait for an answer, so its next request is no sign of impatience.
        let broadcast = if is_sent { Some(requests.recv().await.unwrap()) } else { None };
        peer.send(1, READ).await;
        let read = requests.recv().await.unwrap();
        if let Some(broadcast) = broadcast {
            assert_eq!(broadcast.target, Target::Broadcast);
            assert!(!broadcast.to.is_gone());
            broadcast.to.send(Answer::Sent);
        }
        peer.expect_silence(REFUSAL_DELAY * 2).await;
        answer(read);
        assert_eq!(peer.receive().await, Some((1, reply_of(1, 0).to_vec())), "{pdu:02X?}");
        peer.expect_silence(Duration::from_secs(10)).await;
    }
}

const WITHIN: Duration = Duration::from_millis(300);

#[tokio::test(start_paused = true)]
async fn a_bus_has_no_longer_than_answer_within_and_is_answered_for_at_its_end() {
    let (mut peer, mut requests) =
        connect_to_bus(ListenerSettings { answer_within: Some(WITHIN), ..settings() });
    let before = Instant::now();
    peer.send(1, READ).await;
    let request = requests.recv().await.unwrap();
    // What the line cannot answer before this it does not send.
    assert!(Instant::from_std(request.deadline) < before + WITHIN - BACKSTOP_MARGIN);
    assert_eq!(peer.receive().await, Some((1, exception(3, FAILED))));
    assert_eq!(before.elapsed(), WITHIN - BACKSTOP_MARGIN);
    answer(request);
    peer.expect_silence(Duration::from_secs(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_has_the_whole_request_deadline_whatever_answer_within_is() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "a");
    let mut audited = Audited::new(&[(&bus, 1)]);
    let settings = &mut audited.state.settings;
    (settings.framing, settings.broadcast) = (AduFraming::Rtu, Broadcast::Silent);
    settings.answer_within = Some(WITHIN);
    let deadline = settings.request_deadline;
    let (peer, task, records) = audited.connect();
    let mut peer = RtuPeer::new(peer.stream);
    let before = Instant::now();
    peer.send(0, WRITE).await;
    let request = requests.recv().await.unwrap();
    assert_eq!(Instant::from_std(request.deadline), before + deadline - DEADLINE_MARGIN);
    // The connection does not give it up either while the bus has its time.
    peer.expect_silence(deadline - DEADLINE_MARGIN).await;
    assert!(!request.to.is_gone());
    request.to.send(Answer::Sent);
    peer.expect_silence(Duration::from_secs(10)).await;
    drop(peer);
    task.await.unwrap();
    assert_eq!(records(), [Record::of("sent to all units", "a", None)]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_is_not_sent() {
    for (late, is_sent) in [(Duration::from_millis(1), false), (Duration::ZERO, false)] {
        let (mut peer, mut requests) =
            connect_to_bus(ListenerSettings { answer_within: Some(WITHIN), ..settings() });
        peer.send(1, READ).await;
        let request = requests.recv().await.unwrap();
        // As if the machine had been too busy to serve the connection.
        answer(request);
        advance(WITHIN + late).await;
        let reply = timeout(Duration::from_secs(10), peer.receive()).await;
        assert_eq!(reply.is_ok(), is_sent, "{late:?}");
        // The connection goes on.
        peer.send(2, READ).await;
        answer(requests.recv().await.unwrap());
        assert_eq!(peer.receive().await, Some((2, reply_of(2, 0).to_vec())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_given_up_is_never_sent_and_one_on_the_wire_has_its_outcome() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "a");
    let mut audited = Audited::new(&[(&bus, 1)]);
    audited.state.settings.framing = AduFraming::Rtu;
    let (peer, task, records) = audited.connect();
    let mut peer = RtuPeer::new(peer.stream);
    peer.send(1, WRITE).await;
    let on_wire = requests.recv().await.unwrap();
    peer.send(1, WRITE).await;
    let waiting = requests.recv().await.unwrap();
    peer.send(1, WRITE).await;
    let last = requests.recv().await.unwrap();
    assert!(waiting.to.is_gone());
    // As a bus does with what it has not sent.
    drop(waiting);
    peer.expect_silence(Duration::from_millis(50)).await;
    on_wire.to.send(Answer::Reply(WRITE.to_vec().into()));
    peer.expect_silence(Duration::from_millis(50)).await;
    last.to.send(Answer::Reply(WRITE.to_vec().into()));
    assert_eq!(peer.receive().await, Some((1, WRITE.to_vec())));
    drop(peer);
    task.await.unwrap();
    let expected = [
        Record::of("client gave up, never sent", "a", None),
        Record::of("answered", "a", None),
        Record::of("answered", "a", None),
    ];
    assert_eq!(records(), expected);
}

/// A gateway with a line, on which unit 1 ignores reads and unit 2 obeys writes, and two clients.
async fn with_a_line(settings: ListenerSettings) -> (Rig, RtuPeer<DuplexStream>, RtuPeer<DuplexStream>) {
    let mut rig = Rig::start(ListenerSettings { writes: Writes::Allow, ..settings });
    rig.script(READ, [Act::Silent]);
    rig.script(WRITE, [Act::Reply(WRITE.to_vec())]);
    let mut connect = |client| RtuPeer::new(rig.connect(client, "10.0.0.1:2101").stream);
    let (mut first, second) = (connect("10.0.0.5:40001"), connect("10.0.0.6:40001"));
    // After its start a line is silent for a while.
    let mut tries = 0;
    while first.ask(2, WRITE).await != WRITE {
        tries += 1;
        assert!(tries < 20);
    }
    rig.heard.lock().unwrap().requests.clear();
    (rig, first, second)
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_for_the_line_when_it_is_given_up_does_not_reach_its_unit() {
    let (rig, mut peer, mut holder) = with_a_line(settings()).await;
    holder.send(1, READ).await;
    sleep(Duration::from_millis(20)).await;
    peer.send(2, WRITE).await;
    sleep(Duration::from_millis(20)).await;
    assert_eq!(peer.ask(9, READ).await, exception(3, NO_PATH));
    assert_eq!(holder.receive().await, Some((1, exception(3, FAILED))));
    peer.expect_silence(Duration::from_secs(10)).await;
    let silent_read = rtu::encode(1, READ).to_vec();
    assert_eq!(rig.heard.lock().unwrap().requests, [silent_read.clone(), silent_read], "with its retry");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_given_up_before_its_bus_received_it_does_not_reach_its_unit() {
    let (rig, mut peer, _) = with_a_line(settings()).await;
    // The line is free and would send it at once.
    peer.send_bytes(&[rtu::encode(2, WRITE), rtu::encode(9, READ)].concat()).await;
    assert_eq!(peer.receive().await, Some((9, exception(3, NO_PATH))));
    peer.expect_silence(Duration::from_secs(10)).await;
    assert_eq!(rig.heard.lock().unwrap().requests, Vec::<Vec<u8>>::new());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_cannot_be_answered_in_time_does_not_reach_its_unit() {
    let (rig, mut peer, mut holder) =
        with_a_line(ListenerSettings { answer_within: Some(WITHIN), ..settings() }).await;
    holder.send(1, READ).await;
    sleep(Duration::from_millis(20)).await;
    let began = Instant::now();
    assert_eq!(peer.ask(2, WRITE).await, exception(6, ExceptionCode::SERVER_DEVICE_BUSY));
    assert!(began.elapsed() < WITHIN);
    peer.expect_silence(Duration::from_secs(10)).await;
    assert_eq!(rig.heard.lock().unwrap().requests, [rtu::encode(1, READ).to_vec()]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_broadcast_is_recorded_though_it_is_not_answered() {
    let (bus, _requests) = BusHandle::new(BusId(0), "a");
    let mut audited = Audited::new(&[(&bus, 1)]);
    (audited.state.settings.framing, audited.state.settings.broadcast) = (AduFraming::Rtu, Broadcast::Refuse);
    let (peer, task, records) = audited.connect();
    let mut peer = RtuPeer::new(peer.stream);
    peer.send(0, WRITE).await;
    peer.expect_silence(Duration::from_secs(1)).await;
    drop(peer);
    task.await.unwrap();
    assert_eq!(records(), [Record::of("refused here, never sent", "a", Some(NO_PATH))]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_is_closed_and_garbage_does_not_keep_it() {
    let mut peer = connect_to_answering(settings());
    let idle = settings().idle_timeout;
    assert_eq!(peer.ask(1, READ).await, reply_of(1, 0));
    let began = Instant::now();
    while began.elapsed() < idle - Duration::from_secs(10) {
        peer.send_bytes(&[1, 3, 0xFF]).await;
        sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(peer.receive().await, None);
    assert_eq!(began.elapsed(), idle);
}

#[tokio::test]
async fn modbus_tcp_on_a_listener_for_rtu_is_called_by_its_name() {
    let log = Log::start();
    let server = serve(settings(), vec![(answering_bus("riser-a"), units(1..=4))]);
    let mut peer = RtuPeer::new(TcpStream::connect(server.address).await.unwrap());
    for (transaction, count) in [(1, 1), (0x0103, 2), (0x0110, 3), (0x0007, 4)] {
        peer.send_bytes(&bytes_of(transaction, 1, READ)).await;
        until(|| log.text().matches("the client speaks Modbus TCP").count() == count).await;
    }
    let client = server.listening.load().metrics.misframed_client().unwrap();
    assert_eq!((client.spoken, client.address), (AduFraming::Tcp, server.address.ip().into()));
    peer.expect_silence(Duration::from_millis(50)).await;
    assert_eq!(peer.ask(1, READ).await, reply_of(1, 0));
}

#[tokio::test]
async fn a_connection_ends_when_a_reload_changes_its_framing() {
    let server = serve(settings(), vec![(answering_bus("riser-a"), units(1..=4))]);
    let mut peer = RtuPeer::new(TcpStream::connect(server.address).await.unwrap());
    assert_eq!(peer.ask(1, READ).await, reply_of(1, 0));
    let routes = Routes::new(vec![(answering_bus("riser-a"), units(1..=4))]);
    let tcp = ListenerSettings { framing: AduFraming::Tcp, ..settings() };
    server.listening.store(ListenerState::new(tcp, routes).into());
    peer.send(1, READ).await;
    assert_eq!(peer.receive().await, None);
    let mut other = crate::support::clients::Peer::connect(&server).await;
    assert_eq!(other.ask(1, READ).await, Some(reply_of(1, 0)));
}

#[tokio::test]
async fn many_clients_on_real_sockets_each_get_their_own_answers() {
    let server = serve(settings(), vec![(answering_bus("riser-a"), units(1..=4))]);
    let clients = (0..8_u16).map(|client| {
        let address = server.address;
        tokio::spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut peer = RtuPeer::new(stream);
            for number in 0..200 {
                let (unit, start) = (1 + u8::try_from(client % 4).unwrap(), client * 1000 + number);
                let request = rtu::encode(unit, &read_from(start));
                let (head, tail) = request.split_at(usize::from(number) % request.len());
                peer.send_bytes(head).await;
                tokio::task::yield_now().await;
                peer.send_bytes(tail).await;
                assert_eq!(peer.receive().await, Some((unit, reply_of(unit, start).to_vec())));
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(server.listening.load().metrics.totals().counted.requests, 1600);
}

#[tokio::test]
async fn a_client_that_reads_no_replies_gets_the_last_of_them_and_no_flood() {
    let server = serve(settings(), vec![(answering_bus("riser-a"), units(1..=4))]);
    let mut peer = RtuPeer::new(TcpStream::connect(server.address).await.unwrap());
    // One request after the other, as if each had timed out: each reply is ready before the next request.
    let asked = 2_000;
    for start in 0..asked {
        peer.send(1, &read_from(start)).await;
    }
    let mut last = None;
    while last != Some((1, reply_of(1, asked - 1).to_vec())) {
        last = peer.receive().await;
        assert!(last.is_some());
    }
    peer.expect_silence(Duration::from_millis(50)).await;
}
