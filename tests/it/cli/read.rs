//! `read`, `write` and `points` of the built program, against simulated meters and through a running gateway.

use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::program::{Folder, Program, chain};

/// Meters 1 to 3, and where a gateway in front of them would be described.
struct Site {
    folder: Folder,
    _meters: Program,
}

impl Site {
    fn new() -> Self {
        let folder = Folder::new();
        let meters = chain(&folder.path("line"), "1-3");
        Self { folder, _meters: meters }
    }

    fn line(&self) -> String {
        self.folder.path("line").display().to_string()
    }

    /// A running gateway, its configuration and its address; clients call the units 11 to 13, and 19 is dead.
    fn gateway(&self, writes: &str) -> (Program, String, String) {
        let device = self.line();
        let file = |port| {
            self.folder.write(
                "metergate.yaml",
                &format!(
                    "listeners: [{{address: \"127.0.0.1:{port}\", writes: {writes}, max_age: 0s}}]\n\
                     buses: [{{name: riser-a, device: {device}, response_timeout: 200ms,\n  \
                     units: [{{id: 1-3, as: 11, profile: leviton-4000r, poll: off}}, {{id: 9, as: 19}}]}}]\n"
                ),
            )
        };
        let config = file(0);
        let mut gateway = Program::start(["run", "--config", config.to_str().unwrap()]);
        let address = gateway.listening();
        gateway.line_with("port open");
        // From here on the file says which port the system chose, as a file in the field would.
        let config = file(address.port()).display().to_string();
        (gateway, config, address.to_string())
    }
}

fn metergate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_metergate")).args(arguments).output().unwrap()
}

/// Standard output, standard error and the exit code.
fn run(arguments: &[&str]) -> (String, String, i32) {
    let Output { stdout, stderr, status } = metergate(arguments);
    (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap(), status.code().unwrap())
}

/// The one object that a command prints as JSON.
fn json(arguments: &[&str]) -> Value {
    let (out, err, code) = run(&[arguments, &["--json"]].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
    assert_eq!(out.matches('\n').count(), 1, "one line: {out}");
    serde_json::from_str(&out).unwrap()
}

fn point<'v>(reading: &'v Value, name: &str) -> &'v Value {
    let points = reading["points"].as_array().unwrap();
    points.iter().find(|point| point["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_meter_reads_the_same_on_its_line_and_through_the_gateway() {
    let site = Site::new();
    let line = json(&["read", &site.line(), "--unit", "2", "all"]);
    let (_gateway, config, address) = site.gateway("deny");
    for reading in [
        json(&["read", &address, "--unit", "12", "all"]),
        json(&["read", "--config", &config, "--unit", "12", "all"]),
    ] {
        let (one, other) = (line["points"].as_array().unwrap(), reading["points"].as_array().unwrap());
        assert_eq!(one.len(), other.len());
        for (one, other) in one.iter().zip(other) {
            assert_eq!(one["name"], other["name"]);
            assert!(one["read"] == true && other["read"] == true, "{one}");
            // Measurements move on meanwhile.
            if ["configuration", "scale", "identity"].contains(&one["group"].as_str().unwrap()) {
                let but_ages = |point: &Value| {
                    let mut keys = point.as_object().unwrap().clone();
                    keys.remove("scale_age_ms");
                    keys
                };
                assert_eq!(but_ages(one), but_ages(other));
            }
        }
        assert_eq!(reading["target"], Value::from(address.as_str()));
    }
}

#[test]
fn the_names_in_json_are_a_promise() {
    let site = Site::new();
    let reading =
        json(&["read", &site.line(), "--unit", "1", "frequency", "system_type", "firmware_version_os"]);
    let keys = |value: &Value| value.as_object().unwrap().keys().map(String::clone).collect::<Vec<_>>();
    let mut found = keys(&reading);
    found.sort();
    assert_eq!(
        found,
        ["alerts", "max_age_ms", "missed", "points", "profile", "target", "time", "took_ms", "unit"]
    );
    let frequency = point(&reading, "frequency");
    let mut found = keys(frequency);
    found.sort();
    assert_eq!(found, ["available", "group", "name", "raw", "read", "register", "text", "unit", "value"]);
    let raw = frequency["raw"][0].as_f64().unwrap();
    assert_eq!(frequency["value"].as_f64().unwrap(), raw / 100.0);
    assert_eq!(frequency["register"], 26);
    assert_eq!(frequency["unit"], "Hz");
    assert_eq!(point(&reading, "system_type")["text"], "wye, four wires (40)");
    let version = point(&reading, "firmware_version_os");
    assert_eq!(version["value"], version["raw"][0]);
    assert_eq!(reading["unit"], 1);
    assert_eq!(reading["max_age_ms"], 0, "straight from the line");
}

#[test]
fn what_a_count_is_scaled_by_has_its_age_beside_it() {
    let site = Site::new();
    let line = site.line();
    let command = ["read", &line, "--unit", "1", "real_energy_total", "frequency_f"];
    let reading = json(&command);
    let age = point(&reading, "real_energy_total")["scale_age_ms"].as_u64().unwrap();
    assert!(age < 60_000, "{reading}");
    assert!(point(&reading, "frequency_f").get("scale_age_ms").is_none(), "nothing scales it: {reading}");
    let (table, _, _) = run(&command);
    let (scaled, plain) = (line_with(&table, "real_energy_total"), line_with(&table, "frequency_f"));
    assert!(scaled.contains(" (exponent ") && scaled.contains(" s old)"), "{table}");
    assert!(!plain.contains(" old"), "{table}");
    let (csv, _, _) = run(&[&command[..], &["--csv"]].concat());
    let mut lines = csv.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!(names[5..], ["error", "scale_age_ms"]);
    let fields: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert!(fields[6].parse::<u64>().is_ok_and(|age| age < 60_000), "{csv}");
}

/// The line of a table that has this word.
fn line_with<'t>(table: &'t str, word: &str) -> &'t str {
    table.lines().find(|line| line.split_whitespace().any(|one| one == word)).unwrap_or_default()
}

