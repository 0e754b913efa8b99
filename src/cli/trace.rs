//! `trace`: what goes over the lines of the running gateway, a line for each thing that happens.
//!
//! The gateway makes the lines and filters them; this shows them as they come.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::args::gateway::Trace;
use super::command_error::CommandError;
use super::exit::Exit;
use super::gateway_client::GatewayClient;
use super::{output, screen, table};
use crate::page::escape_query;
use crate::trace::Ending;

/// Follows until `stop` is cancelled or the output's reader is gone.
pub async fn trace(args: &Trace, stop: CancellationToken) -> Exit {
    match follow(args, &stop).await {
        Ok(exit) => exit,
        Err(stop) => stop.report(),
    }
}

async fn follow(args: &Trace, stop: &CancellationToken) -> Result<Exit, CommandError> {
    let gateway = GatewayClient::find(&args.location)?;
    let is_local = !args.json && screen::size().is_some();
    let page = gateway.ask(&path(args, is_local.then(utc_offset))).await?;
    // Not on stdout, which has results only.
    let times = if is_local { "local" } else { "UTC" };
    output::report(&format!("following {}; times are {times}; Ctrl-C ends it", gateway.shown()));
    if args.json || screen::size().is_none() {
        return Ok(gateway.pass_on(page, stop, |piece| output::show(&output::escape(piece))).await);
    }
    let mut lines = Lines::default();
    let show = |piece: &[u8]| output::show(lines.complete(piece, screen::width).as_bytes());
    Ok(gateway.pass_on(page, stop, show).await)
}

/// Pieces of a stream as lines that fit the terminal.
#[derive(Default)]
struct Lines {
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
}

impl Lines {
    /// The lines that this piece completes, each cut at the `width` that the terminal has at that moment.
    fn complete(&mut self, piece: &[u8], width: impl Fn() -> Option<usize>) -> String {
        self.begun.extend_from_slice(piece);
        let end = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let end = if self.begun.len() - end > LINE_MAX { self.begun.len() } else { end };
        let complete = output::escape(&self.begun.drain(..end).collect::<Vec<_>>());
        let lines = String::from_utf8_lossy(&complete);
        lines.lines().map(|line| table::clip(line, width()) + "\n").collect()
    }
}

/// How far local time is ahead of UTC now, in seconds.
fn utc_offset() -> i32 {
    TimeZone::system().to_offset(Timestamp::now()).seconds()
}

/// The path of the request, with the filters as its query.
fn path(args: &Trace, utc_offset: Option<i32>) -> String {
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
    if let Some(outcome) = args.outcome.or(args.failures.then_some(Ending::Failed)) {
        add("outcome", &outcome.word());
    }
    if args.clients {
        add("origin", &"clients");
    }
    if let Some(bus) = &args.bus {
        add("bus", &escape_query(bus));
    }
    if args.kept {
        add("kept", &1);
    }
    if let Some(seconds) = utc_offset {
        add("utc_offset", &seconds);
    }
    path
}

/// Bytes of a line without an end that are shown as one.
const LINE_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Args, Command};

    #[test]
    fn lines_are_cut_at_the_width_whatever_pieces_they_come_in() {
        let mut lines = Lines::default();
        let mut shown = |piece: &[u8]| lines.complete(piece, || Some(6));
        assert_eq!(shown(b"abc"), "");
        assert_eq!(shown("defgh\nüb".as_bytes()), "abcde…\n");
        assert_eq!(shown("ung\x1b\n\nlast".as_bytes()), "übung…\n\n");
        assert_eq!(shown(b"\n"), "last\n");
        assert_eq!(shown(&[b'x'; LINE_MAX + 1]), "xxxxx…\n");
    }

    #[test]
    fn every_filter_is_in_the_query() {
        let parse = |words: &[&str]| {
            let Command::Trace(args) = Args::try_parse_from(words).unwrap().command else {
                panic!("another command")
            };
            args
        };
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
        let expected = "/api/v1/trace?format=text&unit=3&client=::1&outcome=silent&bus=riser%20a%26b&kept=1";
        assert_eq!(path(&parse(&all), None), expected);
        let short = ["metergate", "trace", "--failures", "--clients"];
        let expected = "/api/v1/trace?format=text&outcome=failed&origin=clients&utc_offset=-3600";
        assert_eq!(path(&parse(&short), Some(-3600)), expected);
        let both = ["metergate", "trace", "--failures", "--outcome", "silent"];
        assert!(Args::try_parse_from(both).is_err());
    }
}
