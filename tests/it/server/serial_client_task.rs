//! The task of a serial client over in-memory pipes, with the clock paused: stop, removal, reload, audit, traffic.

use std::collections::VecDeque;
use std::future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use metergate::endpoint::DevicePath;
use metergate::line::{Answer, BusId, Echo, Framing, Parity};
use metergate::modbus::{AduFraming, rtu};
use metergate::runtime::Timer;
use metergate::serial::{BusHandle, Direction, OpenPort, PortView, RESTART_PAUSE_MIN};
use metergate::server::connection::serial_client::{self, SerialClientParts};
use metergate::server::{ClientPort, ListenAt, ListenerSettings, ListenerState, Routes, Writes};
use metergate::traffic::TrafficKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::requests_and_replies::{Audited, Record};
use crate::support::clients::{READ, Requests, WRITE, answer, read_from, reply_of, units};

const UNIT: u8 = 1;
const FRAMING: Framing = Framing { baud_rate: 9600, parity: Parity::None, stop_bits: 1 };
const WITHIN: Duration = Duration::from_millis(300);

/// What the driver and the runtime add to a computed time.
const SLACK: Duration = Duration::from_millis(25);

fn client_port(framing: Framing) -> ClientPort {
    let device = "/dev/ttyS7".parse::<DevicePath>().unwrap();
    ClientPort { device, framing, direction: Direction::Auto, echo: Echo::Off }
}

fn settings() -> ListenerSettings {
    ListenerSettings {
        at: ListenAt::Serial(client_port(FRAMING)),
        framing: AduFraming::Rtu,
        writes: Writes::Allow,
        answer_within: Some(WITHIN),
        ..crate::support::clients::settings()
    }
}

fn parts(state: ListenerState) -> SerialClientParts {
    SerialClientParts {
        listener: Arc::new(ArcSwap::from_pointee(state)),
        client_port: client_port(FRAMING),
        reloaded: Arc::new(Notify::new()),
        port: Arc::new(ArcSwap::from_pointee(PortView::default())),
        stop: CancellationToken::new(),
        removed: CancellationToken::new(),
        port_closed: CancellationToken::new(),
    }
}

/// A running task, and the client's end of the line.
struct Rig {
    parts: SerialClientParts,
    task: JoinHandle<()>,
    client: DuplexStream,
    /// The ends of the line after the next openings.
    next: Arc<Mutex<VecDeque<DuplexStream>>>,
    opened: Arc<Mutex<Vec<Instant>>>,
    requests: Requests,
    bus: BusHandle,
}

impl Rig {
    fn start() -> Self {
        let (bus, requests) = BusHandle::new(BusId(0), "a");
        let state = ListenerState::new(settings(), Routes::new(vec![(bus.clone(), units([UNIT]))]));
        Self::start_on(state, bus, requests)
    }

    /// With the way to the audit's records once nothing of the rig is left.
    fn start_audited() -> (Self, impl FnOnce() -> Vec<Record>) {
        let (bus, requests) = BusHandle::new(BusId(0), "a");
        let mut audited = Audited::new(&[(&bus, UNIT)]);
        audited.state.settings = settings();
        let (state, records) = audited.split();
        (Self::start_on(state, bus, requests), records)
    }

    fn start_on(state: ListenerState, bus: BusHandle, requests: Requests) -> Self {
        let parts = parts(state);
        let (client, near) = duplex(4096);
        let next = Arc::new(Mutex::new(VecDeque::from([near])));
        let opened = Arc::<Mutex<Vec<Instant>>>::default();
        let (ports, noted) = (Arc::clone(&next), Arc::clone(&opened));
        let opener = move || {
            let (ports, noted) = (Arc::clone(&ports), Arc::clone(&noted));
            move |_| {
                noted.lock().unwrap().push(Instant::now());
                let report = String::from("a pipe");
                let port = |stream| OpenPort { stream, report, line_errors: |_| None, discard: |_| {} };
                let stream = ports.lock().unwrap().pop_front();
                future::ready(stream.map(port).ok_or(io::ErrorKind::NotFound))
            }
        };
        let task = tokio::spawn(serial_client::supervise(parts.clone(), opener, || Timer::Coarse));
        Self { parts, task, client, next, opened, requests, bus }
    }

    async fn send(&mut self, pdu: &[u8]) {
        self.client.write_all(&rtu::encode(UNIT, pdu)).await.unwrap();
    }

    /// The next bytes, at most a frame.
    async fn receive(&mut self) -> Vec<u8> {
        let mut buffer = [0; 256];
        let length = timeout(Duration::from_secs(60), self.client.read(&mut buffer)).await.unwrap().unwrap();
        buffer[..length].to_vec()
    }

    async fn expect_silence(&mut self, period: Duration) {
        let mut buffer = [0; 256];
        match timeout(period, self.client.read(&mut buffer)).await {
            Err(_) | Ok(Ok(0)) => {}
            Ok(read) => panic!("{read:?}: {buffer:02X?}"),
        }
    }

