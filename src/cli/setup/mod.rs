//! `setup`: from an adapter and a chain of meters to a running gateway, question by question.
//!
//! Owns the order of the questions and what is said between them. Each answer is an option, too; nothing is written
//! before the last of them, and no file is replaced unasked. It reads lines and prints lines: any terminal will do.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{AccessFlags, access};
use tokio_util::sync::CancellationToken;

use self::adapters::adapters;
use self::answers::{Answers, Proposed};
use self::configuration::{Chosen, Unit, configuration, is_name, page_of};
use self::service::Service;
use super::args::Units;
use super::args::setup::Setup;
use super::command_error::CommandError;
use super::exit::Exit;
use super::instances::seen_from_here;
use super::target::Target;
use super::token::{self, Overwrite};
use super::{instances, output, scan};
use crate::config;
use crate::line::Framing;
use crate::meter::Profile;
use crate::scan::{Findings, Scope, Through, report};
use crate::serial::PortDevice;

mod adapters;
mod answers;
mod configuration;
mod service;

/// Asks, scans, writes and starts, until done or `stop` is cancelled.
pub async fn setup(args: &Setup, stop: CancellationToken) -> Exit {
    let path = args.config.clone().unwrap_or_else(|| PathBuf::from(instances::CONFIGURATION));
    let mut service = Service::find(args.service.as_deref(), &path);
    let mut answers = Answers::new(args.yes, stop.clone());
    let done = run(args, &path, &mut service, &mut answers, &stop).await;
    // Whatever happened, a service that was stopped for the scan runs again.
    service.resume();
    match done {
        Ok(()) => Exit::Ok,
        Err(stop) => stop.report(),
    }
}

async fn run(
    args: &Setup,
    path: &Path,
    service: &mut Service,
    answers: &mut Answers,
    stop: &CancellationToken,
) -> Result<(), CommandError> {
    is_writable(path)?;
    // Without a question and without --force the answer is known: nothing is stopped or scanned for it.
    let may_replace = args.force || configuration::is_as_packaged(path);
    if args.yes && !may_replace && path.exists() {
        return Err(stays(path));
    }
    let names = names(args)?;
    let device = device(args, answers).await?;
    let found = look(args, &device, service, answers, stop).await?;
    let (framing, units) = units(args, &found, &names, answers).await?;
    let listen = address(args.listen, "Modbus TCP clients connect to", LISTEN, answers).await?;
    let page = page(args, answers).await?;
    let token_file = args.token_file.clone().unwrap_or_else(|| path.with_file_name("token"));
    let events = service.is_default().then(|| PathBuf::from(EVENTS));
    let bus = args.bus.clone();
    let chosen = Chosen { bus, device, framing, units, listen, page, token_file, events };
    let text = configuration(&chosen);
    if path.exists() && !may_replace {
        let question = format!("{} is there already. Replace it? The old one is kept", path.display());
        if !answers.agree(&question, Proposed::No).await? {
            return Err(stays(path));
        }
    }
    if stop.is_cancelled() {
        return Err(interrupted());
    }
    write(path, &text, &chosen)?;
    service.start(path)?;
    print(&next_steps(&chosen, service, path));
    Ok(())
}

fn stays(path: &Path) -> CommandError {
    let text = format!("{} stays as it is; nothing was written (--force replaces it)", path.display());
    CommandError::Failed(Exit::Fault, text)
}

/// Found out before a long scan, not after it.
fn is_writable(path: &Path) -> Result<(), CommandError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| {
        let text = format!(
            "cannot write {} into {}: {error}; `sudo metergate setup` sets up the service, --config FILE writes \
             elsewhere",
            path.display(),
            folder.display()
        );
        CommandError::Failed(Exit::Fault, text)
    })
}

/// `--name 1=Panel`, taken apart.
fn names(args: &Setup) -> Result<Vec<(u8, String)>, CommandError> {
    let name = |word: &String| {
        let (unit, name) = word.split_once('=')?;
        Some((unit.trim().parse().ok()?, name.trim().to_owned())).filter(|(_, name)| is_name(name))
    };
    let wrong = |word: &String| {
        CommandError::usage(format!(
            "--name: '{word}' is no UNIT=NAME, such as 3=Panel; a name has 1 to 64 characters"
        ))
    };
    args.name.iter().map(|word| name(word).ok_or_else(|| wrong(word))).collect()
}

