//! A bus behind a serial server: the connection is made, kept, lost and made again, over real sockets.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use metergate::config::{self, Config};
use metergate::gateway::Gateway;
use metergate::line::{Answer, BusId, LineSettings, ListenerId, PortState, Request, Source, Target, UnitId};
use metergate::modbus::pdu::{ExceptionCode, RequestPdu};
use metergate::modbus::rtu;
use metergate::runtime::Timer;
use metergate::serial::{
    BusHandle, BusParts, Direction, PortDevice, PortSettings, PortView, ReplyChannel, ReplyReceiver,
    ReplySender, Watchdog, bus_task, port,
};
use metergate::simulator::{Chain, ChainSettings, chain};
use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_modbus::client::tcp;
use tokio_modbus::prelude::{Reader, Slave};
use tokio_util::sync::CancellationToken;

use crate::support::log::Log;
use crate::support::settings;

/// A bus whose port is a connection.
pub(super) struct Rig {
    pub(super) handle: BusHandle,
    pub(super) port_view: Arc<ArcSwap<PortView>>,
    watchdog: Watchdog,
    stop: CancellationToken,
    answers: ReplyReceiver,
    back: Arc<ReplyChannel>,
}

impl Rig {
    pub(super) fn start(device: &str) -> Self {
        let device = PortDevice::of_server(device).expect("a server");
        let line = LineSettings { protocol: device.protocol(settings::FRAMING), ..line() };
        let port = PortSettings { device, framing: settings::FRAMING, direction: Direction::Auto };
        let (handle, requests) = BusHandle::new(BusId(0), "riser");
        let (port_view, watchdog) = <(Arc<ArcSwap<PortView>>, Watchdog)>::default();
        let stop = CancellationToken::new();
        let open = port::opener(port.clone(), line.response_timeout, None);
        let alone = BusParts::alone(line, port.device, requests, Arc::clone(handle.view()));
        let parts = BusParts {
            port: Arc::clone(&port_view),
            stop: stop.clone(),
            heartbeat: watchdog.add(BusId(0), "riser"),
            ..alone
        };
        tokio::spawn(bus_task::run(parts, open, Timer::Coarse));
        let (back, answers) = ReplyChannel::new();
        Self { handle, port_view, watchdog, stop, answers, back }
    }

    fn start_at(server: &TcpListener) -> Self {
        Self::start(&format!("tcp://{}", server.local_addr().unwrap()))
    }

    pub(super) async fn ask(&self, key: u64) {
        let request = Request {
            to: ReplySender::new(&self.back, key),
            source: Source { address: IpAddr::V4(Ipv4Addr::LOCALHOST).into(), connection: 1 },
            target: Target::Unit(UnitId::new(1).unwrap()),
            pdu: RequestPdu::decode(Bytes::from_static(&READ)).unwrap(),
            deadline: (Instant::now() + Duration::from_secs(3)).into_std(),
            max_age: Duration::ZERO,
            listener: ListenerId::default(),
        };
        self.handle.send(request).await.unwrap();
    }

    pub(super) async fn answer(&mut self) -> (u64, Answer) {
        within(self.answers.next()).await
    }

    /// Waits for the state of the port.
    pub(super) async fn port(&self, wanted: impl Fn(&PortView) -> bool) -> Arc<PortView> {
        within(async {
            loop {
                let now = self.port_view.load_full();
                if wanted(&now) {
                    return now;
                }
                tokio::time::sleep(POLL).await;
            }
        })
        .await
    }

    pub(super) async fn opened(&self, times: u64) {
        self.port(|port| port.openings == times && port.since.is_some()).await;
    }

    pub(super) async fn problem(&self) -> String {
        self.port(|port| port.problem.is_some()).await.problem.clone().unwrap()
    }

