//! `report`: all that the running gateway knows as one text, for whoever helps from afar.
//!
//! The gateway makes it; this writes it down, never over a file that is there.

use super::args::here::Report;
use super::exit::Exit;
use super::output;
use super::stop::Stop;
use super::there::{Present, There, append, new_file};

/// Fetches the report and writes it.
pub async fn report(args: &Report) -> Exit {
    match write(args).await {
        Ok(exit) => exit,
        Err(stop) => stop.tell(),
    }
}

async fn write(args: &Report) -> Result<Exit, Stop> {
    let text = There::find(&args.place)?.page("/api/v1/report").await?;
    let Some(path) = &args.file else { return Ok(output::print(&text)) };
    let mut file = new_file(path, Present::Kept)?;
    Ok(append(&mut file, path, &text).err().unwrap_or(Exit::Ok))
}