    /// Changes the listener's settings, as a reload does.
    fn reload(&self, settings: ListenerSettings) {
        let before = self.parts.listener.load();
        let routes = Routes::new(vec![(self.bus.clone(), units([UNIT]))]);
        let state = ListenerState {
            traffic: Arc::clone(&before.traffic),
            metrics: Arc::clone(&before.metrics),
            ..ListenerState::new(settings, routes)
        };
        self.parts.listener.store(Arc::new(state));
        self.parts.reloaded.notify_one();
    }

    /// The task ends within this.
    async fn ends_within(&mut self, period: Duration) {
        timeout(period, &mut self.task).await.expect("the task does not end").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_answer_and_for_its_last_byte() {
    let mut rig = Rig::start();
    rig.send(READ).await;
    let request = rig.requests.recv().await.unwrap();
    rig.parts.stop.cancel();
    sleep(Duration::from_millis(50)).await;
    assert!(!rig.task.is_finished());
    answer(request);
    let adu = rig.receive().await;
    assert_eq!(adu, rtu::encode(UNIT, &reply_of(UNIT, 0)));
    let began = Instant::now();
    assert!(!rig.parts.port_closed.is_cancelled());
    rig.ends_within(Duration::from_secs(5)).await;
    let wire_time = FRAMING.wire_time(adu.len());
    assert!(began.elapsed() >= wire_time && began.elapsed() <= wire_time + SLACK, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_an_answer_is_being_sent_does_not_cut_it_off() {
    let mut rig = Rig::start();
    rig.send(READ).await;
    answer(rig.requests.recv().await.unwrap());
    let adu = rig.receive().await;
    let began = Instant::now();
    rig.parts.stop.cancel();
    rig.ends_within(Duration::from_secs(5)).await;
    assert!(began.elapsed() >= FRAMING.wire_time(adu.len()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_request_during_a_stop_gets_no_answer_of_the_one_before() {
    let mut rig = Rig::start();
    rig.send(&read_from(1)).await;
    let first = rig.requests.recv().await.unwrap();
    rig.parts.stop.cancel();
    sleep(Duration::from_millis(20)).await;
    rig.send(&read_from(2)).await;
    sleep(Duration::from_millis(20)).await;
    answer(first);
    rig.expect_silence(Duration::from_secs(5)).await;
    rig.ends_within(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn beyond_the_requests_in_flight_none_gets_the_answer_of_another() {
    let mut rig = Rig::start();
    let limit = settings().max_in_flight;
    let mut taken = Vec::new();
    for number in 0..limit {
        rig.send(&read_from(u16::try_from(number).unwrap())).await;
        taken.push(rig.requests.recv().await.unwrap());
    }
    rig.send(&read_from(99)).await;
    sleep(Duration::from_millis(20)).await;
    answer(taken.pop().unwrap());
    rig.expect_silence(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_client_frees_its_port_though_a_request_is_in_flight() {
    let (mut rig, records) = Rig::start_audited();
    rig.send(WRITE).await;
    let write = rig.requests.recv().await.unwrap();
    let began = Instant::now();
    rig.parts.removed.cancel();
    rig.parts.port_closed.cancelled().await;
    assert!(began.elapsed() <= SLACK, "{:?}", began.elapsed());
    // Its outcome is recorded all the same.
    write.to.send(Answer::Reply(WRITE.to_vec().into()));
    rig.ends_within(Duration::from_secs(30)).await;
    drop(rig);
    assert_eq!(records(), [Record::of("answered", "a", None)]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_client_gets_the_answer_that_is_being_sent() {
    let mut rig = Rig::start();
    rig.send(READ).await;
    answer(rig.requests.recv().await.unwrap());
    let adu = rig.receive().await;
    let began = Instant::now();
    rig.parts.removed.cancel();
    rig.parts.port_closed.cancelled().await;
    let wire_time = FRAMING.wire_time(adu.len());
    assert!(began.elapsed() >= wire_time && began.elapsed() <= wire_time + SLACK, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_reload_of_the_rate_is_applied_though_bytes_arrive_with_it_and_after_the_answer_being_sent() {
    let mut rig = Rig::start();
    rig.send(READ).await;
    answer(rig.requests.recv().await.unwrap());
    let adu = rig.receive().await;
    let began = Instant::now();
    let (client, near) = duplex(4096);
    rig.next.lock().unwrap().push_back(near);
    let faster = Framing { baud_rate: 38_400, ..FRAMING };
    rig.reload(ListenerSettings { at: ListenAt::Serial(client_port(faster)), ..settings() });
    rig.send(&READ[..3]).await;
    while rig.opened.lock().unwrap().len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(5), "the port is not opened anew");
        sleep(Duration::from_millis(1)).await;
    }
    let reopened = rig.opened.lock().unwrap()[1] - began;
    let wire_time = FRAMING.wire_time(adu.len());
    assert!(reopened >= wire_time && reopened <= wire_time + SLACK, "{reopened:?}");
    rig.client = client;
    rig.send(READ).await;
    answer(rig.requests.recv().await.unwrap());
    assert_eq!(rig.receive().await, adu);
    // What does not concern the port leaves it open.
    rig.reload(ListenerSettings {
        at: ListenAt::Serial(client_port(faster)),
        writes: Writes::Deny,
        ..settings()
    });
    sleep(Duration::from_secs(1)).await;
    rig.send(WRITE).await;
    assert_eq!(rig.receive().await[..3], [UNIT, 0x86, 1]);
    assert_eq!(rig.opened.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_given_up_has_the_outcome_of_what_became_of_it() {
    let (mut rig, records) = Rig::start_audited();
    rig.send(WRITE).await;
    let on_line = rig.requests.recv().await.unwrap();
    sleep(Duration::from_millis(30)).await;
    rig.send(&[6, 0, 1, 0, 2]).await;
    let waiting = rig.requests.recv().await.unwrap();
    sleep(Duration::from_millis(30)).await;
    // Another server is asked.
    let foreign = rtu::encode(9, READ);
    rig.client.write_all(&foreign).await.unwrap();
    sleep(Duration::from_millis(30)).await;
    assert!(waiting.to.is_gone());
    // As a bus does with what it has not sent.
    drop(waiting);
    on_line.to.send(Answer::Reply(WRITE.to_vec().into()));
    rig.expect_silence(Duration::from_secs(1)).await;
    rig.parts.stop.cancel();
    rig.ends_within(Duration::from_secs(30)).await;
    drop(rig);
    let given_up = Record::of("client gave up, never sent", "a", None);
    assert_eq!(records(), [given_up, Record::of("answered", "a", None)]);
}

#[tokio::test(start_paused = true)]
async fn a_bus_has_less_time_for_a_write_than_the_client_waits() {
    let mut rig = Rig::start();
    let began = Instant::now();
    rig.send(WRITE).await;
    let write = rig.requests.recv().await.unwrap();
    let deadline = Instant::from_std(write.deadline) - began;
    assert!(deadline >= WITHIN / 2 && deadline < WITHIN, "{deadline:?}");
}

#[tokio::test(start_paused = true)]
async fn traffic_has_only_the_answers_that_were_sent() {
    let mut rig = Rig::start();
    let traffic = Arc::clone(&rig.parts.listener.load().traffic);
    let noted = || {
        let of_client = |event: &&Arc<metergate::traffic::TrafficEvent>| match &event.kind {
            TrafficKind::Client(_) => true,
            TrafficKind::Line { .. } => false,
        };
        traffic.kept().iter().filter(of_client).count()
    };
    rig.send(&read_from(1)).await;
    let first = rig.requests.recv().await.unwrap();
    answer(first);
    // The answer waits for the silence when the client sends again.
    tokio::task::yield_now().await;
    rig.client.write_all(&rtu::encode(9, READ)).await.unwrap();
    rig.expect_silence(Duration::from_secs(1)).await;
    assert_eq!(noted(), 1, "the request");
    rig.send(&read_from(2)).await;
    answer(rig.requests.recv().await.unwrap());
    rig.receive().await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(noted(), 3, "the second request and its answer");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panicked_is_restarted_and_serves_the_client_again() {
    let (bus, mut requests) = BusHandle::new(BusId(0), "a");
    let parts = parts(ListenerState::new(settings(), Routes::new(vec![(bus.clone(), units([UNIT]))])));
    let (mut client, near) = duplex(4096);
    let ports = Arc::new(Mutex::new(VecDeque::from([None, Some(near)])));
    let opener = move || {
        let ports = Arc::clone(&ports);
        move |_| {
            let stream = ports.lock().unwrap().pop_front().flatten();
            let report = String::from("a pipe");
            let port = |stream| OpenPort { stream, report, line_errors: |_| None, discard: |_| {} };
            future::ready(Ok::<_, io::Error>(port(stream.expect("the driver fails"))))
        }
    };
    let view = Arc::clone(&parts.port);
    let (stop, closed) = (parts.stop.clone(), parts.port_closed.clone());
    let task = tokio::spawn(serial_client::supervise(parts, opener, || Timer::Coarse));
    sleep(RESTART_PAUSE_MIN / 2).await;
    let problem = view.load().problem.clone().unwrap();
    assert!(problem.contains("panicked: the driver fails"), "{problem}");
    assert!(!closed.is_cancelled());
    sleep(RESTART_PAUSE_MIN).await;
    client.write_all(&rtu::encode(UNIT, READ)).await.unwrap();
    answer(requests.recv().await.unwrap());
    let mut adu = vec![0; 9];
    client.read_exact(&mut adu).await.unwrap();
    assert_eq!(adu, rtu::encode(UNIT, &reply_of(UNIT, 0)));
    stop.cancel();
    task.await.unwrap();
    assert!(closed.is_cancelled());
}
