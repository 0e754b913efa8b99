//! The bus budget: what background reading costs a line, when that is too much, and which messages report it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use metergate::config::parse;
use metergate::line::{Adjustment, Budget, LineSettings, Protocol};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A file with one listener of that `max_age` and one bus with these keys and units.
fn file(max_age: &str, bus: &str, units: &str) -> String {
    format!(
        "listeners: [{{address: \"127.0.0.1:0\", max_age: {max_age}}}]\nbuses:\n  - name: riser-a\n    \
         device: /nowhere/usb-X\n{bus}    units: [{units}]\n"
    )
}

fn line(bus: &str, units: &str) -> LineSettings {
    let loaded = parse(&file("0s", bus, units), "m.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    loaded.config.buses[0].line.clone()
}

fn budget(bus: &str, units: &str) -> Budget {
    Budget::of(&line(bus, units), Instant::now())
}

fn near(found: Duration, millis: u64) -> bool {
    found.abs_diff(Duration::from_millis(millis)) < Duration::from_millis(1)
}

fn is(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 0.001
}

#[test]
fn one_reading_costs_what_the_wire_and_the_meter_take() {
    let budget = budget("", "{id: 1, profile: leviton-4000r, blocks: [integers, floats]}");
    let costs: Vec<_> = budget.blocks.iter().map(|block| (block.range.quantity, block.cost)).collect();
    // (8 + 109) and (8 + 185) characters of 10 bits, 3.5 of 11 bits, and 5 ms of the meter.
    assert_eq!((costs[0].0, costs[1].0), (52, 90));
    assert!(near(costs[0].1, 68) && near(costs[1].1, 107), "{costs:?}");
}

#[test]
fn a_reading_of_a_modbus_tcp_unit_costs_the_time_of_its_answer_whatever_its_length() {
    let mut line = line("", "{id: 1, profile: leviton-4000r, blocks: [integers, floats], request_gap: 30ms}");
    line.protocol = Protocol::Tcp;
    let costs: Vec<_> = Budget::of(&line, Instant::now()).blocks.iter().map(|block| block.cost).collect();
    // 20 ms until it is known better, and the pause that is asked for.
    assert_eq!(costs, [Duration::from_millis(50); 2]);
}

#[test]
fn the_count_to_bill_by_is_read_with_the_profiles_own_choice_of_blocks() {
    let ranges = |units: &str| -> Vec<_> {
        let blocks = budget("", units).blocks;
        blocks.iter().map(|block| (block.range.start, block.range.quantity, block.measured)).collect()
    };
    let own = ranges("{id: 1, profile: leviton-4000r}");
    assert!(own.contains(&(0, 2, true)), "{own:?}");
    let chosen = ranges("{id: 1, profile: leviton-4000r, blocks: [floats]}");
    assert_eq!(chosen, [(256, 90, true)], "who names the blocks gets no other");
    let off = ranges("{id: 1, profile: leviton-4000r, poll: off}");
    assert!(off.is_empty(), "{off:?}");
}

#[test]
fn a_slower_line_more_bits_and_a_gap_cost_more() {
    let cost = |bus: &str, unit: &str| {
        budget(bus, &format!("{{id: 1, profile: leviton-4000r, blocks: [floats]{unit}}}")).cycle
    };
    assert!(near(cost("    baud_rate: 9600\n", ""), 210));
    assert!(near(cost("    parity: even\n", ""), 118));
    assert!(near(cost("", ", request_gap: 100ms"), 206));
}

#[test]
fn the_cycle_of_eight_meters_and_of_thirty_two_is_that_of_the_papers() {
    let floats = |ids: &str| budget("", &format!("{{id: {ids}, profile: leviton-4000r, blocks: [floats]}}"));
    let (eight, all) = (floats("1-8"), floats("1-32"));
    assert!(near(eight.cycle, 860), "{:?}", eight.cycle);
    assert!(near(all.cycle, 3441), "{:?}", all.cycle);
    // Automatic: as often as the share allows.
    assert!(is(eight.utilisation, 0.6) && is(all.utilisation, 0.6));
    assert!(near(eight.blocks[0].interval, 1434) && near(all.blocks[0].interval, 5734));
    assert!(!eight.is_crowded() && is(eight.slowdown(), 1.0));
}

#[test]
fn slow_blocks_come_off_the_share_first() {
    let budget = budget("", "{id: 1-8, profile: leviton-4000r}");
    let of = |measured| budget.blocks.iter().filter(move |block| block.measured == measured);
    assert_eq!((of(true).count(), of(false).count()), (24, 16));
    assert!(of(false).all(|block| block.interval == Duration::from_secs(60)));
    assert!(of(true).all(|block| block.interval > Duration::from_millis(1434)));
    assert!(is(budget.utilisation, 0.6), "{}", budget.utilisation);
    assert!(near(budget.cycle, 1105), "settings are no part of the cycle of measurements");
}

#[test]
fn a_request_waits_for_one_reading_or_for_one_silence() {
    let units = "{id: 1-8, profile: leviton-4000r}, {id: 9, response_timeout: 900ms}";
    let budget = budget("", units);
    assert!(near(budget.wait, 107), "{:?}", budget.wait);
    // (8 + 255) characters of a read of 125 registers, and no more however many are learned.
    assert!(near(budget.wait_for_learned.unwrap(), 144), "{:?}", budget.wait_for_learned);
    // Eight characters of the request, 3.5 of silence, and all of the timeout.
    assert!(near(budget.wait_for_silence, 906), "{:?}", budget.wait_for_silence);
}

fn shown(remedy: &Adjustment) -> String {
    let Adjustment { poll_share, poll, poll_slow } = remedy;
    match (poll_share, poll, poll_slow) {
        (None, None, None) => "nothing".to_owned(),
        (Some(share), None, None) => format!("poll_share {:.0}%", share * 100.0),
        (None, Some(poll), None) => format!("poll {}s", poll.as_secs()),
        (None, None, Some(slow)) => format!("poll_slow {}s", slow.as_secs()),
        (Some(_), _, _) | (None, Some(_), Some(_)) => format!("{remedy:?}"),
    }
}

#[test]
fn the_remedy_is_the_shortest_whole_second_that_fits() {
    let now = Instant::now();
    let floats = |ids: &str| format!("{{id: {ids}, profile: leviton-4000r, poll: 1s, blocks: [floats]}}");
    let slow = "{id: 1-32, profile: leviton-4000r, poll_slow: 1s, blocks: [configuration, firmware]}";
    let all = "{id: 1-247, profile: leviton-4000r, poll: 24h, poll_slow: 24h}";
    let auto = "{id: 1-8, profile: leviton-4000r}";
    for (bus, units, expected) in [
        ("", auto, "nothing"),
        ("", &floats("1-8"), "poll 2s"),
        ("", &floats("1-32"), "poll 6s"),
        ("    poll_share: 100%\n", &floats("1-32"), "poll 5s"),
        ("    poll_share: 90%\n", auto, "poll_share 80%"),
        (
            "    poll_share: 90%\n",
            &format!("{}, {{id: 2, profile: leviton-4000r}}", floats("11-17")),
            "poll 2s",
        ),
        ("", slow, "poll_slow 3s"),
        ("    poll_share: 0.1%\n    baud_rate: 300\n", all, "no key"),
    ] {
        let line = line(bus, units);
        let found = Adjustment::of(&line, now);
        assert_eq!(found.as_ref().map_or("no key".to_owned(), shown), expected, "{bus}{units}");
        if let Some(remedy) = found {
            let fixed = Budget::with(&line, &remedy, now);
            assert!(!fixed.is_crowded() && is(fixed.slowdown(), 1.0), "{bus}{units}: {}", fixed.utilisation);
        }
    }
}

/// Runs `check` on a file of that text, and leaves out what it says of the device, of other programs on this machine and
/// of units without a profile.
fn check(test: &str, text: &str) -> (Output, String) {
    let folder = folder(test);
    let path = folder.join("m.yaml");
    std::fs::write(&path, text).unwrap();
    let output = program().args(["check", "--effective", "--config"]).arg(&path).output().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    let said = std::str::from_utf8(&output.stderr).unwrap().replace(path.to_str().unwrap(), "m.yaml");
    let of_the_plan = |line: &&str| {
        let of_the_machine = ["there is no device", "listens there already", ": note: "];
        !of_the_machine.iter().any(|words| line.contains(words))
    };
    let said = said.lines().filter(of_the_plan).map(|line| format!("{line}\n")).collect();
    (output, said)
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_metergate"))
}

/// A folder of its own for each test, so that they may run at once.
fn folder(test: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("metergate-budget-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn check_shows_the_budget_below_the_configuration_and_stays_yaml() {
    let units = "{id: 1-8, profile: leviton-4000r}, {id: 9}, {id: 10, profile: leviton-4000r, poll: 90s, blocks: [integers]}";
    let (output, said) = check("shown", &file("5s", "", units));
    // The one unit that is read less often is named.
    let warned = "m.yaml: warning: bus riser-a: listener 127.0.0.1:0: max_age: 5s is less than the poll interval of unit 10 and one cycle (90 s + 1.17 s), so reads will often find the snapshot too old and wait for the line; max_age: 92s or more would do\n";
    assert_eq!((output.status.code(), said.as_str()), (Some(0), warned));
    let shown = std::str::from_utf8(&output.stdout).unwrap();
    let (configuration, rest) = shown.split_once("\n\n").unwrap();
    assert!(configuration.contains("    profile: leviton-4000r\n    poll: 90s\n"), "{configuration}");
    let expected = "# Bus budget of riser-a, 19200 8N1
#   units 1-8  configuration      registers 129-154  every 60 s    41 ms each
#   units 1-8  floats             registers 257-346  every 1.87 s  108 ms each
#   units 1-8  firmware           register 7001      every 60 s    15 ms each
#   units 1-8  real_energy_total  registers 1-2      every 1.87 s  16 ms each
#   units 1-8  alert_bitmap       register 146       every 1.87 s  15 ms each
#   unit 10    integers           registers 1-52     every 90 s    68 ms each
#   one reading of every measurement block: 1.17 s of line time
#   sizing: 1.17 s a cycle for 9 meters; of such meters 4 fit when read every second, 43 every 10 s, 200 every minute
#   background readings ask for 60 % of line time; poll_share allows 60 %
#   a client's request waits at most 108 ms for what is on the line while all units answer
#   a client's request waits at most 144 ms for a range learned from clients
#   a client's request waits at most 506 ms for what is on the line while a unit is silent
# ok
";
    assert_eq!(rest, expected);
    let reread = parse(shown, "shown.yaml").unwrap().config;
    assert_eq!(reread.buses[0].line, line("", units), "all of it is a configuration file");
}

#[test]
fn a_gap_that_leaves_no_time_for_the_plan_is_named_with_the_gap_that_would() {
    let units = "{id: 1-8, profile: leviton-4000r, poll: 2s, blocks: [floats]}";
    let (output, said) = check("gap", &file("0s", "    request_gap: 200ms\n", units));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("poll: 5s, or request_gap: 44ms at most would do\n"), "{said}");
    let (_, said) = check("gap-within", &file("0s", "    request_gap: 44ms\n", units));
    assert_eq!(said, "", "what was proposed is enough");
}

#[test]
fn a_plan_beyond_the_line_ends_check_with_1_and_shows_what_would_fit() {
    let units = "{id: 1-32, profile: leviton-4000r, poll: 1s, blocks: [floats]}";
    let (output, said) = check("beyond", &file("2s", "", units));
    let expected = "m.yaml: error: bus riser-a: the background readings ask for 344 % of line time, more than poll_share gives (60 %): they are read 5.7 times slower than planned; poll: 6s would do
m.yaml: warning: bus riser-a: listener 127.0.0.1:0: max_age: 2s is less than the poll interval of unit 1 and one cycle (6 s + 3.44 s with poll: 6s), so reads will often find the snapshot too old and wait for the line; max_age: 10s or more would do
";
    assert_eq!((output.status.code(), said.as_str()), (Some(1), expected));
    assert!(!output.stdout.ends_with(b"ok\n"));
    // What was proposed is enough.
    let (output, said) = check("within", &file("10s", "", &units.replace("poll: 1s", "poll: 6s")));
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn the_budgets_in_the_sizing_guide_are_what_the_program_prints() {
    let guide = include_str!("../../../docs/sizing.md");
    let blocks: Vec<&str> = guide.split("```").skip(1).step_by(2).collect();
    let configuration =
        blocks.iter().find_map(|block| block.strip_prefix("yaml\n").filter(|text| text.contains("id: 1-8")));
    let configuration = configuration.unwrap();
    let (output, _) = check("guide", configuration);
    let shown = std::str::from_utf8(&output.stdout).unwrap();
    // Beside the configuration, which the guide does not repeat, the last word is a comment.
    let budget = shown.split_once("\n\n").unwrap().1.replace("\n# ok\n", "\nok\n");
    let budget = format!("text\n{budget}");
    assert!(blocks.contains(&budget.as_str()), "{budget}");
    let more = configuration.replace("1-8", "1-32").replace("max_age: 5s", "max_age: 2s");
    let (output, said) = check("guide-more", &format!("{more}        poll: 1s\n"));
    assert_eq!(output.status.code(), Some(1));
    let said = format!("text\n{}", said.replace("m.yaml", "metergate.yaml"));
    assert!(blocks.contains(&said.as_str()), "{said}");
}

#[test]
fn what_only_crowds_the_line_is_a_warning() {
    let units = "{id: 1-8, profile: leviton-4000r, poll: 1s, blocks: [floats]}";
    for (share, units, expected) in [
        (
            "60%",
            units,
            "ask for 86 % of line time, more than poll_share gives (60 %): they are read 1.4 times slower than planned; poll: 2s would do",
        ),
        (
            "100%",
            units,
            "ask for 86 % of line time, and clients' requests wait for them; up to 80 % is well; poll: 2s would do",
        ),
        (
            "100%",
            "{id: 1-8, profile: leviton-4000r}",
            "ask for 100 % of line time, and clients' requests wait for them; up to 80 % is well; poll_share: 80% would do",
        ),
        (
            "50%",
            "{id: 1-5, profile: leviton-4000r, poll: 1s, blocks: [floats]}",
            "ask for 54 % of line time, more than poll_share gives (50 %): they are read 1.1 times slower than planned; poll: 2s would do",
        ),
    ] {
        let (output, said) = check("crowded", &file("0s", &format!("    poll_share: {share}\n"), units));
        let expected = format!("m.yaml: warning: bus riser-a: the background readings {expected}\n");
        assert_eq!((output.status.code(), said), (Some(0), expected));
        assert!(output.stdout.ends_with(b"ok\n"));
    }
}

#[test]
fn plans_that_fit_and_ages_they_keep_are_not_complained_of() {
    for (age, units) in [
        ("0s", "{id: 1-8, profile: leviton-4000r}"),
        ("3s", "{id: 1-8, profile: leviton-4000r}"),
        ("1s", "{id: 1-8}"),
        ("1s", "{id: 1-8, profile: leviton-4000r, blocks: [configuration]}"),
        ("1s", "{id: 1-8, profile: leviton-4000r, poll: off}"),
    ] {
        let (output, said) = check("fitting", &file(age, "", units));
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{age} {units}");
    }
}

#[test]
fn a_share_of_nothing_with_something_to_poll_is_warned_of() {
    let (output, said) =
        check("nothing", &file("5s", "    poll_share: 0%\n", "{id: 1, profile: leviton-4000r}"));
    assert!(output.stdout.ends_with(
        b"# Bus budget of riser-a, 19200 8N1\n#   nothing is read in the background\n#   a client's request waits \
          at most 506 ms for what is on the line while a unit is silent\n# ok\n"
    ));
    let expected = "m.yaml: warning: bus riser-a: poll_share: 0% leaves no line time: nothing is read in the background; poll_share: 60% would do, or poll: off says that it is meant\n";
    assert_eq!((output.status.code(), said.as_str()), (Some(0), expected));
}

#[test]
fn run_starts_with_a_plan_beyond_the_line_and_warns_at_start_and_reload() {
    let folder = folder("run");
    let path = folder.join("m.yaml");
    std::fs::write(&path, file("0s", "", "{id: 1-32, profile: leviton-4000r, poll: 1s}")).unwrap();
    let mut child = program()
        .args(["run", "--config"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut wait_for = |part: &str| {
        log.find(|line| line.contains(part)).unwrap_or_else(|| panic!("the log ended before '{part}'"))
    };
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let warned = wait_for("of line time");
    assert!(warned.contains("WARN") && warned.contains("poll: 8s would do"), "{warned}");
    wait_for("started");
    kill(pid, Signal::SIGHUP).unwrap();
    wait_for("of line time");
    kill(pid, Signal::SIGTERM).unwrap();
    wait_for("stopped");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    std::fs::remove_dir_all(folder).unwrap();
}