    /// Whether its task answers while it waits for whatever it waits for.
    async fn expect_heartbeat(&self) {
        self.watchdog.request_heartbeats();
        within(async {
            while self.watchdog.silent() != [""; 0] {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn line() -> LineSettings {
    let mut line = settings::line(&[1]);
    line.response_timeout = Duration::from_millis(200);
    line.late_guard = Duration::from_millis(200);
    line.units[0].response_timeout = line.response_timeout;
    line
}

/// What must happen, before a test counts as failed.
pub(super) async fn within<T>(wanted: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), wanted).await.expect("it happens in time")
}

pub(super) async fn server() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(super) async fn accept(server: &TcpListener) -> TcpStream {
    within(server.accept()).await.unwrap().0
}

async fn expect_request(stream: &mut TcpStream) {
    let mut adu = [0; READ.len() + rtu::OVERHEAD];
    within(stream.read_exact(&mut adu)).await.unwrap();
    assert_eq!(adu[..], rtu::encode(1, &READ)[..]);
}

async fn serve(stream: &mut TcpStream, value: u16) {
    expect_request(stream).await;
    stream.write_all(&answer(value)).await.unwrap();
}

fn answer(value: u16) -> Bytes {
    let [high, low] = value.to_be_bytes();
    rtu::encode(1, &[3, 2, high, low])
}

pub(super) fn reply(value: u16) -> Answer {
    let [high, low] = value.to_be_bytes();
    Answer::Reply(Bytes::from(vec![3, 2, high, low]))
}

/// From now on everything that arrives at the socket is lost before TCP sees it.
pub(super) fn drop_everything<'s>(socket: impl Into<SockRef<'s>>) {
    // BPF_RET | BPF_K: pass this many bytes on.
    socket.into().attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).unwrap();
}

/// One register from address 0.
pub(super) const READ: [u8; 5] = [0x03, 0, 0, 0, 1];
pub(super) const NO_PATH: Answer = Answer::NoAnswer(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
pub(super) const NO_PATH_AT_ONCE: Answer = Answer::Refused(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
const POLL: Duration = Duration::from_millis(5);

fn meters() -> ChainSettings {
    ChainSettings::plain(19_200.try_into().unwrap(), Duration::from_millis(5), &[1], 1)
}

#[tokio::test]
async fn meters_behind_a_serial_server_are_read() {
    let server = server().await;
    let mut rig = Rig::start_at(&server);
    let stream = accept(&server).await;
    tokio::spawn(chain::serve(stream, meters(), CancellationToken::new()));
    rig.opened(1).await;
    let port = rig.port_view.load();
    let address = server.local_addr().unwrap();
    assert!(port.report.starts_with(&format!("connected to {address}; 19200 8N1")), "{}", port.report);
    assert_eq!(port.line_errors, None, "a connection has no driver that counts");
    rig.ask(7).await;
    let (key, answer) = rig.answer().await;
    assert!(matches!(&answer, Answer::Reply(pdu) if pdu[..2] == [3, 2]), "{answer:?}");
    assert_eq!(key, 7);
}

#[tokio::test]
async fn a_server_that_closes_in_the_middle_of_an_answer_is_connected_to_again() {
    let server = server().await;
    let mut rig = Rig::start_at(&server);
    let mut stream = accept(&server).await;
    rig.opened(1).await;
    rig.ask(1).await;
    expect_request(&mut stream).await;
    stream.write_all(&answer(0x1234)[..4]).await.unwrap();
    drop(stream);
    let lost = Instant::now();
    assert_eq!(rig.answer().await, (1, NO_PATH));
    assert_eq!(rig.problem().await, "the serial server closed the connection");
    assert_eq!(rig.handle.view().load().port, PortState::Closed);
    rig.ask(2).await;
    assert_eq!(rig.answer().await, (2, NO_PATH_AT_ONCE));
    let mut again = accept(&server).await;
    rig.opened(2).await;
    rig.ask(3).await;
    serve(&mut again, 0x5678).await;
    assert_eq!(rig.answer().await, (3, reply(0x5678)));
    assert!(lost.elapsed() < Duration::from_secs(3), "good values after {:?}", lost.elapsed());
}

#[tokio::test]
async fn what_a_server_still_has_of_an_earlier_connection_is_given_to_no_request() {
    let server = server().await;
    let mut rig = Rig::start_at(&server);
    let mut stream = accept(&server).await;
    rig.opened(1).await;
    rig.ask(1).await;
    expect_request(&mut stream).await;
    // A reset, as of a server that restarts.
    stream.set_zero_linger().unwrap();
    drop(stream);
    assert_eq!(rig.answer().await, (1, NO_PATH));
    assert_eq!(rig.problem().await, "the serial server reset the connection");
    let mut again = accept(&server).await;
    again.write_all(&answer(0xAAAA)).await.unwrap();
    rig.opened(2).await;
    let opened = Instant::now();
    rig.ask(2).await;
    again.write_all(&answer(0xBBBB)).await.unwrap();
    expect_request(&mut again).await;
    let hold = line().response_timeout + line().late_guard;
    assert!(opened.elapsed() + POLL * 4 >= hold, "sent after {:?}", opened.elapsed());
    again.write_all(&answer(0x1234)).await.unwrap();
    assert_eq!(rig.answer().await, (2, reply(0x1234)));
}

#[tokio::test]
async fn a_connection_into_which_everything_vanishes_is_given_up_and_made_again() {
    let server = server().await;
    let mut rig = Rig::start_at(&server);
    let mut stream = accept(&server).await;
    rig.opened(1).await;
    rig.ask(1).await;
    serve(&mut stream, 0x1234).await;
    assert_eq!(rig.answer().await, (1, reply(0x1234)));
    drop_everything(&stream);
    rig.ask(2).await;
    let vanished = Instant::now();
    let unanswered = Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    assert_eq!(rig.answer().await, (2, unanswered), "the server took it, as far as is known");
    assert_eq!(rig.problem().await, "the serial server acknowledges nothing any more");
    let given_up = vanished.elapsed();
    let allowed = Duration::from_millis(2900)..Duration::from_millis(6000);
    assert!(allowed.contains(&given_up), "given up after {given_up:?}");
    let mut again = accept(&server).await;
    rig.opened(2).await;
    rig.ask(3).await;
    serve(&mut again, 0x5678).await;
    assert_eq!(rig.answer().await, (3, reply(0x5678)));
}

#[tokio::test]
async fn a_server_that_does_not_answer_delays_no_request_and_no_heartbeat() {
    let server = server().await;
    drop_everything(&server);
    let mut rig = Rig::start_at(&server);
    let asked = Instant::now();
    rig.ask(1).await;
    assert_eq!(rig.answer().await, (1, NO_PATH_AT_ONCE));
    rig.expect_heartbeat().await;
    assert!(asked.elapsed() < Duration::from_secs(1), "answered after {:?}", asked.elapsed());
    assert_eq!(rig.port_view.load().problem, None, "it is still being connected to");
    let expected = format!("no answer from {} within 1.5s", server.local_addr().unwrap());
    assert_eq!(rig.problem().await, expected);
    rig.stop.cancel();
    within(async { while rig.handle.send(unread_request()).await.is_ok() {} }).await;
}

/// A request whose answer is not looked at.
fn unread_request() -> Request<ReplySender> {
    let (back, _answers) = ReplyChannel::new();
    Request {
        to: ReplySender::new(&back, 0),
        source: Source { address: IpAddr::V4(Ipv4Addr::LOCALHOST).into(), connection: 2 },
        target: Target::Unit(UnitId::new(1).unwrap()),
        pdu: RequestPdu::decode(Bytes::from_static(&READ)).unwrap(),
        deadline: Instant::now().into_std(),
        max_age: Duration::ZERO,
        listener: ListenerId::default(),
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_named_and_connected_to_when_it_is_there() {
    let absent = server().await;
    let address = absent.local_addr().unwrap();
    drop(absent);
    let mut rig = Rig::start(&format!("tcp://{address}"));
    assert_eq!(rig.problem().await, format!("connection refused by {address}"));
    rig.ask(1).await;
    assert_eq!(rig.answer().await, (1, NO_PATH_AT_ONCE));
    let there = TcpListener::bind(address).await.unwrap();
    let since = Instant::now();
    let mut stream = accept(&there).await;
    rig.opened(1).await;
    rig.ask(2).await;
    serve(&mut stream, 0x1234).await;
    assert_eq!(rig.answer().await, (2, reply(0x1234)));
    assert!(since.elapsed() < Duration::from_secs(3), "good values after {:?}", since.elapsed());
}

#[tokio::test]
async fn a_server_that_serves_another_client_is_tried_ever_less_often_and_named_once() {
    let log = Log::start();
    let server = server().await;
    let rig = Rig::start_at(&server);
    let mut tries = Vec::new();
    for _ in 0..5 {
        let mut stream = accept(&server).await;
        tries.push(Instant::now());
        stream.write_all(b"Port already in use\r\n").await.unwrap();
    }
    let address = server.local_addr().unwrap();
    let expected =
        format!("{address} accepted the connection and closed it at once, saying \"Port already in use\"");
    assert_eq!(rig.problem().await, expected);
    let pauses: Vec<_> = tries.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    // A busy computer accepts late, and the next one then seems to come early.
    let is_kept = |(pause, least): (&u128, u128)| pause + 100 >= least;
    assert!(pauses.iter().zip([250, 500, 1000, 1000]).all(is_kept), "{pauses:?}");
    assert_eq!(rig.port_view.load().openings, 0);
    let logged = log.text();
    assert_eq!(logged.matches("cannot open the port").count(), 1, "{logged}");
    assert!(!logged.contains("port open"), "{logged}");
}

#[tokio::test]
async fn a_server_that_speaks_telnet_is_named_and_no_request_is_sent_there() {
    let server = server().await;
    let mut rig = Rig::start_at(&server);
    let mut stream = accept(&server).await;
    // IAC DO BINARY, IAC WILL ECHO (RFC 854, 856 and 857).
    stream.write_all(&[0xFF, 0xFD, 0, 0xFF, 0xFB, 1]).await.unwrap();
    let problem = rig.problem().await;
    assert!(problem.contains("speaks telnet (RFC 2217)") && problem.ends_with("raw TCP"), "{problem}");
    rig.ask(1).await;
    assert_eq!(rig.answer().await, (1, NO_PATH_AT_ONCE));
    let mut stream = accept(&server).await;
    // Bytes of the line, from before, which no telnet command begins.
    stream.write_all(&[0xFF, 0x03, 0xFF, 0xFD]).await.unwrap();
    rig.opened(1).await;
    rig.ask(2).await;
    serve(&mut stream, 8).await;
    assert_eq!(rig.answer().await, (2, reply(8)), "it was set to raw TCP");
}

#[tokio::test]
async fn a_server_that_soon_closes_each_connection_is_connected_to_ever_less_often() {
    let server = server().await;
    let rig = Rig::start_at(&server);
    let mut stream = accept(&server).await;
    for (times, least) in (1..).zip([250, 500, 1000, 1000]) {
        rig.opened(times).await;
        drop(stream);
        let lost = Instant::now();
        stream = accept(&server).await;
        // The program may learn of the end a little before it is measured here.
        let pause = lost.elapsed().as_millis();
        assert!(pause + 20 >= least, "{pause} ms, not {least} ms, after {times} connections");
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_the_reason_given() {
    // The domain is reserved for names that do not exist (RFC 2606).
    let mut rig = Rig::start("tcp://serial-server.invalid:4001");
    rig.ask(1).await;
    assert_eq!(rig.answer().await, (1, NO_PATH_AT_ONCE));
    rig.expect_heartbeat().await;
    let problem = rig.problem().await;
    assert!(problem.starts_with("name not found") && problem.contains("serial-server.invalid"), "{problem}");
}

#[tokio::test]
async fn each_address_of_a_name_is_tried() {
    // localhost has one or two addresses; the server is at one of them.
    let server = server().await;
    let port = server.local_addr().unwrap().port();
    let mut rig = Rig::start(&format!("tcp://localhost:{port}"));
    let mut stream = accept(&server).await;
    rig.opened(1).await;
    rig.ask(1).await;
    serve(&mut stream, 0x1234).await;
    assert_eq!(rig.answer().await, (1, reply(0x1234)));
}

/// A gateway with one bus on this device.
fn gateway(device: &str) -> Config {
    let text = format!(
        "status: off\nlisteners: [{{address: '127.0.0.1:0'}}]\nbuses:\n  - {{name: riser, device: '{device}', \
         response_timeout: 200ms, units: [{{id: 1}}]}}\n"
    );
    config::parse(&text, "test").unwrap_or_else(|problems| panic!("{problems}")).config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_leads_from_a_device_to_a_serial_server_and_back() {
    let meters = Chain::open(meters()).unwrap();
    let at_device = gateway(meters.device().to_str().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(meters.run(stop.clone()));
    let server = server().await;
    let behind_server = gateway(&format!("tcp://{}", server.local_addr().unwrap()));
    let mut gateway = Gateway::start(&at_device).unwrap();
    let mut client = tcp::connect_slave(gateway.addresses()[0], Slave(1)).await.unwrap();
    let mut is_from_server = async || {
        within(async {
            loop {
                // Refused until the port is open and what may be owed there has passed.
                if let Ok(values) = client.read_holding_registers(0, 1).await.unwrap() {
                    return values == [ANSWER_OF_SERVER];
                }
            }
        })
        .await
    };
    assert!(!is_from_server().await);

    gateway.reload(&behind_server).await.unwrap();
    let mut stream = accept(&server).await;
    let serving = tokio::spawn(async move {
        let mut adu = [0; READ.len() + rtu::OVERHEAD];
        loop {
            match stream.read_exact(&mut adu).await {
                Ok(_) => stream.write_all(&answer(ANSWER_OF_SERVER)).await.unwrap(),
                Err(error) => return error.kind(),
            }
        }
    });
    assert!(is_from_server().await);

    gateway.reload(&at_device).await.unwrap();
    assert!(!is_from_server().await);
    let ended = within(serving).await.unwrap();
    assert_eq!(ended, io::ErrorKind::ConnectionReset, "what was under way is not delivered later");
    gateway.stop().await;
    stop.cancel();
}

const ANSWER_OF_SERVER: u16 = 0xBEEF;
