//! `scan`: who is on a line, what they say they are, and a configuration for them.
//!
//! Everything on stdout is one YAML file, the words being comments, so that it may be kept as it is. How far it has
//! come is drawn on stderr, on a terminal only.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::args::Units;
use super::args::line::Scan;
use super::command_error::CommandError;
use super::exit::Exit;
use super::output;
use super::port_holder::{PortHolder, held};
use super::target::Target;
use crate::client::{Client, Failure, SerialClient, SerialSettings, TcpClient};
use crate::line::{Framing, UnitId};
use crate::meter::{Profile, Sample, Value};
use crate::modbus::pdu::ExceptionCode;
use crate::scan::found::profile_of;
use crate::scan::plan::{questions, usual_framings};
use crate::scan::{Findings, Found, FoundMeter, Plan, Question, Says, Scope, Through, Tries, report};
use crate::serial::{Direction, OpenError, PortDevice, PortSettings};

/// Scans until done or `stop` is cancelled; what was found by then is printed either way.
pub async fn scan(args: &Scan, stop: CancellationToken) -> Exit {
    let target = match Target::named(&args.target) {
        Ok(target) => target,
        Err(stop) => return stop.report(),
    };
    let plan = match plan(args, &target) {
        Ok(plan) => plan,
        Err(stop) => return stop.report(),
    };
    let _unread = output::print(announcement(&target, &plan).as_bytes());
    match survey(&target, &plan, &stop).await {
        Ok(findings) => {
            let ending = if stop.is_cancelled() { Ending::Interrupted } else { Ending::Completed };
            conclude(&target, &plan, &findings, ending)
        }
        Err(stop) => stop.report(),
    }
}

/// Asks everything that is planned, or as much as can be asked until `stop` is cancelled.
///
/// # Errors
/// The target cannot be opened, or nothing can be asked there any more.
pub(super) async fn survey(
    target: &Target,
    plan: &Plan,
    stop: &CancellationToken,
) -> Result<Findings, CommandError> {
    let mut findings = Findings::of_none(&plan.units);
    let mut progress = Progress::new(plan.longest());
    for (index, framing) in plan.framings.iter().enumerate() {
        if findings.to_ask(*framing).next().is_none() || stop.is_cancelled() {
            break;
        }
        let mut client = match open(target, &plan.units, plan.timeout, *framing).await {
            Ok(client) => client,
            Err(why) => {
                progress.clear();
                return Err(CommandError::Failed(Exit::CannotStart, why));
            }
        };
        let mut round = Round { plan, at: index, framing: *framing, unroutable: BTreeSet::new() };
        let asked = round.ask_all(&mut client, &mut findings, &mut progress, stop).await;
        let late = note_unfit_answers(&client, &mut findings, *framing);
        client.close().await;
        let asked = match asked {
            Ok(()) if !late.is_empty() => ask_late(target, plan, *framing, &late, &mut findings, stop).await,
            asked => asked,
        };
        if let Err(why) = asked {
            progress.clear();
            return Err(CommandError::Failed(Exit::Fault, why));
        }
    }
    progress.clear();
    Ok(findings)
}

fn plan(args: &Scan, target: &Target) -> Result<Plan, CommandError> {
    let of_the_line = args.survey.serial.is_given() || args.survey.try_settings;
    let through = match target {
        Target::Tcp { .. } if of_the_line => {
            return Err(CommandError::usage(
                "--baud, --parity, --stop-bits and --try-settings are for a serial TARGET such as /dev/ttyUSB0",
            ));
        }
        Target::Tcp { .. } | Target::Serial(_) => through_line(target, args.survey.try_settings)?,
    };
    let timeout = match through {
        Through::Line | Through::SerialServer => args.survey.timeout,
        // It has a timeout of its own, and answers 0x0B after it.
        Through::Gateway => args.survey.timeout.max(GATEWAY_PATIENCE),
    };
    let own = args.survey.serial.framing();
    let framings = if args.survey.try_settings { all_framings(own) } else { vec![own] };
    Ok(plan_for(args.survey.units.as_ref(), framings, through, timeout))
}

