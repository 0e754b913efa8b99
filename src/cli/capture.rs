//! `capture`: the traffic of the running gateway, both sides, as a file for Wireshark.
//!
//! The gateway makes the file; this writes it down as it comes, so that it is whole at any point, and never over one
//! that is there unless told to.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::args::gateway::Capture;
use super::command_error::CommandError;
use super::exit::Exit;
use super::gateway_client::{GatewayClient, Present, append, new_file};
use super::output;

/// Captures for as long as asked, or until `stop` is cancelled.
pub async fn capture(args: &Capture, stop: CancellationToken) -> Exit {
    match write(args, &stop).await {
        Ok(exit) => exit,
        Err(stop) => stop.report(),
    }
}

async fn write(args: &Capture, stop: &CancellationToken) -> Result<Exit, CommandError> {
    let gateway = GatewayClient::find(&args.location)?;
    let path = match args.time {
        Some(time) => format!("/capture.pcapng?seconds={}", time.as_millis().div_ceil(1000)),
        None => "/capture.pcapng".to_owned(),
    };
    let page = gateway.ask(&path).await?;
    if args.file == Path::new("-") {
        return Ok(gateway.pass_on(page, stop, output::show).await);
    }
    // Not before there is something to write: a gateway that is not there leaves no empty file.
    let present = if args.force { Present::WrittenOver } else { Present::KeptUnforced };
    let mut file = new_file(&args.file, present)?;
    Ok(gateway.pass_on(page, stop, |piece| append(&mut file, &args.file, piece)).await)
}
