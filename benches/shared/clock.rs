//! Waiting for an instant to a few microseconds: sleep for most of it, then look at the clock.
//!
//! Costs a processor for the last stretch, which only a bench may do.

use std::hint;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;

/// Has this thread woken on time, rather than up to 50 µs late together with others.
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

/// More than waking takes on an idle machine.
pub(crate) const SPIN: Duration = Duration::from_micros(120);
