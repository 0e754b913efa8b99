//! What a reload of the built program must not do: lose an address, mix up answers, delay a stop.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use metergate::modbus::pdu::ExceptionCode;
use metergate::modbus::rtu;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use tokio_modbus::client::{Context, tcp};
use tokio_modbus::prelude::{Reader, Slave, SlaveContext};

use crate::support::program::{Folder, Program};
use crate::support::terminal::Terminal;

/// A configuration of one bus with one unit of this name.
fn config(listeners: &[SocketAddr], device: &Path, unit: &str) -> String {
    let listeners: Vec<String> =
        listeners.iter().map(|address| format!("{{address: '{address}', request_deadline: 20s}}")).collect();
    format!(
        "status: off\nlisteners: [{}]\nbuses:\n  - name: riser\n    device: {}\n    echo: off\n    retries: 0\n    \
         response_timeout: 2s\n    late_guard: 2s\n    units: [{{id: 1, name: {unit}}}]\n",
        listeners.join(", "),
        device.display()
    )
}

/// A bus of a configuration: its name, its device, its unit, and for how long an answer may be late.
struct Bus<'a>(&'a str, &'a Path, u8, &'a str);

/// A configuration of these buses, the units of which have a second to answer.
fn config_of(listener: SocketAddr, buses: &[Bus<'_>]) -> String {
    let bus = |Bus(name, device, unit, late_guard): &Bus<'_>| {
        format!(
            "  - {{name: {name}, device: {}, echo: off, retries: 0, response_timeout: 1s, \
             late_guard: {late_guard}, units: [{{id: {unit}}}]}}\n",
            device.display()
        )
    };
    format!(
        "status: off\nlisteners: [{{address: '{listener}', request_deadline: 20s}}]\nbuses:\n{}",
        buses.iter().map(bus).collect::<String>()
    )
}

fn run(config: &Path) -> Program {
    Program::start(["run".as_ref(), "--config".as_ref(), config.as_os_str()])
}

async fn client(address: SocketAddr) -> Context {
    client_of(address, 1).await
}

async fn client_of(address: SocketAddr, unit: u8) -> Context {
    let mut client = tcp::connect(address).await.unwrap();
    client.set_slave(Slave(unit));
    client
}

/// Whether the gateway listens there: its unit is on a device that is not there, and the gateway says so.
async fn expect_gateway(client: &mut Context) {
    let refused = client.read_holding_registers(0, 1).await.unwrap().unwrap_err();
    assert_eq!(ExceptionCode(refused.into()), ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
}

/// A port of which another program has 127.0.0.2.
fn foreign() -> (TcpListener, u16) {
    let foreign = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = foreign.local_addr().unwrap().port();
    (foreign, port)
}

#[tokio::test]
async fn after_a_refused_reload_the_old_address_still_answers_and_can_be_reloaded() {
    let (foreign, port) = foreign();
    let (old, all) = (SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([0, 0, 0, 0], port)));
    let folder = Folder::new();
    let device = folder.path("none");
    let file = folder.write("metergate.yaml", &config(&[old], &device, "Panel"));
    let mut gateway = run(&file);
    assert_eq!(gateway.listening(), old);

    // The old listener is in the way of the new one, and when it has gone, the other program still is.
    folder.write("metergate.yaml", &config(&[all], &device, "Panel"));
    gateway.signal(Signal::SIGHUP);
    gateway.line_with(&format!("not reloaded: cannot listen on {all}"));
    expect_gateway(&mut client(old).await).await;

    folder.write("metergate.yaml", &config(&[old], &device, "Panel"));
    gateway.signal(Signal::SIGHUP);
    gateway.line_with("INFO reloaded");
    expect_gateway(&mut client(old).await).await;

    drop(foreign);
    folder.write("metergate.yaml", &config(&[all], &device, "Panel"));
    gateway.signal(Signal::SIGHUP);
    gateway.line_with("INFO reloaded");
    expect_gateway(&mut client(old).await).await;
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exit().0.code(), Some(0));
}

#[tokio::test]
async fn a_listener_that_is_in_nobodys_way_keeps_its_connections_through_a_refused_reload() {
    let (_foreign, port) = foreign();
    let (old, taken) = (SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([127, 0, 0, 2], port)));
    let folder = Folder::new();
    let device = folder.path("none");
    let file = folder.write("metergate.yaml", &config(&[old], &device, "Panel"));
    let mut gateway = run(&file);
    assert_eq!(gateway.listening(), old);
    let mut client = client(old).await;
    expect_gateway(&mut client).await;

    folder.write("metergate.yaml", &config(&[taken], &device, "Panel"));
    gateway.signal(Signal::SIGHUP);
    gateway.line_with(&format!("not reloaded: cannot listen on {taken}"));
    expect_gateway(&mut client).await;
}

/// The meters' end of a line, and the name of the gateway's.
struct FarEnd {
    meters: File,
    name: PathBuf,
    /// Keeps the line up while no gateway has it open.
    _held: OwnedFd,
}

impl FarEnd {
    fn new() -> Self {
        let Terminal { far, device, held } = Terminal::open();
        Self { meters: far, name: device, _held: held }
    }

    /// Waits for the read of one holding register of `unit` at `address`.
    fn expect_read(&mut self, unit: u8, address: u8) {
        assert!(self.has_request_within(20_000), "no read of unit {unit}");
        let mut adu = [0; 8];
        self.meters.read_exact(&mut adu).unwrap();
        assert_eq!(adu[..], rtu::encode(unit, &[3, 0, address, 0, 1])[..]);
    }