/// What a target is asked through.
///
/// # Errors
/// The settings are to be tried of a target that has its own.
pub(super) fn through_line(target: &Target, try_settings: bool) -> Result<Through, CommandError> {
    match target {
        Target::Serial(PortDevice::Server(server)) if try_settings => Err(CommandError::usage(format!(
            "--try-settings cannot change the settings of the serial server {server}; change them there, and scan at \
             each"
        ))),
        Target::Serial(PortDevice::Server(_) | PortDevice::ModbusTcp(_)) => Ok(Through::SerialServer),
        Target::Serial(PortDevice::Path(_)) => Ok(Through::Line),
        Target::Tcp { .. } => Ok(Through::Gateway),
    }
}

/// These settings, and then the other usual ones.
pub(super) fn all_framings(own: Framing) -> Vec<Framing> {
    let others = usual_framings().into_iter().filter(|framing| *framing != own);
    [own].into_iter().chain(others).collect()
}

/// The plan to ask these units, or all there can be.
pub(super) fn plan_for(
    units: Option<&Units>,
    framings: Vec<Framing>,
    through: Through,
    timeout: Duration,
) -> Plan {
    let scope = if units.is_some() { Scope::Named } else { Scope::All };
    let ids = units.map_or_else(|| (1..=UnitId::STANDARD_MAX).collect(), |units| units.ids().to_vec());
    let units = ids.into_iter().filter_map(UnitId::new).collect();
    Plan { framings, units, scope, through, timeout, questions: questions(scope, through) }
}

fn announcement(target: &Target, plan: &Plan) -> String {
    let units = Units::of(plan.units.iter().map(|unit| unit.get()));
    let count = plan.units.len();
    let addresses = if count == 1 { "address" } else { "addresses" };
    let at = match (target, plan.framings.as_slice()) {
        (Target::Serial(_), [only]) => format!(" at {only}"),
        (Target::Serial(_), several) => format!(" at {} settings, {} first", several.len(), several[0]),
        (Target::Tcp { .. }, _) => String::new(),
    };
    format!(
        "# metergate scan: {count} {addresses} ({units}) on {target}{at}. It takes about {} if no unit answers.\n#\n",
        about(plan.longest())
    )
}

/// How long that is, for people.
pub(super) fn about(time: Duration) -> String {
    let seconds = time.as_secs() + 1;
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}

async fn open(
    target: &Target,
    units: &[UnitId],
    timeout: Duration,
    framing: Framing,
) -> Result<Client, String> {
    match target {
        Target::Serial(device) => {
            let settings = SerialSettings {
                port: PortSettings { device: device.clone(), framing, direction: Direction::Auto },
                units: units.to_vec(),
                response_timeout: timeout,
                retries: 0,
            };
            let opened = SerialClient::open(settings).await;
            opened.map(Client::Serial).map_err(|error| cannot_open(device, &error))
        }
        Target::Tcp { host, port } => {
            let opened = TcpClient::open(host, *port, timeout).await;
            opened.map(Client::Tcp).map_err(|failure| failure.to_string())
        }
    }
}

/// Why the port cannot be had.
fn cannot_open(device: &PortDevice, error: &OpenError) -> String {
    match error {
        OpenError::Busy => held(device, PortHolder::Unknown, "metergate scan HOST:PORT"),
        OpenError::System(_)
        | OpenError::Settings { .. }
        | OpenError::Direction(_)
        | OpenError::Connection(_) => format!("{device}: {error}"),
    }
}

/// One framing of a scan.
struct Round<'p> {
    plan: &'p Plan,
    /// Which of the framings.
    at: usize,
    framing: Framing,
    /// Units the gateway has no way to: another question leads nowhere either.
    unroutable: BTreeSet<UnitId>,
}

