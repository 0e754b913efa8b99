//! `report`: all that the running gateway knows as one text, for remote support.
//!
//! The gateway makes it; this writes it down, never over a file that is there.

use super::args::gateway::Report;
use super::command_error::CommandError;
use super::exit::Exit;
use super::gateway_client::{GatewayClient, Present, append, new_file};
use super::output;

/// Fetches the report and writes it.
pub async fn report(args: &Report) -> Exit {
    match write(args).await {
        Ok(exit) => exit,
        Err(stop) => stop.report(),
    }
}

async fn write(args: &Report) -> Result<Exit, CommandError> {
    let text = GatewayClient::find(&args.location)?.page("/api/v1/report").await?;
    let text = output::escape(&text);
    let Some(path) = &args.file else { return Ok(output::print(&text)) };
    let mut file = new_file(path, Present::Kept)?;
    Ok(append(&mut file, path, &text).err().unwrap_or(Exit::Ok))
}
