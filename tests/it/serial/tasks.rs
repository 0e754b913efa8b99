//! The task of a bus over in-memory pipes, with the clock paused: order of arms, reopening, stop.

use std::collections::VecDeque;
use std::future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use metergate::line::{
    Answer, BusId, Echo, LineSettings, ListenerId, Pace, PolledBlock, PortState, Request, Source, Target,
    UnitId, View,
};
use metergate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange, RequestPdu};
use metergate::modbus::rtu;
use metergate::runtime::Timer;
use metergate::serial::{
    BusHandle, BusParts, OpenPort, PortDevice, PortView, ReplyChannel, ReplyReceiver, ReplySender, Watchdog,
    bus_task,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::settings;

/// A running bus task, and the far ends of the ports it will open, one after another.
struct Rig {
    handle: BusHandle,
    view: Arc<ArcSwap<View>>,
    port_view: Arc<ArcSwap<PortView>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    answers: ReplyReceiver,
    back: Arc<ReplyChannel>,
    /// When the port was opened or tried.
    tries: Tries,
}

type Ports = Arc<Mutex<VecDeque<io::Result<DuplexStream>>>>;
type Tries = Arc<Mutex<Vec<Instant>>>;

impl Rig {
    fn start(ports: impl IntoIterator<Item = io::Result<DuplexStream>>) -> Self {
        Self::start_on(line(), ports)
    }

    fn start_on(line: LineSettings, ports: impl IntoIterator<Item = io::Result<DuplexStream>>) -> Self {
        let ports: Ports = Arc::new(Mutex::new(ports.into_iter().collect()));
        let (handle, requests) = BusHandle::new(BusId(0), "riser");
        let view = Arc::new(ArcSwap::from_pointee(View::default()));
        let port_view = Arc::default();
        let stop = CancellationToken::new();
        let parts = BusParts {
            id: BusId(0),
            line,
            device: PortDevice::Path("pipe".into()),
            reloads: None,
            requests,
            view: Arc::clone(&view),
            traffic: Arc::default(),
            port: Arc::clone(&port_view),
            stop: stop.clone(),
            heartbeat: Watchdog::default().add(BusId(0), "riser"),
        };
        let tries = Tries::default();
        let noted = Arc::clone(&tries);
        let open = move |_| {
            noted.lock().unwrap().push(Instant::now());
            let next = ports.lock().unwrap().pop_front();
            let report = String::from("a pipe");
            let port = |stream| OpenPort { stream, report, line_errors: |_| None, discard: |_| {} };
            future::ready(next.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())).map(port))
        };
        let task = tokio::spawn(bus_task::run(parts, open, Timer::Coarse));
        let (back, answers) = ReplyChannel::new();
        Self { handle, view, port_view, stop, task, answers, back, tries }
    }

    async fn ask(&self, key: u64, unit: u8) {
        self.ask_for(ReplySender::new(&self.back, key), unit).await;
    }

    async fn ask_for(&self, to: ReplySender, unit: u8) {
        self.ask_for_data_of(Duration::ZERO, to, unit).await;
    }

    /// The same, where data of that age will do.
    async fn ask_for_data_of(&self, max_age: Duration, to: ReplySender, unit: u8) {
        let request = Request {
            to,
            source: Source { address: IpAddr::V4(Ipv4Addr::LOCALHOST).into(), connection: 1 },
            target: Target::Unit(UnitId::new(unit).unwrap()),
            pdu: RequestPdu::decode(Bytes::from_static(&READ)).unwrap(),
            deadline: (Instant::now() + DEADLINE).into_std(),
            max_age,
            listener: ListenerId::default(),
        };
        self.handle.send(request).await.unwrap();
    }

    async fn answer(&mut self) -> (u64, Answer) {
        self.answers.next().await
    }
}

