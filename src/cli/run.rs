//! `run`: the gateway, from its configuration to a signal that ends it; SIGHUP reads the file again.

use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::budget;
use super::exit::Exit;
use super::instances::{Announcement, StartedBy};
use super::logging::Logs;
use super::notify::Manager;
use super::{output, status};
use crate::config::{self, Loaded, Problem};
use crate::gateway::{Gateway, StartError};

/// Runs the gateway until `stop` is cancelled.
pub async fn run(path: &Path, logs: &Logs, mut reload: Signal, stop: CancellationToken) -> Exit {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => {
            output::report(&problems);
            return Exit::Configuration;
        }
    };
    take_over_log(logs, &loaded);
    let mut gateway = match Gateway::start(&loaded.config) {
        Ok(gateway) => gateway,
        Err(error) => {
            error!("{error}");
            return exit_of(&error);
        }
    };
    let announcement = Announcement::new(StartedBy::Run(path), &loaded.config, &gateway);
    let manager = Manager::from_environment();
    manager.ready(&serving(&gateway));
    let mut shown = String::new();
    let mut due = interval_at(Instant::now() + STATE_PERIOD, STATE_PERIOD);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::spawn(manager.clone().feed(gateway.watchdog()));
    info!(version = env!("CARGO_PKG_VERSION"), configuration = %path.display(), "started");
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = reload.recv() => {
                info!(configuration = %path.display(), "reloading");
                manager.reloading();
                tokio::select! {
                    // What it has begun, the gateway's stop ends.
                    () = stop.cancelled() => break,
                    () = reload_from(path, logs, &mut gateway, &announcement) => {}
                }
                manager.ready(&serving(&gateway));
                shown.clear();
            }
            // A page thread that hangs must not keep a signal waiting: this branch is dropped for the others.
            Some(state) = async { due.tick().await; state(&gateway).await }, if manager.is_present() => {
                if state != shown {
                    manager.show(&state);
                    shown = state;
                }
            }
        }
    }
    info!("stopping");
    drop(announcement);
    manager.stopping();
    gateway.stop().await;
    info!("stopped");
    Exit::Ok
}

/// The line of `metergate status`, and what the gateway serves.
async fn state(gateway: &Gateway) -> Option<String> {
    let report = gateway.doctor_report().await?;
    Some(format!("{}; {}", status::headline(&report), serving(gateway)))
}

/// What the service manager shows of a gateway before its state is known.
fn serving(gateway: &Gateway) -> String {
    let buses: Vec<String> =
        gateway.views().iter().map(|(bus, _)| gateway.names().bus(*bus).to_owned()).collect();
    let addresses: Vec<String> = gateway.endpoints().iter().map(ToString::to_string).collect();
    format!("serving {} on {}", buses.join(", "), addresses.join(", "))
}

/// How a process ends that could not start its gateway.
#[must_use]
pub fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::Bind { .. } => Exit::CannotBind,
        StartError::Audit { .. } | StartError::Thread { .. } => Exit::CannotStart,
    }
}

/// Reads the file again. Whatever is wrong with it, the gateway goes on as it was.
async fn reload_from(path: &Path, logs: &Logs, gateway: &mut Gateway, announcement: &Announcement) {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => {
            for problem in problems.errors() {
                error!("{}", problem.headline());
            }
            error!(configuration = %path.display(), "not reloaded: the old configuration stays");
            let first = problems.errors().first().map(Problem::headline).unwrap_or_default();
            gateway.note_refused_reload(&first);
            return;
        }
    };
    match gateway.reload(&loaded.config).await {
        Ok(()) => {
            take_over_log(logs, &loaded);
            announcement.renew(&loaded.config, gateway);
            info!(configuration = %path.display(), "reloaded");
        }
        Err(error) => error!("not reloaded: {error}"),
    }
}

fn take_over_log(logs: &Logs, loaded: &Loaded) {
    logs.set_level(loaded.config.log_level.into());
    warn_of(&loaded.warnings);
    // What does not fit is read slower, never refused: the line's budget is kept as it runs.
    for finding in budget::findings(&loaded.config, Instant::now().into_std()) {
        warn!(bus = %finding.bus, "{}", finding.text);
    }
}

/// Logs what is odd about a configuration.
pub fn warn_of(warnings: &[Problem]) {
    for warning in warnings {
        warn!("{}", warning.headline());
    }
}

/// Between two looks at the state for the service manager.
const STATE_PERIOD: Duration = Duration::from_secs(5);
