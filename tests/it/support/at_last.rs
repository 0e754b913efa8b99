//! What is let go here may be held a moment longer: a program that another test starts has all that is open in this
//! one until it has become itself.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// The first success of what is tried again and again.
pub(crate) fn at_last<T, E: Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(found) => return found,
            Err(error) => assert!(Instant::now() < until, "{error:?}"),
        }
        thread::yield_now();
    }
}

/// How long a test waits for something that must happen; no closed connection is forgotten by the system as soon.
const PATIENCE: Duration = Duration::from_secs(20);
