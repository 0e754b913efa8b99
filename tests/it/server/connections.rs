//! One connection's timers, limits and refusals, on in-memory pipes with a clock that is stepped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metergate::line::{Answer, BusId, Target};
use metergate::modbus::AduFraming;
use metergate::modbus::pdu::ExceptionCode;
use metergate::serial::BusHandle;
use metergate::server::connection::{
    BACKSTOP_MARGIN, ClientContext, PARTIAL_ADU_TIMEOUT, REFUSAL_DELAY, WRITE_TIMEOUT,
};
use metergate::server::{
    Broadcast, IdleTracker, ListenerSettings, ListenerState, Routes, Writes, connection,
};
use metergate::traffic::Link;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::clients::{
    self, Peer, READ, Requests, WRITE, answer, answering_bus, bytes_of, listening, settings, units,
};

struct Connected {
    peer: Peer<DuplexStream>,
    closing: CancellationToken,
    task: JoinHandle<()>,
}

fn client(listening: Arc<ArcSwap<ListenerState>>, closing: CancellationToken) -> ClientContext {
    ClientContext {
        link: Arc::new(Link {
            identity: None,
            client: SocketAddr::from(([127, 0, 0, 1], 40000)).into(),
            listener: SocketAddr::from(([127, 0, 0, 1], 502)).into(),
            framing: AduFraming::Tcp,
            connection: 1,
        }),
        listener: listening,
        idle: Arc::new(IdleTracker::new(Instant::now(), Instant::now(), closing)),
        log_limiter: Arc::default(),
    }
}

/// A connection over a pipe that holds `pipe` bytes each way.
fn connect(listening: &Arc<ArcSwap<ListenerState>>, pipe: usize) -> Connected {
    let (ours, theirs) = duplex(pipe);
    let (reader, writer) = tokio::io::split(theirs);
    let closing = CancellationToken::new();
    let task = tokio::spawn(connection::run(reader, writer, client(listening.clone(), closing.clone())));
    Connected { peer: Peer::new(ours), closing, task }
}

/// A connection to one bus with units 1 to 4, whose requests the test answers.
fn connect_to_bus(settings: ListenerSettings) -> (Connected, Requests) {
    let (bus, requests) = BusHandle::new(BusId(0), "riser-a");
    (connect(&listening(settings, vec![(bus, units(1..=4))]), 4096), requests)
}

fn exception(function: u8, code: ExceptionCode) -> Vec<u8> {
    vec![function | 0x80, code.0]
}

