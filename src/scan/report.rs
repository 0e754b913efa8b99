//! A scan's findings as text, and the resulting configuration.
//!
//! Together they are valid YAML: the text is in comments, so that the output may be saved as the configuration.

use std::fmt::Write;
use std::time::Duration;

use super::found::{Findings, Found, FoundMeter};
use super::plan::{Question, Scope};
use super::through::Through;
use crate::line::{Framing, Parity, UnitId};
use crate::modbus::pdu::{FunctionCode, ReadRange};

/// The findings as text: a line for each unit heard, then the anomalies with their remedies.
#[must_use]
pub fn words(findings: &Findings, scope: Scope, through: Through) -> String {
    let mut text = String::new();
    table(findings, &mut text);
    summary(findings, scope, &mut text);
    oddities(findings, scope, through, &mut text);
    text
}

/// A configuration with every meter found, as comments where there is none.
#[must_use]
pub fn configuration(findings: &Findings, device: &str) -> String {
    let Some(framing) = findings.usual_framing() else { return String::new() };
    let mut text = String::from(
        "listeners:\n  - address: 0.0.0.0:502\n    max_age: 5s      # clients share readings up to this old\nbuses:\n",
    );
    let _never = write!(
        text,
        "  - name: line-1\n    device: {}\n    baud_rate: {}\n    parity: {}\n    units:\n",
        quoted(device),
        framing.baud_rate,
        parity(framing.parity)
    );
    let here: Vec<_> = findings.meters().filter(|(_, at, _)| *at == framing).collect();
    if here.is_empty() {
        return String::new();
    }
    let alike = |one: &(UnitId, Framing, &FoundMeter), next: &(UnitId, Framing, &FoundMeter)| {
        let settings = |meter: &FoundMeter| (profile_for(meter), meter.late, meter.misfits);
        one.0.get() + 1 == next.0.get() && settings(one.2) == settings(next.2)
    };
    for run in here.chunk_by(alike) {
        let (first, last) = (run[0].0, run[run.len() - 1].0);
        let id = if first == last { first.to_string() } else { format!("{first}-{last}") };
        let _never = writeln!(text, "      - id: {id}");
        match profile_for(run[0].2) {
            Some(profile) => {
                let _never = writeln!(text, "        profile: {profile}");
            }
            None if run[0].2.misfits => {}
            // Without one nothing is read in the background, and the page stays empty.
            None => text.push_str("        # profile: leviton-4000r   # if they are of that kind\n"),
        }
        if run[0].2.misfits {
            text.push_str("        replies: loose\n");
        }
        if run[0].2.late {
            let _never = writeln!(text, "        response_timeout: {}", millis(LATE_TIMEOUT));
        }
    }
    text
}

/// The profile of a meter in the configuration: none beside `replies: loose`, where `check` refuses it.
pub(crate) fn profile_for(meter: &FoundMeter) -> Option<&'static str> {
    meter.profile.filter(|_| !meter.misfits)
}

fn table(findings: &Findings, text: &mut String) {
    let several = findings.heard().any(|(_, framing, _)| Some(framing) != findings.usual_framing());
    if findings.heard().next().is_some() {
        let at = if several { "  heard at   " } else { "" };
        let _never = writeln!(text, "#  unit{at}  answers in  what it says it is");
    }
    for (unit, framing, found) in findings.heard() {
        let at = if several { format!("  {:<11}", framing.to_string()) } else { String::new() };
        let says = match found {
            Found::Meter(meter) => meter_words(meter),
            Found::Noisy(meter) => format!("{}; some answers come damaged", meter_words(meter)),
            Found::Damaged => {
                "            two meters seem to have this address: every answer came damaged".to_owned()
            }
            Found::Twice => {
                "            two meters seem to have this address: two answers to one request".to_owned()
            }
            Found::Truncated => "            its answers break off before their end".to_owned(),
            Found::Malformed => "            its answers do not fit what was asked".to_owned(),
            Found::Silent => continue,
        };
        let _never = writeln!(text, "# {unit:>5}{at}  {says}");
    }
}

fn meter_words(meter: &FoundMeter) -> String {
    let says = meter.says.as_deref().unwrap_or("does not say what it is");
    let version = meter.version.as_ref().map(|version| format!(", {version}")).unwrap_or_default();
    let time = meter.answers_in.map(|time| format!("{:>7.1} ms  ", time.as_secs_f64() * 1000.0));
    let late = if meter.late { "; answers late" } else { "" };
    let misfits = if meter.misfits { "; answers another length than asked" } else { "" };
    let silent = if meter.misfits { "" } else { "silent to reads, " };
    let only = match meter.answered {
        None
        | Some(Question::Read(ReadRange {
            function: FunctionCode::READ_HOLDING_REGISTERS, start: 0, ..
        })) => String::new(),
        Some(Question::Read(ReadRange { function, start, .. })) => {
            format!("; silent to function 03 at address 0, answers function {:02} at {start}", function.0)
        }
        Some(Question::ServerId) => format!("; {silent}answers function 17"),
        Some(Question::DeviceIdentification) => format!("; {silent}answers function 43"),
    };
    format!("{}{says}{version}{late}{misfits}{only}", time.unwrap_or_else(|| " ".repeat(12)))
}

