//! `demo`, as the built program: what it begins with, what it prints, and what a busy computer does to it.

use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::page::get;
use crate::support::program::{Folder, Program, session};

/// A demo in a session of its own, and what it printed.
struct Demo {
    folder: Folder,
    program: Program,
    page: std::net::SocketAddr,
    printed: Vec<String>,
}

impl Demo {
    fn start(words: &[&str]) -> Self {
        let folder = Folder::new();
        let addresses = ["demo", "--listen", "127.0.0.1:0", "--status", "127.0.0.1:0"];
        let variables = session(&folder.path(""));
        let mut program = Program::start_with(addresses.iter().chain(words), &variables);
        program.line_with("Ctrl-C ends it");
        let printed = program.lines();
        let page = printed[0].strip_prefix("Status page: http://").and_then(|rest| rest.strip_suffix('/'));
        let page = page.and_then(|page| page.parse().ok()).unwrap_or_else(|| panic!("{printed:?}"));
        Self { folder, program, page, printed }
    }

    /// Runs a command as it was printed.
    fn run(&self, command: &str) -> Output {
        let printed = self.printed.iter().find(|line| line.split_whitespace().nth(1) == Some(command));
        let mut words = printed.unwrap_or_else(|| panic!("{:?}", self.printed)).split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words).envs(session(&self.folder.path(""))).output().unwrap()
    }
}

#[test]
fn a_demo_begins_with_a_day_behind_it() {
    let demo = Demo::start(&["--units", "1-4"]);
    let history = get(demo.page, "/api/v1/units/1/history").json();
    let power = &history["readings"][0];
    assert_eq!(power["quantity"], "real_power_total", "{history}");
    let means: Vec<f64> = power["means"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    assert_eq!(means.len(), 720, "a gap in twelve hours without an outage");
    assert_eq!(history["health"].as_array().unwrap().len(), 60);
    // The plots go on where the past ends.
    let live = || {
        let unit = get(demo.page, "/api/v1/units/1").json();
        let headline = unit["headline"].as_array().unwrap().clone();
        headline.iter().find(|one| one["quantity"] == "real_power_total")?["value"].as_f64()
    };
    let until = Instant::now() + Duration::from_secs(20);
    let live = loop {
        match live() {
            Some(power) => break power,
            None => assert!(Instant::now() < until, "no power is read"),
        }
    };
    let last = means[719];
    assert!((live - last).abs() < 0.3 * last, "{last} kW in the last minute, {live} kW now");

    let without_power = get(demo.page, "/api/v1/units/3/history").json();
    let means = without_power["readings"][0]["means"].as_array().unwrap();
    assert_eq!(means.iter().filter(|mean| mean.is_null()).count(), 27, "{means:?}");
    let events = get(demo.page, "/api/v1/event-log").json();
    let told: Vec<_> =
        events.as_array().unwrap().iter().map(|event| (&event["kind"], &event["unit"])).collect();
    assert_eq!(told[0].0, "start", "{events}");
    assert_eq!((told[1].0, told[1].1), (&"outage".into(), &3.into()), "{events}");
    let bus = get(demo.page, "/api/v1/buses/demo/history").json();
    assert_eq!(bus["minutes"].as_array().unwrap().len(), 60);
}

#[test]
fn what_a_demo_prints_works_as_it_stands() {
    let demo = Demo::start(&["--units", "2,5"]);
    let read = demo.run("read");
    assert_eq!(read.status.code(), Some(0), "{}", String::from_utf8_lossy(&read.stderr));
    assert!(String::from_utf8_lossy(&read.stdout).starts_with("unit 2 at "));
    let doctor = demo.run("doctor");
    assert_eq!(doctor.status.code(), Some(0), "{}", String::from_utf8_lossy(&doctor.stdout));
}

#[test]
fn a_demo_that_the_computer_interrupts_finds_nothing_wrong() {
    let demo = Demo::start(&["--units", "1-32"]);
    for stop in 0..15 {
        // At another place of an answer each time.
        sleep(Duration::from_millis(110 + 13 * (stop % 7)));
        demo.program.signal(Signal::SIGSTOP);
        sleep(Duration::from_millis(300));
        demo.program.signal(Signal::SIGCONT);
    }
    let findings = get(demo.page, "/api/v1/findings").json();
    let faults = findings.as_array().unwrap().iter().filter(|one| one["severity"] != "note");
    assert_eq!(faults.count(), 0, "{findings}");
    let status = get(demo.page, "/api/v1/status").json();
    let bus = &status["buses"][0];
    assert_eq!((&bus["noise_bytes"], &bus["failures"]), (&0.into(), &0.into()), "{bus}");
}
