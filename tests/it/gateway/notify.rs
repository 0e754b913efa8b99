//! Notifications of the built program to a service manager, through a socket like systemd's.

use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio_modbus::client::tcp;
use tokio_modbus::prelude::Reader;

use crate::support::program::{Folder, Program};

/// A service manager's end of the socket.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        Self::hearing(UnixDatagram::bind(path).unwrap())
    }

    fn hearing(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next notification.
    fn told(&self) -> String {
        let mut text = [0; 4096];
        let length = self.0.recv(&mut text).expect("the program says something in time");
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    /// The next notification that is not the watchdog's.
    fn told_of_state(&self) -> String {
        loop {
            let told = self.told();
            if told != "WATCHDOG=1" {
                return told;
            }
        }
    }
}

/// One bus on a device that is not there.
fn config(address: &str, bus: &str, device: &Path) -> String {
    format!(
        "status: off\nlisteners: [{{address: '{address}'}}]\n\
         buses: [{{name: {bus}, device: {}, units: [{{id: 1}}]}}]\n",
        device.display()
    )
}

fn run(config: &Path, variables: &[(&str, &str)]) -> Program {
    Program::start_with(["run".as_ref(), "--config".as_ref(), config.as_os_str()], variables)
}

/// The address in "serving riser on ADDRESS".
fn address(ready: &str) -> SocketAddr {
    ready.rsplit(' ').next().and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{ready:?}"))
}

#[tokio::test]
async fn ready_is_notified_when_clients_can_connect_and_stopping_at_the_end() {
    let folder = Folder::new();
    let socket = folder.path("notify");
    let manager = Manager::at(&socket);
    let file = folder.write("metergate.yaml", &config("127.0.0.1:0", "riser", &folder.path("none")));
    let gateway = run(&file, &[("NOTIFY_SOCKET", socket.to_str().unwrap())]);
    let ready = manager.told();
    assert!(ready.starts_with("READY=1\nSTATUS=serving riser on 127.0.0.1:"), "{ready:?}");
    // At this very moment, without trying again; the device is absent, and that is no reason to wait.
    let mut client = tcp::connect(address(&ready)).await.unwrap();
    client.read_holding_registers(0, 1).await.unwrap().unwrap_err();

    gateway.signal(Signal::SIGTERM);
    assert_eq!(manager.told().lines().next(), Some("STOPPING=1"));
    assert_eq!(gateway.exit().0.code(), Some(0));
}

#[test]
fn the_state_of_the_gateway_is_notified_as_the_command_status_prints_it() {
    let folder = Folder::new();
    let socket = folder.path("notify");
    let manager = Manager::at(&socket);
    let file = folder.write("metergate.yaml", &config("127.0.0.1:0", "riser", &folder.path("none")));
    let _gateway = run(&file, &[("NOTIFY_SOCKET", socket.to_str().unwrap())]);
    assert!(manager.told().starts_with("READY=1\n"));
    let state = manager.told();
    let line = state.strip_prefix("STATUS=CRITICAL - 0 of 1 units answer; bus riser: The port is closed: ");
    assert!(line.is_some_and(|line| line.contains("; serving riser on 127.0.0.1:")), "{state:?}");
    assert_eq!(state.lines().count(), 1, "{state:?}");
}

#[test]
fn a_program_that_cannot_listen_never_notifies_ready() {
    let folder = Folder::new();
    let socket = folder.path("notify");
    let manager = Manager::at(&socket);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = folder.write("metergate.yaml", &config(&address, "riser", &folder.path("none")));
    let (status, said) = run(&file, &[("NOTIFY_SOCKET", socket.to_str().unwrap())]).exit();
    assert_eq!(status.code(), Some(4), "{said}");
    manager.0.set_nonblocking(true).unwrap();
    assert!(manager.0.recv(&mut [0; 64]).is_err(), "nothing is said");
}

#[test]
fn a_reload_is_announced_with_its_time_and_ends_with_ready_whatever_came_of_it() {
    let folder = Folder::new();
    let name = format!("metergate-test-{}", std::process::id());
    // A name outside the file system, as containers have it.
    let address = net::SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::hearing(UnixDatagram::bind_addr(&address).unwrap());
    let file = folder.write("metergate.yaml", &config("127.0.0.1:0", "riser", &folder.path("none")));
    let gateway = run(&file, &[("NOTIFY_SOCKET", &format!("@{name}"))]);
    assert!(manager.told().starts_with("READY=1\n"));

    folder.write("metergate.yaml", &config("127.0.0.1:0", "riser-b", &folder.path("none")));
    gateway.signal(Signal::SIGHUP);
    let reloading = manager.told();
    let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| rest.lines().next());
    assert!(usec.is_some_and(|usec| usec.parse::<u64>().is_ok_and(|usec| usec > 0)), "{reloading:?}");
    let ready = manager.told();
    assert!(ready.starts_with("READY=1\nSTATUS=serving riser-b on "), "{ready:?}");

    folder.write("metergate.yaml", "listeners: []\n");
    gateway.signal(Signal::SIGHUP);
    assert!(manager.told().starts_with("RELOADING=1\n"));
    assert_eq!(manager.told(), ready, "what was refused changed nothing");
}

#[test]
fn the_watchdog_is_fed_with_an_absent_port_and_after_a_bus_was_replaced() {
    let folder = Folder::new();
    let socket = folder.path("notify");
    let manager = Manager::at(&socket);
    let file = folder.write("metergate.yaml", &config("127.0.0.1:0", "riser", &folder.path("none")));
    let variables = [("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let gateway = run(&file, &variables);
    assert!(manager.told_of_state().starts_with("READY=1\n"));
    for _ in 0..5 {
        assert_eq!(manager.told(), "WATCHDOG=1");
    }
    folder.write("metergate.yaml", &config("127.0.0.1:0", "riser-b", &folder.path("none")));
    gateway.signal(Signal::SIGHUP);
    assert!(manager.told_of_state().starts_with("RELOADING=1\n"));
    assert!(manager.told_of_state().contains("serving riser-b"));
    for _ in 0..5 {
        assert_eq!(manager.told(), "WATCHDOG=1");
    }
}

#[test]
fn without_a_service_manager_the_program_runs_as_it_does() {
    let folder = Folder::new();
    let gone = folder.path("missing");
    let file = folder.write("metergate.yaml", &config("127.0.0.1:0", "riser", &folder.path("none")));
    let mut gateway = run(&file, &[("NOTIFY_SOCKET", gone.to_str().unwrap()), ("WATCHDOG_USEC", "200000")]);
    gateway.line_with("cannot be reached");
    gateway.line_with("started");
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.exit().0.code(), Some(0));
}

/// How long a test waits for a notification that must come.
const PATIENCE: Duration = Duration::from_secs(20);
