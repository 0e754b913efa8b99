//! The built program with real sockets and a pseudo terminal, read by an independent client.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use metergate::modbus::pdu::ExceptionCode;
use nix::sys::signal::Signal;
use tokio_modbus::client::{Context, tcp};
use tokio_modbus::prelude::{Reader, Slave, SlaveContext, Writer};

use crate::support::program::{Folder, Program, chain};

/// Wire address of the first word of the energy float (register 257), and of the system type (register 130).
const FLOATS: u16 = 256;
const SYSTEM_TYPE: u16 = 129;
/// Register 142, phase-loss threshold in percent: harmless to write.
const PHASE_LOSS: u16 = 141;

fn config(device: &Path, listeners: &str) -> String {
    format!(
        "status: off\nlisteners:\n{listeners}buses:\n  - name: riser\n    device: {}\n    units:\n      - id: 1-3\n      - {{id: 9, name: not there}}\n",
        device.display()
    )
}

fn listener(address: &str, rest: &str) -> String {
    format!("  - address: {address}\n{rest}")
}

/// A chain of three meters, a gateway that reads it and a fourth that is not there, its port open.
struct Site {
    folder: Folder,
    link: PathBuf,
    meters: Program,
    gateway: Program,
    address: SocketAddr,
}

impl Site {
    fn start(listeners: &str) -> Self {
        let folder = Folder::new();
        let link = folder.path("chain");
        let meters = chain(&link, "1-3");
        let file = folder.write("metergate.yaml", &config(&link, listeners));
        let mut gateway = run(&file);
        let address = gateway.listening();
        gateway.line_with("port open");
        Self { folder, link, meters, gateway, address }
    }
}

fn run(config: &Path) -> Program {
    Program::start(["run".as_ref(), "--config".as_ref(), config.as_os_str()])
}

async fn client(address: SocketAddr, unit: u8) -> Context {
    tcp::connect_slave(address, Slave(unit)).await.unwrap()
}

/// The exception code of a call.
fn code<T: std::fmt::Debug>(result: tokio_modbus::Result<T>) -> ExceptionCode {
    let exception = result.unwrap().unwrap_err();
    ExceptionCode(exception.into())
}

#[tokio::test]
async fn a_strange_client_reads_each_meter_through_the_gateway() {
    let site = Site::start(&listener("127.0.0.1:0", ""));
    let mut seen = Vec::new();
    for unit in 1..=3 {
        let mut client = client(site.address, unit).await;
        let floats = client.read_holding_registers(FLOATS, 60).await.unwrap().unwrap();
        assert_eq!(floats.len(), 60);
        let system_type = client.read_input_registers(SYSTEM_TYPE, 1).await.unwrap().unwrap();
        assert!([10, 11, 12, 31, 40].contains(&system_type[0]), "{system_type:?}");
        seen.push(floats);
    }
    assert!(seen[0] != seen[1] && seen[1] != seen[2], "each meter answers for itself");
}

