//! `write`: one point, once, read back and compared.
//!
//! Owns the order of things: check, show, and only with `--yes` write. A write is never sent twice, and what is not
//! known of it is said. Source: docs/cli.md.

use std::fmt::Write as _;
use std::time::SystemTime;

use super::args::meter::{ConnectionArgs, Write};
use super::command_error::CommandError;
use super::exit::Exit;
use super::reading::{self, MeterReading, Subject};
use super::target::{Intent, ResolvedTarget, Typed};
use super::write_value::{self, PlannedWrite};
use super::{output, profile};
use crate::client::survey::survey;
use crate::client::{Client, Failure};
use crate::meter::{Point, Profile};

/// Writes a point, or shows what would be written.
pub async fn write(args: &Write) -> Exit {
    match carry_out(args).await {
        Ok(text) => output::print(text.as_bytes()),
        Err(stop) => stop.report(),
    }
}

/// What to say at the end of a write that went well.
async fn carry_out(args: &Write) -> Result<String, CommandError> {
    let connection = &args.connection.to_unit(args.unit);
    let confirmation = if args.yes { Confirmation::Given } else { Confirmation::Missing };
    let (resolved, words) = ResolvedTarget::take(&args.words, connection, Intent::Write)?;
    let [word] = words.as_slice() else {
        return Err(CommandError::usage("one POINT=VALUE is expected, such as ct_primary=200"));
    };
    let profile =
        profile::find(connection.profile.as_deref(), resolved.profile, connection.config.as_deref())?;
    let (point, text) = write_value::writable(&profile, word).map_err(CommandError::usage)?;
    let scaled = write_value::exponent_of(&profile, point);
    // Where no exponent has to be asked for, everything is known before anything is opened.
    let known = match scaled {
        None => Some(write_value::plan(&profile, point, text, None).map_err(CommandError::usage)?),
        Some(_) => None,
    };
    let mut client =
        resolved.target.open(connection, Typed { purpose: Intent::Write, words: &words }).await?;
    let mut meter =
        Meter { client: &mut client, connection, profile: &profile, target: resolved.target.to_string() };
    let done = match known {
        Some(plan) => meter.write(point, &plan, confirmation).await,
        None => match meter.plan(point, scaled, text).await {
            Ok(plan) => meter.write(point, &plan, confirmation).await,
            Err(stop) => Err(stop),
        },
    };
    client.close().await;
    done
}

/// Whether `--yes` confirms the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirmation {
    Given,
    Missing,
}

/// The meter that is written to.
struct Meter<'a> {
    client: &'a mut Client,
    connection: &'a ConnectionArgs,
    profile: &'a Profile,
    target: String,
}

impl Meter<'_> {
    /// What the text means once the exponent is known.
    async fn plan(
        &mut self,
        point: &Point,
        scaled: Option<&Point>,
        text: &str,
    ) -> Result<PlannedWrite, CommandError> {
        let Some(exponent) = scaled else {
            return write_value::plan(self.profile, point, text, None).map_err(CommandError::usage);
        };
        let (raw, _) = self.read(exponent).await?;
        let exponent = raw.first().and_then(|word| i8::try_from(word.cast_signed()).ok());
        write_value::plan(self.profile, point, text, exponent).map_err(CommandError::usage)
    }

    async fn write(
        &mut self,
        point: &Point,
        plan: &PlannedWrite,
        confirmation: Confirmation,
    ) -> Result<String, CommandError> {
        let (_, old) = self.read(point).await?;
        // The write is done even where its announcement cannot be shown.
        let _unread = output::print(self.intention(point, plan, &old).as_bytes());
        if confirmation == Confirmation::Missing {
            return Err(CommandError::usage("nothing was written; --yes writes it"));
        }
        let fault = |text: String| CommandError::Failed(Exit::Fault, text);
        let written =
            self.client.write_registers(self.connection.unit, point.range.start, &plan.registers).await;
        written.map_err(|failure| fault(unwritten(&point.name, &failure)))?;
        if !plan.reads_back {
            return Ok("Written. What it did cannot be read back: the register takes commands.\n".to_owned());
        }
        match self.read(point).await {
            Ok((raw, _)) if raw == plan.registers => Ok("Written, and reads back the same.\n".to_owned()),
            Ok((_, found)) => {
                Err(fault(format!("the meter took the write, and {} reads {found}", point.name)))
            }
            Err(CommandError::Failed(_, why)) => {
                Err(fault(format!("the meter took the write; reading it back: {why}")))
            }
            Err(faulty @ CommandError::Faulty(_)) => Err(faulty),
        }
    }

    fn intention(&self, point: &Point, plan: &PlannedWrite, old: &str) -> String {
        let mut text = format!(
            "unit {} at {}, {}\n  {}, register {}: {}\n  now  {old}\n  new  {}\n",
            self.connection.unit,
            self.target,
            self.profile.name,
            point.name,
            point.register,
            point.description,
            plan.shown
        );
        if let Some(warning) = &plan.warning {
            // Writing to a String cannot fail.
            let _never = writeln!(text, "  warning: {warning}");
        }
        text
    }

    /// The registers of a point, and what they say with its unit.
    async fn read(&mut self, point: &Point) -> Result<(Vec<u16>, String), CommandError> {
        let subject = Subject {
            target: self.target.clone(),
            unit: self.connection.unit,
            name: None,
            profile: self.profile,
            points: vec![point],
            max_age: None,
        };
        let survey = survey(self.client, self.connection.unit, self.profile, &subject.points).await;
        let found = MeterReading::new(&subject, &survey, SystemTime::now());
        match (found.rows.first().and_then(|row| Some((row, row.reading.as_ref()?))), found.missed.first()) {
            (Some((row, reading)), _) => {
                let unit = point.unit.filter(|_| reading::is_number(&reading.value));
                let unit = unit.map_or(String::new(), |unit| format!(" {unit}"));
                Ok((row.raw.clone(), format!("{}{unit}", reading::words(&reading.value))))
            }
            (None, missed) => {
                let why = missed.map_or("nothing was read".to_owned(), |(_, failure)| failure.to_string());
                Err(CommandError::Failed(
                    Exit::Fault,
                    format!("unit {} at {}: {why}", self.connection.unit, self.target),
                ))
            }
        }
    }
}

/// What is known of a write that failed.
fn unwritten(name: &str, failure: &Failure) -> String {
    if failure.is_refusal() {
        format!("{name} was not written: {failure}")
    } else {
        format!("whether {name} was written is not known, so read it before you write again: {failure}")
    }
}