fn summary(findings: &Findings, scope: Scope, text: &mut String) {
    let meters = findings.meters().count();
    let shared = findings.shared().count();
    let mut parts = vec![format!("{meters} {}", if meters == 1 { "meter" } else { "meters" })];
    if shared > 0 {
        parts.push(format!("{shared} {} used twice", if shared == 1 { "address" } else { "addresses" }));
    }
    let malformed = findings.malformed().count();
    if malformed > 0 {
        let units = if malformed == 1 { "unit" } else { "units" };
        parts.push(format!("{malformed} {units} with answers that do not fit"));
    }
    let truncated = findings.truncated().count();
    if truncated > 0 {
        let units = if truncated == 1 { "unit" } else { "units" };
        parts.push(format!("{truncated} {units} with answers that break off"));
    }
    let silent: Vec<_> = findings.silent().collect();
    if scope == Scope::Named && !silent.is_empty() {
        parts.push(format!("no answer from {}", list(&silent)));
    }
    let _never = writeln!(text, "#\n# {}.", parts.join(", "));
}

fn oddities(findings: &Findings, scope: Scope, through: Through, text: &mut String) {
    let mut say = |words: &str| {
        for line in textwrap::wrap(words, WIDTH) {
            let _never = writeln!(text, "# {line}");
        }
    };
    let shared: Vec<_> = findings.shared().collect();
    if !shared.is_empty() {
        say(&format!(
            "Address {}: switch one meter after the other off to find both, then give one of them a free address \
             in its menu. A single meter whose answers are all damaged has a bad wire.",
            list(&shared)
        ));
    }
    let truncated: Vec<_> = findings.truncated().collect();
    if !truncated.is_empty() {
        say(&format!(
            "Address {}: power, address and these settings are right. What cuts the answers off: an adapter, repeater \
             or serial server that switches from receiving to sending too early, pauses inside the answers longer than \
             a scan waits (try `byte_timeout: 250ms` in a configuration), or an adapter that drops bytes.",
            list(&truncated)
        ));
    }
    if let Some(unit) = findings.malformed().next() {
        say(&format!(
            "`metergate read TARGET --unit {unit} --raw 1` shows what does not fit in such an answer. The meter, or a \
             device in between, does not keep to the standard."
        ));
    }
    if let Some(usual) = findings.usual_framing() {
        let others: Vec<_> = findings.heard().filter(|(_, framing, _)| *framing != usual).collect();
        for (unit, framing, _) in &others {
            say(&format!(
                "Unit {unit} answers at {framing}: set it to {usual} in its menu, as the others are."
            ));
        }
    }
    if findings.heard().next().is_none() {
        say(match through {
            Through::Line => SILENCE,
            Through::SerialServer => SERVER_SILENCE,
            Through::Gateway => GATEWAY_SILENCE,
        });
    } else if scope == Scope::Named && findings.silent().next().is_some() {
        say(match through {
            Through::Line => SOME_SILENT,
            Through::SerialServer => SERVER_SOME_SILENT,
            Through::Gateway => GATEWAY_SOME_SILENT,
        });
    }
}

/// `1-3, 5`.
fn list(units: &[UnitId]) -> String {
    let runs = units.chunk_by(|one, next| one.get() + 1 == next.get()).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        [] | [_] => run.iter().map(ToString::to_string).collect(),
    });
    runs.collect::<Vec<_>>().join(", ")
}

pub(crate) fn parity(parity: Parity) -> &'static str {
    match parity {
        Parity::None => "none",
        Parity::Even => "even",
        Parity::Odd => "odd",
    }
}

/// As a YAML scalar, whatever its characters.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b':');
    if text.starts_with('/') && text.bytes().all(plain) && !text.ends_with(':') {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// Width of a line of text in characters.
const WIDTH: usize = 100;

/// The timeout written for a meter that answered after that of the scan.
pub(crate) const LATE_TIMEOUT: Duration = Duration::from_secs(1);

/// Causes that cannot be distinguished from here, the likelier ones first.
const SILENCE: &str = "No unit answered. From here the causes look alike; in order of likelihood: (1) another baud \
    rate or parity: --try-settings goes through them; (2) A and B swapped: swap the two wires at the adapter, it \
    does no harm; (3) meters without power, or no wire to the first one; (4) other addresses: leave --units out to \
    scan all 247; (5) the wrong port; (6) no termination or bias: 120 ohms at both ends.";

/// The same if other units answer.
const SOME_SILENT: &str = "Others answer, so port and wiring up to them are right. Of a silent meter check, in this \
    order: its power; its address and baud rate in its menu (--try-settings looks for other rates); its two wires.";

/// Causes of silence behind a serial server, whose settings cannot be seen from here.
const SERVER_SILENCE: &str = "No unit answered. From here the causes look alike; in order of likelihood: (1) another \
    baud rate or parity in the serial server's own settings; (2) A and B swapped: swap the two wires at the serial \
    server, it does no harm; (3) meters without power, or no wire to the first one; (4) other addresses: leave \
    --units out to scan all 247; (5) the wrong port of the serial server, or one that is no raw TCP server; (6) no \
    termination or bias: 120 ohms at both ends.";

/// The same if other units answer.
const SERVER_SOME_SILENT: &str = "Others answer, so the serial server and the wiring up to them are right. Of a \
    silent meter check, in this order: its power; its address and baud rate in its menu; its two wires.";

/// Causes of silence behind a gateway, whose line cannot be observed from here.
const GATEWAY_SILENCE: &str = "No unit answered through this gateway. In order of likelihood: (1) other addresses: it \
    may know its units by other numbers than the meters have; leave --units out to scan all 247; (2) its own line: \
    look there, with `metergate doctor` where it is a metergate; (3) meters without power; (4) the wrong gateway.";

/// The same if other units answer.
const GATEWAY_SOME_SILENT: &str = "Others answer, so the gateway works. Of a silent meter check, in this order: its \
    address in the gateway's configuration; its power; its own settings in its menu; its two wires.";
