//! The built program as a user or a service manager starts it: what it prints and how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use clap::Parser;
use metergate::cli::args::{Args, Command as Subcommand, Parity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_metergate"))
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A folder of its own for each test, so that they may run at once.
fn folder(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("metergate-cli-{}-{test}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for part in [
        "run",
        "check",
        "demo",
        "simulate",
        "read",
        "write",
        "points",
        "status",
        "token",
        "tls",
        "export",
        "setup",
        "completions",
        "man",
        "--log-level",
        "  4  an address cannot be listened on",
    ] {
        assert!(help.contains(part), "{part}");
    }
    assert!(output.stderr.is_empty());
}

#[test]
fn version_is_the_packages() {
    assert_eq!(text(&run(&["--version"]).stdout), concat!("metergate ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn simulated_lines_take_the_short_options_of_real_ones() {
    let parse = |words: &str| Args::try_parse_from(words.split(' ')).map(|args| args.command);
    let Ok(Subcommand::Demo(demo)) = parse("metergate demo -u 1-3 -b 9600") else { panic!("demo") };
    assert_eq!((demo.units.ids(), demo.baud.get()), (&[1, 2, 3][..], 9600));
    let Ok(Subcommand::Simulate(chain)) = parse("metergate simulate --link l -u 4 -b 9600 -p even") else {
        panic!("simulate")
    };
    let units = chain.units.unwrap();
    assert_eq!((units.ids(), chain.baud.get(), chain.parity), (&[4][..], 9600, Parity::Even));
}

#[test]
fn wrong_usage_ends_with_2_and_says_so_on_stderr() {
    let simulate = |units| vec!["simulate", "--link", "/nowhere/line", "--units", units];
    for arguments in [
        vec![],
        vec!["nonsense"],
        vec!["simulate"],
        simulate("0-3"),
        simulate("1,1"),
        [simulate("1"), vec!["--baud", "299"]].concat(),
        [simulate("1"), vec!["--stop-bits", "3"]].concat(),
        [simulate("1"), vec!["--turnaround", "5"]].concat(),
        [simulate("1"), vec!["--scenario", "s.yaml"]].concat(),
        vec!["simulate", "--link", "/nowhere/line", "--scenario", "s.yaml", "--seed", "1"],
        vec!["demo", "--scenario", "s.yaml", "--units", "1"],
        vec!["completions", "cmd"],
        vec!["man", "nonsense"],
        vec!["--log-level", "loud", "man"],
        vec!["read", "10.0.0.1"],
        vec!["read", "10.0.0.1", "--unit", "0"],
        vec!["read", "10.0.0.1", "--unit", "1", "--json", "--csv"],
        vec!["read", "10.0.0.1", "--unit", "1", "--watch=1ms"],
        vec!["read", "10.0.0.1", "--unit", "1", "--baud", "9600"],
        vec!["read", "10.0.0.1", "--unit", "1", "--table", "3"],
        vec!["read", "10.0.0.1", "--unit", "1", "--raw"],
        vec!["read", "10.0.0.1", "--unit", "1", "--raw", "1-126"],
        vec!["read", "10.0.0.1", "--unit", "1", "--profile", "nobodys"],
        vec!["read", "10.0.0.1", "--unit", "1", "powr"],
        vec!["read", "10.0.0.1:0", "--unit", "1"],
        vec!["read", "/dev/null", "--unit", "0"],
        vec!["read", "/dev/null", "--unit", "256"],
        vec!["write", "10.0.0.1", "--unit", "1"],
        vec!["write", "10.0.0.1", "--unit", "1", "ct_primary=19"],
        vec!["write", "10.0.0.1", "--unit", "1", "frequency=50"],
        vec!["points", "--profile", "nobodys"],
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn completions_are_there_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("turnaround"), "{shell}");
    }
}

#[test]
fn manual_pages_are_there_for_the_program_and_its_commands() {
    let page = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0));
        text(&output.stdout).to_owned()
    };
    assert!(page(&["man"]).contains(".TH metergate 1"));
    assert!(page(&["man", "simulate"]).contains(".TH metergate-simulate 1"));
    let read = page(&["man", "read"]);
    // Each example stands in a line of its own, and none is broken or hyphenated.
    for line in [
        "\nmetergate read \\-\\-all \\-\\-csv energy ",
        "\n.nf\nmetergate read ",
        ".SH EXIT STATUS\n.TP\n\\fB0\\fR\n",
    ] {
        assert!(read.contains(line), "no {line:?} in:\n{read}");
    }
    assert!(read.contains(concat!("metergate ", env!("CARGO_PKG_VERSION"))), "{read}");
    for section in ["NAME", "SYNOPSIS", "OPTIONS", "NOTES", "EXAMPLES", "FILES", "SEE ALSO"] {
        assert!(read.contains(&format!(".SH {section}\n")), "no {section} in:\n{read}");
    }
    let program = page(&["man"]);
    let commands = program.split(".SH SEE ALSO").nth(1).unwrap();
    for command in ["setup", "status", "token", "tls", "export"] {
        assert!(commands.contains(&format!("metergate\\-{command}\\fR(1)")), "{commands}");
        let made = page(&["man", command]);
        assert!(made.contains(".SH EXAMPLES") && made.contains(".SH EXIT STATUS"), "{command}:\n{made}");
        assert!(!made.contains(".SH EXTRA"), "{command}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    for arguments in [&["man"][..], &["--help"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program().args(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    }
}

#[test]
fn a_result_that_cannot_be_written_is_a_fault_and_is_said() {
    for arguments in [&["man"][..], &["points"], &["--help"], &["--version"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = program().args(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(
            said.starts_with("metergate: cannot write to the standard output: "),
            "{arguments:?}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    }
}

#[test]
fn simulate_ends_cleanly_on_either_signal_and_removes_its_link() {
    let folder = folder("signals");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let link = folder.join("line");
        let mut child = program()
            .args(["simulate", "--units", "1-8", "--parity", "even", "--link"])
            .arg(&link)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let device = fs::read_link(&link).unwrap();
        assert!(
            first.contains(link.to_str().unwrap()) && first.contains(device.to_str().unwrap()),
            "{first}"
        );
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("units 1-8, 19200 baud 8E1, answering after 5ms, seed 1"), "{rest}");
        assert!(rest.ends_with("0 requests, 0 replies, 0 garbled, 0 collisions, 0 damaged\n"), "{rest}");
        assert!(!link.is_symlink());
    }
    fs::remove_dir(folder).unwrap();
}

#[test]
fn simulate_runs_a_scenario_and_says_what_will_go_wrong() {
    let folder = folder("scenario");
    let link = folder.join("line");
    let mut child = program()
        .args(["simulate", "--scenario", "config/scenarios/twelve-with-faults.yaml", "--link"])
        .arg(&link)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    let units = "units 1-11, 19200 baud 8N1, scenario config/scenarios/twelve-with-faults.yaml, seed 12";
    for said in [units, "  from 0s: meter 7: dead", "  from 0s: meter 9: reversed_ct phase C"] {
        assert!(rest.contains(said), "{said} in {rest}");
    }
    fs::remove_dir(folder).unwrap();
}

#[test]
fn a_faulty_scenario_ends_simulate_and_demo_with_3_and_names_its_place() {
    let folder = folder("faulty");
    let path = folder.join("s.yaml");
    fs::write(&path, "meters: [{id: 1}]\nfaults: [{meter: 2, fault: dead}]\n").unwrap();
    let path = path.to_str().unwrap();
    let link = folder.join("line");
    for arguments in [
        vec!["demo", "--scenario", path],
        vec!["simulate", "--link", link.to_str().unwrap(), "--scenario", path],
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(3));
        let said = text(&output.stderr);
        let place = format!("--> {path}:2:18\n");
        assert!(said.starts_with("error: faults[0].meter: ") && said.contains(&place), "{said}");
        assert!(output.stdout.is_empty() && !link.is_symlink());
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn simulate_that_cannot_make_its_link_ends_with_5_and_says_why() {
    let folder = folder("file");
    let link = folder.join("line");
    fs::write(&link, "precious").unwrap();
    let output = run(&["simulate", "--units", "1", "--link", link.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).contains("exists and is not a symbolic link"));
    assert_eq!(fs::read_to_string(&link).unwrap(), "precious");
    fs::remove_dir_all(folder).unwrap();
}