/// The port of a word: a serial server, or a device by its lasting name.
fn port(word: &str) -> Result<PortDevice, CommandError> {
    match Target::named(word)? {
        Target::Serial(PortDevice::Path(path)) => Ok(PortDevice::Path(scan::lasting_name(&path).into())),
        Target::Serial(server @ (PortDevice::Server(_) | PortDevice::ModbusTcp(_))) => Ok(server),
        Target::Tcp { .. } => Err(CommandError::usage(format!(
            "'{word}' is a gateway, which has a configuration of its own; a serial server is written tcp://HOST:PORT, \
             a port /dev/..."
        ))),
    }
}

async fn device(args: &Setup, answers: &mut Answers) -> Result<PortDevice, CommandError> {
    if let Some(device) = &args.device {
        return port(device);
    }
    let found = adapters(Path::new("/dev"));
    let none = || {
        CommandError::Failed(
            Exit::Fault,
            "there is no serial adapter: no /dev/serial/by-id, no /dev/ttyUSB* and no /dev/ttyACM*; plug it in, \
             `dmesg | tail` says what the system makes of it, or name another port, such as --device /dev/ttyAMA0 or \
             --device tcp://HOST:PORT for a serial server"
                .to_owned(),
        )
    };
    let first = found.first().ok_or_else(none)?;
    if let [only] = found.as_slice() {
        print(&format!("Adapter: {}\n", only.display()));
        return Ok(PortDevice::Path(first.clone()));
    }
    let listed: Vec<String> = (1..)
        .zip(&found)
        .map(|(number, adapter): (usize, _)| format!("  {number}  {}\n", adapter.display()))
        .collect();
    print(&format!("There are several serial ports:\n{}", listed.concat()));
    if args.yes {
        return Err(CommandError::usage("--device says which of them the meters are on"));
    }
    loop {
        let answer = answers.ask("The meters are on number", "1").await?;
        match answer.parse::<usize>().ok().and_then(|number| found.get(number.checked_sub(1)?)) {
            Some(device) => return Ok(PortDevice::Path(device.clone())),
            None if answer.contains("://") => match port(&answer) {
                Ok(server) => return Ok(server),
                Err(wrong) => print(&format!("{}.\n", wrong.headline())),
            },
            None => print(&format!(
                "A number from 1 to {} is expected, or a serial server as tcp://HOST:PORT.\n",
                found.len()
            )),
        }
    }
}

/// Asks the line who is there, at other settings too where that is wanted.
async fn look(
    args: &Setup,
    device: &PortDevice,
    service: &mut Service,
    answers: &mut Answers,
    stop: &CancellationToken,
) -> Result<Findings, CommandError> {
    let target = Target::Serial(device.clone());
    let through = scan::through_line(&target, args.survey.try_settings)?;
    let units = addresses(args, answers).await?;
    if service.is_running() {
        let question =
            "The service runs and may hold the port. Stop it for the scan? It is started again at the end";
        if !answers.agree(question, Proposed::Yes).await? {
            return Err(CommandError::Failed(Exit::Fault, "nothing was changed".to_owned()));
        }
        service.pause()?;
    }
    let own = args.survey.serial.framing();
    let mut framings = if args.survey.try_settings { scan::all_framings(own) } else { vec![own] };
    loop {
        let scope = if units.is_some() { Scope::Named } else { Scope::All };
        let plan = scan::plan_for(units.as_ref(), framings.clone(), through, args.survey.timeout);
        let settings = if let [only] = framings.as_slice() {
            only.to_string()
        } else {
            format!("{} settings", framings.len())
        };
        print(&format!(
            "Asking {} addresses on {} at {settings}; it takes about {} if nothing answers ...\n\n",
            plan.units.len(),
            device,
            scan::about(plan.longest())
        ));
        let found = scan::survey(&target, &plan, stop).await?;
        if stop.is_cancelled() {
            return Err(interrupted());
        }
        let words = report::words(&found, scope, through);
        let words: Vec<&str> = words.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).collect();
        print(&format!("{}\n\n", words.join("\n")));
        // The settings of a serial server are changed there.
        let may_try = framings.len() == 1 && through == Through::Line;
        if found.meters().next().is_none() && may_try {
            let all = scan::all_framings(own);
            let longest = scan::plan_for(units.as_ref(), all.clone(), through, args.survey.timeout).longest();
            let question = format!(
                "Try the other usual baud rates and parities, too? That takes about {}",
                scan::about(longest)
            );
            if answers.agree(&question, Proposed::Yes).await? {
                framings = all;
                continue;
            }
        }
        if found.meters().next().is_none() {
            let text = "no meter answers, so there is nothing to set up; nothing was written".to_owned();
            return Err(CommandError::Failed(Exit::Fault, text));
        }
        let is_unusable = found.shared().chain(found.truncated()).next().is_some();
        if is_unusable || (scope == Scope::Named && found.silent().next().is_some()) {
            let question = "Not every meter can be set up like this. Go on with those that answer?";
            if !answers.agree(question, Proposed::Yes).await? {
                let text = "nothing was written; run it again when the line is right".to_owned();
                return Err(CommandError::Failed(Exit::Fault, text));
            }
        }
        return Ok(found);
    }
}

