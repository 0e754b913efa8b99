//! `status`: the state of the running gateway in one line, as a plugin of Nagios and Icinga.
//!
//! Owns the four states, their exit codes and the line. What is wrong is the gateway's to find: the report is that of
//! `doctor`. Source: docs/cli.md, and the Monitoring Plugins' development guidelines.

use std::process::ExitCode;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::args::gateway::Status;
use super::command_error::CommandError;
use super::exit::Exit;
use super::export::line;
use super::gateway_client::GatewayClient;
use super::output;
use crate::findings::Severity;
use crate::status::{BusReport, DoctorReport, PortState, ReportedFinding, UnitReport, UnitState};

/// What a monitoring system makes of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginState {
    /// 0: every meter answers, nothing is wrong.
    Ok,
    /// 1: it works, with warnings.
    Warning,
    /// 2: data is missing or wrong.
    Critical,
    /// 3: the gateway could not be asked.
    Unknown,
}

impl PluginState {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }
}

impl From<PluginState> for ExitCode {
    fn from(state: PluginState) -> Self {
        Self::from(state.code())
    }
}

/// Whether a command line is one of `status`, so that what is wrong with it is said as a plugin says it.
#[must_use]
pub fn is_wanted(arguments: impl Iterator<Item = String>) -> bool {
    let mut arguments = arguments.skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--log-level" {
            let _level = arguments.next();
        } else if !argument.starts_with('-') {
            return argument == "status";
        }
    }
    false
}

/// Says that the gateway could not be asked, and why.
#[must_use]
pub fn unknown(why: &str) -> PluginState {
    let text = plugin_line(PluginState::Unknown, why, &[]);
    let _unread = output::print(text.as_bytes());
    PluginState::Unknown
}

/// Asks the gateway and prints the line. `stop` ends it while the gateway does not answer.
pub async fn status(args: &Status, stop: CancellationToken) -> PluginState {
    let asked = tokio::select! {
        biased;
        () = stop.cancelled() => return unknown("stopped by a signal before the gateway answered"),
        asked = summarise(args) => asked,
    };
    let summary = match asked {
        Ok(summary) => summary,
        Err(stop) => {
            // Monitoring systems show stdout; of a faulty file there is more to say than a line holds.
            if let CommandError::Faulty(problems) = &stop {
                output::report(problems);
            }
            return unknown(&stop.headline());
        }
    };
    let state = summary.state;
    let text =
        if args.json { line(&summary) } else { plugin_line(state, &summary.text, &summary.performance()) };
    match output::show(text.as_bytes()) {
        Ok(()) | Err(Exit::Ok) => state,
        Err(_) => PluginState::Unknown,
    }
}

async fn summarise(args: &Status) -> Result<Summary, CommandError> {
    let gateway = GatewayClient::find(&args.location)?;
    let page = gateway.page("/api/v1/checkup").await?;
    let report: DoctorReport = serde_json::from_slice(&page).map_err(|error| {
        let text = format!("{} is a gateway of another version: {error}", gateway.shown());
        CommandError::Failed(Exit::CannotStart, text)
    })?;
    Summary::new(&report, args.unit).ok_or_else(|| {
        let unit = args.unit.unwrap_or_default();
        CommandError::usage(format!("the gateway at {} has no unit {unit}", gateway.shown()))
    })
}

/// State and problems of a whole gateway in one line: what the service manager shows.
#[must_use]
pub fn headline(report: &DoctorReport) -> String {
    // A report of a gateway as a whole needs no unit, so there always is a summary.
    let summary = Summary::new(report, None);
    summary.map_or_else(String::new, |summary| state_and_text(summary.state, &summary.text))
}

/// Everything `--json` says; the line is made of it.
#[derive(Debug, Serialize)]
struct Summary {
    state: PluginState,
    text: String,
    units: usize,
    answering: usize,
    faults: usize,
    warnings: usize,
    problems: Vec<Problem>,
    #[serde(skip)]
    unit: Option<UnitReport>,
}