impl Round<'_> {
    /// Asks one question after the other of all who have not been heard intact yet. So much time lies between two
    /// questions to one unit that a late answer to the first is not taken for one to the second.
    async fn ask_all(
        &mut self,
        client: &mut Client,
        findings: &mut Findings,
        progress: &mut Progress,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let planned = self.plan.questions_at(self.at).len();
        for (index, question) in self.plan.questions.iter().enumerate() {
            let has_answers = || findings.heard().any(|(_, framing, _)| framing == self.framing);
            if index >= planned && !has_answers() {
                break;
            }
            for unit in findings.to_ask(self.framing).collect::<Vec<_>>() {
                if stop.is_cancelled() {
                    return Ok(());
                }
                if self.unroutable.contains(&unit) {
                    continue;
                }
                progress.show(unit, self.framing, findings);
                match ask(client, unit, *question).await? {
                    Asked::Found(found) => findings.take(unit, self.framing, found),
                    Asked::NoRoute => drop(self.unroutable.insert(unit)),
                }
            }
        }
        Ok(())
    }
}

/// Takes the units as found of which nothing was heard but late answers, or answers of another length than asked:
/// they are there. Returns those that were late, for which more time may do.
fn note_unfit_answers(client: &Client, findings: &mut Findings, framing: Framing) -> Vec<UnitId> {
    let Client::Serial(line) = client else { return Vec::new() };
    let mut late_units = Vec::new();
    for unit in findings.to_ask(framing).collect::<Vec<_>>() {
        let heard = line.heard(unit);
        // A late answer fits what was asked.
        let (late, misfits) = (heard.late > 0, heard.late == 0 && heard.misfits > 0);
        if late || misfits {
            findings.take(unit, framing, Found::Meter(FoundMeter { late, misfits, ..FoundMeter::default() }));
        }
        if late {
            late_units.push(unit);
        }
    }
    late_units
}

/// Asks units that were late again, with more time for each answer, until `stop` is cancelled.
async fn ask_late(
    target: &Target,
    plan: &Plan,
    framing: Framing,
    units: &[UnitId],
    findings: &mut Findings,
    stop: &CancellationToken,
) -> Result<(), String> {
    if stop.is_cancelled() {
        return Ok(());
    }
    let mut client = open(target, units, plan.timeout.max(LATE_TIMEOUT), framing).await?;
    let mut asked = Ok(());
    'units: for unit in units {
        for question in &plan.questions {
            let answer = tokio::select! {
                biased;
                () = stop.cancelled() => break 'units,
                answer = ask(&mut client, *unit, *question) => answer,
            };
            match answer {
                Err(why) => {
                    asked = Err(why);
                    break 'units;
                }
                Ok(Asked::NoRoute | Asked::Found(Found::Silent)) => {}
                Ok(Asked::Found(mut found)) => {
                    if let Found::Meter(meter) | Found::Noisy(meter) = &mut found {
                        meter.late = true;
                    }
                    findings.take(*unit, framing, found);
                    break;
                }
            }
        }
    }
    client.close().await;
    asked
}

/// What a question brought.
enum Asked {
    Found(Found),
    /// The gateway has no such unit.
    NoRoute,
}

/// Puts a question to a unit.
async fn put(client: &mut Client, unit: UnitId, question: Question) -> Result<(), Failure> {
    match question {
        Question::Read(range) => client.read(unit.get(), range).await.map(drop),
        Question::ServerId => client.report_server_id(unit.get()).await.map(drop),
        Question::DeviceIdentification => client.device_identification(unit.get()).await.map(drop),
    }
}

