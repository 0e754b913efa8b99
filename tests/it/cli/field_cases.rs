//! Meters and files from public reports, as `read`, `scan` and `check` meet them. The values are those of the reports.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use metergate::modbus::rtu;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::program::Folder;
use crate::support::tcp_server::{registers, tcp_server};
use crate::support::terminal::Terminal;

/// A Modbus TCP server that holds these registers by wire address; any other reads zero.
fn meter(held: BTreeMap<u16, u16>) -> String {
    tcp_server(move |pdu| registers(pdu, |address| held.get(&address).copied().unwrap_or(0)))
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_metergate")).args(arguments).output().unwrap()
}

/// What `read` makes of the registers with a profile whose blocks these are, by the names of the points.
fn read(head: &str, blocks: &[(&str, &[&str])], registers: &[(u16, &[u16])]) -> BTreeMap<String, f64> {
    let mut text = format!("name: odd-meter\ntitle: Odd meter\nfirst_register: 0\n{head}blocks:\n");
    for (index, (range, points)) in blocks.iter().enumerate() {
        let points: String = points.iter().map(|point| format!("      - {{{point}}}\n")).collect();
        text.push_str(&format!(
            "  - name: b{index}\n    registers: {range}\n    kind: measurement\n    points:\n{points}"
        ));
    }
    let folder = Folder::new();
    let path = folder.write("odd-meter.yaml", &text);
    let registers = registers.iter().flat_map(|(start, words)| (*start..).zip(words.iter().copied()));
    let address = meter(registers.collect());
    let output = run(&["read", &address, "-u", "1", "--profile", path.to_str().unwrap(), "-j", "all"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let reading: Value = serde_json::from_slice(&output.stdout).unwrap();
    let points = reading["points"].as_array().unwrap().iter();
    points
        .map(|point| (point["name"].as_str().unwrap().to_owned(), point["value"].as_f64().unwrap()))
        .collect()
}

#[test]
fn the_dtsu666_gives_floats_in_tenths_of_a_volt_and_thousandths_of_an_ampere() {
    let values = read(
        "",
        &[(
            "0x2006-0x200D",
            &[
                "register: 0x2006, name: voltage_an, format: f32, unit: V, group: voltage, scale: 0.1",
                "register: 0x2008, name: voltage_bn, format: f32, unit: V, group: voltage, scale: 0.1",
                "register: 8202, name: voltage_cn, format: f32, unit: V, group: voltage, scale: 0.1",
                "register: 8204, name: current_a, format: f32, unit: A, group: current, scale: 0.001",
            ],
        )],
        &[(0x2006, &[0x4510, 0x0000]), (0x200C, &[0x45A0, 0x0000])],
    );
    assert_eq!((values["voltage_an"], values["current_a"]), (230.4, 5.12));
}

#[test]
fn an_energy_in_double_precision_keeps_its_digits() {
    let energy = "register: 801, name: energy, format: f64, unit: Wh, group: energy";
    let values = read("", &[("801-804", &[energy])], &[(801, &[0x419D, 0x6F34, 0x5600, 0x0000])]);
    assert_eq!(values["energy"], 123_456_789.5);
}

#[test]
fn a_voltage_is_what_its_register_holds_times_a_ratio_of_another() {
    let points = [
        "register: 256, name: pt1, format: u16, group: configuration",
        "register: 257, name: voltage_an, format: u16, unit: V, group: voltage, scale: [0.1, pt1]",
    ];
    let values = read("", &[("256-257", &points)], &[(256, &[1000, 1200])]);
    assert_eq!(values["voltage_an"], 120_000.0);
}

#[test]
fn registers_stand_in_a_profile_as_the_paper_prints_them() {
    for (first, range) in [("0x5000", "0x5000-0x5003"), ("20480", "20480-20483")] {
        let energy =
            format!("register: {first}, name: energy, format: u64, unit: kWh, group: energy, scale: 0.01");
        let values = read("", &[(range, &[&energy])], &[(0x5000, &[0, 0, 1, 0x86A0])]);
        assert_eq!(values["energy"], 1000.0, "{first}");
    }
}

#[test]
fn an_em24_gives_its_low_words_first_and_negative_power() {
    let values = read(
        "word_order: low_first\nmirrored: yes\n",
        &[
            (
                "0-3",
                &[
                    "register: 0, name: voltage_an, format: i32, unit: V, group: voltage, scale: 0.1",
                    "register: 2, name: voltage_bn, format: i32, unit: V, group: voltage, scale: 0.1",
                ],
            ),
            ("40-41", &["register: 40, name: power, format: i32, unit: W, group: power, scale: 0.1"]),
            (
                "53-55",
                &[
                    "register: 53, name: pf, format: i16, unit: ratio, group: power_factor, scale: 0.001",
                    "register: 54, name: phase_sequence, format: i16, group: other",
                    "register: 55, name: frequency, format: i16, unit: Hz, group: frequency, scale: 0.1",
                ],
            ),
        ],
        &[(0, &[2301, 0]), (40, &[0xCFC7, 0xFFFF]), (53, &[0xFC18, 0, 500])],
    );
    let of = |name: &str| values[name];
    assert_eq!((of("voltage_an"), of("power"), of("pf"), of("frequency")), (230.1, -1234.5, -1.0, 50.0));
}

#[test]
fn several_meters_are_a_row_each_in_one_sweep_with_the_spread_of_their_instants() {
    // Unscaled energies of 17,000,001 kWh, which a float cannot hold, and 60.00 Hz.
    let registers = [(0, 0x0103), (1, 0x6641), (25, 6000), (140, 0)];
    let address = meter(registers.into());
    let text = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let csv = text(&["read", &address, "--unit", "1-3,7", "--csv", "frequency", "real_energy_total"]);
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let (points, rest) =
        (["frequency (Hz)", "real_energy_total (kWh)"], ["spread_ms", "error", "scale_age_ms"]);
    assert_eq!(rows[0], [&["time", "target", "unit", "name"][..], &points, &rest].concat());
    assert_eq!(rows[1..].iter().map(|row| row[2]).collect::<Vec<_>>(), ["1", "2", "3", "7"]);
    for row in &rows[1..] {
        assert_eq!((row[4], row[5], row[7]), ("60.00", "17000001", ""), "{csv}");
        assert!(row[6].parse::<u32>().is_ok_and(|spread| spread < 5000) && row[6] == rows[1][6], "{csv}");
    }
    let json = text(&["read", &address, "-u", "1,2", "-j", "frequency"]);
    for (line, unit) in json.lines().zip([1, 2]) {
        let reading: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&reading["unit"], reading["points"][0]["value"].as_f64()), (&unit.into(), Some(60.0)));
        assert!(reading["spread_ms"].is_u64(), "{line}");
    }
    let table = text(&["read", &address, "-u", "1-2", "frequency"]);
    assert!(table.starts_with("unit  name  frequency (Hz)\n1           60.00\n"), "{table}");
    assert!(table.contains("\n2 meters, ") && table.contains(", all readings within 0."), "{table}");
}

