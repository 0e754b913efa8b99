//! The port of the built program is taken away and given back: page, JSON, metrics, `doctor` and the diagnostics unit
//! all say the same of its meters.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::page::get;
use crate::support::program::{Folder, Program, chain};

const UNITS: usize = 3;

struct Gateway {
    listener: SocketAddr,
    page: SocketAddr,
    _program: Program,
}

impl Gateway {
    fn start(folder: &Folder) -> Self {
        let text = format!(
            "listeners: [{{address: '127.0.0.1:0'}}]\ndiagnostics_unit: 247\nbuses:\n  - name: riser\n    device: \
             {}\n    units: [{{id: 1-{UNITS}, profile: leviton-4000r, poll: 1s}}]\nstatus: {{address: \
             '127.0.0.1:0'}}\n",
            folder.path("line").display()
        );
        let config = folder.write("metergate.yaml", &text);
        let mut program = Program::start(["run".as_ref(), "--config".as_ref(), config.as_os_str()]);
        let page = program.status_page();
        Self { listener: program.listening(), page, _program: program }
    }

    /// Waits until everything says that all units are in this state; panics once `patience` is over.
    fn wait_until_all_say(&self, state: &str, title: &str, register: u16, patience: Duration) {
        let until = Instant::now() + patience;
        loop {
            let wrong = self.who_says_otherwise(state, title, register);
            if wrong.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "not {state} after {patience:?}:\n{}", wrong.join("\n"));
            std::thread::yield_now();
        }
    }

    fn who_says_otherwise(&self, state: &str, title: &str, register: u16) -> Vec<String> {
        let is_up = state == "online";
        let status = get(self.page, "/api/v1/status").json();
        let units = status["units"].as_array().unwrap();
        let json = units.len() == UNITS
            && units.iter().all(|unit| unit["state"] == state)
            && status["buses"][0]["units"][state] == UNITS
            && status["ready"] == is_up
            && (is_up || status["buses"][0]["utilisation_percent"] == 0.0);
        let page = get(self.page, "/").body;
        let words = page.matches(&format!("data-state=\"{title}\"")).count();
        let sum = page
            .contains(&format!("<strong>{}</strong> meters on-line", if is_up { UNITS } else { 0 }))
            || page.contains(&format!("{} of {UNITS}", if is_up { UNITS } else { 0 }));
        let is_grey = page.contains("class=\"kw old\"") != is_up;
        let metrics = get(self.page, "/metrics").body;
        let up = (1..=UNITS).all(|unit| {
            let labels = format!("{{bus=\"riser\",unit=\"{unit}\"");
            metrics.contains(&format!("metergate_unit_up{labels}}} {}\n", u8::from(is_up)))
                && metrics.contains(&format!("metergate_unit_state{labels},state=\"{state}\"}} 1\n"))
        });
        let is_summed = metrics.contains("metergate_meter_real_power_watts{");
        let doctor = Command::new(env!("CARGO_BIN_EXE_metergate"))
            .args(["doctor", "--status", &self.page.to_string()])
            .output()
            .unwrap();
        let doctor = String::from_utf8(doctor.stdout).unwrap();
        let answering = format!("{} of {UNITS} units answer", if is_up { UNITS } else { 0 });
        let all_well = doctor.matches(", all well").count() == if is_up { UNITS } else { 0 };
        let named = doctor.matches(&format!(" {title}: ")).count() == UNITS;
        let of_unit = |unit: u16| self.diagnostics(100 + 20 * unit, 1)[0];
        let lost = self.diagnostics(27, 1)[0];
        let registers = (1..=3).all(|unit| of_unit(unit) == register) && (lost == 0) == is_up;
        [
            (json, format!("JSON: {status}")),
            (words == UNITS && sum && is_grey, format!("page: {page}")),
            (up && is_summed == is_up, format!("metrics: {metrics}")),
            (all_well && named && doctor.contains(&answering), format!("doctor: {doctor}")),
            (registers, format!("diagnostics unit: {lost} lost")),
        ]
        .into_iter()
        .filter_map(|(is_right, said)| (!is_right).then_some(said))
        .collect()
    }

    fn diagnostics(&self, address: u16, quantity: u16) -> Vec<u16> {
        let mut client = TcpStream::connect(self.listener).unwrap();
        let [a, b] = address.to_be_bytes();
        client.write_all(&[0, 1, 0, 0, 0, 6, 247, 3, a, b, 0, u8::try_from(quantity).unwrap()]).unwrap();
        let mut reply = vec![0; 9 + 2 * usize::from(quantity)];
        client.read_exact(&mut reply).unwrap();
        reply[9..].chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect()
    }
}

#[test]
fn a_port_that_is_gone_makes_its_meters_unreachable_everywhere_and_its_return_ends_it() {
    let folder = Folder::new();
    let line = chain(&folder.path("line"), "1-3");
    let gateway = Gateway::start(&folder);
    gateway.wait_until_all_say("online", "on-line", 1, Duration::from_secs(15));
    line.signal(Signal::SIGTERM);
    let _ended = line.exit();
    gateway.wait_until_all_say("unreachable", "unreachable", 4, Duration::from_secs(2));
    let _line = chain(&folder.path("line"), "1-3");
    gateway.wait_until_all_say("online", "on-line", 1, Duration::from_secs(3));
}