#[tokio::test(start_paused = true)]
async fn each_refusal_has_its_exception_and_comes_after_ten_milliseconds() {
    const PATH: ExceptionCode = ExceptionCode::GATEWAY_PATH_UNAVAILABLE;
    const FUNCTION: ExceptionCode = ExceptionCode::ILLEGAL_FUNCTION;
    const ADDRESS: ExceptionCode = ExceptionCode::ILLEGAL_DATA_ADDRESS;
    const VALUE: ExceptionCode = ExceptionCode::ILLEGAL_DATA_VALUE;
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    let routes = Routes::new(vec![(bus, units(1..=4))]);
    let state = ListenerState { diagnostics_unit: Some(200), ..ListenerState::new(settings(), routes) };
    let mut connected = connect(&Arc::new(ArcSwap::from_pointee(state)), 4096);
    let table: &[(u8, &[u8], ExceptionCode)] = &[
        (5, READ, PATH),
        (0, WRITE, PATH),
        (0, READ, PATH),
        (255, READ, PATH),
        // Without a route, nothing else counts.
        (5, &[0x00], PATH),
        (255, &[0x83, 2], PATH),
        (5, &[0x03, 0, 0], PATH),
        (5, WRITE, PATH),
        (1, &[0x00], FUNCTION),
        (1, &[0x80], FUNCTION),
        (1, &[0xFF, 1], FUNCTION),
        (1, WRITE, FUNCTION),
        (1, &[0x41, 1, 2, 3], FUNCTION),
        (1, &[0x03, 0xFF, 0xFF, 0, 2], ADDRESS),
        (1, &[0x03, 0, 0, 0, 126], VALUE),
        (1, &[0x03, 0, 0], VALUE),
        // The function comes first: one that is not allowed here gets 0x01, also with faulty data.
        (1, &[0x05, 0, 0, 0x12], FUNCTION),
        (1, &[0x05, 0, 0, 0x12, 0x34], FUNCTION),
        (1, &[0x06], FUNCTION),
        (1, &[0x0F, 0, 0, 0, 0, 0], FUNCTION),
        (1, &[0x10, 0xFF, 0xFF, 0, 2, 4, 0, 0, 0, 0], FUNCTION),
        (1, &[0x10, 0, 0, 0, 124, 248], FUNCTION),
        (1, &[0x15, 0], FUNCTION),
        (1, &[0x16, 0, 0], FUNCTION),
        (1, &[0x17, 0, 0, 0, 126], FUNCTION),
        (1, &[0x08, 0, 1], FUNCTION),
        (1, &[0x2B, 0x0D], FUNCTION),
        // These may have been meant as reads.
        (1, &[0x08], VALUE),
        (1, &[0x08, 0], VALUE),
        (1, &[0x08, 0, 0], VALUE),
        (1, &[0x2B], VALUE),
        (1, &[0x2B, 0x0E], VALUE),
        (1, &[0x14, 0], VALUE),
        // The diagnostics unit has two functions.
        (200, &[0x06], FUNCTION),
        (200, &[0x01, 0, 0], FUNCTION),
        (200, &[0x10, 0, 0, 0, 0], FUNCTION),
        (200, &[0x04, 0, 0], VALUE),
        (200, &[0x03, 0, 0, 0, 0], VALUE),
    ];
    for (unit, pdu, code) in table {
        let before = Instant::now();
        let reply = connected.peer.ask(*unit, pdu).await.unwrap();
        assert_eq!(reply, exception(pdu[0], *code), "unit {unit}, {pdu:02X?}");
        assert!(before.elapsed() >= REFUSAL_DELAY, "unit {unit}, {pdu:02X?}");
        assert!(before.elapsed() < REFUSAL_DELAY * 2, "unit {unit}, {pdu:02X?}");
    }
    assert!(requests.try_recv().is_err(), "a refused request reached the bus");
}