/// Everything about one unit, if it answers this question.
async fn ask(client: &mut Client, unit: UnitId, question: Question) -> Result<Asked, String> {
    let mut tries = Tries::default();
    let mut first_took = None;
    for _ in 0..DAMAGED_TRIES {
        let asked = Instant::now();
        let answer = put(client, unit, question).await;
        let no_route = Err(Failure::Exception(ExceptionCode::GATEWAY_PATH_UNAVAILABLE));
        if through(client) == Through::Gateway && answer == no_route {
            return Ok(Asked::NoRoute);
        }
        note(&mut tries, through(client), &answer)?;
        if tries.damaged == 0 {
            first_took = Some(asked.elapsed());
            break;
        }
    }
    if tries.intact + tries.damaged + tries.malformed == 0 {
        return Ok(Asked::Found(Found::Silent));
    }
    let mut meter = FoundMeter { answered: Some(question), ..FoundMeter::default() };
    if tries.intact > 0 {
        let says = identify(client, unit, &mut tries).await?;
        let profile = profile_of(&says);
        meter.says = says.words();
        meter.profile = profile.map(|profile| profile.name.as_str());
        if let Some(profile) = profile {
            meter.version = version(client, unit, profile, &mut tries).await?;
        }
    }
    if let Client::Serial(line) = client {
        let heard = line.heard(unit);
        // An answer of another length is the only one to its request.
        tries.surplus = u32::try_from(heard.surplus.saturating_sub(heard.misfits)).unwrap_or(u32::MAX);
        tries.truncated = u32::try_from(heard.truncated).unwrap_or(u32::MAX);
        meter.late = heard.late > 0;
        meter.misfits = heard.misfits > 0 && !matches!(question, Question::Read(_));
        meter.answers_in = heard.answers_in;
    } else {
        meter.answers_in = first_took;
    }
    Ok(Asked::Found(tries.judge(meter)))
}

/// What a unit says to 0x11, and to 0x2B where that says nothing a profile knows.
async fn identify(client: &mut Client, unit: UnitId, tries: &mut Tries) -> Result<Says, String> {
    let mut says = Says::default();
    let id = client.report_server_id(unit.get()).await;
    note(tries, through(client), &id.clone().map(drop))?;
    says.server_id = id.ok().map(|id| (id.id, id.text));
    if profile_of(&says).is_none() {
        let objects = client.device_identification(unit.get()).await;
        note(tries, through(client), &objects.clone().map(drop))?;
        let objects = objects.unwrap_or_default();
        // The guide of the 4000-R numbers maker and product from 1, the standard from 0.
        let first = objects.iter().map(|object| object.id).min().unwrap_or(0);
        let text = |id| objects.iter().find(|object| object.id == id).map(|object| object.text.clone());
        says.device = text(first).zip(text(first + 1));
    }
    Ok(says)
}

/// The firmware, as the profile reads it.
async fn version(
    client: &mut Client,
    unit: UnitId,
    profile: &Profile,
    tries: &mut Tries,
) -> Result<Option<String>, String> {
    let named = profile.identification.version.as_ref().and_then(|name| profile.point(name));
    let Some(point) = named else { return Ok(None) };
    let answer = client.read(unit.get(), point.range).await;
    note(tries, through(client), &answer.as_ref().map(|_| ()).map_err(Clone::clone))?;
    let Ok(answer) = answer else { return Ok(None) };
    let sample = Sample::new(point.range, &answer.reply, answer.asked_at);
    let reading = sample.and_then(|sample| profile.decode(point, &[sample]).map(|reading| reading.value));
    Ok(match reading {
        Some(Value::Version(version)) => Some(version.to_string()),
        Some(_) | None => None,
    })
}

fn through(client: &Client) -> Through {
    match client {
        Client::Serial(_) => Through::Line,
        Client::Tcp(_) => Through::Gateway,
    }
}

/// Counts an answer; an error where nothing can be asked at all.
fn note(tries: &mut Tries, through: Through, answer: &Result<(), Failure>) -> Result<(), String> {
    match answer {
        Err(Failure::Exception(code)) if through.says_it_itself(*code) => {}
        Ok(()) | Err(Failure::Exception(_)) => tries.intact += 1,
        Err(Failure::Garbled) => tries.damaged += 1,
        Err(Failure::Malformed(_)) => tries.malformed += 1,
        Err(Failure::Silent) => {}
        Err(Failure::Unreachable(why)) => return Err(why.clone()),
    }
    Ok(())
}

