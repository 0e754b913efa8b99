//! Events of the built program: a port that goes and comes back, a reload, a restart; in the file and by the command.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use metergate::events::{Event, EventKind};
use nix::sys::signal::Signal;

use crate::support::program::{Folder, Program, chain};

struct Site {
    folder: Folder,
    link: PathBuf,
    file: PathBuf,
}

impl Site {
    fn new() -> Self {
        let folder = Folder::new();
        let link = folder.path("chain");
        let file = folder.path("events.jsonl");
        Self { folder, link, file }
    }

    fn run(&self) -> (Program, SocketAddr) {
        let config = self.configure();
        let mut gateway = Program::start(["run".as_ref(), "--config".as_ref(), config.as_os_str()]);
        let page = gateway.status_page();
        (gateway, page)
    }

    fn configure(&self) -> PathBuf {
        let text = format!(
            "status: {{address: '127.0.0.1:0'}}\nevents: {{file: {}}}\nlisteners: [{{address: '127.0.0.1:0'}}]\n\
             buses: [{{name: riser-a, device: {}, units: [{{id: 1}}]}}]\n",
            self.file.display(),
            self.link.display()
        );
        self.folder.write("metergate.yaml", &text)
    }
}

/// What `metergate events` prints.
fn listed(page: SocketAddr, options: &[&str]) -> String {
    let status = page.to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_metergate"))
        .args(["events", "--status", &status])
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The newest event of a kind, once there is one that fits.
fn wait_for(page: SocketAddr, kind: EventKind, fits: impl Fn(&Event) -> bool) -> Event {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let events: Vec<Event> = serde_json::from_str(&listed(page, &["--json"])).unwrap();
        if let Some(event) = events.iter().find(|event| event.kind == kind && fits(event)) {
            return event.clone();
        }
        assert!(Instant::now() < until, "no such event in {events:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn in_file(file: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn writes_of_a_client_are_one_event_and_refused_ones_count() {
    let site = Site::new();
    let (mut gateway, page) = site.run();
    let mut client = TcpStream::connect(gateway.listening()).unwrap();
    for transaction in 1..=3 {
        client.write_all(&[0, transaction, 0, 0, 0, 6, 1, 6, 0, 141, 0, 5]).unwrap();
        let mut reply = [0; 9];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(reply, [0, transaction, 0, 0, 0, 3, 1, 0x86, 1]);
    }
    let writes = wait_for(page, EventKind::Writes, |event| event.writes == Some(3));
    assert_eq!(writes.client, Some(client.local_addr().unwrap().ip().into()));
    assert_eq!((writes.refused, writes.end), (Some(3), None), "its hour is not over");
}

#[test]
fn a_lost_port_a_reload_and_a_restart_are_events_that_outlast_the_process() {
    let site = Site::new();
    let meters = chain(&site.link, "1");
    let (mut gateway, page) = site.run();
    gateway.line_with("port open");
    drop(meters);
    let lost = wait_for(page, EventKind::PortLost, |event| event.end.is_none());
    assert_eq!(lost.bus.as_deref(), Some("riser-a"));
    assert!(lost.text.starts_with(&site.link.display().to_string()), "{}", lost.text);

    gateway.signal(Signal::SIGHUP);
    let reload = wait_for(page, EventKind::Reload, |_| true);
    assert_eq!(reload.text, "configuration taken over");
    std::fs::write(site.folder.path("metergate.yaml"), "listeners: 7\n").unwrap();
    gateway.signal(Signal::SIGHUP);
    wait_for(page, EventKind::Reload, |event| event.text.starts_with("configuration refused"));

    gateway.signal(Signal::SIGTERM);
    assert!(gateway.exit().0.success());
    assert_eq!(in_file(&site.file).last().unwrap().kind, EventKind::Stop);

    let (mut gateway, page) = site.run();
    let start = wait_for(page, EventKind::Start, |event| event.seconds.is_some());
    assert!(start.id > lost.id);
    let still = wait_for(page, EventKind::PortLost, |event| event.end.is_none());
    assert_eq!((still.id, still.begin), (lost.id, lost.begin), "the same event goes on");
    let _meters = chain(&site.link, "1");
    gateway.line_with("port open");
    let ended = wait_for(page, EventKind::PortLost, |event| event.end.is_some());
    assert_eq!(ended.id, lost.id);

    let table = listed(page, &["-n", "2"]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(lines[1].contains("  start          metergate started"), "{table}");
}

#[test]
fn a_reload_that_names_another_file_moves_all_events_there() {
    let mut site = Site::new();
    let (mut gateway, page) = site.run();
    site.file = site.folder.path("other.jsonl");
    site.configure();
    gateway.signal(Signal::SIGHUP);
    gateway.line_with("reloaded");
    wait_for(page, EventKind::Reload, |_| true);
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.exit().0.success());
    let kinds: Vec<EventKind> = in_file(&site.file).iter().map(|event| event.kind).collect();
    assert!(kinds.contains(&EventKind::Start) && kinds.contains(&EventKind::Reload), "{kinds:?}");
}
