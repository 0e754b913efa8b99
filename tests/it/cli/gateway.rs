//! The commands that read a configuration or run the gateway, as the built program.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_metergate"))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

/// A folder of its own for each test, so that they may run at once.
fn folder(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("metergate-gateway-{}-{test}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A configuration for one unit on a device that is not there.
fn configuration(folder: &Path, address: &str) -> PathBuf {
    let path = folder.join("metergate.yaml");
    let text = format!(
        "listeners: [{{address: \"{address}\"}}]\nbuses: [{{name: line, device: {}, units: [{{id: 1}}]}}]\nstatus: off\n",
        folder.join("no-device").display()
    );
    fs::write(&path, text).unwrap();
    path
}

fn run(command: &str, configuration: &Path) -> Output {
    program().args([command, "--config"]).arg(configuration).output().unwrap()
}

/// The next line of the log that contains `part`.
fn wait_for(log: &mut BufReader<ChildStderr>, part: &str) -> String {
    let mut line = String::new();
    while !line.contains(part) {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the log ended before '{part}'");
    }
    line
}

/// Real power of unit 1 as a client reads it, or the exception it is given.
fn read_power(address: SocketAddr) -> Result<f32, u8> {
    read_power_of(1, address)
}

fn read_power_of(unit: u8, address: SocketAddr) -> Result<f32, u8> {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(&[0, 9, 0, 0, 0, 6, unit, 3, 1, 4, 0, 2]).unwrap();
    let mut head = [0; 9];
    client.read_exact(&mut head).unwrap();
    assert_eq!(head[..2], [0, 9]);
    if head[7] != 3 {
        return Err(head[8]);
    }
    let mut value = [0; 4];
    client.read_exact(&mut value).unwrap();
    Ok(f32::from_be_bytes(value))
}

#[test]
fn check_is_short_shows_the_resolved_configuration_where_it_is_wanted_and_opens_nothing() {
    let folder = folder("good");
    // The address is taken: a program that opens it would end.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = configuration(&folder, &taken.local_addr().unwrap().to_string());
    for arguments in [&["check", "--config"][..], &["check", "-c"], &["check"], &["check", "--effective"]] {
        let output = program().args(arguments).arg(&path).output().unwrap();
        let (shown, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        let is_effective = arguments.contains(&"--effective");
        assert_eq!(shown.contains("baud_rate: 19200"), is_effective, "{shown}");
        let verdict = if is_effective { "\n# ok\n" } else { "\nok\n" };
        assert!(shown.contains("# Bus budget of line") && shown.ends_with(verdict), "{shown}");
        if is_effective {
            metergate::config::parse(shown, "shown.yaml").unwrap();
        }
        assert!(said.contains("warning: bus line: there is no device"), "{said}");
        assert!(
            said.contains("note: bus line: unit 1 has no profile") && said.contains("add `profile: "),
            "{said}"
        );
        assert!(said.contains("warning: listeners[0].address: ") && said.lines().count() == 3, "{said}");
    }
    let both = program().arg("check").arg(&path).arg("-c").arg(&path).output().unwrap();
    assert_eq!(both.status.code(), Some(2), "a file once");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn check_warns_of_files_that_are_no_serial_port_and_of_a_directory_for_the_audit() {
    let folder = folder("no-port");
    let path = configuration(&folder, "127.0.0.1:0");
    let kept = fs::read_to_string(&path).unwrap();
    let device = folder.join("no-device").display().to_string();
    let file = path.display().to_string();
    for (name, expected) in [("/dev/ptmx".to_owned(), false), ("/dev/null".to_owned(), true), (file, true)] {
        let audit = folder.display();
        fs::write(&path, kept.replace(&device, &name) + &format!("audit: {{file: {audit}}}\n")).unwrap();
        let output = run("check", &path);
        let said = text(&output.stderr);
        assert_eq!(
            said.contains(&format!("warning: bus line: {name} is no serial port")),
            expected,
            "{said}"
        );
        assert!(
            said.contains(&format!("warning: audit.file: {audit} is a directory, and `run` does not")),
            "{said}"
        );
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn check_says_what_cannot_be_promised_behind_a_serial_server_and_connects_to_none() {
    let folder = folder("serial-server");
    let path = configuration(&folder, "127.0.0.1:0");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let address = server.local_addr().unwrap();
    let device = folder.join("no-device").display().to_string();
    let kept = fs::read_to_string(&path).unwrap();
    fs::write(&path, kept.replace(&device, &format!("\"tcp://{address}\""))).unwrap();
    let output = run("check", &path);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let expected = format!(
        "note: bus line: the silence of 3.5 characters before a request is kept here, and cannot be promised behind {address}"
    );
    assert!(said.contains(&expected) && !said.contains("there is no device"), "{said}");
    assert_eq!(server.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn check_says_what_the_timeouts_before_another_gateway_must_allow_for() {
    let folder = folder("modbus-tcp");
    let path = configuration(&folder, "127.0.0.1:0");
    let device = folder.join("no-device").display().to_string();
    let kept = fs::read_to_string(&path).unwrap();
    fs::write(&path, kept.replace(&device, "\"modbus-tcp://192.0.2.7:502\"")).unwrap();
    let output = run("check", &path);
    let said = text(&output.stderr);
    let expected = "note: bus line: how long requests take is learned while it runs; if 192.0.2.7:502 is a gateway, \
        response_timeout and the listeners' request_deadline must be longer than it takes to give up on a meter of \
        its own\n";
    assert!(said.contains(expected), "{said}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn check_prints_who_may_do_what_by_the_rules_of_a_listener() {
    let folder = folder("rules");
    let path = configuration(&folder, "127.0.0.1:0");
    let plain = text(&run("check", &path).stdout).to_owned();
    assert!(!plain.contains("Access"), "{plain}");
    let kept = fs::read_to_string(&path).unwrap();
    let rules = "rules: [{role: [Engineer], units: 1, registers: 129-154, may: write}, {from: [10.1.2.3], may: read}]";
    fs::write(&path, kept.replacen("}]\nbuses", &format!(", {rules}}}]\nbuses"), 1)).unwrap();
    let output = run("check", &path);
    let shown = text(&output.stdout);
    let expected = "\
# Access to the listener 127.0.0.1:0
#   role Engineer
#     from             units  registers  may
#     any              1      129-154    read and write
#     10.1.2.3/32      any    any        read
#     everything else                    nothing (0x01)
#   any other role, or none
#     from             units  registers  may
#     10.1.2.3/32      any    any        read
#     everything else                    nothing (0x01)
ok
";
    assert!(shown.ends_with(expected), "{shown}{}", text(&output.stderr));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn check_warns_of_a_file_whose_directory_is_not_there() {
    let folder = folder("no-directory");
    let path = configuration(&folder, "127.0.0.1:0");
    let kept = fs::read_to_string(&path).unwrap();
    let check = |events: &Path| {
        fs::write(&path, format!("{kept}events: {{file: {}}}\n", events.display())).unwrap();
        let output = run("check", &path);
        let said = text(&output.stderr).to_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said
    };
    let said = check(&folder.join("nowhere/events.jsonl"));
    assert!(said.contains("warning: events.file: there is no directory"), "{said}");
    assert!(said.contains("forgets its events at a restart; make it (`install -d"), "{said}");
    assert!(!check(&folder.join("events.jsonl")).contains("events.file"));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_budget_names_the_point_that_is_read_to_bill_by() {
    let folder = folder("bill-by");
    let path = configuration(&folder, "127.0.0.1:0");
    let kept = fs::read_to_string(&path).unwrap();
    fs::write(&path, kept.replace("{id: 1}", "{id: 1, profile: leviton-4000r}")).unwrap();
    let output = run("check", &path);
    let shown = text(&output.stdout);
    let row = shown.lines().find(|row| row.contains("registers 1-2 ")).unwrap_or_else(|| panic!("{shown}"));
    assert!(row.contains("  real_energy_total  "), "{shown}");
    assert!(!shown.contains("bill_by"), "{shown}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_wrong_configuration_ends_check_and_run_with_3_and_names_key_and_line() {
    let folder = folder("bad");
    let path = folder.join("metergate.yaml");
    fs::write(&path, "listeners: [{adress: x}]\nbuses: 7\n").unwrap();
    for (command, path) in [("check", &path), ("run", &path), ("run", &folder.join("not-there"))] {
        let output = run(command, path);
        assert_eq!(output.status.code(), Some(3), "{command}");
        assert!(output.stdout.is_empty());
        assert!(
            text(&output.stderr).contains(&format!("--> {}", path.display())),
            "{}",
            text(&output.stderr)
        );
    }
    let output = run("check", &path);
    let shown = text(&output.stderr);
    assert!(
        ["error: listeners[0].adress: ", "metergate.yaml:1:14\n", "error: buses: ", "metergate.yaml:2:8\n"]
            .iter()
            .all(|part| shown.contains(part)),
        "{shown}"
    );
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_taken_address_ends_run_and_demo_with_4() {
    let folder = folder("taken");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run("run", &configuration(&folder, &address));
    assert_eq!(output.status.code(), Some(4));
    // `check` opens no port, and sees it all the same.
    let path = configuration(&folder, &address);
    let checked = run("check", &path);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    let said = text(&checked.stderr);
    let process = format!("(process {}) listens there already, and", std::process::id());
    assert!(said.contains("warning: listeners[0].address: ") && said.contains(&process), "{said}");
    let said = text(&output.stderr);
    assert!(
        said.contains(&format!("cannot listen on {address} (`listeners[0].address`): Address")),
        "{said}"
    );
    let port = taken.local_addr().unwrap().port();
    assert!(said.contains(&format!("`sudo ss -ltnp 'sport = :{port}'` shows which")), "{said}");
    let output = program().args(["demo", "--listen", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains(&format!("cannot listen on {address} (--listen): Address")));
    fs::remove_dir_all(folder).unwrap();
}

/// Where a demo says that it listens.
fn modbus_address(lines: &mut impl BufRead) -> SocketAddr {
    let mut line = String::new();
    while !line.starts_with("Modbus TCP:") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the demo ended");
    }
    line.trim_end().rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn demo_answers_modbus_tcp_and_ends_cleanly() {
    let mut child = program()
        .args(["demo", "--listen", "127.0.0.1:0", "--status", "127.0.0.1:0", "--units", "1,3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let address = modbus_address(&mut lines);
    assert!(read_power(address).unwrap() > 0.0);
    send(&child, Signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(rest.contains(&format!("mbpoll -m tcp -p {} -a 1", address.port())), "{rest}");
}

#[test]
fn demo_serves_what_a_scenario_leaves_in_order_and_refuses_the_rest() {
    let mut child = program()
        .args(["demo", "--listen", "127.0.0.1:0", "--scenario", "config/scenarios/twelve-with-faults.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let address = modbus_address(&mut lines);
    for unit in 1..=11 {
        let answer = read_power_of(unit, address);
        match unit {
            // Two with one address, one dead, one at another rate.
            5 | 7 | 8 => assert_eq!(answer, Err(0x0B), "unit {unit}"),
            _ => assert!(answer.unwrap() > 0.0, "unit {unit}"),
        }
    }
    send(&child, Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reload_takes_over_a_good_file_and_leaves_the_old_configuration_with_a_bad_one() {
    let folder = folder("reload");
    let path = configuration(&folder, "127.0.0.1:0");
    let mut child = program()
        .args(["run", "--config"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let listening = wait_for(&mut log, "listening");
    let address: SocketAddr = listening.trim_end().rsplit('=').next().unwrap().parse().unwrap();
    wait_for(&mut log, "started");

    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, "listeners: 7\n").unwrap();
    send(&child, Signal::SIGHUP);
    wait_for(&mut log, "listeners: ");
    wait_for(&mut log, "not reloaded");
    assert_eq!(read_power(address), Err(0x0A), "still there, and its device is not");

    fs::write(&path, good).unwrap();
    send(&child, Signal::SIGHUP);
    wait_for(&mut log, "reloaded");
    assert_eq!(read_power(address), Err(0x0A));

    send(&child, Signal::SIGTERM);
    wait_for(&mut log, "stopped");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn log_lines_carry_a_priority_only_where_stderr_is_the_journal() {
    let folder = folder("journal");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = configuration(&folder, &taken.local_addr().unwrap().to_string());
    let logged = |stream: fn(&fs::Metadata) -> String| {
        let log = folder.join("log");
        let file = File::create(&log).unwrap();
        let stream = stream(&file.metadata().unwrap());
        let mut command = program();
        command.args(["run", "--config"]).arg(&path).env("JOURNAL_STREAM", stream).stderr(file);
        assert_eq!(command.status().unwrap().code(), Some(4));
        fs::read_to_string(log).unwrap()
    };
    let journal = logged(|file| format!("{}:{}", file.dev(), file.ino()));
    assert!(journal.starts_with("<3>cannot listen on"), "{journal}");
    let file = logged(|_| "1:1".to_owned());
    assert!(file.starts_with("20") && file.contains("Z ERROR cannot listen on"), "{file}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_log_level_of_the_command_line_goes_before_the_files() {
    let folder = folder("level");
    let path = configuration(&folder, "127.0.0.1:0");
    let quiet = fs::read_to_string(&path).unwrap() + "log_level: error\n";
    fs::write(&path, quiet).unwrap();
    let mut child = program()
        .args(["--log-level", "info", "run", "--config"])
        .arg(&path)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    wait_for(&mut log, "started");
    send(&child, Signal::SIGTERM);
    wait_for(&mut log, "stopped");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    fs::remove_dir_all(folder).unwrap();
}

/// A server of another kind: it says yes to everything.
fn foreign_server() -> SocketAddr {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let mut request = BufReader::new(stream.try_clone().unwrap());
            while request.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            let _gone =
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nyes");
        }
    });
    address
}

#[test]
fn another_http_server_is_not_taken_for_a_gateway() {
    let address = foreign_server().to_string();
    let folder = folder("foreign");
    let file = folder.join("capture.pcapng");
    for (words, code) in [
        (vec!["report"], 5),
        (vec!["trace"], 5),
        (vec!["events"], 5),
        (vec!["doctor"], 5),
        (vec!["capture", file.to_str().unwrap()], 5),
        (vec!["status"], 3),
    ] {
        let output = program().args(&words).args(["--status", &address]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?} {output:?}");
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(said.contains("no metergate") && said.contains(&address), "{words:?} {said}");
        assert!(!said.contains("yes"), "{words:?} {said}");
    }
    assert!(!file.exists(), "a server that is no gateway leaves no file");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_signal_ends_a_command_whose_gateway_does_not_answer() {
    // It takes connections, as a stopped process does, and never answers.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    for (command, code) in
        [("status", 3), ("events", 1), ("report", 1), ("trace", 1), ("doctor", 1), ("capture", 1)]
    {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let file = (command == "capture").then_some("-");
            let mut asking = program();
            asking.arg(command).args(file).args(["--status", &address]);
            let mut asking = asking.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // The command has set up its signals before it connects.
            let (_waiting, _) = server.accept().unwrap();
            let sent = Instant::now();
            send(&asking, signal);
            assert_eq!(asking.wait().unwrap().code(), Some(code), "{command} {signal}");
            assert!(sent.elapsed() < ANSWERED, "{command} {signal} {:?}", sent.elapsed());
        }
    }
}

/// A command waits longer than this for an answer.
const ANSWERED: Duration = Duration::from_secs(4);
