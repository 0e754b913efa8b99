//! Notifications to the service manager: ready, reloading, stopping, the state, and that the buses live (sd_notify(3)).
//!
//! Owns the socket named in `NOTIFY_SOCKET`, opened once: a process that has run out of descriptors can still say
//! that it lives. Without that variable nothing is sent. It never restarts anything; the service manager decides.

use std::env;
use std::fmt::Display;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::serial::Watchdog;

/// The way to the service manager, if there is one.
#[derive(Clone, Debug)]
pub struct Manager(Option<Arc<UnixDatagram>>);

impl Manager {
    /// The manager that the environment names. One that cannot be reached is complained of, once.
    #[must_use]
    pub fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self(None);
        };
        match connect(name.as_encoded_bytes()) {
            Ok(socket) => Self(Some(Arc::new(socket))),
            Err(error) => {
                warn!("the service manager at {} cannot be reached: {error}", name.display());
                Self(None)
            }
        }
    }

    /// Whether notifications reach anything.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.0.is_some()
    }

    /// Everything is bound and started, or a reload is over.
    pub fn ready(&self, status: &impl Display) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The state has changed.
    pub fn show(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// A reload begins; [`ready`](Self::ready) ends it, whatever came of it.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reloading", now.as_micros()));
    }

    /// The end begins.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=answering what is in flight");
    }

    /// Feeds the manager's watchdog, four times within its time, as long as every bus answers from its own loop.
    /// Returns at once if the manager keeps none for this process.
    pub async fn feed(self, watchdog: Watchdog) {
        let (named, pid) = (env::var("WATCHDOG_USEC"), env::var("WATCHDOG_PID"));
        let Some(period) = period(named.ok().as_deref(), pid.ok().as_deref(), std::process::id()) else {
            return;
        };
        if self.0.is_none() {
            return;
        }
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complained = false;
        loop {
            ticks.tick().await;
            let silent = watchdog.silent();
            if silent.is_empty() {
                if complained {
                    info!("every bus answers the watchdog again");
                }
                complained = false;
                self.send("WATCHDOG=1");
                watchdog.request_heartbeats();
            } else if !complained {
                complained = true;
                error!("bus {} is not responding; watchdog notifications stopped", silent.join(", "));
            }
        }
    }

    fn send(&self, state: &str) {
        let Some(socket) = &self.0 else { return };
        let state = &state[..state.floor_char_boundary(NOTIFICATION_MAX)];
        if let Err(error) = socket.send(state.as_bytes()) {
            warn!(
                "the notification {} did not reach the service manager: {error}",
                state.lines().next().unwrap_or_default()
            );
        }
    }
}

/// A socket that sends to `name`: a path, or after an `@` a name outside the file system.
fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let address = match name.strip_prefix(b"@") {
        Some(rest) => SocketAddr::from_abstract_name(rest)?,
        None => SocketAddr::from_pathname(std::str::from_utf8(name).map_err(io::Error::other)?)?,
    };
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// How often to feed a watchdog of `usec` microseconds that is meant for the process `pid`, or for any.
fn period(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own_pid)) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec >= SHORTEST_USEC).then(|| Duration::from_micros(usec / FEEDS))
}

/// How often a watchdog is fed within its time: an answer may be late by three quarters of it.
const FEEDS: u64 = 4;

/// A watchdog quicker than this cannot be served, and would only cause restarts.
const SHORTEST_USEC: u64 = 10_000;

/// Bytes of a notification; systemd ignores one of more than 4096.
const NOTIFICATION_MAX: usize = 4000;

/// How long a manager may take to make room for a line of ours.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_fed_four_times_within_its_time_by_the_process_it_is_meant_for() {
        assert_eq!(period(Some("30000000"), Some("7"), 7), Some(Duration::from_millis(7500)));
        assert_eq!(period(Some("10000"), None, 7), Some(Duration::from_micros(2500)));
        for (usec, pid) in [
            (None, Some("7")),
            (Some("0"), None),
            (Some("9999"), None),
            (Some("-1"), None),
            (Some("soon"), None),
            (Some("30000000"), Some("8")),
            (Some("30000000"), Some("me")),
        ] {
            assert_eq!(period(usec, pid, 7), None, "{usec:?} {pid:?}");
        }
    }
}
