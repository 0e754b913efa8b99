//! Nothing outside the line delays it: a log that is not read, by the built program and a real pipe.

use std::io::{PipeReader, Read, Write, pipe};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::clients::Peer;
use crate::support::counter_unit::CounterUnit;
use crate::support::page;
use crate::support::program::Folder;

/// A gateway before one unit, and the far end of its log.
struct Gateway {
    child: Child,
    log: PipeReader,
    /// Read from the log so far.
    said: String,
    _unit: CounterUnit,
    _folder: Folder,
}

impl Gateway {
    fn start() -> Self {
        let unit = CounterUnit::start();
        let folder = Folder::new();
        let text = format!(
            "listeners: [{{address: '127.0.0.1:0', writes: allow}}]\nbuses:\n  - {{name: riser, device: {}, \
             baud_rate: 115200, echo: off, late_guard: 10ms, units: [{{id: 1}}]}}\n\
             status: {{address: '127.0.0.1:0'}}\n",
            unit.device().display()
        );
        let file = folder.write("metergate.yaml", &text);
        let (log, stderr) = pipe().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_metergate"))
            // A line for each request, so that the pipe is soon full.
            .args([
                "run".as_ref(),
                "--log-level".as_ref(),
                "trace".as_ref(),
                "--config".as_ref(),
                file.as_os_str(),
            ])
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self { child, log, said: String::new(), _unit: unit, _folder: folder }
    }

    /// Reads the log until it contains `text`.
    fn read_until(&mut self, text: &str) {
        let mut buffer = [0; 65_536];
        while !self.said.contains(text) {
            let length = self.log.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "the log ended without {text:?}:\n{}", self.said);
            self.said += &String::from_utf8_lossy(&buffer[..length]);
        }
    }

    fn address_after(&mut self, text: &str) -> SocketAddr {
        self.read_until(text);
        let at = self.said.find(text).unwrap() + text.len();
        let address = |said: &str| said[at..].split_once([' ', '\n']).map(|(address, _)| address.to_owned());
        address(&self.said).expect("lines are written whole").parse().unwrap()
    }

    fn ends_within(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn get(page: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(page).unwrap();
    stream.set_read_timeout(Some(page::PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {page}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn dropped_lines(page: SocketAddr) -> u64 {
    let metrics = get(page, "/metrics");
    let value = metrics.lines().find_map(|line| line.strip_prefix("metergate_log_lines_dropped_total "));
    value.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

#[tokio::test]
async fn a_blocked_log_delays_nothing_and_reports_later_what_it_dropped() {
    let mut gateway = Gateway::start();
    let listener = gateway.address_after(" listening address=");
    let page = gateway.address_after("status page address=");
    gateway.read_until("port open");
    let mut client = Peer::new(tokio::net::TcpStream::connect(listener).await.unwrap());
    while dropped_lines(page) < 100 {
        for _ in 0..50 {
            let reply = client.ask(1, &[0x03, 0, 0, 0, 2]).await.unwrap();
            assert_eq!((reply[0], reply.len()), (0x03, 6), "{reply:02x?}");
        }
    }
    let mut newcomer = Peer::new(tokio::net::TcpStream::connect(listener).await.unwrap());
    assert_eq!(newcomer.ask(1, &[0x03, 0, 0, 0, 2]).await.unwrap()[0], 0x03);
    assert!(get(page, "/health").starts_with("HTTP/1.0 200"));
    // A report has the lines that the log has not.
    let report = get(page, "/api/v1/report");
    let lines = report.split("== last lines of the log").nth(1).unwrap().lines().count();
    assert!(lines > 100 && report.contains("lines of the log dropped "), "{report}");
    gateway.read_until("lines of the log were dropped while it was blocked");
    assert_eq!(client.ask(1, &[0x03, 0, 0, 0, 2]).await.unwrap()[0], 0x03);
}

#[tokio::test]
async fn a_blocked_log_does_not_keep_the_program_from_ending() {
    let mut gateway = Gateway::start();
    let listener = gateway.address_after(" listening address=");
    let page = gateway.address_after("status page address=");
    let mut client = Peer::new(tokio::net::TcpStream::connect(listener).await.unwrap());
    while dropped_lines(page) == 0 {
        client.ask(1, &[0x03, 0, 0, 0, 2]).await.unwrap();
    }
    drop(client);
    kill(Pid::from_raw(i32::try_from(gateway.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(gateway.ends_within(page::PATIENCE), "it waits for a reader of its log");
}

#[test]
fn the_last_words_before_an_exit_come_out() {
    let folder = Folder::new();
    let text = format!(
        "listeners: [{{address: '127.0.0.1:0'}}]\nbuses: [{{name: a, device: /nowhere, units: [{{id: 1}}]}}]\n\
         status: off\naudit: {{file: {}}}\n",
        folder.path("nowhere/audit.jsonl").display()
    );
    let file = folder.write("metergate.yaml", &text);
    let ended = Command::new(env!("CARGO_BIN_EXE_metergate"))
        .args(["run".as_ref(), "--config".as_ref(), file.as_os_str()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(5), "{said}");
    assert!(said.contains("cannot open the audit file") && said.ends_with('\n'), "{said}");
}