#[test]
fn raw_registers_are_those_the_points_are_made_of() {
    let site = Site::new();
    let (line, unit) = (site.line(), ["--unit", "1"]);
    let points = json(&[&["read", &line], &unit[..], &["130-131", "7001"]].concat());
    for table in ["3", "4"] {
        let raw =
            json(&[&["read", &line], &unit[..], &["--raw", "--table", table, "130-131", "7001"]].concat());
        let registers: Vec<_> =
            raw["registers"].as_array().unwrap().iter().map(|one| &one["value"]).collect();
        let made_of: Vec<_> = ["system_type", "ct_primary", "firmware_version_os"]
            .map(|name| &point(&points, name)["raw"][0])
            .to_vec();
        assert_eq!(registers, made_of);
    }
    let (out, err, code) = run(&["read", &line, "--unit", "1", "--raw", "60", "130"]);
    assert_eq!((code, err.as_str()), (1, ""));
    assert!(out.contains("130       129      0x0028    40\n"), "{out}");
    assert!(out.contains("Not read: 60: exception 0x02 illegal data address"), "{out}");
}

#[test]
fn a_reading_that_fails_ends_with_1_and_says_what_to_look_at() {
    let site = Site::new();
    let (out, err, code) = run(&["read", &site.line(), "--unit", "9", "--timeout", "50ms"]);
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(err.contains("unit 9") && err.contains("no answer in time"), "{err}");
    let ranges = ["--raw", "--json", "1", "2", "3-4"];
    let (out, _, code) =
        run(&[&["read", &site.line(), "--unit", "9", "--timeout", "50ms"], &ranges[..]].concat());
    let raw: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, raw["registers"].as_array().unwrap().len()), (1, 4));
    assert_eq!(raw["missed"].as_array().unwrap().len(), 1, "who does not answer is not asked for the rest");
    let (_gateway, config, _) = site.gateway("deny");
    let (_, err, code) = run(&["read", "--config", &config, "--unit", "19"]);
    assert!(code == 1 && err.contains("0x0B") && err.contains("did not answer the gateway"), "{err}");
    let (out, err, code) = run(&["read", "--config", &config, "--unit", "77", "--json", "power"]);
    assert!(code == 1 && err.contains("0x0A") && err.contains("knows no such unit"), "{err}");
    let reading: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(point(&reading, "real_power_total_f")["read"], false);
    assert!(point(&reading, "real_power_total_f")["value"].is_null(), "never a zero");
    assert!(reading["missed"][0]["why"].as_str().unwrap().contains("0x0A"));
}