async fn addresses(args: &Setup, answers: &mut Answers) -> Result<Option<Units>, CommandError> {
    if args.survey.units.is_some() {
        return Ok(args.survey.units.clone());
    }
    loop {
        let answer = answers.ask("Addresses of the meters, such as 1-12, or all", "all").await?;
        if answer == "all" {
            return Ok(None);
        }
        match answer.parse::<Units>() {
            Ok(units) => return Ok(Some(units)),
            Err(why) => print(&format!("{why}.\n")),
        }
    }
}

/// The meters at the settings most of them have, each with its name and its profile.
async fn units(
    args: &Setup,
    found: &Findings,
    names: &[(u8, String)],
    answers: &mut Answers,
) -> Result<(Framing, Vec<Unit>), CommandError> {
    let framing = found.usual_framing().unwrap_or_else(|| args.survey.serial.framing());
    let here: Vec<_> = found.meters().filter(|(_, at, _)| *at == framing).collect();
    if let Some((unit, _)) = names.iter().find(|(unit, _)| !here.iter().any(|(id, _, _)| id.get() == *unit)) {
        return Err(CommandError::usage(format!("--name: no meter answers at address {unit} and {framing}")));
    }
    let unknown: Vec<u8> = here
        .iter()
        .filter(|(_, _, meter)| report::profile_for(meter).is_none() && !meter.misfits)
        .map(|(id, _, _)| id.get())
        .collect();
    let otherwise = if unknown.is_empty() { None } else { profile(args, &unknown, answers).await? };
    let mut units = Vec::new();
    for (id, _, meter) in here {
        let given = names.iter().find(|(unit, _)| *unit == id.get()).map(|(_, name)| name.clone());
        let name = match given {
            Some(name) => Some(name),
            None => name(id.get(), answers).await?,
        };
        let profile = report::profile_for(meter).map(str::to_owned);
        let profile = profile.or_else(|| otherwise.clone().filter(|_| !meter.misfits));
        units.push(Unit { id: id.get(), name, profile, is_late: meter.late, is_loose: meter.misfits });
    }
    Ok((framing, units))
}

async fn profile(
    args: &Setup,
    unknown: &[u8],
    answers: &mut Answers,
) -> Result<Option<String>, CommandError> {
    let known = Profile::builtin_names().join(", ");
    let mut given = args.profile.clone();
    loop {
        let question = format!(
            "Units {} do not say what they are. Their profile ({known}, or none)",
            Units::of(unknown.iter().copied())
        );
        let is_given = given.is_some();
        let answer = match given.take() {
            Some(answer) => answer,
            None => answers.ask(&question, "none").await?,
        };
        match answer.as_str() {
            "none" => return Ok(None),
            name if Profile::builtin(name).is_some() => return Ok(Some(answer)),
            name if is_given => {
                return Err(CommandError::usage(format!(
                    "--profile: there is no {name}; there are {known}, none"
                )));
            }
            _ => print(&format!("One of {known}, or none, is expected.\n")),
        }
    }
}

async fn name(unit: u8, answers: &mut Answers) -> Result<Option<String>, CommandError> {
    loop {
        let answer = answers.ask(&format!("Name of unit {unit}, as on its panel, or nothing"), "").await?;
        if answer.is_empty() {
            return Ok(None);
        }
        if is_name(&answer) {
            return Ok(Some(answer));
        }
        print("A name has 1 to 64 printable characters.\n");
    }
}

async fn address(
    given: Option<SocketAddr>,
    question: &str,
    otherwise: SocketAddr,
    answers: &mut Answers,
) -> Result<SocketAddr, CommandError> {
    if let Some(address) = given {
        return Ok(address);
    }
    loop {
        let answer = answers.ask(question, &otherwise.to_string()).await?;
        match answer.parse() {
            Ok(address) => return Ok(address),
            Err(_) => print(&format!("An address with its port is expected, such as {otherwise}.\n")),
        }
    }
}

