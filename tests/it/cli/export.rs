//! `export`, as the built program: the addresses, the decoding and the identifiers of each format.

use std::process::{Command, Output};

use serde_yaml::Value;

use crate::support::program::Folder;

/// A profile with everything that a client has to be told.
const ODD: &str = "\
name: odd
title: Odd
first_register: 1
functions: [4]
blocks:
  - name: measurements
    registers: 1-10
    kind: measurement
    points:
      - {register: 1, name: power, format: i32, unit: W, scale: 0.1, group: power, word_order: low_first}
      - {register: 3, name: voltage, format: u16, unit: V, scale: 0.01, group: voltage, byte_order: low_first}
      - {register: 4, name: heat, format: i16, unit: degC, offset: -40, group: other}
      - {register: 5, name: exponent, format: exponent, group: scale}
      - {register: 6, name: energy, format: u32, unit: kWh, scale: exponent, group: energy}
      - {register: 8, name: state, format: u16, group: configuration}
      - {register: 9, name: net_energy, format: i32, unit: kWh, group: energy, word_order: low_first}
";

struct Site {
    folder: Folder,
    config: String,
}

impl Site {
    fn new() -> Self {
        let folder = Folder::new();
        std::fs::create_dir(folder.path("profiles")).unwrap();
        folder.write("profiles/odd.yaml", ODD);
        let text = format!(
            "listeners:\n  - {{address: '0.0.0.0:1502', buses: [a], unit_map: {{3: 11, 200: 12}}}}\n  \
             - {{address: '127.0.0.1:1503'}}\nbuses:\n  - {{name: a, device: /dev/null, units: [{{id: 1, as: 11, name: 'Panel \
             \"A\", left', profile: leviton-4000r}}, {{id: 2, as: 12, profile: odd}}, {{id: 3, as: 13}}]}}\nprofiles: {}\n\
             status: {{address: '127.0.0.1:8599'}}\n",
            folder.path("profiles").display()
        );
        let config = folder.write("metergate.yaml", &text).display().to_string();
        Self { folder, config }
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metergate"));
        command.arg("export").args(words).args(["--config", &self.config]).output().unwrap()
    }

    fn export(&self, words: &[&str]) -> String {
        let done = self.run(words);
        assert_eq!(done.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn sensors(&self, words: &[&str]) -> Vec<Value> {
        let yaml = self.export(&[&["home-assistant", "--host", "gateway"], words].concat());
        let package: Value = serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        let hub = &package["modbus"][0];
        assert_eq!((&hub["host"], &hub["port"]), (&"gateway".into(), &1502.into()), "{yaml}");
        hub["sensors"].as_sequence().unwrap().clone()
    }
}

fn row<'t>(table: &'t str, unit: &str, point: &str) -> Vec<&'t str> {
    let is_it =
        |line: &&str| line.contains(&format!(",1502,{unit},")) && line.contains(&format!(",{point},"));
    let line = table.lines().find(is_it).unwrap_or_else(|| panic!("no {point} of {unit} in:\n{table}"));
    // No field behind the names has a comma but the last.
    line.split(',').collect()
}