/// One thing that is wrong.
#[derive(Debug, Serialize)]
struct Problem {
    state: PluginState,
    about: String,
    what: String,
}

impl Summary {
    /// Of the whole gateway, or of one unit and the line it is on. `None`: there is no such unit.
    fn new(report: &DoctorReport, wanted: Option<u8>) -> Option<Self> {
        let is_wanted = |unit: &&UnitReport| wanted.is_none_or(|wanted| unit.unit == wanted);
        let mut problems = Vec::new();
        let mut units = Vec::new();
        for bus in &report.buses {
            let of_bus: Vec<&UnitReport> = bus.units.iter().filter(is_wanted).collect();
            if of_bus.is_empty() && wanted.is_some() {
                continue;
            }
            problems.extend(problems_of_line(bus));
            of_bus.iter().for_each(|unit| problems.extend(problems_of_unit(unit)));
            units.extend(of_bus);
        }
        if units.is_empty() && wanted.is_some() {
            return None;
        }
        for broker in report.brokers.iter().filter(|_| wanted.is_none()) {
            problems.extend(problems_of(&broker.state.broker, &broker.findings));
        }
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.state));
        let count = |state| problems.iter().filter(|problem| problem.state == state).count();
        let (faults, warnings) = (count(PluginState::Critical), count(PluginState::Warning));
        let answering = units.iter().filter(|unit| unit.answers).count();
        let unit = wanted.and(units.first()).map(|unit| (*unit).clone());
        let head = match &unit {
            Some(unit) => format!("{} {}", about_unit(unit), unit.state.title()),
            None => {
                let unasked =
                    units.iter().filter(|unit| unit.state == UnitState::NeverSeen && unit.asked == 0);
                let unasked = match unasked.count() {
                    0 => String::new(),
                    count => format!(", {count} not asked yet"),
                };
                format!("{answering} of {} units answer{unasked}", units.len())
            }
        };
        let listed: Vec<String> = problems
            .iter()
            .take(LISTED)
            .map(|problem| format!("{}: {}", problem.about, problem.what))
            .chain((problems.len() > LISTED).then(|| format!("and {} more", problems.len() - LISTED)))
            .collect();
        let text = if listed.is_empty() { head } else { format!("{head}; {}", listed.join("; ")) };
        let state = problems.iter().map(|problem| problem.state).max().unwrap_or(PluginState::Ok);
        Some(Self { state, text, units: units.len(), answering, faults, warnings, problems, unit })
    }

    /// `label=value[unit];warning;critical;minimum;maximum`, one each.
    fn performance(&self) -> Vec<String> {
        let Self { units, answering, faults, warnings, .. } = self;
        let mut all = vec![
            format!("answering={answering};;;0;{units}"),
            format!("faults={faults};;0;0"),
            format!("warnings={warnings};0;;0"),
        ];
        if let Some(unit) = &self.unit {
            all.push(format!("asked={};;;0", unit.asked));
            all.push(format!("answered={};;;0;{}", unit.answered, unit.asked));
            all.extend(unit.answer_time_ms.map(|time| format!("answer_time={time:.1}ms;;;0")));
        }
        all
    }
}

fn problems_of_line(bus: &BusReport) -> Vec<Problem> {
    let about = format!("bus {}", bus.bus);
    let mut problems = problems_of(&about, &bus.findings);
    let port = match bus.port {
        PortState::Closed | PortState::Occupied => Some(format!("port {}", bus.port.word())),
        PortState::Open => None,
    };
    problems.extend(uncovered(&about, port, &problems));
    problems
}

fn problems_of_unit(unit: &UnitReport) -> Vec<Problem> {
    let about = about_unit(unit);
    let mut problems = problems_of(&about, &unit.findings);
    let state = match unit.state {
        UnitState::Offline | UnitState::Unreachable => Some(unit.state.title().to_owned()),
        UnitState::NeverSeen | UnitState::Online | UnitState::Confirming => None,
    };
    problems.extend(uncovered(&about, state, &problems));
    problems
}

