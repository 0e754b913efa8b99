//! Waiting for an instant to a few microseconds: sleeps for most of it, then polls the clock.
//!
//! Busy for the last stretch, which is acceptable only in a bench.

use std::hint;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;

/// Sets this thread's timer slack, so that it wakes on time rather than up to 50 µs late.
pub(crate) fn be_punctual() {
    prctl::set_timerslack(1).expect("Linux lets a thread choose its own timer slack");
}

/// Returns at `at`, or at once if that has passed.
pub(crate) fn sleep_until(at: Instant) {
    let rest = at.saturating_duration_since(Instant::now());
    if rest > SPIN {
        thread::sleep(rest - SPIN);
    }
    while Instant::now() < at {
        hint::spin_loop();
    }
}

/// More than a wake-up takes on an idle machine.
pub(crate) const SPIN: Duration = Duration::from_micros(120);
