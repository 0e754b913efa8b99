//! The commands that ask the running gateway, as the built program: `trace`, `capture`, `report`, `doctor` and `status`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::page::{get, get_until, request};
use crate::support::program::{Folder, Program, chain};

const WORD: &str = "correct-horse-battery-staple";

/// Unit 11 for clients is unit 1 on the line; 13 is on nobody's line.
struct Stage {
    folder: Folder,
    config: PathBuf,
    gateway: Program,
    listener: SocketAddr,
    page: SocketAddr,
    _chain: Program,
}

impl Stage {
    fn start(token: bool) -> Self {
        Self::with(token, "off")
    }

    fn with(token: bool, poll: &str) -> Self {
        let folder = Folder::new();
        let chain = chain(&folder.path("line"), "1-2");
        let mut status = "address: '127.0.0.1:0'".to_owned();
        if token {
            let path = folder.write("token", WORD);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            status += &format!(", token_file: {}", path.display());
        }
        let text = format!(
            "listeners: [{{address: '127.0.0.1:0'}}]\nbuses:\n  - name: riser a\n    device: {}\n    units:\n      \
             - {{id: 1-3, as: 11, profile: leviton-4000r, poll: {poll}}}\nstatus: {{{status}}}\n",
            folder.path("line").display()
        );
        let config = folder.write("metergate.yaml", &text);
        let mut gateway = Program::start(["run".as_ref(), "--config".as_ref(), config.as_os_str()]);
        let page = gateway.status_page();
        // The log says where it listens before it says where the page is.
        let listener = gateway.listening();
        Self { folder, config, gateway, listener, page, _chain: chain }
    }

