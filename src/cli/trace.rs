//! `trace`: what goes over the lines of the running gateway, a line for each thing that happens.
//!
//! The gateway makes the lines and leaves out what nobody wants to see; this shows them as they come.

use std::fmt::Write;

use tokio_util::sync::CancellationToken;

use super::args::gateway::Trace;
use super::command_error::CommandError;
use super::exit::Exit;
use super::gateway_client::GatewayClient;
use super::output;
use crate::page::escape_query;

/// Follows until `stop` is cancelled or nobody reads it.
pub async fn trace(args: &Trace, stop: CancellationToken) -> Exit {
    match follow(args, &stop).await {
        Ok(exit) => exit,
        Err(stop) => stop.tell(),
    }
}

async fn follow(args: &Trace, stop: &CancellationToken) -> Result<Exit, CommandError> {
    let gateway = GatewayClient::find(&args.location)?;
    let page = gateway.ask(&path(args)).await?;
    // Not on stdout, which has results only.
    output::report(&format!("following {}; times are UTC; Ctrl-C ends it", gateway.shown()));
    Ok(gateway.pass_on(page, stop, |piece| output::show(&output::escape(piece))).await)
}

/// What is asked of the gateway.
fn path(args: &Trace) -> String {
    let mut path = format!("/api/v1/trace?format={}", if args.json { "json" } else { "text" });
    let mut add = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a String cannot fail.
        let _never = write!(path, "&{name}={value}");
    };
    if let Some(unit) = args.unit {
        add("unit", &unit);
    }
    if let Some(client) = args.client {
        add("client", &client);
    }
    if let Some(outcome) = args.outcome {
        add("outcome", &outcome.word());
    }
    if let Some(bus) = &args.bus {
        add("bus", &escape_query(bus));
    }
    if args.kept {
        add("kept", &1);
    }
    path
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Args, Command};

    #[test]
    fn every_filter_is_in_the_question() {
        let all = [
            "metergate",
            "trace",
            "--unit",
            "3",
            "--client",
            "::1",
            "--outcome",
            "silent",
            "--bus",
            "riser a&b",
            "--kept",
        ];
        let Command::Trace(args) = Args::try_parse_from(all).unwrap().command else {
            panic!("another command")
        };
        let expected = "/api/v1/trace?format=text&unit=3&client=::1&outcome=silent&bus=riser%20a%26b&kept=1";
        assert_eq!(path(&args), expected);
    }
}