    /// Whether a request begins to arrive within so many milliseconds; returns as soon as one does.
    fn has_request_within(&self, at_most: u16) -> bool {
        poll(&mut [PollFd::new(self.meters.as_fd(), PollFlags::POLLIN)], at_most).unwrap() > 0
    }

    fn answer(&mut self, unit: u8, value: u16) {
        let [high, low] = value.to_be_bytes();
        self.meters.write_all(&rtu::encode(unit, &[3, 2, high, low])).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_unit_owes_the_bus_before_a_reload_is_not_given_to_the_first_request_after_it() {
    let mut far = FarEnd::new();
    let folder = Folder::new();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let file = folder.write("metergate.yaml", &config(&[any], &far.name, "Panel"));
    let mut gateway = run(&file);
    let mut client = client(gateway.listening()).await;
    gateway.line_with("port open");
    let silent = client.read_holding_registers(0, 1).await.unwrap().unwrap_err();
    assert_eq!(ExceptionCode(silent.into()), ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    far.expect_read(1, 0);

    folder.write("metergate.yaml", &config(&[any], &far.name, "Panel 1"));
    gateway.signal(Signal::SIGHUP);
    gateway.line_with("INFO reloaded");
    let asked = tokio::spawn(async move { client.read_holding_registers(100, 1).await });
    // Late by so much that a bus which does not wait would have sent a request by now.
    assert!(!far.has_request_within(500), "the unit still owes an answer");
    far.answer(1, 0xAAAA);
    far.expect_read(1, 100);
    far.answer(1, 0x1234);
    assert_eq!(asked.await.unwrap().unwrap().unwrap(), [0x1234]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_does_not_wait_for_the_request_on_a_wire_and_a_stop_does() {
    let mut far = FarEnd::new();
    let folder = Folder::new();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let file = folder.write("metergate.yaml", &config(&[any], &far.name, "Panel"));
    let mut gateway = run(&file);
    let mut client = client(gateway.listening()).await;
    gateway.line_with("port open");
    let asked = tokio::spawn(async move { client.read_holding_registers(0, 1).await });
    far.expect_read(1, 0);

    folder.write("metergate.yaml", &config(&[any], &far.name, "Panel 1"));
    gateway.signal(Signal::SIGHUP);
    gateway.line_with("INFO reloaded");
    gateway.signal(Signal::SIGTERM);
    gateway.line_with("stopping");
    far.answer(1, 0x1234);
    assert_eq!(asked.await.unwrap().unwrap().unwrap(), [0x1234], "what was on the wire is answered");
    let (status, said) = gateway.exit();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_under_another_name_takes_over_the_open_port_and_what_is_owed_there() {
    let (mut far, other) = (FarEnd::new(), FarEnd::new());
    let folder = Folder::new();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let buses = [Bus("east", &far.name, 1, "2s"), Bus("west", &other.name, 2, "2s")];
    let file = folder.write("metergate.yaml", &config_of(any, &buses));
    let mut gateway = run(&file);
    let mut client = client(gateway.listening()).await;
    let silent = client.read_holding_registers(0, 1).await.unwrap().unwrap_err();
    assert_eq!(ExceptionCode(silent.into()), ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    far.expect_read(1, 0);

    folder.write("metergate.yaml", &config_of(any, &[Bus("shaft", &far.name, 1, "2s")]));
    gateway.signal(Signal::SIGHUP);
    gateway.line_with("INFO reloaded");
    let asked = tokio::spawn(async move { client.read_holding_registers(100, 1).await });
    // Late by so much that a bus which does not wait would have sent a request by now.
    assert!(!far.has_request_within(500), "the unit still owes an answer");
    far.answer(1, 0xAAAA);
    far.expect_read(1, 100);
    far.answer(1, 0x1234);
    assert_eq!(asked.await.unwrap().unwrap().unwrap(), [0x1234]);
    gateway.signal(Signal::SIGTERM);
    expect_openings(2, gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_moves_to_the_device_of_one_that_is_gone_waits_until_that_is_free() {
    let (mut far, other) = (FarEnd::new(), FarEnd::new());
    let folder = Folder::new();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    // Requests to the second wait for five seconds after its port was opened.
    let buses = [Bus("east", &far.name, 1, "100ms"), Bus("west", &other.name, 2, "4s")];
    let file = folder.write("metergate.yaml", &config_of(any, &buses));
    let mut gateway = run(&file);
    let address = gateway.listening();
    let (mut first, mut second) = (client_of(address, 1).await, client_of(address, 2).await);
    let waits = tokio::spawn(async move { second.read_holding_registers(7, 1).await });
    let lost = tokio::spawn(async move { first.read_holding_registers(0, 1).await });
    far.expect_read(1, 0);

    // The first has the device until its unit has had time to answer.
    folder.write("metergate.yaml", &config_of(any, &[Bus("west", &far.name, 2, "100ms")]));
    gateway.signal(Signal::SIGHUP);
    far.expect_read(2, 7);
    far.answer(2, 0x1234);
    assert_eq!(waits.await.unwrap().unwrap().unwrap(), [0x1234], "what waited is asked on the new device");
    let silent = lost.await.unwrap().unwrap().unwrap_err();
    assert_eq!(ExceptionCode(silent.into()), ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    gateway.signal(Signal::SIGTERM);
    expect_openings(3, gateway);
}

/// The program ends well, and has opened a port so many times without having lost one or failed to.
fn expect_openings(count: usize, gateway: Program) {
    let (status, said) = gateway.exit();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(said.matches("port open: ").count(), count, "{said}");
    assert!(!said.contains("cannot open") && !said.contains("port lost"), "{said}");
}