    /// Where `status` says port 0, the command has to be told.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metergate"));
        command.args(words).args(["--status", &self.page.to_string()]);
        command
    }

    fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// The first register of the measurements, or the exception.
    fn read(&self, unit: u8) -> Option<u8> {
        let mut client = TcpStream::connect(self.listener).unwrap();
        client.write_all(&[0, 9, 0, 0, 0, 6, unit, 3, 1, 4, 0, 2]).unwrap();
        let mut head = [0; 9];
        client.read_exact(&mut head).unwrap();
        (head[7] & 0x80 != 0).then_some(head[8])
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Starts a trace and waits until it follows.
fn following(stage: &Stage, words: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = stage.command(&[&["trace"], words].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("following ") && said.contains("times are UTC"), "{said}");
    // The gateway knows of the follower once its answer has begun.
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

fn next(lines: &mut impl BufRead) -> String {
    let mut line = String::new();
    assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the trace ended");
    line
}

fn interrupt(mut child: Child) -> Option<i32> {
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    child.wait().unwrap().code()
}

#[test]
fn a_trace_shows_what_was_asked_for_as_it_happens_and_ends_well() {
    let stage = Stage::start(false);
    let (child, mut lines) = following(&stage, &["--unit", "11", "--bus", "riser a"]);
    assert_eq!(stage.read(12), None);
    assert_eq!(stage.read(11), None);
    let line = next(&mut lines);
    assert!(line.contains(" riser a ") && line.contains(" unit 11 ") && line.contains("127.0.0.1"), "{line}");
    assert!(line.contains("read holding registers 261-262 (real_power_total_f): answered after"), "{line}");
    assert_eq!(interrupt(child), Some(0));
}

#[test]
fn a_trace_as_json_has_the_bytes_and_what_is_kept() {
    let stage = Stage::start(false);
    assert_eq!(stage.read(11), None);
    assert_eq!(stage.read(13), Some(0x0B));
    let (child, mut lines) = following(&stage, &["--json", "--kept", "--outcome", "silent"]);
    let line: Value = serde_json::from_str(&next(&mut lines)).unwrap();
    for (field, expected) in [
        ("kind", Value::from("transaction")),
        ("bus", "riser a".into()),
        ("unit", 13.into()),
        ("line_unit", 3.into()),
        ("client", "127.0.0.1".into()),
        ("function", 3.into()),
        ("register", 261.into()),
        ("quantity", 2.into()),
        ("points", vec!["real_power_total_f"].into()),
        ("outcome", "silent".into()),
        ("exception", Value::Null),
        ("answer_ms", Value::Null),
        ("received", "".into()),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    let request = line["request"].as_str().unwrap();
    assert!(request.starts_with("030301040002") && request.len() == 16, "{request}");
    assert_eq!(interrupt(child), Some(0));
}

#[test]
fn a_trace_of_clients_has_no_polls_and_one_of_failures_no_answers() {
    let stage = Stage::with(false, "1s");
    let (all, mut lines) = following(&stage, &[]);
    let is_poll = (0..100).any(|_| next(&mut lines).contains(" poll "));
    assert!(is_poll, "the gateway polls");
    assert_eq!(interrupt(all), Some(0));
    let (clients, mut lines) = following(&stage, &["--clients"]);
    assert_eq!(stage.read(11), None);
    assert_eq!(stage.read(99), Some(0x0A));
    let shown = [next(&mut lines), next(&mut lines)];
    assert!(shown[0].contains(" unit 11 ") && shown[0].contains("answered after"), "{shown:?}");
    assert!(shown[1].contains(" unit 99 ") && shown[1].contains("0x0A"), "{shown:?}");
    assert_eq!(interrupt(clients), Some(0));
    let (failures, mut lines) = following(&stage, &["--clients", "--failures", "--kept"]);
    let line = next(&mut lines);
    assert!(line.contains(" unit 99 ") && line.contains("0x0A"), "{line}");
    assert_eq!(interrupt(failures), Some(0));
}

#[test]
fn a_trace_ends_with_the_gateway_and_says_so() {
    let stage = Stage::start(false);
    let (mut child, mut lines) = following(&stage, &[]);
    stage.gateway.signal(Signal::SIGTERM);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_capture_is_a_file_of_both_sides_and_is_never_written_over_unasked() {
    let stage = Stage::start(false);
    assert_eq!(stage.read(11), None);
    let file = stage.folder.path("c.pcapng");
    let name = file.to_str().unwrap();
    let done = stage.output(&["capture", name]);
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), ""));
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(bytes[..4], [0x0A, 0x0D, 0x0D, 0x0A]);
    for interface in ["bus riser a", &format!("listener {}", stage.listener)] {
        assert!(bytes.windows(interface.len()).any(|window| window == interface.as_bytes()), "{interface}");
    }
    std::fs::write(&file, "mine").unwrap();
    let refused = stage.output(&["capture", name]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("choose another name, or write over it with --force"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    assert_eq!(stage.output(&["capture", name, "--force"]).status.code(), Some(0));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    assert_eq!(stage.output(&["capture", "-"]).stdout, bytes);
}

#[test]
fn a_capture_goes_on_for_as_long_as_asked() {
    let stage = Stage::start(false);
    // After a start nothing is sent until what was asked before it can have been answered.
    assert_eq!(stage.read(11), None);
    let child = stage.command(&["capture", "-", "--for", "1s"]).stdout(Stdio::piped()).spawn().unwrap();
    get_until(stage.page, "/capture.pcapng?seconds=x", |answer| answer.status == 400);
    assert_eq!(stage.read(11), None);
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    let request = [1, 3, 1, 4, 0, 2];
    assert!(done.stdout.windows(request.len()).any(|window| window == request), "the read is not in it");
}

#[test]
fn a_report_has_everything_but_the_token() {
    let stage = Stage::start(true);
    assert_eq!(stage.read(11), None);
    let path = stage.folder.path("token");
    let token_file = ["--token-file", path.to_str().unwrap()];
    let done = stage.output(&[&["report"], &token_file[..]].concat());
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), ""));
    let report = text(&done.stdout);
    for part in [
        "== program\nmetergate ",
        "\nkernel Linux ",
        "\nport of riser a: 19200 8N1",
        "== configuration",
        &format!("token_file: {}", path.display()),
        "== findings",
        "== /api/v1/status",
        "unit 11 ",
        "(real_power_total_f): answered",
        "== last lines of the log",
        "status page address=",
    ] {
        assert!(report.contains(part), "no {part:?} in:\n{report}");
    }
    assert!(!report.contains(WORD), "the token is in:\n{report}");
    let file = stage.folder.write("report.txt", "mine");
    let refused = stage.output(&[&["report", file.to_str().unwrap()], &token_file[..]].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

#[test]
fn without_the_token_nothing_is_told() {
    let stage = Stage::start(true);
    for words in [&["trace"][..], &["capture", "-"], &["report"], &["doctor"]] {
        let done = stage.output(words);
        assert_eq!(done.status.code(), Some(5), "{words:?}");
        assert!(text(&done.stderr).contains("--token-file"), "{words:?}: {}", text(&done.stderr));
        assert_eq!(text(&done.stdout), "", "{words:?}");
    }
    for path in ["/capture.pcapng", "/api/v1/trace", "/api/v1/report", "/api/v1/findings", "/api/v1/checkup"]
    {
        assert_eq!(get(stage.page, path).status, 401, "{path}");
    }
}

#[test]
fn a_word_that_means_nothing_is_refused_by_the_page() {
    let stage = Stage::start(false);
    for path in ["/api/v1/trace?units=3", "/api/v1/trace?outcome=bad", "/capture.pcapng?seconds=601"] {
        assert_eq!(get(stage.page, path).status, 400, "{path}");
        assert_eq!(request(stage.page, "POST", path, &[]).status, 405, "{path}");
    }
    // The empty answer of a bus that is not there would look like a line on which nothing happens.
    let refused = stage.output(&["trace", "--bus", "riser b"]);
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(2), ""));
    let said = text(&refused.stderr);
    assert!(said.contains("no bus has the name riser b; allowed: riser a"), "{said}");
}