#[tokio::test(start_paused = true)]
async fn refusals_of_pipelined_requests_are_delayed_side_by_side() {
    let (mut connected, _requests) = connect_to_bus(settings());
    let before = Instant::now();
    for transaction in 0..16 {
        connected.peer.send(transaction, 9, READ).await;
    }
    for transaction in 0..16 {
        assert_eq!(connected.peer.receive().await.unwrap().transaction_id, transaction);
    }
    assert!(before.elapsed() < REFUSAL_DELAY * 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_counts_as_in_flight_while_it_is_held_back() {
    let (mut connected, mut requests) = connect_to_bus(ListenerSettings { max_in_flight: 1, ..settings() });
    connected.peer.send(1, 9, READ).await;
    connected.peer.send(2, 1, READ).await;
    assert!(timeout(REFUSAL_DELAY / 2, requests.recv()).await.is_err());
    assert_eq!(connected.peer.receive().await.unwrap().transaction_id, 1);
    answer(requests.recv().await.unwrap());
    assert_eq!(connected.peer.receive().await.unwrap().transaction_id, 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_bus_refuses_is_held_back_and_what_failed_is_not() {
    let (mut connected, mut requests) = connect_to_bus(settings());
    let busy = ExceptionCode::SERVER_DEVICE_BUSY;
    for (given, delay) in [(Answer::Refused(busy), REFUSAL_DELAY), (Answer::NotSent(busy), Duration::ZERO)] {
        connected.peer.send(1, 1, READ).await;
        let request = requests.recv().await.unwrap();
        let before = Instant::now();
        request.to.send(given);
        assert_eq!(connected.peer.receive().await.unwrap().pdu, exception(3, busy));
        assert!(before.elapsed() >= delay && before.elapsed() < delay + REFUSAL_DELAY);
    }
}

#[tokio::test(start_paused = true)]
async fn a_unit_s_exception_passes_untouched_and_at_once() {
    let (mut connected, mut requests) = connect_to_bus(settings());
    connected.peer.send(1, 2, READ).await;
    let before = Instant::now();
    requests.recv().await.unwrap().to.send(Answer::Reply(vec![0x83, 0x77].into()));
    assert_eq!(connected.peer.receive().await.unwrap().pdu, [0x83, 0x77][..]);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_request_after_the_limit_is_not_read_until_one_is_answered() {
    let (mut connected, mut requests) = connect_to_bus(settings());
    for transaction in 0..17 {
        connected.peer.send(transaction, 1, READ).await;
    }
    let mut taken = Vec::new();
    for _ in 0..16 {
        taken.push(requests.recv().await.unwrap());
    }
    assert!(timeout(Duration::from_secs(1), requests.recv()).await.is_err());
    answer(taken.pop().unwrap());
    assert_eq!(connected.peer.receive().await.unwrap().transaction_id, 15);
    assert!(requests.recv().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_bus_leaves_time_to_answer() {
    let (mut connected, mut requests) = connect_to_bus(settings());
    let before = Instant::now();
    connected.peer.send(1, 1, READ).await;
    let deadline = Instant::from_std(requests.recv().await.unwrap().deadline);
    let latest = before + settings().request_deadline - REFUSAL_DELAY;
    assert!(deadline < latest && deadline > latest - Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_never_answers_is_answered_for() {
    let (mut connected, mut requests) = connect_to_bus(settings());
    let before = Instant::now();
    connected.peer.send(1, 1, READ).await;
    let request = requests.recv().await.unwrap();
    let failed = exception(3, ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    assert_eq!(connected.peer.receive().await.unwrap().pdu, failed);
    let deadline = settings().request_deadline;
    assert!(before.elapsed() >= deadline - BACKSTOP_MARGIN && before.elapsed() < deadline);
    // Its late answer must not be sent, least of all for the next request.
    connected.peer.send(2, 2, READ).await;
    let next = requests.recv().await.unwrap();
    answer(request);
    answer(next);
    let reply = connected.peer.receive().await.unwrap();
    assert_eq!((reply.transaction_id, reply.pdu), (2, clients::reply_of(2, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_request_answered_for_a_stuck_bus_never_reaches_it() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    let settings = ListenerSettings { max_in_flight: 1000, writes: Writes::Allow, ..settings() };
    let mut connected = connect(&listening(settings, vec![(bus, units([1]))]), 65536);
    for transaction in 0..200 {
        connected.peer.send(transaction, 1, WRITE).await;
    }
    for _ in 0..200 {
        assert!(connected.peer.receive().await.is_some());
    }
    let mut reached = 0;
    while let Ok(request) = requests.try_recv() {
        drop(request);
        reached += 1;
    }
    assert!(reached < 200, "{reached}");
    connected.peer.send(200, 1, READ).await;
    // The first thing the bus gets after its rest is the newest request.
    assert!(requests.recv().await.unwrap().pdu.is_read());
}

#[tokio::test(start_paused = true)]
async fn without_a_bus_task_there_is_no_path() {
    let (mut connected, requests) = connect_to_bus(settings());
    drop(requests);
    let reply = connected.peer.ask(1, READ).await.unwrap();
    assert_eq!(reply, exception(3, ExceptionCode::GATEWAY_PATH_UNAVAILABLE));
}

#[tokio::test(start_paused = true)]
async fn what_a_bus_task_takes_with_it_has_no_path_either() {
    let (mut connected, mut requests) = connect_to_bus(settings());
    let before = Instant::now();
    for transaction in [1, 2] {
        connected.peer.send(transaction, 1, READ).await;
    }
    let taken = requests.recv().await.unwrap();
    // The second one is still on its way.
    drop((taken, requests));
    for _ in 0..2 {
        let reply = connected.peer.receive().await.unwrap();
        assert_eq!(reply.pdu, exception(3, ExceptionCode::GATEWAY_PATH_UNAVAILABLE));
    }
    assert!(before.elapsed() < settings().request_deadline - BACKSTOP_MARGIN);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let idle_timeout = Duration::from_secs(1);
    let (mut connected, mut requests) = connect_to_bus(ListenerSettings { idle_timeout, ..settings() });
    connected.peer.send(1, 1, READ).await;
    let request = requests.recv().await.unwrap();
    assert!(timeout(idle_timeout * 2, connected.peer.receive()).await.is_err());
    answer(request);
    assert!(connected.peer.receive().await.is_some());
    let before = Instant::now();
    assert_eq!(connected.peer.receive().await, None);
    assert!(before.elapsed() >= idle_timeout);
    connected.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_answered_without_a_line_is_not_idle() {
    let idle_timeout = Duration::from_secs(1);
    let listening = ListenerState {
        diagnostics_unit: Some(200),
        ..ListenerState::new(ListenerSettings { idle_timeout, ..settings() }, Routes::new(vec![]))
    };
    let mut connected = connect(&Arc::new(ArcSwap::from_pointee(listening)), 4096);
    for _ in 0..4 {
        assert!(timeout(idle_timeout * 2 / 3, connected.peer.receive()).await.is_err());
        assert!(connected.peer.ask(200, READ).await.is_some());
    }
    assert_eq!(connected.peer.receive().await, None);
}

#[tokio::test(start_paused = true)]
async fn half_a_request_is_not_waited_for_for_ever_however_slowly_it_comes() {
    let (mut connected, _requests) = connect_to_bus(settings());
    let before = Instant::now();
    for byte in bytes_of(1, 1, READ).into_iter().take(4) {
        connected.peer.stream.write_all(&[byte]).await.unwrap();
        assert!(timeout(PARTIAL_ADU_TIMEOUT / 5, connected.peer.receive()).await.is_err());
    }
    assert_eq!(connected.peer.receive().await, None);
    assert!(before.elapsed() >= PARTIAL_ADU_TIMEOUT);
    assert!(before.elapsed() < PARTIAL_ADU_TIMEOUT + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn half_a_request_is_not_given_up_where_the_process_stood_still_and_the_rest_has_arrived() {
    let (mut connected, mut requests) = connect_to_bus(settings());
    let request = bytes_of(1, 1, READ);
    let (head, tail) = request.split_at(4);
    connected.peer.stream.write_all(head).await.unwrap();
    assert!(timeout(Duration::from_millis(100), connected.peer.receive()).await.is_err());
    // The timer runs out and the rest is there before the connection runs again.
    connected.peer.stream.write_all(tail).await.unwrap();
    tokio::time::advance(PARTIAL_ADU_TIMEOUT).await;
    answer(requests.recv().await.expect("the request was dropped"));
    assert!(connected.peer.receive().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_bounded_and_finally_closed() {
    const PIPE: usize = 64;
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    let Connected { peer, task, .. } = connect(&listening(settings(), vec![(bus, units([1]))]), PIPE);
    let before = Instant::now();
    let sending = tokio::spawn(async move {
        let mut stream = peer.stream;
        while stream.write_all(&bytes_of(1, 1, READ)).await.is_ok() {}
    });
    let mut served = 0;
    while let Some(request) = requests.recv().await {
        answer(request);
        served += 1;
    }
    // The last handle went with the connection: nothing else ends this loop.
    assert!(before.elapsed() >= WRITE_TIMEOUT);
    assert!(served <= settings().max_in_flight + PIPE / 13 + 1, "{served} requests were taken");
    task.await.unwrap();
    sending.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closed_its_side_still_gets_its_answers() {
    let (mut connected, mut requests) = connect_to_bus(settings());
    connected.peer.send(1, 1, READ).await;
    let request = requests.recv().await.unwrap();
    assert!(!request.to.is_half_closed());
    connected.peer.stream.shutdown().await.unwrap();
    while !request.to.is_half_closed() {
        tokio::task::yield_now().await;
    }
    assert!(!request.to.is_gone());
    answer(request);
    assert_eq!(connected.peer.receive().await.unwrap().transaction_id, 1);
    assert_eq!(connected.peer.receive().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_is_seen_to_be_gone() {
    let (mut connected, mut requests) = connect_to_bus(settings());
    connected.peer.send(1, 1, READ).await;
    connected.peer.send(2, 1, READ).await;
    let (first, second) = (requests.recv().await.unwrap(), requests.recv().await.unwrap());
    assert!(!second.to.is_gone());
    drop(connected.peer);
    answer(first);
    connected.task.await.unwrap();
    assert!(second.to.is_gone());
}

#[tokio::test(start_paused = true)]
async fn a_closing_connection_finishes_what_is_in_flight_and_reads_nothing_more() {
    let (mut connected, mut requests) = connect_to_bus(settings());
    connected.peer.send(1, 1, READ).await;
    let request = requests.recv().await.unwrap();
    connected.closing.cancel();
    assert!(timeout(Duration::from_millis(1), connected.peer.receive()).await.is_err());
    connected.peer.send(2, 1, READ).await;
    assert!(timeout(Duration::from_secs(1), requests.recv()).await.is_err());
    answer(request);
    assert_eq!(connected.peer.receive().await.unwrap().transaction_id, 1);
    assert_eq!(connected.peer.receive().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_framing_error_ends_the_connection_after_the_answers_it_owes() {
    let (mut connected, mut requests) = connect_to_bus(settings());
    connected.peer.send(1, 1, READ).await;
    connected.peer.stream.write_all(&[0, 2, 0, 1, 0, 6]).await.unwrap();
    answer(requests.recv().await.unwrap());
    assert_eq!(connected.peer.receive().await.unwrap().transaction_id, 1);
    assert_eq!(connected.peer.receive().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_client_no_longer_allowed_is_closed_at_its_next_request() {
    let listening = listening(settings(), vec![(answering_bus("riser-a"), units([1]))]);
    let mut connected = connect(&listening, 4096);
    assert!(connected.peer.ask(1, READ).await.is_some());
    let allow = vec!["10.0.0.0/8".parse().unwrap()];
    let routes = Routes::new(vec![(answering_bus("riser-a"), units([1]))]);
    listening.store(Arc::new(ListenerState::new(ListenerSettings { allow, ..settings() }, routes)));
    assert_eq!(connected.peer.ask(1, READ).await, None);
}

/// A connection to two buses with the given treatment of broadcasts.
fn connect_to_two(broadcast: Broadcast, writes: Writes) -> (Connected, Requests, Requests) {
    let ((a, requests_a), (b, requests_b)) = (BusHandle::new(BusId(0), "a"), BusHandle::new(BusId(1), "b"));
    let settings = ListenerSettings { broadcast, writes, ..settings() };
    let connected = connect(&listening(settings, vec![(a, units([1])), (b, units([2]))]), 4096);
    (connected, requests_a, requests_b)
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_is_acknowledged_once_every_bus_has_sent_it() {
    let (mut connected, mut a, mut b) = connect_to_two(Broadcast::Acknowledge, Writes::Allow);
    connected.peer.send(7, 0, WRITE).await;
    let (on_a, on_b) = (a.recv().await.unwrap(), b.recv().await.unwrap());
    assert_eq!((on_a.target, on_b.target), (Target::Broadcast, Target::Broadcast));
    on_a.to.send(Answer::Sent);
    assert!(timeout(Duration::from_secs(1), connected.peer.receive()).await.is_err());
    on_b.to.send(Answer::Sent);
    let reply = connected.peer.receive().await.unwrap();
    assert_eq!((reply.transaction_id, reply.unit, &reply.pdu[..]), (7, 0, WRITE));
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_that_one_bus_could_not_send_is_not_acknowledged() {
    let (mut connected, mut a, mut b) = connect_to_two(Broadcast::Acknowledge, Writes::Allow);
    connected.peer.send(7, 0, WRITE).await;
    b.recv().await.unwrap().to.send(Answer::Refused(ExceptionCode::GATEWAY_PATH_UNAVAILABLE));
    a.recv().await.unwrap().to.send(Answer::Sent);
    let reply = connected.peer.receive().await.unwrap();
    assert_eq!(reply.pdu, exception(6, ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND));
}

#[tokio::test(start_paused = true)]
async fn a_silent_broadcast_is_never_answered_and_gives_its_place_back() {
    for second in [Answer::Sent, Answer::NotSent(ExceptionCode::SERVER_DEVICE_BUSY)] {
        let (a, mut requests) = BusHandle::new(BusId(0), "a");
        let settings = ListenerSettings {
            broadcast: Broadcast::Silent,
            writes: Writes::Allow,
            max_in_flight: 1,
            ..settings()
        };
        let mut connected = connect(&listening(settings, vec![(a, units([1]))]), 4096);
        connected.peer.send(1, 0, WRITE).await;
        connected.peer.send(2, 1, READ).await;
        let broadcast = requests.recv().await.unwrap();
        assert!(timeout(Duration::from_millis(100), requests.recv()).await.is_err());
        broadcast.to.send(second);
        answer(requests.recv().await.unwrap());
        assert_eq!(connected.peer.receive().await.unwrap().transaction_id, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_broadcast_is_as_silent_as_one_that_is_sent() {
    for writes in [Writes::Deny, Writes::Allow] {
        let (mut connected, mut a, mut b) = connect_to_two(Broadcast::Silent, writes);
        // Too short, and a range past the last address.
        connected.peer.send(1, 0, &[6, 0, 1]).await;
        connected.peer.send(2, 0, &[16, 0xFF, 0xFF, 0, 2, 4, 0, 0, 0, 0]).await;
        if writes == Writes::Deny {
            connected.peer.send(3, 0, WRITE).await;
        }
        // Not a broadcast, because it makes sense for one unit only.
        connected.peer.send(4, 0, READ).await;
        let reply = connected.peer.receive().await.unwrap();
        let not_for_all = exception(3, ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
        assert_eq!((reply.transaction_id, &reply.pdu[..]), (4, &not_for_all[..]), "{writes:?}");
        assert!(a.try_recv().is_err() && b.try_recv().is_err(), "nothing of it reached a line");
    }
}

#[tokio::test(start_paused = true)]
async fn only_writes_that_are_allowed_are_broadcast() {
    let (mut connected, mut a, _b) = connect_to_two(Broadcast::Acknowledge, Writes::Deny);
    let denied = exception(6, ExceptionCode::ILLEGAL_FUNCTION);
    assert_eq!(connected.peer.ask(0, WRITE).await.unwrap(), denied);
    let not_for_all = exception(3, ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    // The function may not be broadcast, with any data.
    for pdu in [READ, &[3, 0]] {
        assert_eq!(connected.peer.ask(0, pdu).await.unwrap(), not_for_all, "{pdu:02X?}");
    }
    assert!(a.try_recv().is_err());
}

#[tokio::test]
async fn an_idle_connection_costs_two_kilobytes() {
    let (ours, theirs) = duplex(1);
    let (reader, writer) = tokio::io::split(theirs);
    let listening = listening(settings(), Vec::new());
    let task = connection::run(reader, writer, client(listening, CancellationToken::new()));
    // The only buffer beside the task holds two ADUs, 520 bytes.
    assert!(size_of_val(&task) <= 1536, "{} bytes", size_of_val(&task));
    drop(ours);
}
