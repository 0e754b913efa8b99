//! `simulate`: a chain of meters on a pseudo terminal, until a signal ends it.

use std::fmt::Write;

use tokio_util::sync::CancellationToken;

use super::args::{Parity, Simulate};
use super::exit::Exit;
use super::output;
use crate::simulator::chain::Chain;
use crate::simulator::link::Link;
use crate::simulator::settings::ChainSettings;
use crate::simulator::wire::Counters;

/// Runs the chain until `stop` is cancelled.
pub async fn simulate(args: &Simulate, stop: CancellationToken) -> Exit {
    let chain = match Chain::open(settings(args)) {
        Ok(chain) => chain,
        Err(error) => {
            output::complain(&format!("no pseudo terminal can be had: {error}"));
            return Exit::CannotStart;
        }
    };
    let link = match Link::create(&args.link, chain.device()) {
        Ok(link) => link,
        Err(error) => {
            output::complain(&format!("the link {} cannot be made: {error}", args.link.display()));
            return Exit::CannotStart;
        }
    };
    // The meters answer even if nobody wants to read about them.
    let _unread = output::print(introduction(args, &link, &chain).as_bytes());
    match chain.run(stop).await {
        Ok(counters) => output::print(summary(counters).as_bytes()),
        Err(error) => {
            output::complain(&format!("the pseudo terminal failed: {error}"));
            Exit::Fault
        }
    }
}

fn settings(args: &Simulate) -> ChainSettings {
    let parity_bits = match args.parity {
        Parity::None => 0,
        Parity::Even | Parity::Odd => 1,
    };
    ChainSettings {
        character_bits: 1 + 8 + parity_bits + u32::from(args.stop_bits),
        ..ChainSettings::plain(args.baud, args.turnaround, args.units.ids(), args.seed)
    }
}

fn introduction(args: &Simulate, link: &Link, chain: &Chain) -> String {
    // The configuration file wants a device's whole path.
    let path = std::path::absolute(link.path()).unwrap_or_else(|_| link.path().to_owned());
    let (path, device) = (path.display(), chain.device().display());
    let unit = args.units.ids()[0];
    let (baud, parity, stop_bits) = (args.baud, args.parity, args.stop_bits);
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _never = writeln!(text, "{line}");
    };
    line(format_args!("Simulated Leviton 4000-R meters on {path} ({device})"));
    line(format_args!(
        "units {}, {baud} baud 8{}{stop_bits}, answering after {:?}, seed {}",
        args.units,
        args.parity.letter(),
        args.turnaround,
        args.seed
    ));
    line(format_args!(""));
    line(format_args!("Real, reactive and apparent power of unit {unit}, from another terminal:"));
    line(format_args!(
        "  mbpoll -m rtu -b {baud} -P {parity} -s {stop_bits} -a {unit} -t 4:float -B -r 261 -c 3 -1 {path}"
    ));
    line(format_args!("In a configuration file:"));
    line(format_args!(
        "  buses: [{{name: simulated, device: {path}, baud_rate: {baud}, parity: {parity}, \
         stop_bits: {stop_bits}, units: [{}]}}]",
        args.units.to_yaml()
    ));
    line(format_args!(""));
    line(format_args!("Ctrl-C ends it."));
    text
}

fn summary(counters: Counters) -> String {
    let Counters { requests, replies, garbled, collisions, damaged } = counters;
    format!(
        "{requests} requests, {replies} replies, {garbled} garbled, {collisions} collisions, {damaged} damaged\n"
    )
}
