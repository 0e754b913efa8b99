//! Which request gets which reply, when, and what is recorded of writes: on in-memory pipes with a clock that is
//! stepped, and where the kernel matters on real sockets with the real clock.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use metergate::audit::{Audit, AuditLog, AuditSettings};
use metergate::endpoint::ClientAddress;
use metergate::line::{Answer, BusId, ListenerId};
use metergate::modbus::pdu::ExceptionCode;
use metergate::modbus::{REQUEST_PAUSE, rtu};
use metergate::runtime::{LINES, LogRateLimiter};
use metergate::serial::BusHandle;
use metergate::server::connection::{BACKSTOP_MARGIN, ClientContext, REFUSAL_DELAY, SHUTDOWN_TIMEOUT};
use metergate::server::{
    Broadcast, Families, IdleTracker, ListenerSettings, ListenerState, Routes, Writes, connection, listener,
};
use metergate::traffic::Link;
use serde_yaml::Value;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, WriteHalf, duplex};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::clients::{
    Peer, READ, Requests, Server, WRITE, answer, bytes_of, read_from, reply_of, serve, settings, units,
};

const BUSY: ExceptionCode = ExceptionCode::SERVER_DEVICE_BUSY;
const NO_PATH: ExceptionCode = ExceptionCode::GATEWAY_PATH_UNAVAILABLE;
const FAILED: ExceptionCode = ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND;

pub(super) fn connect(state: ListenerState) -> (Peer<DuplexStream>, JoinHandle<()>) {
    connect_through(state, |writer| writer)
}

/// The same, with something between the connection and its pipe.
fn connect_through<W>(
    state: ListenerState,
    wrap: impl FnOnce(WriteHalf<DuplexStream>) -> W,
) -> (Peer<DuplexStream>, JoinHandle<()>)
where
    W: AsyncWrite + Unpin + Send + 'static,
{
    connect_to(Arc::new(ArcSwap::from_pointee(state)), Arc::default(), wrap)
}

/// The same, with a listener and a limit of log lines that other connections share.
fn connect_to<W>(
    listener: Arc<ArcSwap<ListenerState>>,
    log_limiter: Arc<LogRateLimiter>,
    wrap: impl FnOnce(WriteHalf<DuplexStream>) -> W,
) -> (Peer<DuplexStream>, JoinHandle<()>)
where
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (ours, theirs) = duplex(64 * 1024);
    let (reader, writer) = tokio::io::split(theirs);
    let writer = wrap(writer);
    let framing = listener.load().settings.framing;
    let client = ClientContext {
        link: Arc::new(Link {
            identity: None,
            client: SocketAddr::from(([127, 0, 0, 1], 40000)).into(),
            listener: SocketAddr::from(([127, 0, 0, 1], 502)).into(),
            framing,
            connection: 1,
        }),
        listener,
        idle: Arc::new(IdleTracker::new(Instant::now(), Instant::now(), CancellationToken::new())),
        log_limiter,
    };
    (Peer::new(ours), tokio::spawn(connection::run(reader, writer, client)))
}

/// Sends everything but its end, as TLS to a client that reads nothing.
struct Endless(WriteHalf<DuplexStream>);

