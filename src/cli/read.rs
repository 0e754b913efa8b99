//! `read`: what a meter says, once or again and again.
//!
//! Owns the order of things: choose before anything is opened, open, read, show, and the exit code. How a reading
//! looks is `table`'s and `export`'s business. Source: contract section 2.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::args::meter::{Interval, Read};
use super::command_error::CommandError;
use super::exit::Exit;
use super::reading::{MeterReading, Subject};
use super::shown::{Shown, Style};
use super::target::{Purpose, ResolvedTarget, Typed};
use super::{export, output, point_selection, profile, raw, screen, table};
use crate::client::Client;
use crate::client::survey::survey;
use crate::meter::Profile;

/// Reads once, or until `stop` is cancelled.
pub async fn read(args: &Read, stop: CancellationToken) -> Exit {
    let (mut client, job) = tokio::select! {
        biased;
        () = stop.cancelled() => return Exit::Fault,
        prepared = prepare(args) => match prepared {
            Ok(prepared) => prepared,
            Err(stop) => return stop.tell(),
        },
    };
    let exit = run(args, &mut client, &job, &stop).await;
    client.close().await;
    exit
}

/// What is to be read, all of it checked.
enum Job {
    Raw(raw::Job),
    Points(Points),
}

struct Points {
    target: String,
    max_age: Option<Duration>,
    unit: u8,
    profile: Arc<Profile>,
    words: Vec<String>,
}

async fn prepare(args: &Read) -> Result<(Client, Job), CommandError> {
    let connection = &args.connection;
    let (resolved, words) = ResolvedTarget::take(&args.words, connection, Purpose::Read)?;
    let target = resolved.target.to_string();
    let job = if args.raw {
        Job::Raw(raw::Job::new(args, target, &words)?)
    } else {
        let profile = profile::find(connection.profile.as_deref(), resolved.profile, &connection.config)?;
        if let Err(wrong) = point_selection::choose(&profile, &words) {
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
        Job::Points(Points {
            target,
            max_age: resolved.max_age,
            unit: connection.unit,
            profile,
            words: words.clone(),
        })
    };
    let typed = Typed { purpose: Purpose::Read, words: &words };
    Ok((resolved.target.open(connection, typed).await?, job))
}

/// Where an interval stands beside --watch instead of in it, how it is written.
fn interval_apart(args: &Read) -> String {
    let apart = args.words.iter().find(|word| args.watch.is_some() && Interval::option(word).is_ok());
    apart.map_or(String::new(), |interval| {
        format!("; the interval follows an equals sign: --watch={interval}")
    })
}

async fn run(args: &Read, client: &mut Client, job: &Job, stop: &CancellationToken) -> Exit {
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
                job.once(client, style).await
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
        }
    }

    async fn once(&self, client: &mut Client, style: Style) -> Shown {
        match self {
            Self::Raw(job) => job.once(client, style).await,
            Self::Points(points) => points.once(client, style).await,
        }
    }
}

impl Points {
    fn subject(&self) -> Subject<'_> {
        // Chosen once before, from the same profile: it cannot fail now.
        let points = point_selection::choose(&self.profile, &self.words).unwrap_or_default();
        let Self { target, max_age, unit, profile, .. } = self;
        Subject { target: target.clone(), unit: *unit, profile, points, max_age: *max_age }
    }

    async fn once(&self, client: &mut Client, style: Style) -> Shown {
        let subject = self.subject();
        let time = SystemTime::now();
        let survey = survey(client, self.unit, &self.profile, &subject.points).await;
        let found = MeterReading::new(&subject, &survey, time);
        let complaint = found
            .missed
            .first()
            .filter(|_| survey.is_empty())
            .map(|(_, failure)| format!("unit {} at {}: {failure}", self.unit, self.target));
        let text = match style {
            Style::Table if complaint.is_some() => String::new(),
            Style::Table => table::reading(&subject, &found, screen::width()),
            Style::Json => export::json(&subject, &found),
            Style::Csv => export::csv_line(&subject, &found),
        };
        let exit = if found.missed.is_empty() { Exit::Ok } else { Exit::Fault };
        Shown { text, complaint, exit }
    }
}

/// Between readings where there is only one.
const ONCE: Duration = Duration::from_secs(1);
