//! `read`: what a meter says, once or again and again.
//!
//! Owns the order of things: choose before anything is opened, open, read, show, and the exit code. How a reading
//! looks is `table`'s and `export`'s business. Source: docs/cli.md.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::args::meter::{ConnectionArgs, Interval, Read, UnitList};
use super::command_error::CommandError;
use super::exit::Exit;
use super::shown::{Shown, Style};
use super::sweep::{Points, Sweep};
use super::target::{Intent, ResolvedTarget, Target, Typed};
use super::{export, output, point_selection, profile, raw, screen};
use crate::client::Client;

/// Reads once, or until `stop` is cancelled.
pub async fn read(args: &Read, stop: CancellationToken) -> Exit {
    let (mut clients, job) = tokio::select! {
        biased;
        () = stop.cancelled() => return Exit::Fault,
        prepared = prepare(args) => match prepared {
            Ok(prepared) => prepared,
            Err(stop) => return stop.report(),
        },
    };
    let exit = run(args, &mut clients, &job, &stop).await;
    for client in clients {
        client.close().await;
    }
    exit
}

/// What is to be read, all of it checked.
enum Job {
    Raw(raw::Job),
    Points(Points),
    Sweep(Sweep),
}

/// The clients, and what is read through each.
async fn prepare(args: &Read) -> Result<(Vec<Client>, Job), CommandError> {
    let units = args.unit.as_ref().map(UnitList::ids).unwrap_or_default();
    let [unit] = *units else {
        let (clients, sweep) = sweep(args, units).await?;
        return Ok((clients, Job::Sweep(sweep)));
    };
    let connection = &args.connection.to_unit(unit);
    let (resolved, words) = ResolvedTarget::take(&args.words, connection, Intent::Read)?;
    let job = if args.raw {
        Job::Raw(raw::Job::new(args, unit, resolved.target.to_string(), &words)?)
    } else {
        Job::Points(points(args, connection, &resolved, &words, 0)?)
    };
    let typed = Typed { purpose: Intent::Read, words: &words };
    let opened = resolved.target.open(connection, typed).await;
    Ok((vec![opened.map_err(|error| of_bare_host(error, args, connection))?], job))
}

/// What a host that is named without dot and port may have been meant for instead.
fn of_bare_host(error: CommandError, args: &Read, connection: &ConnectionArgs) -> CommandError {
    match (error, ResolvedTarget::bare_host(&args.words, connection, Intent::Read)) {
        (CommandError::Failed(exit, text), Some(word)) => {
            let text = format!("{text}; and no point, group or block is called {word} (`metergate points`)");
            CommandError::Failed(exit, text)
        }
        (error, _) => error,
    }
}

/// Several meters: a client for each target, and which of them leads to which meter.
async fn sweep(args: &Read, units: &[u8]) -> Result<(Vec<Client>, Sweep), CommandError> {
    if args.raw {
        return Err(CommandError::usage("--raw reads one unit; name it, such as --unit 3"));
    }
    let also = ConnectionArgs { also: units.to_vec(), ..args.connection.clone() };
    let (resolved, unreached, words) = if args.all {
        let names_a_target = args.words.first().is_some_and(|word| Target::read(word).is_some());
        if names_a_target || also.serial.is_given() {
            return Err(CommandError::usage(
                "--all is for the gateway running here, whose configuration names its meters; for another TARGET \
                 name them, such as --unit 1-12",
            ));
        }
        let all = ResolvedTarget::all_here(&also)?;
        (all.found, all.unreached, args.words.clone())
    } else {
        let mut resolved = Vec::new();
        let mut words = Vec::new();
        for unit in units {
            let (target, rest) = ResolvedTarget::take(&args.words, &also.to_unit(*unit), Intent::Read)?;
            resolved.push((target, *unit));
            words = rest;
        }
        (resolved, Vec::new(), words)
    };
    let (mut clients, mut targets, mut meters) = (Vec::new(), Vec::<Target>::new(), Vec::new());
    for (resolved, unit) in &resolved {
        let connection = also.to_unit(*unit);
        let client = match targets.iter().position(|target| *target == resolved.target) {
            Some(client) => client,
            None => {
                targets.push(resolved.target.clone());
                targets.len() - 1
            }
        };
        meters.push(points(args, &connection, resolved, &words, client)?);
    }
    // All of it is checked before anything is opened.
    for target in &targets {
        let unit =
            resolved.iter().find(|(resolved, _)| resolved.target == *target).map_or(1, |(_, unit)| *unit);
        let typed = Typed { purpose: Intent::Read, words: &words };
        let connection = also.to_unit(unit);
        let opened = target.open(&connection, typed).await;
        clients.push(
            opened.map_err(|error| if args.all { error } else { of_bare_host(error, args, &connection) })?,
        );
    }
    Ok((clients, Sweep { meters, unreached }))
}