async fn page(args: &Setup, answers: &mut Answers) -> Result<SocketAddr, CommandError> {
    if args.page.is_some() {
        return address(args.page, "", PAGE, answers).await;
    }
    let question = "Show the status page to other machines, too? A browser then asks for a token";
    Ok(if answers.agree(question, Proposed::No).await? { PAGE_FOR_ALL } else { PAGE })
}

/// Token first, so that the configuration that names it is right from its first moment; then the configuration, whole
/// or not at all.
fn write(path: &Path, text: &str, chosen: &Chosen) -> Result<(), CommandError> {
    if !chosen.page.ip().is_loopback() && !chosen.token_file.exists() {
        let _made = token::make(&chosen.token_file, None, Overwrite::Refused)?;
        print(&format!("Made the token {}.\n", chosen.token_file.display()));
    }
    let _right = config::parse(text, &path.display().to_string())?;
    let kept = configuration::replace(path, text).map_err(|error| {
        CommandError::Failed(Exit::Fault, format!("cannot write {}: {error}", path.display()))
    })?;
    let old = kept.as_ref().map_or_else(String::new, |kept| format!("; the old one is {}", kept.display()));
    print(&format!("Wrote {}{old}.\n", path.display()));
    let checked = check(path);
    // A gateway that works with the old file must not be started with one that it refuses.
    if let (Err(_), Some(kept)) = (&checked, kept) {
        match configuration::put_back(path, &kept) {
            Ok(refused) => {
                print(&format!("Put the old one back; the refused one is {}.\n", refused.display()));
            }
            Err(error) => output::complain(&format!("cannot put {} back: {error}", kept.display())),
        }
    }
    checked
}

/// As `metergate check` does it, with the eyes of the service where root runs this: in a process of its own, for there
/// is no way back from being another user.
fn check(path: &Path) -> Result<(), CommandError> {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("metergate"));
    let checked = Command::new(program).arg("check").arg(path).stdin(Stdio::null()).status();
    match checked.map(|status| status.code()) {
        Ok(Some(0 | 1)) => Ok(()),
        Ok(_) => Err(CommandError::Failed(
            Exit::Configuration,
            "the gateway cannot use this configuration as it is: see above".to_owned(),
        )),
        Err(error) => {
            output::complain(&format!("cannot check it: {error}"));
            Ok(())
        }
    }
}

fn next_steps(chosen: &Chosen, service: &Service, path: &Path) -> String {
    let Chosen { listen, page, units, .. } = chosen;
    let unit = units.first().map_or(1, |unit| unit.id);
    let (config, start) = if service.is_default() {
        (String::new(), String::new())
    } else {
        let path = path.display();
        let start = if service.is_started() {
            String::new()
        } else {
            format!("  metergate run {path}    starts it\n")
        };
        (format!(" --config {path}"), start)
    };
    let host = if listen.ip().is_unspecified() { "this machine".to_owned() } else { listen.ip().to_string() };
    format!(
        "\nThe status page: {}\n\nNext:\n{start}  metergate doctor{config}    what is wrong, if anything\n  metergate \
         read --unit {unit}{config} power energy    compare with the meter's display\n  metergate export \
         csv{config}    the points, for the client to import\n\nClients speak Modbus TCP to {host}, port {}; unit \
         identifiers {}.\n",
        page_of(*page, &chosen.token_file),
        listen.port(),
        Units::of(units.iter().map(|unit| unit.id)),
    )
}

fn interrupted() -> CommandError {
    CommandError::Failed(Exit::Fault, "broken off; nothing was written".to_owned())
}

fn print(text: &str) {
    let _unread = output::print(&output::escape(text.as_bytes()));
}

/// Shows a question whose answer comes on the same line.
fn prompt(text: &str) {
    let mut stdout = io::stdout().lock();
    let shown = output::escape(text.as_bytes());
    let _unread = stdout.write_all(&shown).and_then(|()| stdout.flush());
}

/// The address of the page for a browser on this machine.
fn browsed(address: SocketAddr) -> String {
    format!("http://{}/", SocketAddr::new(seen_from_here(address.ip()), address.port()))
}

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 502);
const PAGE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8502);
const PAGE_FOR_ALL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8502);

/// Where the service keeps its events.
const EVENTS: &str = "/var/lib/metergate/events.jsonl";