#[tokio::test]
async fn each_refusal_has_its_own_exception_and_the_connection_lives_on() {
    let site = Site::start(&listener("127.0.0.1:0", ""));
    let mut client = client(site.address, 2).await;
    assert_eq!(code(client.write_single_register(PHASE_LOSS, 20).await), ExceptionCode::ILLEGAL_FUNCTION);
    assert_eq!(code(client.read_holding_registers(60, 1).await), ExceptionCode::ILLEGAL_DATA_ADDRESS);
    assert_eq!(code(client.read_coils(0, 1).await), ExceptionCode::ILLEGAL_FUNCTION);
    client.set_slave(Slave(77));
    assert_eq!(code(client.read_holding_registers(0, 1).await), ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    client.set_slave(Slave(0));
    assert_eq!(
        code(client.write_single_register(PHASE_LOSS, 20).await),
        ExceptionCode::GATEWAY_PATH_UNAVAILABLE
    );
    client.set_slave(Slave(9));
    let silent = code(client.read_holding_registers(0, 1).await);
    assert_eq!(silent, ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    client.set_slave(Slave(3));
    assert_eq!(client.read_holding_registers(0, 2).await.unwrap().unwrap().len(), 2);
}

#[tokio::test]
async fn a_write_that_is_allowed_arrives_and_reads_back() {
    let site = Site::start(&listener("127.0.0.1:0", "    writes: allow\n"));
    let mut writer = client(site.address, 1).await;
    let mut reader = client(site.address, 1).await;
    for value in [11, 22, 33] {
        writer.write_single_register(PHASE_LOSS, value).await.unwrap().unwrap();
        assert_eq!(reader.read_holding_registers(PHASE_LOSS, 1).await.unwrap().unwrap(), [value]);
    }
}

#[tokio::test]
async fn a_chain_that_goes_away_gives_0a_and_comes_back_by_itself() {
    let Site { folder: _folder, link, meters, mut gateway, address } =
        Site::start(&listener("127.0.0.1:0", ""));
    let mut client = client(address, 1).await;
    client.read_holding_registers(0, 2).await.unwrap().unwrap();
    meters.signal(Signal::SIGTERM);
    assert!(meters.exit().0.success());
    gateway.line_with("port lost");
    assert_eq!(code(client.read_holding_registers(0, 2).await), ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    let _meters = chain(&link, "1-3");
    gateway.line_with("port open");
    client.read_holding_registers(0, 2).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_reload_changes_what_it_must_and_disturbs_no_connection() {
    let Site { folder, link, meters: _meters, mut gateway, address } =
        Site::start(&listener("127.0.0.1:0", ""));
    let mut client = client(address, 1).await;
    client.read_holding_registers(0, 2).await.unwrap().unwrap();

    // A bad file is refused, with its error, and the old one stays.
    folder.write("metergate.yaml", "listeners: []\nbusses: []\n");
    gateway.signal(Signal::SIGHUP);
    gateway.line_with("busses");
    client.read_holding_registers(0, 2).await.unwrap().unwrap();

    // Permission and an alias change under the open connection.
    let text = config(&link, &listener("127.0.0.1:0", "    writes: allow\n"))
        .replace("id: 1-3", "id: 1-3\n        as: 41");
    folder.write("metergate.yaml", &text);
    gateway.signal(Signal::SIGHUP);
    gateway.line_with("INFO reloaded");
    assert_eq!(code(client.read_holding_registers(0, 2).await), ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    client.set_slave(Slave(41));
    client.write_single_register(PHASE_LOSS, 30).await.unwrap().unwrap();

    gateway.signal(Signal::SIGTERM);
    let (status, said) = gateway.exit();
    assert_eq!(status.code(), Some(0), "{said}");
    // The bus did not change, so its port was opened once.
    assert_eq!(said.matches("port open").count(), 1, "{said}");
}

#[tokio::test]
async fn what_is_in_flight_is_answered_before_the_program_ends() {
    let site = Site::start(&listener("127.0.0.1:0", ""));
    let mut silent = client(site.address, 9).await;
    // Delayed by a unit that never answers, so that the signal finds it in flight.
    let (answer, ()) = tokio::join!(silent.read_holding_registers(0, 1), async {
        let mut other = client(site.address, 1).await;
        other.read_holding_registers(0, 2).await.unwrap().unwrap();
        site.gateway.signal(Signal::SIGTERM);
    });
    assert_eq!(code(answer), ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
    assert_eq!(site.gateway.exit().0.code(), Some(0));
}

#[tokio::test]
async fn a_direction_asked_for_by_name_and_refused_keeps_its_bus_down_and_the_process_up() {
    let folder = Folder::new();
    let link = folder.path("chain");
    let _meters = chain(&link, "1-3");
    let text =
        config(&link, &listener("127.0.0.1:0", "")).replace("    units:", "    direction: rs485\n    units:");
    let file = folder.write("metergate.yaml", &text);
    let mut gateway = run(&file);
    let address = gateway.listening();
    let said = gateway.line_with("cannot open the port: ");
    assert!(said.contains(&format!("{}: `direction: rs485`", link.display())), "{said}");
    let refused = client(address, 1).await.read_holding_registers(0, 2).await;
    assert_eq!(code(refused), ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
}

#[tokio::test]
async fn a_port_another_program_has_open_keeps_its_bus_down_and_that_program_undisturbed() {
    let Site { folder, link, meters: _meters, gateway, address } = Site::start(&listener("127.0.0.1:0", ""));
    let file = folder.write("second.yaml", &config(&link, &listener("127.0.0.1:0", "")));
    let mut second = run(&file);
    let second_address = second.listening();
    let said = second.line_with("cannot open the port: ");
    assert!(said.contains(&format!("{}: another program has it open", link.display())), "{said}");
    let refused = client(second_address, 1).await.read_holding_registers(0, 2).await;
    assert_eq!(code(refused), ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    client(address, 1).await.read_holding_registers(0, 2).await.unwrap().unwrap();
    gateway.signal(Signal::SIGTERM);
    let (_, said) = gateway.exit();
    assert!(!said.contains("port lost"), "{said}");
}

#[tokio::test]
async fn the_trace_level_shows_every_frame_in_both_directions() {
    let folder = Folder::new();
    let link = folder.path("chain");
    let _meters = chain(&link, "1-3");
    let file = folder.write("metergate.yaml", &config(&link, &listener("127.0.0.1:0", "")));
    let trace = ["run", "--log-level", "trace", "--config"].map(AsRef::as_ref);
    let mut gateway = Program::start(trace.into_iter().chain([file.as_os_str()]));
    let address = gateway.listening();
    gateway.line_with("port open");
    client(address, 1).await.read_holding_registers(SYSTEM_TYPE, 1).await.unwrap().unwrap();
    gateway.line_with("sent 01 03 00 81 00 01 ");
    gateway.line_with("received 01");
}

#[tokio::test]
async fn two_risers_numbered_alike_are_told_apart_by_listener_and_by_alias() {
    let folder = Folder::new();
    let (link_a, link_b) = (folder.path("a"), folder.path("b"));
    let (_a, _b) = (chain(&link_a, "1-2"), chain(&link_b, "1-2"));
    let text = format!(
        "status: off\nlisteners:\n  - {{address: '127.0.0.1:0', buses: [a]}}\n  - {{address: '127.0.0.1:0', buses: [a, b2]}}\n\
         buses:\n  - name: a\n    device: {}\n    units: [{{id: 1-2}}]\n\
         \u{20} - name: b2\n    device: {}\n    units: [{{id: 1-2, as: 11}}]\n",
        link_a.display(),
        link_b.display()
    );
    let file = folder.write("metergate.yaml", &text);
    let mut gateway = run(&file);
    let (only_a, both) = (gateway.listening(), gateway.listening());
    gateway.line_with("port open");
    gateway.line_with("port open");
    client(only_a, 1).await.read_holding_registers(0, 2).await.unwrap().unwrap();
    let refused = client(only_a, 11).await.read_holding_registers(0, 2).await;
    assert_eq!(code(refused), ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    for unit in [1, 2, 11, 12] {
        client(both, unit).await.read_holding_registers(0, 2).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_demo_reads_eight_meters_with_no_file_and_no_hardware() {
    let mut demo = Program::start(["demo", "--listen", "127.0.0.1:0", "--status", "127.0.0.1:0"]);
    let said = demo.line_with("Modbus TCP:");
    let address = said.rsplit(' ').next().and_then(|address| address.parse().ok()).unwrap();
    demo.line_with("mbpoll");
    for unit in 1..=8 {
        let mut client = client(address, unit).await;
        assert_eq!(client.read_holding_registers(FLOATS, 2).await.unwrap().unwrap().len(), 2, "unit {unit}");
    }
    demo.signal(Signal::SIGINT);
    let (status, said) = demo.exit();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn a_taken_address_ends_the_program_with_4_before_a_port_is_opened() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = folder.write("metergate.yaml", &config(&folder.path("none"), &listener(&address, "")));
    let (status, said) = run(&file).exit();
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    assert!(!said.contains("open the port"), "{said}");
}

#[test]
fn a_bad_file_ends_the_program_with_3_and_shows_the_place() {
    let folder = Folder::new();
    let file = folder.write("metergate.yaml", "listeners: []\nbuses: []\n");
    let (status, said) = run(&file).exit();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("metergate.yaml:1:"), "{said}");
}
