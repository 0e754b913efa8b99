//! Asking meters from this program: over TCP, through a gateway, and straight on the line.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use metergate::client::survey::{plan, survey};
use metergate::client::{Client, Failure, SerialClient, SerialSettings, TcpClient};
use metergate::config;
use metergate::gateway::Gateway;
use metergate::line::{Framing, Parity, UnitId};
use metergate::meter::{Point, Profile, ScaleRead};
use metergate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange};
use metergate::serial::{Direction, OpenError, PortDevice, PortSettings};
use metergate::simulator::chain::serve;
use metergate::simulator::{Chain, ChainSettings};
use nix::libc::O_NOCTTY;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::at_last::at_last;
use crate::support::terminal::Terminal;

/// Simulated meters with the units 1 to 3; they end with the guard.
fn chain() -> (PathBuf, DropGuard) {
    let settings = ChainSettings::plain(19200.try_into().unwrap(), Duration::from_millis(5), &[1, 2, 3], 1);
    let chain = Chain::open(settings).unwrap();
    let device = chain.device().to_owned();
    let stop = CancellationToken::new();
    tokio::spawn(chain.run(stop.clone()));
    (device, stop.drop_guard())
}

async fn serial(device: &Path) -> Result<SerialClient, OpenError> {
    serial_at(PortDevice::Path(device.to_owned())).await
}

async fn serial_at(device: PortDevice) -> Result<SerialClient, OpenError> {
    let framing = Framing { baud_rate: 19200, parity: Parity::None, stop_bits: 1 };
    SerialClient::open(SerialSettings {
        port: PortSettings { device, framing, direction: Direction::Auto },
        units: vec![UnitId::new(3).unwrap(), UnitId::new(9).unwrap()],
        response_timeout: Duration::from_millis(200),
        retries: 0,
    })
    .await
}

/// Returns when no process has the device open any more.
fn wait_until_free(device: &Path) {
    let file = OpenOptions::new().read(true).custom_flags(O_NOCTTY).open(device).unwrap();
    at_last(|| file.try_lock());
    file.unlock().unwrap();
}

fn gateway(device: &Path, writes: &str) -> Gateway {
    let device = device.display();
    let text = format!(
        "listeners: [{{address: \"127.0.0.1:0\", writes: {writes}}}]\n\
         buses: [{{name: a, device: {device}, response_timeout: 200ms, units: [{{id: 1-3}}, {{id: 9}}]}}]\n"
    );
    Gateway::start(&config::parse(&text, "test").unwrap().config).unwrap()
}

async fn tcp(address: SocketAddr) -> Client {
    let host = address.ip().to_string();
    Client::Tcp(TcpClient::open(&host, address.port(), Duration::from_secs(5)).await.unwrap())
}

fn leviton() -> &'static Profile {
    Profile::builtin("leviton-4000r").unwrap()
}

fn holding(start: u16, quantity: u16) -> ReadRange {
    ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start, quantity }
}

/// The reply PDU to a request PDU.
type Answer = fn(&[u8]) -> Vec<u8>;

/// A server whose every request PDU is answered by `answer`, one connection after another.
async fn server(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some((head, pdu)) = request(&mut stream).await {
                reply(&mut stream, &head, &answer(&pdu)).await;
            }
        }
    });
    address
}

async fn request(stream: &mut TcpStream) -> Option<([u8; 7], Vec<u8>)> {
    let mut head = [0; 7];
    stream.read_exact(&mut head).await.ok()?;
    let mut pdu = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 1];
    stream.read_exact(&mut pdu).await.ok()?;
    Some((head, pdu))
}

async fn reply(stream: &mut TcpStream, head: &[u8; 7], pdu: &[u8]) {
    let length = u16::try_from(pdu.len() + 1).unwrap().to_be_bytes();
    let adu = [&head[..4], &length, &head[6..], pdu].concat();
    stream.write_all(&adu).await.unwrap();
}