impl AsyncWrite for Endless {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// One bus with units 1 to 4, whose requests the test answers.
pub(super) fn one_bus(settings: ListenerSettings) -> (ListenerState, Requests) {
    let (bus, requests) = BusHandle::new(BusId(0), "riser-a");
    (ListenerState::new(settings, Routes::new(vec![(bus, units(1..=4))])), requests)
}

/// Nothing comes as long as nothing happens.
async fn expect_silence(peer: &mut Peer<DuplexStream>) {
    assert!(timeout(Duration::from_millis(100), peer.receive()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_transaction_identifier_are_answered_in_the_order_asked() {
    let (state, mut requests) = one_bus(settings());
    let (mut peer, _task) = connect(state);
    for (transaction, start) in [(7, 1), (7, 2), (8, 3), (7, 4)] {
        peer.send(transaction, 1, &read_from(start)).await;
    }
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(requests.recv().await.unwrap());
    }
    // The last first: only the one with another identifier may go out.
    answer(taken.pop().unwrap());
    answer(taken.pop().unwrap());
    assert_eq!(peer.receive().await.unwrap().pdu, reply_of(1, 3));
    answer(taken.pop().unwrap());
    expect_silence(&mut peer).await;
    answer(taken.pop().unwrap());
    for start in [1, 2, 4] {
        let reply = peer.receive().await.unwrap();
        assert_eq!((reply.transaction_id, reply.pdu), (7, reply_of(1, start)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_end_cannot_be_sent_is_dropped() {
    let (state, _requests) = one_bus(settings());
    let (mut peer, task) = connect_through(state, Endless);
    peer.stream.shutdown().await.unwrap();
    timeout(2 * SHUTDOWN_TIMEOUT, task).await.expect("in time").unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_bus_waits_behind_its_transaction_identifier_too() {
    let (state, mut requests) = one_bus(settings());
    let (mut peer, _task) = connect(ListenerState { diagnostics_unit: Some(200), ..state });
    peer.send(7, 1, READ).await;
    peer.send(7, 200, READ).await;
    peer.send(7, 9, READ).await;
    peer.send(8, 200, READ).await;
    let request = requests.recv().await.unwrap();
    assert_eq!(peer.receive().await.unwrap().transaction_id, 8);
    expect_silence(&mut peer).await;
    answer(request);
    let units: Vec<u8> = vec![
        peer.receive().await.unwrap().unit,
        peer.receive().await.unwrap().unit,
        peer.receive().await.unwrap().unit,
    ];
    assert_eq!(units, [1, 200, 9]);
}

#[tokio::test(start_paused = true)]
async fn behind_a_silent_broadcast_of_the_same_identifier_the_next_reply_is_not_lost() {
    let settings = ListenerSettings { broadcast: Broadcast::Silent, writes: Writes::Allow, ..settings() };
    let (state, mut requests) = one_bus(settings);
    let (mut peer, _task) = connect(state);
    peer.send(7, 0, WRITE).await;
    peer.send(7, 1, READ).await;
    let (broadcast, read) = (requests.recv().await.unwrap(), requests.recv().await.unwrap());
    answer(read);
    expect_silence(&mut peer).await;
    broadcast.to.send(Answer::Sent);
    assert_eq!(peer.receive().await.unwrap().pdu, reply_of(1, 0));
}

#[tokio::test(start_paused = true)]
async fn all_that_wait_behind_a_dead_bus_are_answered_before_their_deadline() {
    let (state, mut requests) = one_bus(settings());
    let (mut peer, _task) = connect(state);
    let begun = Instant::now();
    peer.send(7, 1, &read_from(1)).await;
    peer.send(7, 1, &read_from(2)).await;
    let _stuck = requests.recv().await.unwrap();
    answer(requests.recv().await.unwrap());
    assert_eq!(peer.receive().await.unwrap().pdu[..], [0x83, FAILED.0]);
    assert_eq!(peer.receive().await.unwrap().pdu, reply_of(1, 2));
    let deadline = settings().request_deadline;
    assert!(begun.elapsed() >= deadline - BACKSTOP_MARGIN && begun.elapsed() < deadline);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_at_the_last_moment_is_out_before_the_deadline() {
    let (state, mut requests) = one_bus(settings());
    let (mut peer, _task) = connect(state);
    let begun = Instant::now();
    peer.send(1, 1, READ).await;
    let request = requests.recv().await.unwrap();
    tokio::time::sleep_until(Instant::from_std(request.deadline)).await;
    request.to.send(Answer::Refused(NO_PATH));
    assert_eq!(peer.receive().await.unwrap().pdu[..], [0x83, NO_PATH.0]);
    assert!(begun.elapsed() < settings().request_deadline - REFUSAL_DELAY / 2);
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_takes_nothing_holds_up_only_its_own_requests() {
    let ((a, mut of_a), (b, mut of_b)) = (BusHandle::new(BusId(0), "a"), BusHandle::new(BusId(1), "b"));
    let routes = Routes::new(vec![(a, units([1])), (b, units([2]))]);
    let (mut peer, _task) =
        connect(ListenerState::new(ListenerSettings { max_in_flight: 256, ..settings() }, routes));
    for number in 0..200 {
        peer.send(number, 1, &read_from(number)).await;
    }
    peer.send(999, 2, READ).await;
    answer(of_b.recv().await.unwrap());
    assert_eq!(peer.receive().await.unwrap().transaction_id, 999);
    // Requests that waited for a reach it in their order, none twice.
    for number in 0..200 {
        let request = of_a.recv().await.unwrap();
        assert_eq!(request.pdu.bytes()[..], read_from(number));
        answer(request);
        assert_eq!(peer.receive().await.unwrap().transaction_id, number);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_room_keeps_its_place_among_connections() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    let state = || {
        let settings = ListenerSettings { max_in_flight: 256, ..settings() };
        ListenerState::new(settings, Routes::new(vec![(bus.clone(), units([1]))]))
    };
    let ((mut busy, _), (mut patient, _)) = (connect(state()), connect(state()));
    for number in 0..100 {
        busy.send(number, 1, &read_from(number)).await;
    }
    expect_silence(&mut busy).await;
    patient.send(1, 1, &read_from(1000)).await;
    expect_silence(&mut patient).await;
    let mut before = 0;
    while requests.recv().await.unwrap().pdu.bytes()[..] != read_from(1000) {
        before += 1;
        // Something happens on both connections meanwhile.
        tokio::task::yield_now().await;
    }
    // The queue held 64; one request of the busy connection was in line for room already.
    assert_eq!(before, 65);
}

#[tokio::test(start_paused = true)]
async fn a_request_names_its_listener() {
    let (state, mut requests) = one_bus(settings());
    let (mut peer, _task) = connect(ListenerState { id: ListenerId(3), ..state });
    peer.send(1, 1, READ).await;
    assert_eq!(requests.recv().await.unwrap().listener, ListenerId(3));
}

/// A listener whose writes go to a file.
pub(super) struct Audited {
    pub(super) state: ListenerState,
    audit_log: Arc<AuditLog>,
    file: PathBuf,
}

impl Audited {
    pub(super) fn new(buses: &[(&BusHandle, u8)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("metergate-replies-{}-{number}.jsonl", std::process::id());
        let file = std::env::temp_dir().join(name);
        let audit_log = AuditSettings { file: file.clone(), max_size: 1_000_000 };
        let audit_log = Arc::new(AuditLog::open(&audit_log).unwrap());
        let settings =
            ListenerSettings { broadcast: Broadcast::Acknowledge, writes: Writes::Allow, ..settings() };
        let routes = buses.iter().map(|(bus, unit)| ((*bus).clone(), units([*unit]))).collect();
        let audit = Arc::new(Audit::new(Arc::default(), Some(Arc::clone(&audit_log)), Arc::default()));
        let state = ListenerState { audit, ..ListenerState::new(settings, Routes::new(routes)) };
        Self { state, audit_log, file }
    }

    pub(super) fn connect(self) -> (Peer<DuplexStream>, JoinHandle<()>, impl FnOnce() -> Vec<Record>) {
        let (state, records) = self.split();
        let (peer, task) = connect(state);
        (peer, task, records)
    }

    /// The listener's state, and the way to the records once nothing has the state any more.
    pub(super) fn split(self) -> (ListenerState, impl FnOnce() -> Vec<Record>) {
        let Self { state, audit_log, file } = self;
        (state, move || {
            Arc::into_inner(audit_log).expect("the connection has ended").close();
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::remove_file(file).unwrap();
            text.lines().map(|line| Record::new(&serde_yaml::from_str(line).unwrap())).collect()
        })
    }
}

/// Outcome, bus and exception.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record(String, String, Option<u64>);

impl Record {
    fn new(line: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let buses = line.get("buses").unwrap().as_sequence().unwrap();
        assert_eq!(buses.len(), 1, "{line:?}");
        Self(text(line.get("outcome").unwrap()), text(&buses[0]), line.get("exception").unwrap().as_u64())
    }

    pub(super) fn of(outcome: &str, bus: &str, exception: Option<ExceptionCode>) -> Self {
        Self(outcome.to_owned(), bus.to_owned(), exception.map(|code| u64::from(code.0)))
    }
}

const NEVER_SENT: &str = "refused here, never sent";
const UNKNOWN: &str = "sent, no valid answer: unknown";

#[tokio::test(start_paused = true)]
async fn each_outcome_of_a_write_has_its_record() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "a");
    let (mut peer, task, records) = Audited::new(&[(&bus, 1)]).connect();
    drop(bus);
    let mut expected = Vec::new();
    for (given, outcome, exception) in [
        (Answer::Reply(WRITE.to_vec().into()), "answered", None),
        (Answer::Reply(vec![6, 0, 1, 0, 9].into()), "answered with another value", None),
        (Answer::Reply(vec![0x86, 3].into()), "refused by the unit", Some(ExceptionCode(3))),
        (Answer::Unreached(vec![0x86, 0x0B].into()), UNKNOWN, Some(FAILED)),
        (Answer::Refused(NO_PATH), NEVER_SENT, Some(NO_PATH)),
        (Answer::NotSent(BUSY), NEVER_SENT, Some(BUSY)),
        (Answer::NoAnswer(FAILED), UNKNOWN, Some(FAILED)),
    ] {
        peer.send(1, 1, WRITE).await;
        requests.recv().await.unwrap().to.send(given);
        peer.receive().await.unwrap();
        expected.push(Record::of(outcome, "a", exception));
    }
    drop(peer);
    task.await.unwrap();
    assert_eq!(records(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_has_one_outcome_for_each_bus_and_one_answer_for_all() {
    let sent = || Record::of("sent to all units", "a", None);
    for (on_b, code, record) in [
        (Answer::Sent, None, Record::of("sent to all units", "b", None)),
        (Answer::Refused(NO_PATH), Some(FAILED), Record::of(NEVER_SENT, "b", Some(NO_PATH))),
        (Answer::NotSent(BUSY), Some(FAILED), Record::of(NEVER_SENT, "b", Some(BUSY))),
        (Answer::NoAnswer(NO_PATH), Some(FAILED), Record::of(UNKNOWN, "b", Some(NO_PATH))),
    ] {
        let ((a, mut of_a), (b, mut of_b)) = (BusHandle::new(BusId(0), "a"), BusHandle::new(BusId(1), "b"));
        let (mut peer, task, records) = Audited::new(&[(&a, 1), (&b, 2)]).connect();
        peer.send(1, 0, WRITE).await;
        of_b.recv().await.unwrap().to.send(on_b);
        of_a.recv().await.unwrap().to.send(Answer::Sent);
        let reply = peer.receive().await.unwrap().pdu;
        match code {
            Some(code) => assert_eq!(reply[..], [0x86, code.0]),
            None => assert_eq!(reply[..], *WRITE),
        }
        drop(peer);
        task.await.unwrap();
        let mut told = records();
        told.sort();
        let mut expected = vec![sent(), record];
        expected.sort();
        assert_eq!(told, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_that_no_bus_sent_has_the_code_of_the_first() {
    let ((a, mut of_a), (b, mut of_b)) = (BusHandle::new(BusId(0), "a"), BusHandle::new(BusId(1), "b"));
    let (mut peer, _task, _records) = Audited::new(&[(&a, 1), (&b, 2)]).connect();
    peer.send(1, 0, WRITE).await;
    of_b.recv().await.unwrap().to.send(Answer::NotSent(BUSY));
    of_a.recv().await.unwrap().to.send(Answer::Refused(NO_PATH));
    assert_eq!(peer.receive().await.unwrap().pdu[..], [0x86, NO_PATH.0]);
}

#[tokio::test(start_paused = true)]
async fn what_became_of_a_write_is_recorded_though_its_client_was_answered_long_ago() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "a");
    let (mut peer, task, records) = Audited::new(&[(&bus, 1)]).connect();
    peer.send(1, 1, WRITE).await;
    let request = requests.recv().await.unwrap();
    assert_eq!(peer.receive().await.unwrap().pdu[..], [0x86, FAILED.0]);
    drop(peer);
    request.to.send(Answer::NotSent(BUSY));
    task.await.unwrap();
    assert_eq!(records(), [Record::of(NEVER_SENT, "a", Some(BUSY))]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_its_bus_had_no_room_for_was_never_sent() {
    let (bus, requests) = BusHandle::new(BusId(0), "a");
    let (mut peer, task, records) = Audited::new(&[(&bus, 1)]).connect();
    // More than a bus task that is stuck has room for.
    for round in 0..5 {
        for number in 0..16 {
            peer.send(round * 16 + number, 1, WRITE).await;
        }
        for _ in 0..16 {
            peer.receive().await.unwrap();
        }
    }
    drop((peer, requests));
    task.await.unwrap();
    let records = records();
    let of = |outcome| records.iter().filter(|record| record.0 == outcome).count();
    assert_eq!((of(UNKNOWN), of(NEVER_SENT), records.len()), (64, 16, 80));
}

#[tokio::test(start_paused = true)]
async fn a_write_dropped_because_its_client_is_gone_was_never_sent_and_one_that_was_sent_has_its_outcome() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "a");
    let (mut peer, task, records) = Audited::new(&[(&bus, 1)]).connect();
    for transaction in 0..3 {
        peer.send(transaction, 1, WRITE).await;
    }
    let first = requests.recv().await.unwrap();
    let (on_wire, waiting) = (requests.recv().await.unwrap(), requests.recv().await.unwrap());
    drop(peer);
    // Its reply cannot be written: that is how a pipe shows that the client is gone.
    first.to.send(Answer::Reply(WRITE.to_vec().into()));
    while !waiting.to.is_gone() {
        tokio::task::yield_now().await;
    }
    drop(waiting);
    on_wire.to.send(Answer::NoAnswer(FAILED));
    task.await.unwrap();
    let told = records();
    assert_eq!(told[0], Record::of("answered", "a", None));
    assert_eq!(told[1].0, "client left, never sent");
    assert_eq!(told[2], Record::of(UNKNOWN, "a", Some(FAILED)));
}

/// A listener on a real socket with one request in flight at a time.
fn one_at_a_time() -> (Server, Requests) {
    let (bus, requests) = BusHandle::new(BusId(0), "riser-a");
    let settings = ListenerSettings { max_in_flight: 1, ..settings() };
    (serve(settings, vec![(bus, units(1..=4))]), requests)
}

/// Waits for what another task does about an event of the kernel.
pub(super) async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.expect("it happens");
}

#[tokio::test]
async fn a_half_closed_client_is_noticed_at_its_limit_and_all_its_requests_are_answered() {
    let (server, mut requests) = one_at_a_time();
    let mut peer = Peer::connect(&server).await;
    // Far more than is read ahead: the rest stays in the socket, and the end of the stream behind it.
    for number in 0..200 {
        peer.send(number, 1, &read_from(number)).await;
    }
    let first = requests.recv().await.unwrap();
    assert!(!first.to.is_half_closed());
    peer.stream.shutdown().await.unwrap();
    until(|| first.to.is_half_closed()).await;
    assert!(!first.to.is_gone());
    answer(first);
    for number in 0..200 {
        if number > 0 {
            let request = requests.recv().await.unwrap();
            assert!(request.to.is_half_closed());
            answer(request);
        }
        assert_eq!(peer.receive().await.unwrap().transaction_id, number);
    }
    assert_eq!(peer.receive().await, None);
}

#[tokio::test]
async fn a_reset_is_noticed_at_the_limit_and_after_the_end_of_the_stream() {
    for half_closes_first in [false, true] {
        let (server, mut requests) = one_at_a_time();
        let mut peer = Peer::connect(&server).await;
        for number in 0..200 {
            peer.send(number, 1, READ).await;
        }
        let first = requests.recv().await.unwrap();
        if half_closes_first {
            peer.stream.shutdown().await.unwrap();
            until(|| first.to.is_half_closed()).await;
            assert!(!first.to.is_gone());
        }
        socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        until(|| first.to.is_gone()).await;
        assert!(requests.try_recv().is_err(), "nothing more is read");
    }
}

#[tokio::test]
async fn a_client_that_closed_altogether_is_gone_with_its_first_reply() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    let server = serve(settings(), vec![(bus, units(1..=4))]);
    let mut peer = Peer::connect(&server).await;
    peer.send(1, 1, READ).await;
    peer.send(2, 1, READ).await;
    let (first, second) = (requests.recv().await.unwrap(), requests.recv().await.unwrap());
    drop(peer);
    until(|| second.to.is_half_closed()).await;
    assert!(!second.to.is_gone());
    answer(first);
    until(|| second.to.is_gone()).await;
}

#[tokio::test]
async fn all_of_ipv6_serves_ipv4_and_knows_its_addresses() {
    let socket = listener::bind_for("[::]:0".parse().unwrap(), Families::Both).unwrap();
    let port = socket.local_addr().unwrap().port();
    let allow = vec!["127.0.0.0/8".parse().unwrap()];
    let (state, mut requests) = one_bus(ListenerSettings { allow, ..settings() });
    let listener = Arc::new(ArcSwap::from_pointee(state));
    tokio::spawn(listener::run(socket, listener, CancellationToken::new()));
    let mut peer = Peer::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap());
    peer.send(1, 1, READ).await;
    let request = requests.recv().await.unwrap();
    assert_eq!(request.source.address, ClientAddress::Ip(Ipv4Addr::LOCALHOST.into()));
    answer(request);
    assert!(peer.receive().await.is_some());
    let mut stranger = Peer::new(TcpStream::connect(("::1", port)).await.unwrap());
    assert_eq!(stranger.receive().await, None);
}

/// The log of this thread, as long as the guard lives: the runtime of a test has no thread but its own.
fn logged() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    (log, tracing::subscriber::set_default(subscriber))
}

const SPEAKS_RTU: &str = "the client speaks RTU over TCP";

/// Sends the pieces of a client of RTU, each once the one before has arrived, and returns what is answered before the
/// gateway closes the connection.
async fn speak_rtu(state: ListenerState, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut peer, task) = connect(state);
    for piece in pieces {
        // The gateway may have closed after the one before.
        let _sent = peer.stream.write_all(piece).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut answered = Vec::new();
    peer.stream.read_to_end(&mut answered).await.unwrap();
    task.await.unwrap();
    answered
}

#[tokio::test(start_paused = true)]
async fn a_client_of_rtu_is_named_and_nothing_of_it_is_carried_out() {
    let poll = |quantity| rtu::encode(1, &[3, 0, 0, 0, quantity]);
    let elsewhere = rtu::encode(1, &[3, 1, 0, 0, 2]);
    let write = rtu::encode(1, &[&[16, 0, 0, 0, 5, 10][..], &[0; 10]].concat());
    let (ten, one) = (poll(10), poll(1));
    for (what, pieces) in [
        ("one register", vec![&one[..]]),
        ("a usual poll", vec![&ten[..]]),
        ("a usual poll, repeated", vec![&ten[..], &ten, &ten]),
        ("elsewhere", vec![&elsewhere[..]]),
        ("a write", vec![&write[..]]),
        ("6 and 2 bytes", vec![&one[..6], &one[6..]]),
        ("4 and 4 bytes", vec![&elsewhere[..4], &elsewhere[4..]]),
        ("two at once", vec![&[&one[..], &one[..]].concat()]),
        ("without data", vec![&rtu::encode(1, &[0x11])]),
        ("a function of a vendor", vec![&rtu::encode(1, &[0x41, 1, 2])]),
    ] {
        let (log, _guard) = logged();
        let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
        let (state, records) = Audited::new(&[(&bus, 1)]).split();
        let metrics = Arc::clone(&state.metrics);
        assert!(speak_rtu(state, &pieces).await.is_empty(), "{what}");
        let text = log.text();
        assert_eq!(text.matches(SPEAKS_RTU).count(), 1, "{what}: {text}");
        assert!(metrics.misframed_client().is_some(), "{what}");
        assert_eq!(records().len(), 0, "{what}");
        assert!(requests.try_recv().is_err(), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_is_waited_for_only_briefly() {
    let (log, _guard) = logged();
    let (state, _requests) = one_bus(settings());
    let (mut peer, _task) = connect(state);
    let before = Instant::now();
    peer.stream.write_all(&[1, 3, 1, 0]).await.unwrap();
    assert_eq!(peer.receive().await, None);
    let waited = before.elapsed();
    assert!(waited >= REQUEST_PAUSE && waited < REQUEST_PAUSE * 2, "{waited:?}");
    assert!(log.text().contains("protocol identifier 256, expected 0"), "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn a_client_of_rtu_that_gives_up_is_named_at_the_end() {
    // Reads as the beginning of a write of 29 registers by Modbus TCP, of unit 59 (CRC 3B 10).
    let poll = (1..=247)
        .flat_map(|unit| (9..=125).map(move |quantity| rtu::encode(unit, &[3, 0, 0, 0, quantity])))
        .find(|frame| frame[7] == 0x10)
        .unwrap();
    let (log, _guard) = logged();
    let (state, _requests) = one_bus(settings());
    let (mut peer, task) = connect(state);
    peer.stream.write_all(&poll).await.unwrap();
    assert!(timeout(Duration::from_secs(5), peer.receive()).await.is_err(), "it may be half an ADU");
    drop(peer);
    task.await.unwrap();
    assert_eq!(log.text().matches(SPEAKS_RTU).count(), 1, "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn bytes_that_make_no_sense_do_not_hide_a_client_of_rtu() {
    let (log, _guard) = logged();
    let (state, _requests) = one_bus(settings());
    let (listener, limiter) = (Arc::new(ArcSwap::from_pointee(state)), Arc::default());
    let connect = || connect_to(Arc::clone(&listener), Arc::clone(&limiter), |writer| writer);
    for _ in 0..3 * LINES {
        let (mut peer, _task) = connect();
        peer.stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert_eq!(peer.receive().await, None);
    }
    let (mut peer, _task) = connect();
    peer.stream.write_all(&rtu::encode(1, &[3, 0, 0, 0, 10])).await.unwrap();
    assert_eq!(peer.receive().await, None);
    assert_eq!(log.text().matches(SPEAKS_RTU).count(), 1, "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_right_crc_by_chance_is_answered_as_modbus_tcp() {
    let (log, _guard) = logged();
    // The only transaction identifier with which the first eight bytes of this read of ten registers, or the whole
    // request of one byte, end in a right CRC.
    for (unit, pdu) in [(1, &[3, 0, 0, 0, 10][..]), (1, &[0x11]), (2, &[7]), (9, &[0x0B])] {
        let alike = |id: &u16| rtu::crc_is_right(&bytes_of(*id, unit, pdu)[..8]);
        let transaction_id = (0..=u16::MAX).find(alike).unwrap();
        let (state, mut requests) = one_bus(settings());
        let (mut peer, _task) = connect(state);
        peer.send(transaction_id, unit, pdu).await;
        if unit == 9 {
            let reply = peer.receive().await.unwrap();
            assert_eq!(&reply.pdu[..], [0x8B, 0x0A], "no such unit");
            assert_eq!(log.text().matches(SPEAKS_RTU).count(), 1, "so it may be RTU: {}", log.text());
            continue;
        }
        let request = requests.recv().await.unwrap();
        assert_eq!(&request.pdu.bytes()[..], pdu);
        request.to.send(Answer::Reply(Bytes::from_static(&[0x11, 1, 0xFF])));
        assert_eq!(peer.receive().await.unwrap().transaction_id, transaction_id);
        assert!(!log.text().contains(SPEAKS_RTU), "{}", log.text());
    }
}

/// Log lines, kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
