//! `simulate`: a chain of meters on a pseudo terminal, until a signal ends it.

use std::fmt::Write;

use tokio_util::sync::CancellationToken;

use super::args::{Parity, Simulate, Units};
use super::exit::Exit;
use super::{output, scenario};
use crate::simulator::{Chain, ChainSettings, Counters, DeviceLink};

/// Runs the chain until `stop` is cancelled.
pub async fn simulate(args: &Simulate, stop: CancellationToken) -> Exit {
    let (chain, settings) = match settings(args).and_then(scenario::open) {
        Ok(opened) => opened,
        Err(exit) => return exit,
    };
    let link = match DeviceLink::create(&args.link, chain.device()) {
        Ok(link) => link,
        Err(error) => {
            output::complain(&format!("the link {} cannot be made: {error}", args.link.display()));
            return Exit::CannotStart;
        }
    };
    // The meters answer whether or not the introduction can be written.
    let _unread = output::print(introduction(args, &settings, &link, &chain).as_bytes());
    match chain.run(stop).await {
        Ok(counters) => output::print(summary(counters).as_bytes()),
        Err(error) => {
            output::complain(&format!("the pseudo terminal failed: {error}"));
            Exit::Fault
        }
    }
}

fn settings(args: &Simulate) -> Result<ChainSettings, Exit> {
    let parity_bits = match args.parity {
        Parity::None => 0,
        Parity::Even | Parity::Odd => 1,
    };
    let character_bits = 1 + 8 + parity_bits + u32::from(args.stop_bits);
    let plain = match &args.scenario {
        Some(path) => scenario::load(path)?,
        None => {
            let units = args.units.as_ref().map(Units::ids).unwrap_or_default();
            ChainSettings::plain(args.baud, args.turnaround, units, args.seed)
        }
    };
    Ok(ChainSettings { character_bits, ..plain })
}

fn introduction(args: &Simulate, settings: &ChainSettings, link: &DeviceLink, chain: &Chain) -> String {
    // The configuration file wants a device's whole path.
    let path = std::path::absolute(link.path()).unwrap_or_else(|_| link.path().to_owned());
    let (path, device) = (path.display(), chain.device().display());
    let units = scenario::units(settings);
    let unit = units.ids().first().copied().unwrap_or(1);
    let (baud, parity, stop_bits) = (settings.baud_rate, args.parity, args.stop_bits);
    let letter = args.parity.letter();
    let faults = scenario::fault_schedule(settings);
    // A scenario's meters may each take their own time.
    let from = match &args.scenario {
        Some(file) => format!("scenario {}, seed {}", file.display(), settings.seed),
        None => format!("answering after {:?}, seed {}", args.turnaround, settings.seed),
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _never = write!(
        text,
        "\
Simulated Leviton 4000-R meters on {path} ({device})
units {units}, {baud} baud 8{letter}{stop_bits}, {from}

{faults}Real, reactive and apparent power of unit {unit}, from another terminal:
  mbpoll -m rtu -b {baud} -P {parity} -s {stop_bits} -a {unit} -t 4:float -B -r 261 -c 3 -1 {path}
In a configuration file:
  buses: [{{name: simulated, device: {path}, baud_rate: {baud}, parity: {parity}, stop_bits: {stop_bits}, \
units: [{}]}}]

Ctrl-C ends it.
",
        units.to_yaml()
    );
    text
}

fn summary(counters: Counters) -> String {
    let Counters { requests, replies, garbled, collisions, damaged } = counters;
    format!(
        "{requests} requests, {replies} replies, {garbled} garbled, {collisions} collisions, {damaged} damaged\n"
    )
}