/// A reply in which each register holds its own address.
fn own_addresses(pdu: &[u8]) -> Vec<u8> {
    let (start, quantity) = (u16::from_be_bytes([pdu[1], pdu[2]]), u16::from_be_bytes([pdu[3], pdu[4]]));
    let words = (start..start + quantity).flat_map(u16::to_be_bytes);
    [pdu[0], u8::try_from(quantity * 2).unwrap()].into_iter().chain(words).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_reads_the_same_on_its_line_and_through_a_gateway() {
    let (device, _meters) = chain();
    let mut line = Client::Serial(serial(&device).await.unwrap());
    let setup = line.read(3, holding(128, 26)).await.unwrap().reply;
    let id = line.report_server_id(3).await.unwrap();
    let objects = line.device_identification(3).await.unwrap();
    line.close().await;
    wait_until_free(&device);
    assert_eq!((id.id, id.run), (247, 0xFF));
    assert!(leviton().identification.fits_server_id(id.id, &id.text), "{}", id.text);
    assert!(leviton().identification.fits_device(&objects[0].text, &objects[1].text), "{objects:?}");

    let gateway = gateway(&device, "deny");
    let mut net = tcp(gateway.addresses()[0]).await;
    assert_eq!(net.read(3, holding(128, 26)).await.unwrap().reply, setup);
    assert_eq!(net.report_server_id(3).await.unwrap(), id);
    assert_eq!(net.device_identification(3).await.unwrap(), objects);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_register_and_several_are_written_and_read_back_on_either_way() {
    let (device, _meters) = chain();
    let mut line = Client::Serial(serial(&device).await.unwrap());
    line.write_registers(3, 141, &[12]).await.unwrap();
    assert_eq!(line.read(3, holding(141, 2)).await.unwrap().reply[2..4], [0, 12]);
    line.close().await;
    wait_until_free(&device);
    let gateway = gateway(&device, "allow");
    let mut net = tcp(gateway.addresses()[0]).await;
    net.write_registers(3, 141, &[13, 26]).await.unwrap();
    assert_eq!(net.read(3, holding(141, 2)).await.unwrap().reply[2..], [0, 13, 0, 26]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_unit_is_silent_on_the_line_and_an_exception_behind_a_gateway() {
    let (device, _meters) = chain();
    let mut line = Client::Serial(serial(&device).await.unwrap());
    for _ in 0..4 {
        assert_eq!(line.read(9, holding(0, 1)).await.unwrap_err(), Failure::Silent);
    }
    assert!(line.read(3, holding(0, 1)).await.is_ok(), "the others go on");
    assert!(matches!(line.read(0, holding(0, 1)).await.unwrap_err(), Failure::Unreachable(_)));
    line.close().await;
    wait_until_free(&device);
    let gateway = gateway(&device, "deny");
    let mut net = tcp(gateway.addresses()[0]).await;
    let said = |code| Failure::Exception(ExceptionCode(code));
    assert_eq!(net.read(9, holding(0, 1)).await.unwrap_err(), said(0x0B));
    assert_eq!(net.read(77, holding(0, 1)).await.unwrap_err(), said(0x0A));
    assert_eq!(net.read(3, holding(60, 1)).await.unwrap_err(), said(0x02));
    assert_eq!(net.write_registers(3, 141, &[12]).await.unwrap_err(), said(0x01));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_held_is_refused_until_it_is_free() {
    let (device, _meters) = chain();
    let holder = serial(&device).await.unwrap();
    assert!(matches!(serial(&device).await.unwrap_err(), OpenError::Busy));
    Client::Serial(holder).close().await;
    wait_until_free(&device);
    let again = serial(&device).await.unwrap();
    Client::Serial(again).close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_behind_a_serial_server_is_asked_like_one_at_a_port() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let device = format!("tcp://{}", server.local_addr().unwrap());
    let meters = ChainSettings::plain(19200.try_into().unwrap(), Duration::from_millis(5), &[3], 1);
    let serving = tokio::spawn(async move {
        let (stream, _) = server.accept().await.unwrap();
        serve(stream, meters, CancellationToken::new()).await
    });
    let device = PortDevice::of_server(&device).unwrap();
    let mut line = Client::Serial(serial_at(device.clone()).await.unwrap());
    let answered = line.read(3, holding(0, 1)).await.unwrap();
    assert_eq!(answered.reply[..2], [3, 2]);
    assert_eq!(line.read(9, holding(0, 1)).await.unwrap_err(), Failure::Silent);
    line.close().await;
    // The server takes one connection only.
    serving.await.unwrap().unwrap();
    let refused = serial_at(device).await.unwrap_err().to_string();
    assert!(refused.starts_with("connection refused by 127.0.0.1:"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_and_a_port_that_goes_are_told_from_silence() {
    let Terminal { mut far, device, held: _held } = Terminal::open();
    let mut line = Client::Serial(serial(&device).await.unwrap());
    let meter = tokio::task::spawn_blocking(move || {
        let mut request = [0; 8];
        far.read_exact(&mut request).unwrap();
        far.write_all(&[3, 0x03, 2, 0, 1, 0xBA, 0xAD]).unwrap();
        far.read_exact(&mut request).unwrap();
    });
    assert_eq!(line.read(3, holding(0, 1)).await.unwrap_err(), Failure::Garbled);
    // The far end is gone once it has been asked again.
    let failure = line.read(3, holding(0, 1)).await.unwrap_err();
    assert!(matches!(&failure, Failure::Unreachable(why) if why.contains("port is gone")), "{failure:?}");
    meter.await.unwrap();
    line.close().await;
}

#[tokio::test]
async fn a_late_reply_is_not_given_to_the_next_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let (head, late) = request(&mut first).await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        let (fresh_head, fresh) = request(&mut second).await.unwrap();
        // Where the first one still stands, its answer comes before that of the second.
        let late = own_addresses(&late);
        let length = u16::try_from(late.len() + 1).unwrap().to_be_bytes();
        let _gone = first.write_all(&[&head[..4], &length, &head[6..], &late].concat()).await;
        reply(&mut second, &fresh_head, &own_addresses(&fresh)).await;
        let _until_it_ends = second.read(&mut [0]).await;
    });
    let host = address.ip().to_string();
    let net = TcpClient::open(&host, address.port(), Duration::from_millis(300)).await.unwrap();
    let mut net = Client::Tcp(net);
    assert_eq!(net.read(1, holding(10, 1)).await.unwrap_err(), Failure::Silent);
    assert_eq!(net.read(1, holding(20, 1)).await.unwrap().reply[2..], [0, 20]);
}

#[tokio::test]
async fn a_reply_that_is_none_to_the_request_is_refused() {
    let wrong: [Answer; 4] =
        [|_| vec![0x03, 2, 0, 1], |_| vec![0x04, 4, 0, 1, 0, 2], |_| vec![0x03, 3, 0, 1, 2], |_| vec![0x03]];
    for answer in wrong {
        let mut net = tcp(server(answer).await).await;
        let failure = net.read(1, holding(0, 2)).await.unwrap_err();
        assert!(matches!(failure, Failure::Malformed(_)), "{failure:?}");
    }
    let mut net = tcp(server(|pdu| [&pdu[..3], &[0, 99]].concat()).await).await;
    let failure = net.write_registers(1, 5, &[98]).await.unwrap_err();
    assert!(matches!(failure, Failure::Malformed(_)), "the echo shows another value: {failure:?}");
}

#[tokio::test]
async fn a_read_is_asked_again_on_a_connection_that_had_been_closed_and_a_write_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        for ends_before in [true, false, true] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (head, pdu) = request(&mut stream).await.unwrap();
            if !ends_before {
                reply(&mut stream, &head, &own_addresses(&pdu)).await;
                // The next request on this connection finds it closed.
                requests.push(request(&mut stream).await.unwrap().1[0]);
            }
            requests.push(pdu[0]);
            if requests.len() == 3 {
                return requests;
            }
        }
        requests
    });
    let mut net = tcp(address).await;
    assert_eq!(net.read(1, holding(7, 1)).await.unwrap().reply[2..], [0, 7]);
    let failure = net.write_registers(1, 7, &[1]).await.unwrap_err();
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure:?}");
    assert_eq!(served.await.unwrap(), [0x03, 0x06, 0x03], "two reads, one write");
}