/// A state that is critical by itself, and that no critical finding speaks of already.
fn uncovered(about: &str, state: Option<String>, problems: &[Problem]) -> Option<Problem> {
    let is_covered = problems.iter().any(|problem| problem.state == PluginState::Critical);
    state.filter(|_| !is_covered).map(|what| Problem {
        state: PluginState::Critical,
        about: about.to_owned(),
        what,
    })
}

fn problems_of(about: &str, findings: &[ReportedFinding]) -> Vec<Problem> {
    let problem = |finding: &ReportedFinding| {
        let state = match finding.severity {
            Severity::Fault => PluginState::Critical,
            Severity::Warning => PluginState::Warning,
            Severity::Note => return None,
        };
        Some(Problem { state, about: about.to_owned(), what: finding.what.clone() })
    };
    findings.iter().filter_map(problem).collect()
}

fn about_unit(unit: &UnitReport) -> String {
    let name = unit.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("unit {}{name}", unit.unit)
}

/// The line of a plugin. A `|` begins its numbers and a line end its further lines, so the text has neither.
fn plugin_line(state: PluginState, text: &str, performance: &[String]) -> String {
    let numbers =
        if performance.is_empty() { String::new() } else { format!(" | {}", performance.join(" ")) };
    format!("METERGATE {}{numbers}\n", state_and_text(state, &text.replace('|', r"\x7c")))
}

/// On one line, even if names and errors contain line breaks.
fn state_and_text(state: PluginState, text: &str) -> String {
    let text = output::escape(text.replace(['\n', '\r', '\t'], " ").as_bytes());
    format!("{} - {}", state.word(), String::from_utf8_lossy(&text))
}