#[test]
fn the_meters_of_the_gateway_here_are_read_all_by_their_names() {
    let address = meter([(25, 6000)].into());
    let folder = Folder::new();
    let config = folder.write(
        "metergate.yaml",
        &format!(
            "listeners: [{{address: '{address}'}}]\nbuses: [{{name: line, device: {}, units: [{{id: 2, name: Lift, \
             profile: leviton-4000r}}, {{id: 1, as: 11}}]}}]\n",
            folder.path("line").display()
        ),
    );
    let config = config.to_str().unwrap();
    let output = run(&["read", "--all", "--csv", "-c", config, "frequency"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Vec<&str>> = said.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let found: Vec<_> = rows.iter().map(|row| (row[2], row[3], row[4])).collect();
    assert_eq!(found, [("2", "Lift", "60.00"), ("11", "", "60.00")], "in the order of the file");
    for wrong in [&["read", &address, "--all"][..], &["read", &address, "-u", "1-2", "--raw", "1"], &["read"]]
    {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn meters_that_only_rtu_over_tcp_leads_to_are_named_and_the_others_read() {
    let address = meter([(25, 6000)].into());
    let folder = Folder::new();
    let config = folder.write(
        "metergate.yaml",
        &format!(
            "listeners: [{{address: '{address}', buses: [a]}}, {{address: '127.0.0.1:2101', framing: rtu, buses: [b]}}]\n\
             buses: [{{name: a, device: {}, units: [{{id: 2, profile: leviton-4000r}}]}}, {{name: b, device: {}, units: \
             [{{id: 7-8, profile: leviton-4000r}}]}}]\n",
            folder.path("a").display(),
            folder.path("b").display()
        ),
    );
    let output = run(&["read", "--all", "--csv", "-c", config.to_str().unwrap(), "frequency"]);
    let (said, complaint) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 2), "{said}{complaint}");
    assert!(said.contains(",2,,60.00,"), "{said}");
    assert!(complaint.contains("no listener for Modbus TCP leads to them: units 7, 8"), "{complaint}");
}

#[test]
fn meters_that_give_one_point_in_different_units_have_a_column_for_each() {
    // 1234 W as the SDM630 has it, at 30053; 30 kW as the 4000-R has it, at 3; its exponents read zero.
    let address = meter([(52, 0x449A), (53, 0x4000), (2, 30), (140, 0)].into());
    let folder = Folder::new();
    let config = folder.write(
        "metergate.yaml",
        &format!(
            "listeners: [{{address: '{address}'}}]\nbuses: [{{name: line, device: {}, units: [{{id: 1, profile: \
             leviton-4000r}}, {{id: 2, profile: eastron-sdm630}}]}}]\n",
            folder.path("line").display()
        ),
    );
    let sweep = |style: &[&str]| {
        let arguments = [&["read", "--all", "-c", config.to_str().unwrap()], style, &["real_power_total"]];
        let output = run(&arguments.concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let csv = sweep(&["--csv"]);
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0][4..6], ["real_power_total (kW)", "real_power_total (W)"], "{csv}");
    assert_eq!((&rows[1][4..6], &rows[2][4..6]), (&["30", ""][..], &["", "1234"][..]), "{csv}");
    let table = sweep(&[]);
    assert!(table.contains("real_power_total (kW)  real_power_total (W)\n"), "{table}");
}

/// What `check` says of a file: its exit code and both its outputs.
fn check(file: &[u8]) -> (i32, String) {
    let folder = Folder::new();
    let path = folder.path("metergate.yaml");
    fs::write(&path, file).unwrap();
    let output = run(&["check", path.to_str().unwrap()]);
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn files_as_windows_editors_save_them_work_and_what_cannot_work_is_told_with_a_remedy() {
    let good = "listeners:\n  - address: 127.0.0.1:5020\nbuses:\n  - name: line\n    device: /dev/ttyS0\n    \
                parity: none\n    units:\n      - id: 1\n";
    let crlf = good.replace('\n', "\r\n");
    let bom = |text: &str| [b"\xef\xbb\xbf", text.as_bytes()].concat();
    for (name, file) in [
        ("crlf", crlf.clone().into_bytes()),
        ("a mark", bom(good)),
        ("a mark and crlf", bom(&crlf)),
        ("no end of line at the end", good.trim_end().into()),
        ("a tab behind a value", good.replace("none\n", "none\t\n").into()),
    ] {
        let (code, said) = check(&file);
        assert_eq!(code, 0, "{name}: {said}");
    }
    let utf16 = [0xFF, 0xFE].into_iter().chain(good.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    for (name, file, remedy) in [
        ("utf-16", utf16, "UTF-8"),
        ("a tab", good.replace("    parity", "\tparity").into_bytes(), "space"),
        ("a no-break space", good.replace("parity: none", "parity:\u{a0}none").into(), "parity"),
        ("typographic quotes", good.replace(": none", ": \u{201c}none\u{201d}").into(), "none, even"),
        ("a letter", good.replace(": none", ": N").into(), "none, even"),
        ("a key of another program", good.replace("parity: none", "baudrate: 9600").into(), "baud_rate"),
        ("a hexadecimal identifier", good.replace("id: 1", "id: 0x01").into(), "1 to 247"),
        ("another program's word", good.replace("id: 1", "slave: 1").into(), "id"),
    ] {
        let (code, said) = check(&file);
        assert!(code == 3 && said.contains(remedy), "{name}: {code} {said}");
    }
}

/// What a meter on a line answers to a request of eight bytes or four, and after which time.
type Answer = fn(&[u8]) -> Option<(Duration, Vec<u8>)>;

/// A line of such meters. It lives as long as the test program.
fn line(answer: Answer) -> PathBuf {
    let Terminal { mut far, device, held } = Terminal::open();
    thread::spawn(move || {
        let _kept_open = held;
        let (mut frame, mut byte) = (Vec::new(), [0]);
        while far.read_exact(&mut byte).is_ok() {
            frame.push(byte[0]);
            if !rtu::crc_is_right(&frame) {
                continue;
            }
            if let Some((pause, pdu)) = answer(&frame) {
                let (mut far, unit) = (far.try_clone().unwrap(), frame[0]);
                thread::spawn(move || {
                    thread::sleep(pause);
                    let _gone = far.write_all(&rtu::encode(unit, &pdu));
                });
            }
            frame.clear();
        }
    });
    device
}

const AT_ONCE: Duration = Duration::from_millis(20);

/// One pair of registers.
fn pair(function: u8) -> Vec<u8> {
    vec![function, 4, 1, 1, 1, 1]
}

/// What a scan of the first units says, and its exit code.
fn scan(device: &Path, units: &str) -> (String, Option<i32>) {
    let output = run(&["scan", device.to_str().unwrap(), "--units", units, "-b", "19200"]);
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

/// The units of the table a scan prints.
fn units(said: &str) -> Vec<u8> {
    let lines =
        said.lines().filter_map(|line| line.strip_prefix("#    ")?.split_whitespace().next()?.parse().ok());
    lines.collect()
}

#[test]
fn a_scan_finds_meters_that_answer_input_registers_other_addresses_or_their_identification_only() {
    let device = line(|frame| {
        let start = u16::from_be_bytes([*frame.get(2)?, *frame.get(3)?]);
        let answers = match (frame[0], frame[1]) {
            (1, 3) => true,
            (2, 4) => start < 100,
            (3, 3) => (256..300).contains(&start),
            _ => false,
        };
        let server_id = (frame[0], frame[1]) == (4, 0x11);
        let reply = if server_id { vec![0x11, 5, 7, 0xFF, b'a', b'b', b'c'] } else { pair(frame[1]) };
        (answers || server_id).then_some((AT_ONCE, reply))
    });
    let (said, code) = scan(&device, "1-5");
    assert_eq!((units(&said), code), (vec![1, 2, 3, 4], Some(1)), "{said}");
    assert!(said.contains("no answer from 5."), "{said}");
    assert!(
        said.contains("answers function 04 at 0") && said.contains("answers function 03 at 256"),
        "{said}"
    );
    assert!(said.contains("abc; silent to reads, answers function 17"), "{said}");
}

#[test]
fn a_gateway_whose_replies_do_not_fit_is_not_said_to_have_two_meters_of_one_address() {
    // One register of two, whatever is requested.
    let address = tcp_server(|pdu| vec![pdu[0], 2, 1, 1]);
    let output = run(&["scan", &address, "--units", "1-2"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!((units(&said), output.status.code()), (vec![1, 2], Some(1)), "{said}");
    assert_eq!(said.matches("its answers do not fit what was asked").count(), 2, "{said}");
    assert!(!said.contains("two meters") && !said.contains("used twice"), "{said}");
    assert!(said.contains("# 0 meters, 2 units with answers that do not fit.\n"), "{said}");
}

#[test]
fn a_late_answer_is_its_own_units_and_makes_no_other_unit_appear() {
    // 350 ms: the scan gives up after 200, and asks the next unit meanwhile.
    let device = line(|frame| {
        let late = Duration::from_millis(350);
        (frame[0] == 2 && frame[1] == 3).then(|| (late, pair(3)))
    });
    let (said, code) = scan(&device, "1-4");
    assert_eq!((units(&said), code), (vec![2], Some(1)), "{said}");
    assert!(said.contains("answers late") && said.contains("no answer from 1, 3-4."), "{said}");
    assert!(said.contains("- id: 2\n        # profile: leviton-4000r   # if they are of that kind\n        response_timeout: 1000ms\n"), "{said}");
}

#[test]
fn the_last_answer_to_a_scan_is_no_second_one_when_late_units_are_asked_again() {
    // Later than the timeout and the guard of the scan: the last one comes when the port is open anew.
    let device =
        line(|frame| (frame[0] <= 3).then(|| (Duration::from_millis(450), vec![frame[1] | 0x80, 1])));
    let (said, code) = scan(&device, "1-4");
    assert_eq!((units(&said), code), (vec![1, 2, 3], Some(1)), "{said}");
    assert_eq!(said.matches("answers late").count(), 3, "{said}");
    assert!(said.contains("# 3 meters, no answer from 4.\n"), "{said}");
}

#[test]
fn an_answer_of_another_length_is_not_called_late() {
    let device = line(|frame| match (frame[0], frame[1]) {
        (1, 3) => Some((AT_ONCE, pair(3))),
        // Unit 2 gives one register of two.
        (2, 3 | 4) => Some((AT_ONCE, vec![frame[1], 2, 1, 1])),
        // Unit 3 does so as well, and says what it is.
        (3, 3 | 4) => Some((AT_ONCE, vec![frame[1], 2, 1, 1])),
        (3, 0x11) => Some((AT_ONCE, vec![0x11, 5, 7, 0xFF, b'a', b'b', b'c'])),
        _ => None,
    });
    let (said, code) = scan(&device, "1-3");
    assert_eq!((units(&said), code), (vec![1, 2, 3], Some(0)), "{said}");
    assert!(said.contains("does not say what it is; answers another length than asked\n"), "{said}");
    assert!(said.contains("abc; answers another length than asked; answers function 17\n"), "{said}");
    assert!(!said.contains("late") && !said.contains("response_timeout"), "{said}");
    assert!(said.contains("- id: 1\n        # profile: leviton-4000r   # if they are of that kind\n      - id: 2-3\n        replies: loose\n"), "{said}");
}

#[test]
fn a_scan_that_asks_late_units_again_ends_with_ctrl_c() {
    /// How often unit 1 was asked for its first holding registers: the third time is with more time.
    static ASKED: AtomicU32 = AtomicU32::new(0);
    // All answer too late for the scan, and not at all when they are asked again.
    let device = line(|frame| {
        let is_first = frame[1] == 3 && frame[2..4] == [0, 0];
        if is_first && frame[0] == 1 {
            ASKED.fetch_add(1, Ordering::SeqCst);
        }
        (is_first && ASKED.load(Ordering::SeqCst) < 3).then(|| (Duration::from_millis(350), pair(3)))
    });
    let program = Command::new(env!("CARGO_BIN_EXE_metergate"))
        .args(["scan", device.to_str().unwrap(), "--units", "1-3", "-b", "19200"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while ASKED.load(Ordering::SeqCst) < 3 {
        assert!(Instant::now() < deadline, "unit 1 is not asked again");
        thread::sleep(AT_ONCE);
    }
    let stopped = Instant::now();
    kill(Pid::from_raw(program.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = program.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // Three units, six questions, a second each.
    assert!(stopped.elapsed() < Duration::from_secs(10), "{:?}: {said}", stopped.elapsed());
    assert_eq!((units(&said), output.status.code()), (vec![1, 2, 3], Some(1)), "{said}");
    assert!(said.contains("answers late") && said.contains("# Broken off"), "{said}");
}

#[test]
fn of_a_device_that_may_not_be_opened_the_log_names_the_cause_and_what_to_do() {
    let folder = Folder::new();
    let device = folder.write("line", "");
    let config = folder.write(
        "metergate.yaml",
        &format!(
            "listeners: [{{address: '127.0.0.1:0'}}]\nbuses: [{{name: line, device: {}, units: [{{id: 1}}]}}]\n\
             status: off\n",
            device.display()
        ),
    );
    fs::set_permissions(&device, Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(&config, Permissions::from_mode(0o644)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_metergate"));
    command.args(["run", config.to_str().unwrap()]).stderr(Stdio::piped()).stdout(Stdio::null());
    if rustix::process::getuid().is_root() {
        // Root may open everything.
        command.uid(65_534).gid(65_534);
    }
    let mut program = command.spawn().unwrap();
    let log = BufReader::new(program.stderr.take().unwrap()).lines().map_while(Result::ok);
    let said = log.into_iter().find(|line| line.contains("cannot open the port"));
    program.kill().unwrap();
    program.wait().unwrap();
    let said = said.expect("the log says so");
    assert!(said.contains("Permission denied") && said.contains("dialout"), "{said}");
}