#[test]
fn exponents_are_read_right_before_and_right_after_what_they_scale() {
    let named =
        |names: &[&str]| -> Vec<&Point> { names.iter().map(|n| leviton().point(n).unwrap()).collect() };
    let spans = |names: &[&str]| -> Vec<(u16, u16)> {
        plan(leviton(), &named(names)).iter().map(|range| (range.start, range.quantity)).collect()
    };
    assert_eq!(spans(&["real_power_total"]), [(139, 1), (0, 52), (139, 1)]);
    assert_eq!(spans(&["real_power_total", "current_a"]), [(137, 3), (0, 52), (137, 3)]);
    assert_eq!(spans(&["current_a", "ct_primary", "frequency_f"]), [(137, 1), (0, 52), (128, 26), (256, 90)]);
    assert_eq!(spans(&["frequency", "real_power_a_f"]), [(0, 52), (256, 90)], "neither has an exponent");
    assert_eq!(spans(&["max_theoretical_power"]), [(128, 26)], "it stands beside its exponent");
    let all: Vec<&Point> = leviton().points.iter().collect();
    let touches_gap = |range: &ReadRange| {
        let first = leviton().register(range.start);
        let last = first + u32::from(range.quantity) - 1;
        leviton().gaps.iter().any(|gap| *gap.start() <= last && first <= *gap.end())
    };
    assert!(!plan(leviton(), &all).iter().any(touches_gap));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_read_between_two_equal_exponents_are_scaled_without_doubt() {
    let (device, _meters) = chain();
    let mut line = Client::Serial(serial(&device).await.unwrap());
    let points: Vec<&Point> = leviton().points.iter().collect();
    let read = survey(&mut line, 3, leviton(), &points).await;
    line.close().await;
    assert!(read.missed.is_empty(), "{:?}", read.missed);
    let samples = read.samples();
    for point in points {
        let reading = leviton().decode(point, &samples).unwrap();
        let sure = [ScaleRead::NotNeeded, ScaleRead::Together, ScaleRead::Around];
        assert!(sure.contains(&reading.scaled), "{}: {reading:?}", point.name);
    }
}

#[tokio::test]
async fn a_block_that_is_refused_is_read_by_its_core_and_the_rest_in_pieces() {
    // The meter has 1 to 42 and 47 to 52, and takes at most 42 registers.
    let answer = |pdu: &[u8]| {
        let (start, quantity) = (u16::from(pdu[2]), u16::from(pdu[4]));
        let has = start + quantity <= 42 || (start >= 46 && start + quantity <= 52);
        if has { own_addresses(pdu) } else { vec![pdu[0] | 0x80, 0x02] }
    };
    let mut net = tcp(server(answer).await).await;
    let frequency = leviton().point("frequency").unwrap();
    let read = survey(&mut net, 1, leviton(), &[frequency]).await;
    assert_eq!(read.registers(&holding(25, 1)), Some(vec![25]));
    assert_eq!(read.registers(&holding(46, 2)), Some(vec![46, 47]));
    let missed: Vec<_> = read.missed.iter().map(|(range, _)| (range.start, range.quantity)).collect();
    assert_eq!(missed, [(42, 2), (44, 2)], "cut down to single values, never through one");
}

#[tokio::test]
async fn a_meter_that_refuses_everything_is_not_asked_for_ever() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let refuse = |pdu: &[u8]| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        vec![pdu[0] | 0x80, 0x02]
    };
    let mut net = tcp(server(refuse).await).await;
    let read = survey(&mut net, 1, leviton(), &[leviton().point("frequency").unwrap()]).await;
    assert!(read.is_empty());
    let asked = ASKED.load(Ordering::Relaxed);
    assert!((3..=24).contains(&asked), "{asked} requests");
    let missed: u16 = read.missed.iter().map(|(range, _)| range.quantity).sum();
    assert_eq!(missed, 52, "every register is accounted for");
}
