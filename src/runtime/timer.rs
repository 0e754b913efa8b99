//! Waiting for an instant, to a fraction of a millisecond.
//!
//! The timer of tokio counts in milliseconds and rounds up: the 1.75 ms of silence before a request become some 3.1 ms.
//! A timerfd wakes the same task within tens of microseconds, and never early.

use std::future;
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::net::unix::pipe;

/// One timer, for one task.
#[derive(Debug)]
pub enum Timer {
    /// A timerfd.
    Fine(FineTimer),
    /// The runtime's timer: follows a paused clock, and is the fallback without a timerfd.
    Coarse,
}

impl Timer {
    /// A fine timer, or the runtime's if no timerfd is available. Must be called inside the runtime.
    #[must_use]
    pub fn fine() -> Self {
        FineTimer::new().map_or(Self::Coarse, Self::Fine)
    }

    /// Returns at `at`, not before; never if there is none. Dropping the future forgets the instant.
    pub async fn sleep_until(&self, at: Option<Instant>) {
        match (at, self) {
            (None, _) => future::pending().await,
            (Some(at), Self::Fine(timer)) => {
                if timer.sleep_until(at).await.is_err() {
                    tokio::time::sleep_until(at.into()).await;
                }
            }
            (Some(at), Self::Coarse) => tokio::time::sleep_until(at.into()).await,
        }
    }
}

/// A timerfd, registered with the runtime.
#[derive(Debug)]
pub struct FineTimer {
    timer: TimerFd,
    /// The same timer as a type the runtime can await: a pipe's reading end needs nothing of its descriptor but `read`,
    /// and avoids the unsafe registration of a bare descriptor.
    expirations: pipe::Receiver,
}

impl FineTimer {
    fn new() -> io::Result<Self> {
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let expirations = pipe::Receiver::from_owned_fd_unchecked(timer.as_fd().try_clone_to_owned()?)?;
        Ok(Self { timer, expirations })
    }

    async fn sleep_until(&self, at: Instant) -> io::Result<()> {
        loop {
            let rest = at.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(());
            }
            // Setting it again also forgets an expiration that was not awaited.
            self.timer.set(Expiration::OneShot(TimeSpec::from_duration(rest)), TimerSetTimeFlags::empty())?;
            self.expirations.readable().await?;
            match self.expirations.try_read(&mut [0; 8]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