/// Most problems of one line: monitoring systems show the first hundreds of characters.
const LISTED: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Kind, Remedy};

    fn unit(id: u8, state: UnitState, findings: Vec<ReportedFinding>) -> UnitReport {
        let answers = state.is_answering();
        let (asked, answered) = (10, if answers { 10 } else { 0 });
        let answer_time_ms = answers.then_some(12.34);
        UnitReport {
            unit: id,
            line_unit: id,
            name: None,
            state,
            answers,
            asked,
            answered,
            answer_time_ms,
            findings,
        }
    }

    fn found(severity: Severity, what: &str) -> ReportedFinding {
        let remedy = Remedy::step("look");
        let what = what.to_owned();
        ReportedFinding { severity, kind: Kind::Alert, what, remedy, active_since_ms: 0, last_seen_ms: 0 }
    }

    fn report(port: PortState, findings: Vec<ReportedFinding>, units: Vec<UnitReport>) -> DoctorReport {
        let bus = BusReport { bus: "a".into(), device: "/dev/a".into(), port, seconds: 1, findings, units };
        DoctorReport { buses: vec![bus], brokers: Vec::new() }
    }

    fn shown(report: &DoctorReport, unit: Option<u8>) -> (PluginState, String) {
        let summary = Summary::new(report, unit).expect("the unit is there");
        (summary.state, plugin_line(summary.state, &summary.text, &summary.performance()))
    }

    #[test]
    fn the_worst_decides_and_comes_first() {
        let online = unit(1, UnitState::Online, vec![found(Severity::Note, "a note")]);
        let report = |units| report(PortState::Open, vec![], units);
        assert_eq!(
            shown(&report(vec![online.clone()]), None),
            (
                PluginState::Ok,
                "METERGATE OK - 1 of 1 units answer | answering=1;;;0;1 faults=0;;0;0 warnings=0;0;;0\n"
                    .to_owned()
            )
        );
        let warned = unit(2, UnitState::Online, vec![found(Severity::Warning, "late")]);
        let (state, line) = shown(&report(vec![online.clone(), warned.clone()]), None);
        assert_eq!(state, PluginState::Warning);
        assert!(line.starts_with("METERGATE WARNING - 2 of 2 units answer; unit 2: late | "), "{line}");
        let dead = unit(3, UnitState::Offline, vec![]);
        let (state, line) = shown(&report(vec![online, warned, dead]), None);
        assert_eq!(state, PluginState::Critical);
        assert!(
            line.contains("2 of 3 units answer; unit 3: off-line; unit 2: late | answering=2;;;0;3"),
            "{line}"
        );
        assert!(line.contains("faults=1;;0;0 warnings=1;0;;0"), "{line}");
    }

    #[test]
    fn units_that_were_not_asked_yet_are_not_called_unanswering() {
        let unasked = |id| UnitReport { asked: 0, ..unit(id, UnitState::NeverSeen, vec![]) };
        let (state, line) = shown(&report(PortState::Open, vec![], vec![unasked(1), unasked(2)]), None);
        assert_eq!(state, PluginState::Ok);
        assert!(line.starts_with("METERGATE OK - 0 of 2 units answer, 2 not asked yet | "), "{line}");
        let asked = unit(3, UnitState::NeverSeen, vec![]);
        let online = unit(4, UnitState::Online, vec![]);
        let (_, line) = shown(&report(PortState::Open, vec![], vec![unasked(1), asked, online]), None);
        assert!(line.starts_with("METERGATE OK - 1 of 3 units answer, 1 not asked yet | "), "{line}");
    }

    #[test]
    fn a_state_is_not_counted_again_beside_the_finding_about_it() {
        let dead = unit(3, UnitState::Offline, vec![found(Severity::Fault, "It has not answered")]);
        let (_, line) = shown(&report(PortState::Open, vec![], vec![dead]), None);
        assert!(
            line.contains("answer; unit 3: It has not answered | ") && line.contains("faults=1;"),
            "{line}"
        );
        let lost = unit(3, UnitState::Unreachable, vec![]);
        let (state, line) = shown(&report(PortState::Closed, vec![], vec![lost]), None);
        assert_eq!(state, PluginState::Critical);
        assert!(line.contains("bus a: port closed; unit 3: unreachable | "), "{line}");
    }

    #[test]
    fn one_unit_comes_with_its_line_and_its_answer_time() {
        let dead = unit(3, UnitState::Offline, vec![]);
        let report = report(
            PortState::Open,
            vec![found(Severity::Warning, "noise")],
            vec![unit(1, UnitState::Online, vec![]), dead],
        );
        let (state, line) = shown(&report, Some(1));
        assert_eq!(state, PluginState::Warning);
        assert!(
            line.starts_with("METERGATE WARNING - unit 1 on-line; bus a: noise | answering=1;;;0;1 "),
            "{line}"
        );
        assert!(line.ends_with(" asked=10;;;0 answered=10;;;0;10 answer_time=12.3ms;;;0\n"), "{line}");
        assert_eq!(shown(&report, Some(3)).0, PluginState::Critical);
        assert!(Summary::new(&report, Some(9)).is_none());
    }

    #[test]
    fn nothing_in_the_text_breaks_the_format() {
        let mut odd = unit(1, UnitState::Offline, vec![found(Severity::Fault, "a|b\nc\x1b[2J")]);
        odd.name = Some("x|faults=0\r\ny\u{9b}".into());
        let (_, line) = shown(&report(PortState::Open, vec![], vec![odd]), None);
        assert_eq!(line.matches('|').count(), 1, "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(!line.contains(['\x1b', '\r', '\u{9b}']), "{line:?}");
    }

    #[test]
    fn of_many_problems_the_first_are_listed() {
        let findings = (0..9).map(|_| found(Severity::Warning, "odd")).collect();
        let (_, line) =
            shown(&report(PortState::Open, findings, vec![unit(1, UnitState::Online, vec![])]), None);
        assert_eq!(line.matches("bus a: odd").count(), LISTED, "{line}");
        assert!(line.contains("; and 4 more | ") && line.contains("warnings=9;"), "{line}");
    }

    #[test]
    fn the_command_is_found_behind_global_options() {
        let wanted = |words: &str| is_wanted(words.split(' ').map(str::to_owned));
        assert!(wanted("metergate status --bad") && wanted("metergate --log-level debug status"));
        assert!(!wanted("metergate demo --status status") && !wanted("metergate"));
    }
}