fn sensor<'s>(sensors: &'s [Value], id: &str) -> &'s Value {
    let found = sensors.iter().find(|one| one["unique_id"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {sensors:?}"))
}

#[test]
fn csv_has_each_address_as_it_is_counted_and_the_identifier_clients_send() {
    let site = Site::new();
    let table = site.export(&["csv", "--host", "10.0.0.5", "all"]);
    let head: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let column = |name: &str| head.iter().position(|one| *one == name).unwrap();
    let odd = |point: &str, name: &str| row(&table, "200", point)[column(name)].to_owned();
    assert_eq!(odd("power", "host"), "10.0.0.5");
    for (point, name, expected) in [
        ("power", "function", "4"),
        ("power", "register", "1"),
        ("power", "address_0", "0"),
        ("power", "address_1", "1"),
        ("power", "modicon", "30001"),
        ("power", "registers", "2"),
        ("power", "format", "i32"),
        ("power", "word_order", "low_first"),
        ("power", "scale", "0.1"),
        ("voltage", "byte_order", "low_first"),
        ("heat", "offset", "-40"),
        ("energy", "scale", "10^exponent"),
    ] {
        assert_eq!(odd(point, name), expected, "{name} of {point}");
    }
    // A quoted name with a comma shifts the others by one.
    let leviton = row(&table, "3", "real_power_total_f");
    assert_eq!(leviton[column("modicon") + 1], "40261", "{leviton:?}");
    assert!(table.contains("\"Panel \"\"A\"\", left\""), "{table}");
    assert_eq!(site.export(&["csv", "--unit", "200", "power"]).lines().count(), 2);
}

#[test]
fn home_assistant_is_told_how_to_decode_and_what_it_cannot_is_left_out() {
    let site = Site::new();
    let sensors = site.sensors(&[]);
    let power = sensor(&sensors, "metergate_a_200_power");
    for (key, expected) in [
        ("slave", 200.into()),
        ("address", 0.into()),
        ("input_type", "input".into()),
        ("data_type", "int32".into()),
        ("swap", "word".into()),
        ("scale", Value::from(0.1)),
        ("device_class", "power".into()),
        ("state_class", "measurement".into()),
    ] {
        assert_eq!(power[key], expected, "{key} of {power:?}");
    }
    assert_eq!(sensor(&sensors, "metergate_a_200_voltage")["swap"], "byte");
    assert_eq!(sensor(&sensors, "metergate_a_200_heat")["offset"], Value::from(-40.0));
    let is_there = |id: &str| sensors.iter().any(|one| one["unique_id"] == id);
    assert!(!is_there("metergate_a_200_energy"), "its scale is in another register");
    assert!(!is_there("metergate_a_200_state"), "a setting that was not named");
    // Of the quantity with an exponent the float is taken.
    let energy = sensor(&sensors, "metergate_a_3_real_energy_total");
    assert_eq!((&energy["address"], &energy["data_type"]), (&256.into(), &"float32".into()));
    assert_eq!(
        (&energy["device_class"], &energy["state_class"]),
        (&"energy".into(), &"total_increasing".into())
    );
    let net = sensor(&sensors, "metergate_a_200_net_energy");
    assert_eq!(
        (&net["device_class"], &net["state_class"]),
        (&"energy".into(), &"total".into()),
        "it may fall"
    );
    assert_eq!(energy["name"], "Panel \"A\", left real energy total");
    assert!(energy["swap"].is_null() && energy["input_type"] == "holding", "{energy:?}");
    assert_eq!(site.sensors(&["--unit", "200", "power"]).len(), 1);
}

#[test]
fn telegraf_has_a_section_for_each_meter_and_a_request_for_each_order() {
    let site = Site::new();
    let toml = site.export(&["telegraf", "--host", "gateway"]);
    assert_eq!(toml.matches("[[inputs.modbus]]").count(), 2, "{toml}");
    assert!(toml.contains("controller = \"tcp://gateway:1502\""), "{toml}");
    let odd = toml.split("[[inputs.modbus.request]]").filter(|part| part.contains("slave_id = 200"));
    let odd: Vec<&str> = odd.collect();
    assert_eq!(odd.len(), 2, "{toml}");
    let power = "{ address = 0, name = \"power_w\", type = \"INT32\", scale = 0.1 }";
    assert!(odd.iter().any(|one| one.contains("\"CDAB\"") && one.contains(power)), "{toml}");
    let voltage = "{ address = 2, name = \"voltage_v\", type = \"UINT16\", scale = 0.01 }";
    assert!(odd.iter().any(|one| one.contains("\"BADC\"") && one.contains(voltage)), "{toml}");
    assert!(!toml.contains("heat"), "an offset has no place there: {toml}");
    assert!(toml.contains("meter = \"Panel \\\"A\\\", left\""), "{toml}");
}

#[test]
fn clients_are_led_to_modbus_tcp_where_it_is_and_told_of_rtu_over_tcp_where_it_is_not() {
    let site = Site::new();
    let kept = std::fs::read_to_string(&site.config).unwrap();
    // The RTU listener comes first, and leads to every bus.
    let rtu = "listeners:\n  - {address: '127.0.0.1:2101', framing: rtu}\n";
    std::fs::write(&site.config, kept.replace("listeners:\n", rtu)).unwrap();
    assert!(!site.sensors(&["power"]).is_empty(), "of port 1502");
    assert!(!site.export(&["telegraf"]).contains("transmission_mode"));
    let table = site.export(&["csv"]);
    assert!(table.lines().skip(1).all(|line| line.contains(",1502,") && line.ends_with(",tcp")), "{table}");

    let rtu = ["--listener", "127.0.0.1:2101"];
    let package: Value =
        serde_yaml::from_str(&site.export(&[&["home-assistant"], &rtu[..]].concat())).unwrap();
    let hub = &package["modbus"][0];
    assert_eq!((&hub["type"], &hub["port"]), (&"rtuovertcp".into(), &2101.into()));
    let toml = site.export(&[&["telegraf"], &rtu[..]].concat());
    let controller = "controller = \"tcp://127.0.0.1:2101\"\n  transmission_mode = \"RTUoverTCP\"\n";
    assert!(toml.contains(controller), "{toml}");
    let table = site.export(&[&["csv"], &rtu[..]].concat());
    assert!(table.lines().skip(1).all(|line| line.ends_with(",rtu")), "{table}");
}

#[test]
fn modbus_exporter_has_a_module_for_each_profile_and_a_target_for_each_meter() {
    let site = Site::new();
    let text = site.export(&["prometheus", "--host", "gateway"]);
    let file: Value = serde_yaml::from_str(&text).unwrap();
    let modules = file["modules"].as_sequence().unwrap();
    let names: Vec<_> = modules.iter().map(|module| module["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["leviton-4000r", "odd"]);
    let metric = |module: &Value, name: &str| {
        let all = module["metrics"].as_sequence().unwrap().clone();
        all.into_iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    };
    for (name, address, kind, endianness, sort) in [
        ("meter_power_w", 400_000, "int32", "yolo", "gauge"),
        ("meter_voltage_v", 400_002, "uint16", "little", "gauge"),
        ("meter_net_energy_kwh", 400_008, "int32", "yolo", "gauge"),
    ] {
        let found = metric(&modules[1], name);
        let shown = ["address", "dataType", "endianness", "metricType"].map(|key| found[key].clone());
        assert_eq!(
            shown,
            [Value::from(address), Value::from(kind), Value::from(endianness), Value::from(sort)],
            "{name}"
        );
    }
    assert_eq!(metric(&modules[1], "meter_power_w")["factor"], Value::from(0.1));
    let energy = metric(&modules[0], "meter_real_energy_total_kwh");
    assert_eq!((&energy["address"], &energy["metricType"]), (&300_256.into(), &"counter".into()));
    assert!(!text.contains("heat"), "an offset has no place there");

    let job: String = text
        .lines()
        .skip_while(|line| *line != "# scrape_configs:")
        .map(|line| line.strip_prefix("# "))
        .map_while(|line| line)
        .map(|line| format!("{line}\n"))
        .collect();
    let job: Value = serde_yaml::from_str(&job).unwrap();
    let job = &job["scrape_configs"][0];
    let target = &job["static_configs"][0];
    assert_eq!(target["targets"][0], "gateway:1502");
    let labels = &target["labels"];
    assert_eq!(
        (&labels["__param_module"], &labels["__param_sub_target"]),
        (&"leviton-4000r".into(), &"3".into())
    );
    assert_eq!(labels["meter"], "Panel \"A\", left");
    assert_eq!(job["static_configs"].as_sequence().unwrap().len(), 2);

    let kept = std::fs::read_to_string(&site.config).unwrap();
    let rtu = "listeners:\n  - {address: '127.0.0.1:2101', framing: rtu}\n";
    std::fs::write(&site.config, kept.replace("listeners:\n", rtu)).unwrap();
    let done = site.run(&["prometheus", "--listener", "127.0.0.1:2101"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(2) && said.contains("speaks Modbus TCP only"), "{said}");
}

#[test]
fn prometheus_is_told_where_the_metrics_are_and_of_the_token() {
    let site = Site::new();
    let open: Value = serde_yaml::from_str(&site.export(&["prometheus-scrape"])).unwrap();
    let job = &open["scrape_configs"][0];
    assert_eq!(job["static_configs"][0]["targets"][0], "127.0.0.1:8599");
    assert!(job["authorization"].is_null() && job["job_name"] == "metergate", "{job:?}");
    let token = site.folder.path("token").display().to_string();
    let made = Command::new(env!("CARGO_BIN_EXE_metergate")).args(["token", &token]).status().unwrap();
    assert!(made.success());
    let kept = std::fs::read_to_string(&site.config).unwrap();
    let exposed = format!("{{address: '0.0.0.0:8599', token_file: {token}}}");
    std::fs::write(&site.config, kept.replace("{address: '127.0.0.1:8599'}", &exposed)).unwrap();
    let text = site.export(&["prometheus-scrape", "--host", "gateway"]);
    let open: Value = serde_yaml::from_str(&text).unwrap();
    let job = &open["scrape_configs"][0];
    assert_eq!(job["static_configs"][0]["targets"][0], "gateway:8599");
    assert_eq!(job["authorization"]["credentials_file"], "/etc/prometheus/metergate.token");
    assert!(text.contains(&token), "{text}");
}

#[test]
fn what_cannot_be_exported_is_said() {
    let site = Site::new();
    let done = site.run(&["csv", "--listener", "127.0.0.1:1503"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && said.contains("no profile") && said.contains("units 13"), "{said}");
    for (words, part) in [
        (&["csv", "powr"][..], "power"),
        (&["csv", "--listener", "127.0.0.1:9"], "there are 0.0.0.0:1502, 127.0.0.1:1503"),
        (&["csv", "--unit", "99"], "no unit with a profile"),
        (&["niagara"], "csv"),
    ] {
        let done = site.run(words);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{words:?}");
        assert!(said.contains(part), "{words:?}: {said}");
    }
}
