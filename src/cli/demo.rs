//! `demo`: simulated meters and a gateway in one process, to try a client against before anything is wired.

use std::env;
use std::ffi::OsString;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use super::args::Demo;
use super::demo_past::{self, Past};
use super::exit::Exit;
use super::instances::{self, Announcement, StartedBy, seen_from_here};
use super::run::{exit_of, warn_of};
use super::{output, scenario};
use crate::config::section::{Bus, File, Listener, Status, StatusPage, Unit};
use crate::config::value::{Address, Device, ProfileName, UnitIds};
use crate::config::{Config, Loaded};
use crate::document::{Count, Duration, Name};
use crate::gateway::{AddressKey, Gateway};
use crate::serial::PortDevice;
use crate::simulator::ChainSettings;

/// Runs chain and gateway until `stop` is cancelled.
pub async fn demo(args: &Demo, stop: CancellationToken) -> Exit {
    let (chain, settings) = match settings(args).and_then(scenario::open) {
        Ok(opened) => opened,
        Err(exit) => return exit,
    };
    let loaded = match Loaded::try_from(configuration(args, &settings, chain.device())) {
        Ok(loaded) => loaded,
        Err(problems) => {
            output::report(&problems);
            return Exit::CannotStart;
        }
    };
    warn_of(&loaded.warnings);
    let gateway = match Gateway::start(&loaded.config) {
        Ok(gateway) => gateway,
        Err(error) => {
            output::complain(&error.describe(|key| match key {
                AddressKey::Listener(_) => "--listen".to_owned(),
                AddressKey::Status => "--status".to_owned(),
            }));
            return exit_of(&error);
        }
    };
    let past = past(&loaded.config, &settings);
    let meters_stop = CancellationToken::new();
    let meters = tokio::spawn(chain.run(meters_stop.clone()));
    let addresses = gateway.addresses();
    let address = addresses.first().copied().unwrap_or(args.listen);
    tokio::select! {
        ((), past) = async { tokio::join!(first_answer(&gateway), past) } => {
            if let Some(past) = past {
                past.put_into(&gateway);
            }
        }
        () = stop.cancelled() => {}
    }
    let announcement = Announcement::new(StartedBy::Demo, &loaded.config, &gateway);
    // Then a command that names no target does not know which one is meant.
    let has_company = instances::find(None).is_err();
    // The gateway serves clients whether or not the introduction can be written.
    let _unread =
        output::print(introduction(&settings, address, gateway.status_address(), has_company).as_bytes());
    show_activity(&gateway, &stop).await;
    drop(announcement);
    gateway.stop().await;
    meters_stop.cancel();
    match meters.await {
        Ok(Ok(_counters)) => Exit::Ok,
        Ok(Err(error)) => failed(&error.to_string()),
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(error: &str) -> Exit {
    output::complain(&format!("the simulated meters failed: {error}"));
    Exit::Fault
}

/// Shows what the line does until `stop` is cancelled: one line redrawn each second on a terminal, a line of
/// its own every ten seconds elsewhere.
async fn show_activity(gateway: &Gateway, stop: &CancellationToken) {
    let on_a_terminal = io::stdout().is_terminal();
    let period = if on_a_terminal { REDRAW } else { REPORT };
    let views = gateway.views();
    let Some((_, view)) = views.first() else {
        return stop.cancelled().await;
    };
    let started = Instant::now();
    let mut activity = Activity::new(&view.load(), started.into_std());
    let mut ticks = interval_at(started + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {
                let line = activity.line(&view.load(), Instant::now().into_std());
                let text = if on_a_terminal { format!("\r{line}\x1b[K") } else { format!("{line}\n") };
                let _unread = output::print(text.as_bytes());
            }
        }
    }
    if on_a_terminal {
        let _unread = output::print(b"\n");
    }
}

fn settings(args: &Demo) -> Result<ChainSettings, Exit> {
    Ok(match &args.scenario {
        // It says itself what goes wrong.
        Some(path) => demo_past::begin_a_day_ago(scenario::load(path)?),
        None => demo_past::with_outages(demo_past::begin_a_day_ago(ChainSettings::plain(
            args.baud,
            TURNAROUND,
            args.units.ids(),
            1,
        ))),
    })
}

/// The day before the start, worked out beside the gateway, for it takes a while.
async fn past(config: &Config, chain: &ChainSettings) -> Option<Past> {
    let (bus, chain) = (config.buses.first()?.clone(), chain.clone());
    tokio::task::spawn_blocking(move || Past::of(&chain, &bus)).await.ok()
}

/// The configuration a user would write for these meters; whatever it does not name has its default.
fn configuration(args: &Demo, settings: &ChainSettings, device: &Path) -> File {
    let unit = |id: &u8| {
        // Of several with one identifier a gateway knows one.
        let meter = settings.meters.iter().find(|meter| meter.unit == *id);
        Unit {
            id: Some(UnitIds(vec![*id])),
            name: Some(Name(
                meter.and_then(|meter| meter.name.clone()).unwrap_or_else(|| format!("Panel {id}")),
            )),
            profile: Some(ProfileName("leviton-4000r".to_owned())),
            ..Unit::default()
        }
    };
    // A scenario's meters may be late by intention.
    let (response_timeout, late_guard) = match args.scenario {
        Some(_) => (Bus::default().response_timeout, None),
        None => (Duration::clamped(RESPONSE_TIMEOUT), Some(Duration::clamped(LATE_GUARD))),
    };
    let bus = Bus {
        name: Some(Name("demo".to_owned())),
        response_timeout,
        late_guard,
        device: Some(Device(PortDevice::Path(device.to_owned()))),
        baud_rate: Some(Count::clamped(settings.baud_rate.get() as usize)),
        byte_timeout: Some(Duration::clamped(BYTE_TIMEOUT)),
        units: scenario::units(settings).ids().iter().map(unit).collect(),
        ..Bus::default()
    };
    let listener = Listener {
        address: Some(Address(args.listen)),
        max_age: Duration::clamped(MAX_AGE),
        ..Listener::default()
    };
    let page = |address| Status::On(StatusPage { address: Address(address), token_file: None, tls: None });
    File {
        listeners: vec![listener.into()],
        buses: vec![bus],
        site: Some(Name("Demo".to_owned())),
        status: args.status.map(page),
        ..File::default()
    }
}

/// Waits until a meter has answered, for a while at most: nothing is sent at first, and a client that connects before
/// would wait, too.
async fn first_answer(gateway: &Gateway) {
    let views = gateway.views();
    let has_answered = || {
        let mut units = views.iter().flat_map(|(_, view)| view.load().units.clone());
        units.any(|unit| unit.last_good.is_some())
    };
    let until = Instant::now() + FIRST_ANSWER;
    while !has_answered() && Instant::now() < until {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn introduction(
    settings: &ChainSettings,
    address: SocketAddr,
    status: Option<SocketAddr>,
    has_company: bool,
) -> String {
    let host = seen_from_here(address.ip());
    let program = program(env::args_os().next());
    let units = scenario::units(settings);
    let (port, unit) = (address.port(), units.ids().first().copied().unwrap_or(1));
    let (baud, faults) = (settings.baud_rate, scenario::fault_schedule(settings));
    let page = match status {
        Some(status) => format!("http://{}/", SocketAddr::new(seen_from_here(status.ip()), status.port())),
        None => "none: its address is another program's; --status ADDRESS:PORT gives it another".to_owned(),
    };
    let target = if has_company { format!("{}:{port} ", bracketed(host)) } else { String::new() };
    let doctor = match status.filter(|_| has_company) {
        Some(status) => format!(" --status {}", SocketAddr::new(seen_from_here(status.ip()), status.port())),
        None => String::new(),
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _never = write!(
        text,
        "\
Status page: {page}
Modbus TCP:  {address}
Behind it:   simulated Leviton 4000-R meters, units {units}, {baud} baud 8N1; the day before the start is simulated, too

{faults}From another terminal, what a meter measures, and what is wrong:
  {program} read {target}--unit {unit} power
  {program} doctor{doctor}

Real, reactive and apparent power of unit {unit} with mbpoll:
  mbpoll -m tcp -p {port} -a {unit} -t 4:float -B -r 261 -c 3 -1 {host}

The same in Python, with pymodbus 3.10 or later:
  from pymodbus.client import ModbusTcpClient
  with ModbusTcpClient(\"{host}\", port={port}) as client:
      reply = client.read_holding_registers(260, count=6, device_id={unit})
      print(client.convert_from_registers(reply.registers, client.DATATYPE.FLOAT32))

Ctrl-C ends it.
"
    );
    text
}

/// What calls this program in another terminal: a build is in no folder that the shell looks through.
fn program(called: Option<OsString>) -> String {
    let is_plain = |path: &String| path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let path = called.and_then(|path| path.into_string().ok()).filter(|path| path.contains('/'));
    path.filter(is_plain).unwrap_or_else(|| "metergate".to_owned())
}

/// An address as it stands before a port.
fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// How long the first answer is waited for.
const FIRST_ANSWER: time::Duration = time::Duration::from_secs(3);

/// The oldest data a client of the demo is given.
const MAX_AGE: time::Duration = time::Duration::from_secs(5);

/// A busy computer keeps the simulated meters waiting, before an answer and in the middle of it, as nothing does with
/// real ones: no finding is to come of that.
const RESPONSE_TIMEOUT: time::Duration = time::Duration::from_secs(1);

/// At the start nothing is sent for both together.
const LATE_GUARD: time::Duration = time::Duration::from_millis(200);

/// Longest pause inside an answer, for the same reason.
const BYTE_TIMEOUT: time::Duration = time::Duration::from_secs(1);

/// Between two looks for it.
const LOOK_AGAIN: time::Duration = time::Duration::from_millis(20);

/// Between two drawings of the line on a terminal.
const REDRAW: time::Duration = time::Duration::from_secs(1);

/// Between two lines elsewhere.
const REPORT: time::Duration = time::Duration::from_secs(10);

/// The simulated meters' pause before they answer.
const TURNAROUND: time::Duration = time::Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_call_a_build_by_its_path_and_an_installed_program_by_its_name() {
        let shown = |called: &str| program(Some(called.into()));
        assert_eq!(shown("target/release/metergate"), "target/release/metergate");
        assert_eq!(
            (shown("metergate"), shown("./a b/metergate")),
            ("metergate".to_owned(), "metergate".to_owned())
        );
        assert_eq!(program(None), "metergate");
    }
}
