//! The gateway under test: the built program, in a process of its own, on a line of ours.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::client::{self, Read};
use super::wire::{self, Wire};

/// The program under test: the one just built, or another, such as a static one, by its path in `METERGATE_PROGRAM`.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("METERGATE_PROGRAM")
        .map_or_else(|| env!("CARGO_BIN_EXE_metergate").into(), PathBuf::from)
}

/// Memory of a process, KiB.
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// The most that ever was.
    pub(crate) most: u64,
    /// Of `resident`, what it wrote itself. The rest are pages of the program's file and of the system's libraries.
    pub(crate) own: u64,
}

/// A running gateway; ended when dropped.
pub(crate) struct Gateway {
    child: Child,
    lines: Receiver<String>,
    /// Lines received while another was awaited: two tasks of the gateway log in no order.
    passed: Vec<String>,
    file: PathBuf,
    address: SocketAddr,
}

/// The configuration of a gateway; other keys have their defaults, apart from limits, which suit a line shared by 500
/// clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Of the line.
    pub(crate) baud_rate: u32,
    /// The `framing` of each listener; the first is `tcp`.
    pub(crate) framings: &'static [&'static str],
    /// The listener's `max_age`.
    pub(crate) max_age: &'static str,
    /// The listener's.
    pub(crate) request_deadline: &'static str,
    /// The bus's `merge_gap`.
    pub(crate) merge_gap: u16,
    /// The units, as in the file.
    pub(crate) units: &'static str,
}

impl Setup {
    /// Units 1 to 8, everything from the line.
    pub(crate) fn new(baud_rate: u32) -> Self {
        Self {
            baud_rate,
            framings: &["tcp"],
            max_age: "0s",
            request_deadline: "30s",
            merge_gap: 0,
            units: "{id: 1-8}",
        }
    }
}

impl Gateway {
    /// Units 1 to 8, everything from the line.
    pub(crate) fn start(line: &Wire, baud_rate: u32) -> Self {
        Self::set_up(line, &Setup::new(baud_rate))
    }

    /// With one listener with this `max_age`, and `units` as in the file.
    pub(crate) fn serving(line: &Wire, baud_rate: u32, max_age: &'static str, units: &'static str) -> Self {
        Self::set_up(line, &Setup { max_age, units, ..Setup::new(baud_rate) })
    }

    /// With one line.
    pub(crate) fn set_up(line: &Wire, setup: &Setup) -> Self {
        let Setup { baud_rate, framings, max_age, request_deadline, merge_gap, units } = setup;
        let device = line.device().display();
        let listener = |framing: &&str| {
            format!(
                "  - address: 127.0.0.1:0\n    framing: {framing}\n    max_age: {max_age}\n    \
                 request_deadline: {request_deadline}\n    max_connections: 600\n    \
                 max_connections_per_ip: 600\n"
            )
        };
        let listeners: String = framings.iter().map(listener).collect();
        let text = format!(
            "listeners:\n{listeners}buses:\n  - name: bench\n    device: {device}\n    \
             baud_rate: {baud_rate}\n    merge_gap: {merge_gap}\n    units:\n      - {units}\n\
             status: {{address: 127.0.0.1:0}}\n"
        );
        Self::run(line, &text)
    }

    /// With unit 1 of a Modbus TCP server, everything from there.
    pub(crate) fn before_server(server: SocketAddr) -> Self {
        let text = format!(
            "listeners:\n  - address: 127.0.0.1:0\n    max_age: 0s\nbuses:\n  - name: bench\n    \
             device: modbus-tcp://{server}\n    units: [{{id: 1}}]\nstatus: \"off\"\n"
        );
        Self::launch(&format!("server-{}", server.port()), &text)
    }

    /// With this configuration, of which `line` has unit 1. Returns once the gateway has begun to send: after a start the
    /// line is silent until answers to earlier requests can no longer come.
    pub(crate) fn run(line: &Wire, text: &str) -> Self {
        let device = line.device().file_name().expect("a device has a name");
        Self::launch(&device.display().to_string(), text)
    }

    fn launch(name: &str, text: &str) -> Self {
        let file = std::env::temp_dir().join(format!("metergate-bench-{}-{name}.yaml", std::process::id()));
        fs::write(&file, text).expect("the temporary folder can be written");
        let mut child = Command::new(program())
            .args(["run", "--config"])
            .arg(&file)
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built program starts");
        let stderr = child.stderr.take().expect("it was asked for");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut gateway = Self { child, lines, passed: vec![], file, address: SocketAddr::from(([0; 4], 0)) };
        let listening = gateway.line_with("listening");
        gateway.line_with("port open");
        gateway.address = address_in(&listening);
        let mut stream = TcpStream::connect(gateway.address).expect("the gateway listens");
        assert_eq!(client::ask(&mut stream, 0, APART), None, "the first read of a good line");
        gateway
    }

    /// The address of its status page; may be called once.
    pub(crate) fn status_address(&mut self) -> SocketAddr {
        address_in(&self.line_with("status page address="))
    }

    /// The first listener's address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the next listener, in the order of the file; may be called once for each beyond the first.
    pub(crate) fn further_address(&mut self) -> SocketAddr {
        address_in(&self.line_with("listening"))
    }

    /// Waits for a line of the log that contains `text`.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        if let Some(index) = self.passed.iter().position(|line| line.contains(text)) {
            return self.passed.swap_remove(index);
        }
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => self.passed.push(line),
                Err(_) => panic!("the gateway never said {text:?}"),
            }
        }
    }

    pub(crate) fn memory(&self) -> Memory {
        let status = fs::read_to_string(proc(&self.child, "status")).expect("it runs");
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim_end_matches(" kB").trim().parse().ok()
        };
        let value = |key| value(key).expect("Linux tells");
        Memory { resident: value("VmRSS:"), most: value("VmHWM:"), own: value("RssAnon:") }
    }

    /// Processor time it has taken since it started.
    pub(crate) fn processor_time(&self) -> Duration {
        processor_time(&self.child)
    }
}

/// Processor time a process has taken since it started.
pub(crate) fn processor_time(process: &Child) -> Duration {
    let tasks = fs::read_dir(proc(process, "task")).expect("it runs");
    let nanos = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// The address a line of the log names.
fn address_in(line: &str) -> SocketAddr {
    line.split("address=")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .expect("it says where it listens")
}

fn proc(process: &Child, name: &str) -> PathBuf {
    Path::new("/proc").join(process.id().to_string()).join(name)
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It has ended by itself or ends now; the result does not matter.
        let _ended = self.child.kill();
        let _status = self.child.wait();
        let _removed = fs::remove_file(&self.file);
    }
}

/// A register that no bench reads, far from all that they read.
const APART: Read = Read { unit: 1, function: wire::HOLDING, start: 0x7F00, quantity: 1 };

/// Longest wait for a line of the log.
const PATIENCE: Duration = Duration::from_secs(20);
