//! A client at a serial port, on a pseudo terminal, with a unit behind another.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use metergate::config::{self, Config};
use metergate::gateway::Gateway;
use metergate::line::{Framing, Parity};
use metergate::modbus::rtu;
use metergate::serial::{Acceptance, Direction, Network, PortDevice, PortSettings, port};
use metergate::traffic::TrafficKind;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::task::spawn_blocking;

use crate::support::counter_unit::{CounterUnit, WRITABLE};
use crate::support::program::Folder;
use crate::support::terminal::Terminal;

const UNIT: u8 = 1;
const ABSENT: u8 = 2;
const FRAMING: Framing = Framing { baud_rate: 115_200, parity: Parity::None, stop_bits: 1 };

fn config(unit: &CounterUnit, listener: &Path, keys: &str) -> Config {
    let (line, port) = (unit.device().display(), listener.display());
    let text = format!(
        "status: off\nlisteners:\n  - {{device: {port}, baud_rate: 115200, {keys}}}\nbuses:\n  - {{name: riser, \
         device: {line}, baud_rate: 115200, units: [{{id: {UNIT}}}]}}\n"
    );
    config::parse(&text, "metergate.yaml").unwrap().config
}

/// The client's end of the line.
struct Client {
    terminal: Terminal,
    /// When the last answer has ended on a wire of this rate, and the silence after it: a pseudo terminal is faster.
    free_at: Instant,
}

impl Client {
    fn new(terminal: Terminal) -> Self {
        Self { terminal, free_at: Instant::now() }
    }

    /// What comes within a while after `adu` was sent; nothing if nothing does.
    async fn ask(mut self, adu: Vec<u8>, patience: Duration) -> (Self, Vec<u8>) {
        let asked = spawn_blocking(move || {
            std::thread::sleep(self.free_at.saturating_duration_since(Instant::now()));
            self.terminal.far.write_all(&adu).unwrap();
            let (until, mut answer) = (Instant::now() + patience, Vec::new());
            while answer.len() < 5 || !rtu::crc_is_right(&answer) {
                let left = until.saturating_duration_since(Instant::now());
                let mut interest = [PollFd::new(self.terminal.far.as_fd(), PollFlags::POLLIN)];
                if left.is_zero() || poll(&mut interest, PollTimeout::try_from(left).unwrap()).unwrap() == 0 {
                    break;
                }
                let mut buffer = [0; 256];
                let length = self.terminal.far.read(&mut buffer).unwrap();
                answer.extend_from_slice(&buffer[..length]);
            }
            self.free_at = Instant::now() + FRAMING.wire_time(answer.len()) + rtu::silence(FRAMING.baud_rate);
            (self, answer)
        });
        asked.await.unwrap()
    }

    /// The PDU of the answer, asked for until one comes.
    async fn read(mut self, unit: u8, pdu: &[u8]) -> (Self, Vec<u8>) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let (client, answer) = self.ask(rtu::encode(unit, pdu).to_vec(), Duration::from_secs(1)).await;
            self = client;
            if answer.get(1).is_some_and(|function| function & 0x80 == 0) {
                assert!(answer[0] == unit && rtu::crc_is_right(&answer), "{answer:02X?}");
                return (self, answer[1..answer.len() - 2].to_vec());
            }
            assert!(Instant::now() < until, "no answer, at last {answer:02X?}");
        }
    }
}

