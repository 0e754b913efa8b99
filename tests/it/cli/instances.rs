//! How client commands find the gateway that runs here when none is named, as the built program.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use nix::sys::signal::Signal;

use crate::support::program::{Folder, Program, chain, session};

/// A session of its own, so that gateways of other tests are not seen.
struct Session(Folder);

impl Session {
    fn new() -> Self {
        Self(Folder::new())
    }

    fn start(&self, words: &[&str]) -> Program {
        Program::start_with(words, &session(&self.0.path("")))
    }

    fn demo(&self, units: &str) -> Program {
        let mut demo =
            self.start(&["demo", "--listen", "127.0.0.1:0", "--status", "127.0.0.1:0", "--units", units]);
        demo.line_with("Ctrl-C ends it");
        demo
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metergate"));
        command.args(words).envs(session(&self.0.path(""))).output().unwrap()
    }

    fn announced(&self) -> Vec<std::path::PathBuf> {
        let files = fs::read_dir(self.0.path("metergate")).into_iter().flatten().flatten();
        files.map(|file| file.path()).collect()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn every_command_finds_a_demo_that_runs() {
    let session = Session::new();
    let demo = session.demo("1-3");
    for words in [
        &["read", "--unit", "3", "power"][..],
        &["read", "--all", "power"],
        &["write", "--unit", "3", "ct_primary=200"],
        &["points"],
        &["status"],
        &["doctor"],
        &["events"],
        &["report"],
        &["capture", "-"],
    ] {
        let done = session.run(words);
        // A write without --yes is not done, which is what its exit code says.
        let expected = if words[0] == "write" { 2 } else { 0 };
        assert_eq!(done.status.code(), Some(expected), "{words:?}: {}", text(&done.stderr));
        assert!(!done.stdout.is_empty(), "{words:?}");
    }
    let traced = session.start(&["trace"]);
    let mut traced = traced;
    traced.line_with("following ");
    drop(traced);
    demo.signal(Signal::SIGTERM);
    let (status, said) = demo.exit();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(session.announced(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_gateway_is_found_as_it_is_after_a_reload() {
    let session = Session::new();
    let _chain = chain(&session.0.path("line"), "1");
    let configuration = |alias: u8| {
        let text = format!(
            "listeners: [{{address: '127.0.0.1:0'}}]\nbuses: [{{name: a, device: {}, units: [{{id: 1, as: {alias}, \
             profile: leviton-4000r}}]}}]\nstatus: off\n",
            session.0.path("line").display()
        );
        session.0.write("metergate.yaml", &text)
    };
    let path = configuration(11);
    let mut gateway = session.start(&["run", path.to_str().unwrap()]);
    gateway.line_with("started");
    let done = session.run(&["read", "--unit", "11", "power"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    configuration(12);
    gateway.signal(Signal::SIGHUP);
    gateway.line_with("reloaded");
    let done = session.run(&["read", "--unit", "12", "power"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let done = session.run(&["doctor"]);
    assert_eq!(done.status.code(), Some(5));
    assert!(text(&done.stderr).contains("has no status address"), "{}", text(&done.stderr));
}

#[test]
fn of_two_that_run_one_has_to_be_named() {
    let session = Session::new();
    let _one = session.demo("1");
    let _other = session.demo("2");
    for (words, code) in [(&["read", "--unit", "2", "power"][..], 2), (&["doctor"], 2), (&["status"], 3)] {
        let done = session.run(words);
        assert_eq!(done.status.code(), Some(code), "{words:?}");
    }
    let done = session.run(&["read", "--unit", "2", "power"]);
    let said = text(&done.stderr);
    assert!(said.contains("2 gateways run here; name the one that is meant"), "{said}");
    let named: Vec<&str> = said.lines().filter_map(|line| line.split("--config ").nth(1)).collect();
    assert_eq!(named.len(), 2, "{said}");
    assert!(
        said.lines().skip(1).all(|line| line.contains("demo (process ") && line.contains(", page 127.")),
        "{said}"
    );
    let answered = named.iter().filter(|path| {
        session.run(&["read", "--unit", "2", "power", "--config", path]).status.code() == Some(0)
    });
    assert_eq!(answered.count(), 1, "one of them has unit 2");
}

#[test]
fn what_a_killed_gateway_or_another_user_left_is_not_taken_for_one() {
    let session = Session::new();
    let killed = session.demo("1");
    drop(killed);
    assert_eq!(session.announced().len(), 1);
    let done = session.run(&["read", "--unit", "1", "power"]);
    assert_eq!(done.status.code(), Some(3));
    assert!(text(&done.stderr).contains("no gateway was started here"), "{}", text(&done.stderr));
    let _demo = session.demo("1");
    let [path] = session.announced().try_into().expect("the next one tidies up");
    fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
    let done = session.run(&["read", "--unit", "1", "power"]);
    assert_eq!(done.status.code(), Some(3), "{}", text(&done.stdout));
}