#[test]
fn doctor_asks_the_gateway_and_ends_with_1_where_something_is_wrong() {
    let stage = Stage::start(false);
    while stage.read(13) != Some(0x0B) {}
    assert!(stage.read(11).is_none(), "somebody answers");
    let healthy = stage.output(&["doctor"]);
    let said = text(&healthy.stdout);
    assert!(said.contains("unit 11  "), "{said}");
    let fault = get_until(stage.page, "/api/v1/checkup", |answer| {
        let _again = stage.read(13);
        answer.body.contains("It has not answered since the start")
    });
    assert!(
        fault.json()["buses"][0]["units"][2]["findings"][0]["remedy"].as_str().unwrap().contains("power")
    );
    let done = stage.output(&["doctor"]);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(
        said.contains("unit 13") && said.contains("fault: It has not answered since the start"),
        "{said}"
    );
    assert!(said.contains("do: Other meters on this line answer"), "{said}");
    assert!(
        said.ends_with("2 of 3 units answer; 1 fault, no warnings.\n")
            || said.contains(" of 3 units answer; 1 fault"),
        "{said}"
    );
}

#[test]
fn where_nobody_is_the_way_out_is_said() {
    let stage = Stage::start(false);
    let config = stage.config.to_str().unwrap().to_owned();
    drop(stage.gateway);
    let nobody = stage.page.to_string();
    let run = |words: &[&str]| Command::new(env!("CARGO_BIN_EXE_metergate")).args(words).output().unwrap();
    let done = run(&["trace", "--status", &nobody]);
    assert_eq!(done.status.code(), Some(5));
    let said = text(&done.stderr);
    assert!(said.contains(&nobody) && said.contains("Is it running") && said.contains("--status"), "{said}");
    let target = stage.folder.path("never");
    assert_eq!(run(&["capture", target.to_str().unwrap(), "--status", &nobody]).status.code(), Some(5));
    assert!(!target.exists(), "an empty file was left behind");
    let text_of = std::fs::read_to_string(&config).unwrap();
    let off = text_of.lines().filter(|line| !line.starts_with("status")).collect::<Vec<_>>().join("\n");
    let off = stage.folder.write("off.yaml", &(off + "\nstatus: off\n"));
    let done = run(&["doctor", "--config", off.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(5));
    assert!(text(&done.stderr).contains("`status: off`"), "{}", text(&done.stderr));
    assert_eq!(run(&["report", "--config", "/nowhere.yaml"]).status.code(), Some(3));
    assert_eq!(run(&["doctor", "10.0.0.1:502", "--units", "1"]).status.code(), Some(2));
    for (target, host) in [("10.0.0.1:502", "10.0.0.1"), ("[fd00::1]:502", "[fd00::1]"), ("::1", "[::1]")] {
        let done = run(&["doctor", target]);
        assert_eq!(done.status.code(), Some(2), "{target}");
        let said = text(&done.stderr);
        assert!(said.trim_end().ends_with(&format!("doctor --status {host}")), "{said}");
    }
    let done = run(&["doctor", "/dev/nowhere"]);
    assert!(text(&done.stderr).contains("such as --units 1-12"), "{}", text(&done.stderr));
}

#[test]
fn status_is_a_line_of_a_plugin_and_its_exit_code() {
    let stage = Stage::start(false);
    while stage.read(13) != Some(0x0B) {}
    assert!(stage.read(11).is_none(), "unit 11 answers");
    get_until(stage.page, "/api/v1/checkup", |answer| {
        let _again = stage.read(13);
        answer.body.contains("It has not answered since the start")
    });
    let done = stage.output(&["status"]);
    let line = text(&done.stdout);
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(2), ""), "{line}");
    assert!(
        line.starts_with("METERGATE CRITICAL - ")
            && line.contains("unit 13: It has not answered since the start"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");
    let (_, numbers) = line.split_once(" | ").unwrap();
    assert!(numbers.contains("faults=1;;0;0") && numbers.starts_with("answering="), "{numbers}");

    let one = stage.output(&["status", "--unit", "11"]);
    let line = text(&one.stdout);
    assert_eq!(one.status.code(), Some(0), "{line}");
    assert!(line.starts_with("METERGATE OK - unit 11 on-line | answering=1;;;0;1 "), "{line}");
    assert!(line.contains("answer_time="), "{line}");

    let json = stage.output(&["status", "-j"]);
    assert_eq!(json.status.code(), Some(2));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["state"], &json["units"]), (&"critical".into(), &3.into()), "{json}");
    assert_eq!(json["problems"][0]["about"], "unit 13", "{json}");

    let none = stage.output(&["status", "--unit", "99"]);
    assert_eq!(none.status.code(), Some(3));
    assert!(text(&none.stdout).starts_with("METERGATE UNKNOWN - "), "{}", text(&none.stdout));
}

#[test]
fn status_that_cannot_be_had_is_unknown() {
    let stage = Stage::start(true);
    let said = |done: &Output, part: &str| {
        let line = text(&done.stdout);
        assert_eq!(done.status.code(), Some(3), "{line}");
        assert!(line.starts_with("METERGATE UNKNOWN - ") && line.contains(part), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    };
    said(&stage.output(&["status"]), "--token-file");
    said(&stage.output(&["status", "--nonsense"]), "command line");
    let run = |words: &[&str]| Command::new(env!("CARGO_BIN_EXE_metergate")).args(words).output().unwrap();
    said(&run(&["--log-level", "error", "status", "--unit", "0"]), "command line");
    let bad = stage.folder.write("bad.yaml", "listeners: 7\n");
    let done = run(&["status", "--config", bad.to_str().unwrap()]);
    said(&done, "bad.yaml:1:1: error: ");
    assert!(text(&done.stderr).contains("bad.yaml:1:"), "{}", text(&done.stderr));
    let nobody = stage.page.to_string();
    drop(stage.gateway);
    said(&run(&["status", "--status", &nobody]), "no gateway answers");
}