/// The points of one meter that the words mean.
fn points(
    args: &Read,
    connection: &ConnectionArgs,
    resolved: &ResolvedTarget,
    words: &[String],
    client: usize,
) -> Result<Points, CommandError> {
    let profile =
        profile::find(connection.profile.as_deref(), resolved.profile.clone(), connection.config.as_deref())?;
    if let Err(wrong) = point_selection::choose(&profile, words) {
        // Only a first word that means nothing may have been meant for a host.
        let host = words.first().filter(|first| {
            let alone = std::slice::from_ref(*first);
            let is_a_name = first.starts_with(|letter: char| letter.is_ascii_alphabetic());
            resolved.is_here && is_a_name && point_selection::choose(&profile, alone).is_err()
        });
        let host = host.map_or(String::new(), |first| {
            format!("; a host without a dot is written with its port, such as {first}:502")
        });
        return Err(CommandError::usage(format!("{wrong}{host}{}", interval_apart(args))));
    }
    Ok(Points {
        client,
        target: resolved.target.to_string(),
        name: resolved.name.clone(),
        max_age: resolved.max_age,
        unit: connection.unit,
        profile,
        words: words.to_vec(),
    })
}

/// Where an interval stands beside --watch instead of in it, how it is written.
fn interval_apart(args: &Read) -> String {
    let apart = args.words.iter().find(|word| args.watch.is_some() && Interval::option(word).is_ok());
    apart.map_or(String::new(), |interval| {
        format!("; the interval follows an equals sign: --watch={interval}")
    })
}

async fn run(args: &Read, clients: &mut [Client], job: &Job, stop: &CancellationToken) -> Exit {
    let style = args.format.style();
    if let Err(exit) = output::show(job.head(style).as_bytes()) {
        return exit;
    }
    let mut ticks = interval(args.watch.unwrap_or(ONCE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let broken_off = if args.watch.is_some() { Exit::Ok } else { Exit::Fault };
    let screen = screen::size().filter(|_| args.watch.is_some() && style == Style::Table);
    if screen.is_some()
        && let Err(exit) = output::show(screen::CLEAR.as_bytes())
    {
        return exit;
    }
    loop {
        let shown = tokio::select! {
            biased;
            () = stop.cancelled() => return broken_off,
            shown = async {
                ticks.tick().await;
                job.once(clients, style).await
            } => shown,
        };
        let said = match screen::size().filter(|_| screen.is_some()) {
            Some((_, rows)) => {
                let text = shown.complaint.map_or(shown.text, |complaint| format!("{complaint}\n"));
                output::show(screen::repaint(&text, rows).as_bytes())
            }
            None => {
                shown.complaint.iter().for_each(|complaint| output::complain(complaint));
                output::show(shown.text.as_bytes())
            }
        };
        match said {
            Ok(()) if args.watch.is_some() => {}
            Ok(()) => return shown.exit,
            Err(exit) => return exit,
        }
    }
}

impl Job {
    /// What stands before the first reading.
    fn head(&self, style: Style) -> String {
        match (style, self) {
            (Style::Table | Style::Json, _) => String::new(),
            (Style::Csv, Self::Raw(job)) => job.csv_head(),
            (Style::Csv, Self::Points(points)) => export::csv_head(&points.subject()),
            (Style::Csv, Self::Sweep(sweep)) => sweep.csv_head(),
        }
    }

    async fn once(&self, clients: &mut [Client], style: Style) -> Shown {
        match (self, clients) {
            (Self::Sweep(sweep), clients) => sweep.once(clients, style).await,
            (Self::Raw(job), [client, ..]) => job.once(client, style).await,
            (Self::Points(points), [client, ..]) => points.once(client, style).await,
            // A job of one unit comes with the client that leads to it.
            (Self::Raw(_) | Self::Points(_), []) => {
                Shown { text: String::new(), complaint: None, exit: Exit::Fault }
            }
        }
    }
}

/// Between readings where there is only one.
const ONCE: Duration = Duration::from_secs(1);