#[test]
fn a_port_that_the_gateway_holds_is_refused_with_the_command_that_asks_the_gateway() {
    let site = Site::new();
    let (_gateway, config, address) = site.gateway("deny");
    let (out, err, code) = run(&["read", &site.line(), "--unit", "2", "--config", &config]);
    assert_eq!((out.as_str(), code), ("", 5));
    assert!(
        err.contains("the gateway holds it") && err.contains(&format!("metergate read {address} --unit 12")),
        "{err}"
    );
    let (_, err, code) = run(&["read", &site.line(), "--unit", "2", "--config", "/nowhere"]);
    assert!(code == 5 && err.contains("another program holds it"), "{err}");
    let line = site.line();
    let ways_out = |words: &[&str], instead: &str| {
        let (_, err, code) = run(words);
        assert_eq!(code, 5, "{err}");
        for part in [&format!("(`{instead}`)"), "`systemctl stop metergate`", "`/etc/init.d/metergate stop`"]
        {
            assert!(err.contains(part), "{part} in {err}");
        }
    };
    ways_out(&["scan", &line, "--units", "1"], "metergate scan HOST:PORT");
    ways_out(&["doctor", &line, "--units", "1"], "metergate doctor");
    let write = ["write", &line, "--unit", "2", "--config", &config, "ct_primary=200"];
    ways_out(&write, &format!("metergate write {address} --unit 12 ct_primary=200"));
}

#[test]
fn what_cannot_be_reached_ends_with_5_and_a_missing_configuration_with_3() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (_, err, code) = run(&["read", &free, "--unit", "1"]);
    assert!(code == 5 && err.contains("nobody listens there"), "{err}");
    let (_, err, code) = run(&["read", "/dev/nowhere/line", "--unit", "1"]);
    assert!(code == 5 && err.contains("plugged in"), "{err}");
    let (_, err, code) = run(&["read", "--config", "/nowhere", "--unit", "1"]);
    assert!(code == 3 && err.contains("no TARGET was named"), "{err}");
    let folder = Folder::new();
    let faulty = folder.write("faulty.yaml", "listeners: 5\n").display().to_string();
    let (_, err, code) = run(&["read", "--config", &faulty, "--unit", "1"]);
    assert!(code == 3 && err.contains("faulty.yaml:1"), "{err}");
    let (_, err, code) = run(&["points", "--profile", &faulty]);
    assert!(code == 3 && err.contains("faulty.yaml"), "{err}");
}

#[test]
fn an_interval_beside_its_option_is_told_where_it_belongs() {
    let (out, err, code) = run(&["read", "127.0.0.1:1", "--unit", "1", "frequency_f", "--watch", "5s"]);
    assert!(code == 2 && out.is_empty() && err.contains("--watch=5s"), "{err}");
    let (_, err, code) = run(&["read", "127.0.0.1:1", "--unit", "1", "5s"]);
    assert!(code == 2 && !err.contains("--watch"), "{err}");
}

#[test]
fn the_age_of_values_is_said_as_far_as_it_is_known() {
    let site = Site::new();
    let end = |words: &[&str]| run(&[&["read", "--unit", "11", "frequency_f"], words].concat()).0;
    let (_gateway, config, address) = site.gateway("deny");
    assert!(end(&["--config", &config]).ends_with(", straight from the line\n"), "its max_age is 0s");
    let (out, _, _) = run(&["read", &address, "--unit", "11", "frequency_f"]);
    assert!(out.ends_with("; over a gateway, values may be as old as its `max_age`\n"), "{out}");
}

#[test]
fn watching_appends_a_line_a_reading_and_ends_well_with_ctrl_c() {
    let site = Site::new();
    let line = site.line();
    let mut watch = Program::start([
        "read",
        &line,
        "--unit",
        "3",
        "--watch=100ms",
        "--csv",
        "frequency",
        "real_power_total_f",
    ]);
    watch.line_with("time,target,unit,frequency (Hz),real_power_total_f (kW),error");
    for _ in 0..3 {
        let found = watch.line_with(&line);
        let fields: Vec<_> = found.split(',').collect();
        assert_eq!(fields.len(), 6, "{found}");
        assert!(fields[3].parse::<f64>().is_ok() && fields[4].parse::<f64>().is_ok(), "{found}");
    }
    watch.signal(Signal::SIGINT);
    let (status, said) = watch.exit();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(said.matches("frequency (Hz)").count(), 1, "one line of names");
}

#[test]
fn a_write_is_shown_first_then_sent_once_and_read_back() {
    let site = Site::new();
    let (_gateway, config, _) = site.gateway("allow");
    let at = ["--config", &config, "--unit", "11"];
    let write = |words: &[&str]| run(&[&["write"], words, &at[..]].concat());
    let ct = || {
        point(&json(&[&["read", "ct_primary"], &at[..]].concat()), "ct_primary")["value"].as_u64().unwrap()
    };
    let before = ct();
    let new = if before == 200 { "400" } else { "200" };
    let (out, err, code) = write(&[&format!("ct_primary={new}")]);
    assert_eq!((code, ct()), (2, before), "{err}");
    assert!(
        out.contains(&format!("now  {before} A\n  new  {new} A")) && err.contains("nothing was written"),
        "{out}"
    );
    let (out, err, code) = write(&[&format!("ct_primary={new}"), "--yes"]);
    assert_eq!((code, err.as_str(), ct().to_string().as_str()), (0, "", new));
    assert!(out.contains("reads back the same"), "{out}");
    let (out, err, code) = write(&["ct_primary=19", "--yes"]);
    assert!(code == 2 && out.is_empty() && err.contains("takes 20 to 5000 A"), "{err}");
}

