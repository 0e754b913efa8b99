//! What is released here may be held a moment longer: a program that another test starts shares all open descriptors of
//! this one until it calls exec.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// The first success of repeated attempts.
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

/// How long a test waits for something that must happen; the system remembers a closed connection longer than that.
const PATIENCE: Duration = Duration::from_secs(20);