/// Whether a scan came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Completed,
    Interrupted,
}

fn conclude(target: &Target, plan: &Plan, findings: &Findings, ending: Ending) -> Exit {
    let device = match target {
        Target::Serial(PortDevice::Path(path)) => lasting_name(path),
        Target::Serial(server @ (PortDevice::Server(_) | PortDevice::ModbusTcp(_))) => server.to_string(),
        Target::Tcp { .. } => UNKNOWN_DEVICE.to_owned(),
    };
    let mut text = report::words(findings, plan.scope, plan.through);
    if ending == Ending::Interrupted {
        text.push_str("# Broken off: not every address has been asked.\n");
    }
    let configuration = report::configuration(findings, &device);
    if !configuration.is_empty() {
        text.push_str("\n# A configuration for these; keep this output as /etc/metergate/metergate.yaml\n");
        text.push_str(&configuration);
    }
    let printed = output::print(text.as_bytes());
    let is_silent = findings.heard().next().is_none();
    // A meter was expected at each of these.
    let is_unread = findings.silent().chain(findings.malformed()).next().is_some();
    let missed = plan.scope == Scope::Named && is_unread || findings.truncated().next().is_some();
    let fault = is_silent || missed || findings.shared().next().is_some() || ending == Ending::Interrupted;
    if fault { Exit::Fault } else { printed }
}

/// The name of a device that stays the same when it is plugged into another socket, where it has one.
pub(super) fn lasting_name(device: &Path) -> String {
    let named = || device.display().to_string();
    let Ok(real) = fs::canonicalize(device) else { return named() };
    let names =
        fs::read_dir(LASTING_NAMES).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut same = names.filter(|name| fs::canonicalize(name).is_ok_and(|path| path == real));
    same.next().map_or_else(named, |name| name.display().to_string())
}

/// How far it has come, on one line of stderr.
struct Progress {
    shown: bool,
    began: Instant,
    longest: Duration,
}

impl Progress {
    fn new(longest: Duration) -> Self {
        // A line cannot be drawn again where the terminal knows no more than lines.
        let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { shown: io::stderr().is_terminal() && !is_dumb, began: Instant::now(), longest }
    }

    fn show(&self, unit: UnitId, framing: Framing, findings: &Findings) {
        if !self.shown {
            return;
        }
        let passed = self.began.elapsed();
        let share = passed.as_secs_f64() / self.longest.as_secs_f64().max(0.001);
        let heard = findings.heard().count();
        let _untold = write!(
            io::stderr().lock(),
            "\r{} {framing}, address {unit}: {heard} found, {} s\x1b[K",
            bar(share),
            passed.as_secs()
        );
    }

    fn clear(&self) {
        if self.shown {
            let _untold = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// A bar of [`BAR`] characters, as full as `share`.
fn bar(share: f64) -> String {
    let full = (0..BAR).filter(|step| f64::from(*step) < share * f64::from(BAR)).count();
    let empty = usize::try_from(BAR).unwrap_or_default() - full;
    format!("[{}{}]", "#".repeat(full), "-".repeat(empty))
}

/// Requests that tell noise from two meters of one address.
const DAMAGED_TRIES: u32 = 4;

/// How long a unit may take that answers late.
const LATE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a gateway may take for a unit that does not answer.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(5);

/// Where the system keeps the lasting names of adapters.
pub(super) const LASTING_NAMES: &str = "/dev/serial/by-id";

/// What stands in the configuration for the port of another gateway.
const UNKNOWN_DEVICE: &str = "/dev/serial/by-id/your-adapter";

/// Characters of the bar.
const BAR: u32 = 20;