#[test]
fn a_command_warns_of_what_cannot_be_taken_back() {
    let site = Site::new();
    let line = site.line();
    let cleared = || {
        json(&["read", &line, "--unit", "1", "energy_reset_count"])["points"][0]["value"].as_u64().unwrap()
    };
    let before = cleared();
    let (out, _, code) = run(&["write", &line, "--unit", "1", "command=clear_energy"]);
    assert!(code == 2 && out.contains("warning: All energies to 0"), "{out}");
    assert_eq!(cleared(), before, "not without --yes");
    let (out, _, code) = run(&["write", &line, "--unit", "1", "command=30078", "--yes"]);
    assert!(
        code == 0 && out.contains("cannot be taken back") && out.contains("cannot be read back"),
        "{out}"
    );
    assert_eq!(cleared(), before + 1, "once");
}

#[test]
fn a_gateway_that_denies_writes_is_told_from_a_meter_that_refuses_them() {
    let site = Site::new();
    let (_gateway, _, address) = site.gateway("deny");
    let (out, err, code) = run(&["write", &address, "--unit", "11", "ct_primary=200", "--yes"]);
    assert!(code == 1 && err.contains("was not written") && err.contains("`writes: deny`"), "{out}{err}");
}

#[test]
fn the_map_has_every_point_in_each_form() {
    let map = json(&["points"]);
    let points = map["points"].as_array().unwrap();
    let (table, _, code) = run(&["points"]);
    assert_eq!(code, 0);
    let (csv, _, code) = run(&["points", "--csv"]);
    assert_eq!((code, csv.matches("\n").count()), (0, points.len() + 1));
    for point in points {
        let name = point["name"].as_str().unwrap();
        assert!(table.contains(&format!(" {name} ")) && csv.contains(&format!(",{name},")), "{name}");
    }
    assert!(table.contains("command=clear_energy"));
    let ct = points.iter().find(|point| point["name"] == "ct_primary").unwrap();
    assert_eq!((&ct["writable"], &ct["register"], &ct["address"]), (&true.into(), &131.into(), &130.into()));
    assert_eq!(ct["allowed"], serde_json::json!([[20.0, 5000.0]]));
}

#[test]
fn a_profile_may_be_a_file_and_the_unit_s_own_goes_before_the_built_in_one() {
    let site = Site::new();
    let text = "name: mine\ntitle: Mine\nfirst_register: 1\nword_order: high_first\nmirrored: no\n\
                blocks: [{name: few, registers: 131, kind: configuration, points: [\n  \
                {register: 131, name: primary, format: u16, unit: A, group: other, description: My own}]}]\n";
    let file = site.folder.write("mine.yaml", text).display().to_string();
    let line = site.line();
    let reading = json(&["read", &line, "--unit", "1", "--profile", &file]);
    assert_eq!((&reading["profile"], reading["points"].as_array().unwrap().len()), (&"mine".into(), 1));
    assert_eq!(point(&reading, "primary")["unit"], "A");

    let directory = site.folder.path("");
    let config = |port| {
        let text = format!(
            "listeners: [{{address: \"0.0.0.0:{port}\", max_age: 5s}}]\nprofiles: {}\n\
             buses: [{{name: a, device: {line}, units: [{{id: 1, profile: mine}}]}}]\n",
            directory.display()
        );
        site.folder.write("metergate.yaml", &text).display().to_string()
    };
    let mut gateway = Program::start(["run", "--config", &config(0)]);
    let port = gateway.listening().port();
    let reading = json(&["read", "--config", &config(port), "--unit", "1"]);
    assert_eq!((&reading["profile"], &reading["max_age_ms"]), (&"mine".into(), &5000.into()));
    assert_eq!(reading["target"], Value::from(format!("127.0.0.1:{port}")));
    let named =
        json(&["read", "--config", &config(port), "--unit", "1", "--profile", "leviton-4000r", "131"]);
    assert_eq!(named["points"][0]["name"], "ct_primary");
    let (out, _, code) = run(&["points", "--config", &config(port), "--profile", "mine"]);
    assert!(code == 0 && out.contains("My own"), "{out}");
}