#[tokio::test]
async fn a_serial_client_reads_and_writes_and_what_is_not_for_the_gateway_is_left_alone() {
    let (unit, terminal) = (CounterUnit::start(), Terminal::open());
    let config = config(&unit, &terminal.device, "writes: allow, answer_within: 900ms");
    let gateway = Gateway::start(&config).unwrap();
    let client = Client::new(terminal);
    let (client, counter) = client.read(UNIT, &[3, 0, 0, 0, 2]).await;
    assert_eq!(counter[..2], [3, 4]);
    let [high, low] = WRITABLE.to_be_bytes();
    let (client, written) = client.read(UNIT, &[6, high, low, 0x12, 0x34]).await;
    assert_eq!(written, [6, high, low, 0x12, 0x34]);
    let (client, kept) = client.read(UNIT, &[3, high, low, 0, 1]).await;
    assert_eq!(kept, [3, 2, 0x12, 0x34]);
    // A unit of another server, a wrong CRC, a broadcast.
    let mut damaged = rtu::encode(UNIT, &[3, 0, 0, 0, 2]).to_vec();
    damaged[7] ^= 1;
    let mut client = client;
    for silent in
        [rtu::encode(9, &[3, 0, 0, 0, 2]).to_vec(), damaged, rtu::encode(0, &[6, 0, 1, 0, 3]).to_vec()]
    {
        let (back, answer) = client.ask(silent.clone(), Duration::from_millis(400)).await;
        assert_eq!(answer, Vec::<u8>::new(), "to {silent:02X?}");
        client = back;
    }
    let (_client, counter) = client.read(UNIT, &[3, 0, 0, 0, 2]).await;
    assert_eq!(counter[..2], [3, 4]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_port_that_was_gone_is_served_again_and_a_reload_takes_it_away() {
    let (unit, folder, first) = (CounterUnit::start(), Folder::new(), Terminal::open());
    let device = folder.path("client");
    symlink(&first.device, &device).unwrap();
    let served = config(&unit, &device, "answer_within: 900ms");
    let mut gateway = Gateway::start(&served).unwrap();
    let (client, _) = Client::new(first).read(UNIT, &[3, 0, 0, 0, 2]).await;
    drop(client);
    std::fs::remove_file(&device).unwrap();
    let second = Terminal::open();
    symlink(&second.device, &device).unwrap();
    let (client, _) = Client::new(second).read(UNIT, &[3, 0, 0, 0, 2]).await;
    // A change that does not concern the port is obeyed from the next request on.
    let refused = &[6, 0, 1, 0, 3];
    let (client, answer) = client.ask(rtu::encode(UNIT, refused).to_vec(), Duration::from_secs(2)).await;
    assert_eq!(answer[1..3], [0x86, 1], "writes: deny");
    gateway.reload(&config(&unit, &device, "writes: allow, answer_within: 900ms")).await.unwrap();
    let [high, low] = WRITABLE.to_be_bytes();
    let (client, written) = client.read(UNIT, &[6, high, low, 0, 7]).await;
    assert_eq!(written[0], 6);
    let elsewhere = format!(
        "status: off\nlisteners: [{{address: '127.0.0.1:0'}}]\nbuses:\n  - {{name: riser, device: {}, baud_rate: \
         115200, units: [{{id: {UNIT}}}]}}\n",
        unit.device().display()
    );
    gateway.reload(&config::parse(&elsewhere, "metergate.yaml").unwrap().config).await.unwrap();
    assert_eq!(gateway.endpoints().len(), 1);
    let ask = rtu::encode(UNIT, &[3, 0, 0, 0, 2]).to_vec();
    let (_client, answer) = client.ask(ask, Duration::from_millis(500)).await;
    assert_eq!(answer, Vec::<u8>::new());
    gateway.stop().await;
}

#[tokio::test]
async fn a_device_that_moves_to_a_bus_is_free_though_a_request_of_its_client_is_in_flight() {
    let (unit, mut terminal) = (CounterUnit::start(), Terminal::open());
    // One unit is not there: its answer takes longer than the reload.
    let (line, port) = (unit.device().display(), terminal.device.display());
    let served = format!(
        "status: off\nlisteners: [{{device: {port}, answer_within: 60s}}]\nbuses:\n  - {{name: riser, device: {line}, \
         baud_rate: 115200, response_timeout: 10s, units: [{{id: {ABSENT}}}]}}\n"
    );
    let mut gateway = Gateway::start(&config::parse(&served, "metergate.yaml").unwrap().config).unwrap();
    let received = |gateway: &Gateway| {
        gateway.traffic().kept().iter().any(|event| matches!(event.kind, TrafficKind::Client(_)))
    };
    let until = Instant::now() + Duration::from_secs(30);
    while !received(&gateway) {
        assert!(Instant::now() < until, "the request is not received");
        // Before the port is open it is lost.
        terminal.far.write_all(&rtu::encode(ABSENT, &[3, 0, 0, 0, 2])).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let moved = format!(
        "status: off\nlisteners: [{{address: '127.0.0.1:0'}}]\nbuses:\n  - {{name: riser, device: {}, baud_rate: \
         115200, units: [{{id: {UNIT}}}]}}\n",
        unit.device().display()
    );
    gateway.reload(&config::parse(&moved, "metergate.yaml").unwrap().config).await.unwrap();
    let settings = PortSettings {
        device: PortDevice::Path(terminal.device.clone()),
        framing: FRAMING,
        direction: Direction::Auto,
    };
    port::open(settings, Duration::from_millis(500), Network::default(), Acceptance::Presumed)
        .await
        .expect("the device is free");
    gateway.stop().await;
}