/// How long each request may take.
const DEADLINE: Duration = Duration::from_secs(3);
const READ: [u8; 5] = [0x03, 0, 0, 0, 1];
const REPLY: [u8; 4] = [0x03, 2, 0x12, 0x34];
const NO_PATH: Answer = Answer::NoAnswer(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
const NO_PATH_AT_ONCE: Answer = Answer::Refused(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);

fn line() -> LineSettings {
    LineSettings { echo: Echo::Auto, ..settings::line(&[1, 2]) }
}

/// A line whose first unit has a block that is read once an hour, and no other.
fn polled(range: ReadRange) -> LineSettings {
    let mut line = settings::line(&[1]);
    let pace = Pace::Every(Duration::from_secs(3600));
    line.units[0].polling.blocks = vec![PolledBlock { range, core: None, measured: true, pace }];
    line
}

/// What encloses [`READ`].
const BLOCK: ReadRange = ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start: 0, quantity: 10 };

/// Reads one request from the far end and checks its unit.
async fn expect_request(far: &mut DuplexStream, unit: u8) {
    let mut adu = [0; READ.len() + rtu::OVERHEAD];
    far.read_exact(&mut adu).await.unwrap();
    assert_eq!(adu[..], rtu::encode(unit, &READ)[..]);
}

/// Ends the bus; nothing was sent that the test has not read.
async fn expect_nothing_more(rig: Rig, mut far: DuplexStream) {
    rig.stop.cancel();
    rig.task.await.unwrap();
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "sent for a client that left: {rest:02X?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_out_and_its_answer_comes_back() {
    let (near, mut far) = duplex(256);
    let mut rig = Rig::start([Ok(near)]);
    rig.ask(7, 1).await;
    expect_request(&mut far, 1).await;
    far.write_all(&rtu::encode(1, &REPLY)).await.unwrap();
    assert_eq!(rig.answer().await, (7, Answer::Reply(Bytes::from_static(&REPLY))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_already_in_the_buffer_beats_the_timeout_due_at_the_same_instant() {
    let (near, mut far) = duplex(256);
    let mut rig = Rig::start([Ok(near)]);
    rig.ask(1, 1).await;
    expect_request(&mut far, 1).await;
    // Advancing the clock does not run the bus task: timeout and answer are due when it next runs.
    far.write_all(&rtu::encode(1, &REPLY)).await.unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(rig.answer().await, (1, Answer::Reply(Bytes::from_static(&REPLY))));
}

#[tokio::test(start_paused = true)]
async fn a_silent_unit_is_answered_for_within_the_deadline() {
    let (near, mut far) = duplex(256);
    let mut rig = Rig::start([Ok(near)]);
    let asked = Instant::now();
    rig.ask(1, 1).await;
    let answer = rig.answer().await;
    assert_eq!(answer, (1, Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND)));
    assert!(asked.elapsed() < Duration::from_secs(3));
    expect_request(&mut far, 1).await;
    expect_request(&mut far, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_port_refuses_with_0a_and_is_opened_again_by_name() {
    let (near, mut far) = duplex(256);
    let (near_again, mut far_again) = duplex(256);
    let mut rig = Rig::start([Ok(near), Err(io::ErrorKind::NotFound.into()), Ok(near_again)]);
    rig.ask(1, 1).await;
    expect_request(&mut far, 1).await;
    drop(far);
    assert_eq!(rig.answer().await, (1, NO_PATH));
    rig.ask(2, 1).await;
    assert_eq!(rig.answer().await, (2, NO_PATH_AT_ONCE));
    let lost = Instant::now();
    while rig.view.load().port != PortState::Open {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    assert!(lost.elapsed() <= Duration::from_secs(1), "back after {:?}", lost.elapsed());
    rig.ask(3, 1).await;
    expect_request(&mut far_again, 1).await;
    far_again.write_all(&rtu::encode(1, &REPLY)).await.unwrap();
    assert_eq!(rig.answer().await, (3, Answer::Reply(Bytes::from_static(&REPLY))));
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_the_port_is_there_to_see() {
    let (near, mut far) = duplex(64);
    let (near_again, _far) = duplex(64);
    let rig = Rig::start([Ok(near), Err(io::ErrorKind::NotFound.into()), Ok(near_again)]);
    rig.ask(1, 1).await;
    expect_request(&mut far, 1).await;
    let open = rig.port_view.load_full();
    assert_eq!((open.openings, open.losses, open.report.as_str()), (1, 0, "a pipe"));
    assert!(open.since.is_some() && open.problem.is_none());
    drop(far);
    let mut problems = Vec::new();
    while rig.port_view.load().openings < 2 {
        let now = rig.port_view.load_full();
        if problems.last() != now.problem.as_ref() {
            problems.extend(now.problem.clone());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(problems, ["the device has gone", "entity not found"]);
    let again = rig.port_view.load_full();
    assert_eq!((again.openings, again.losses, &again.problem), (2, 1, &None));
    assert!(again.since > open.since);
}

#[tokio::test(start_paused = true)]
async fn stop_finishes_the_request_on_the_wire_and_refuses_what_waits() {
    let (near, mut far) = duplex(256);
    let mut rig = Rig::start([Ok(near)]);
    rig.ask(1, 1).await;
    expect_request(&mut far, 1).await;
    rig.ask(2, 2).await;
    rig.stop.cancel();
    assert_eq!(rig.answer().await, (2, NO_PATH_AT_ONCE));
    far.write_all(&rtu::encode(1, &REPLY)).await.unwrap();
    assert_eq!(rig.answer().await, (1, Answer::Reply(Bytes::from_static(&REPLY))));
    rig.task.await.unwrap();
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "sent after the stop: {rest:02X?}");
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_when_no_client_can_send_requests_any_more() {
    let (near, mut far) = duplex(256);
    let rig = Rig::start([Ok(near)]);
    rig.ask(1, 1).await;
    expect_request(&mut far, 1).await;
    let Rig { handle, task, mut answers, .. } = rig;
    drop(handle);
    far.write_all(&rtu::encode(1, &REPLY)).await.unwrap();
    assert_eq!(answers.next().await.1, Answer::Reply(Bytes::from_static(&REPLY)));
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_client_asked_that_left_never_reaches_the_wire() {
    let (near, mut far) = duplex(256);
    let mut rig = Rig::start([Ok(near)]);
    rig.ask(1, 1).await;
    expect_request(&mut far, 1).await;
    let (gone, receiver) = ReplyChannel::new();
    rig.ask_for(ReplySender::new(&gone, 2), 2).await;
    tokio::task::yield_now().await;
    drop(receiver);
    rig.ask(3, 1).await;
    far.write_all(&rtu::encode(1, &REPLY)).await.unwrap();
    assert_eq!(rig.answer().await.0, 1);
    expect_request(&mut far, 1).await;
    far.write_all(&rtu::encode(1, &REPLY)).await.unwrap();
    assert_eq!(rig.answer().await.0, 3);
    expect_nothing_more(rig, far).await;
}

#[tokio::test(start_paused = true)]
async fn a_read_that_was_on_the_wire_is_not_retried_for_a_client_that_left() {
    let (near, mut far) = duplex(256);
    let mut rig = Rig::start([Ok(near)]);
    let (gone, receiver) = ReplyChannel::new();
    rig.ask_for(ReplySender::new(&gone, 2), 2).await;
    expect_request(&mut far, 2).await;
    drop(receiver);
    // The bus has looked through its queue since then, and found nothing of that client.
    rig.ask(1, 1).await;
    expect_request(&mut far, 1).await;
    far.write_all(&rtu::encode(1, &REPLY)).await.unwrap();
    assert_eq!(rig.answer().await.0, 1);
    tokio::time::sleep(DEADLINE).await;
    expect_nothing_more(rig, far).await;
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_block_that_met_with_silence_is_not_read_alone_for_a_client_that_left() {
    let (near, mut far) = duplex(256);
    let rig = Rig::start_on(polled(BLOCK), [Ok(near)]);
    let mut adu = [0; READ.len() + rtu::OVERHEAD];
    far.read_exact(&mut adu).await.unwrap();
    assert_eq!(adu[..], rtu::encode(1, &BLOCK.request())[..]);
    let (gone, receiver) = ReplyChannel::new();
    rig.ask_for_data_of(DEADLINE, ReplySender::new(&gone, 2), 1).await;
    // It joins the reading on the wire.
    tokio::task::yield_now().await;
    drop(receiver);
    tokio::time::sleep(DEADLINE).await;
    expect_nothing_more(rig, far).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_handed_over_while_the_first_opening_fails_is_refused_and_the_port_is_tried_on() {
    let (near, mut far) = duplex(256);
    let mut rig = Rig::start([Err(io::ErrorKind::PermissionDenied.into()), Ok(near)]);
    rig.ask(1, 1).await;
    assert_eq!(rig.answer().await, (1, NO_PATH_AT_ONCE));
    tokio::time::sleep(Duration::from_millis(250)).await;
    rig.ask(2, 1).await;
    expect_request(&mut far, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_port_that_takes_no_bytes_is_given_up_within_the_deadline_and_opened_again() {
    // Capacity for less than a frame, and nothing is read.
    let (near, _stuck) = duplex(4);
    let (near_again, mut far) = duplex(256);
    let mut rig = Rig::start([Ok(near), Ok(near_again)]);
    let asked = Instant::now();
    rig.ask(1, 1).await;
    assert_eq!(rig.answer().await, (1, NO_PATH));
    assert!(asked.elapsed() < Duration::from_secs(3), "answered after {:?}", asked.elapsed());
    while rig.view.load().port != PortState::Open {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    rig.ask(2, 1).await;
    expect_request(&mut far, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_device_long_gone_is_still_looked_for_twice_a_second() {
    let gone = || Err(io::ErrorKind::NotFound.into());
    let (near, mut far) = duplex(256);
    let mut ports: Vec<io::Result<DuplexStream>> = (0..8).map(|_| gone()).collect();
    ports.push(Ok(near));
    let rig = Rig::start(ports);
    while rig.view.load().port != PortState::Open {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    let tries = rig.tries.lock().unwrap().clone();
    assert_eq!(tries.len(), 9);
    let pauses: Vec<Duration> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let limits = Duration::from_millis(250)..=Duration::from_millis(510);
    assert!(pauses.iter().all(|pause| limits.contains(pause)), "{pauses:?}");
    rig.ask(1, 1).await;
    expect_request(&mut far, 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_arrives_late_for_a_bus_that_was_replaced_is_not_given_to_the_new_ones_first_request() {
    let (near, mut far) = duplex(256);
    let mut rig = Rig::start([Ok(near)]);
    rig.ask(1, 1).await;
    // Sent by the bus before this one, and answered in the same form when the new one could have sent a request.
    tokio::time::sleep(line().late_guard / 2).await;
    far.write_all(&rtu::encode(1, &[0x03, 2, 0xAA, 0xAA])).await.unwrap();
    expect_request(&mut far, 1).await;
    far.write_all(&rtu::encode(1, &REPLY)).await.unwrap();
    assert_eq!(rig.answer().await, (1, Answer::Reply(Bytes::from_static(&REPLY))));
}

#[tokio::test(start_paused = true)]
async fn each_opening_holds_the_line_for_response_timeout_and_guard() {
    let hold = line().response_timeout + line().late_guard;
    let (near, mut far) = duplex(256);
    let (near_again, mut far_again) = duplex(256);
    let mut rig = Rig::start([Ok(near), Ok(near_again)]);
    let opened = Instant::now();
    rig.ask(1, 1).await;
    expect_request(&mut far, 1).await;
    assert!(opened.elapsed() >= hold, "sent after {:?}", opened.elapsed());
    drop(far);
    assert_eq!(rig.answer().await, (1, NO_PATH));
    while rig.view.load().port != PortState::Open {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    let opened = Instant::now();
    rig.ask(2, 2).await;
    expect_request(&mut far_again, 2).await;
    assert!(opened.elapsed() >= hold, "sent after {:?}", opened.elapsed());
}
