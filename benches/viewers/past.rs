//! The memory of 12 hours of history: the gateway's own history of 247 units, filled in a process of its own.
//!
//! The clock is simulated: time is an argument of a history. A new process, because memory freed by others would hide
//! the growth.

#![allow(clippy::print_stdout, reason = "the process tells what it found")]

use std::fs;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use metergate::status::{HEALTH_MINUTES, History, MINUTE, Published, READING_MINUTES};

use crate::UNITS;
use crate::published::{self, FLOATS};

/// Its size in KiB.
pub(crate) fn size() -> u64 {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program).arg(FILL).output().expect("this program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of KiB")
}

/// The whole process: fills a history and prints its size.
pub(crate) fn fill() -> ExitCode {
    let start = Instant::now();
    let text = format!(
        "listeners:\n  - address: 127.0.0.1:502\nbuses:\n  - name: bench\n    device: /dev/ttyS0\n    units:\n      \
         - {UNITS}\n"
    );
    let mut published = published::published(&text, start);
    // The published views themselves are part of the gateway anyway.
    read_all(&mut published, start, 1);
    read_all(&mut published, start, 2);
    let before = resident();
    let mut history = History::default();
    for (minute, generation) in (0..=READING_MINUTES).zip(3..) {
        let now = start + MINUTE * u32::try_from(minute).expect("12 hours have few minutes");
        read_all(&mut published, now, generation);
        // Once within the minute and once at its end.
        history.sample(&published, now);
        history.sample(&published, now + Duration::from_secs(30));
    }
    for unit in published.units() {
        let track = history.unit(&unit).expect("every unit is remembered");
        assert!(
            !track.readings.is_empty() && track.minutes.len() == HEALTH_MINUTES,
            "the health is not full"
        );
        assert!(
            track.readings.iter().all(|reading| reading.means.len() == READING_MINUTES),
            "the readings are not full"
        );
    }
    println!("{}", resident().saturating_sub(before));
    ExitCode::SUCCESS
}

/// Every unit answers its floats.
fn read_all(published: &mut Published, now: Instant, generation: u64) {
    // Around 10 of everything.
    let words: Vec<(u16, u16)> = (FLOATS.start..FLOATS.start + FLOATS.quantity)
        .map(|at| (at, [0x4120, 0][usize::from(at % 2)]))
        .collect();
    for unit in 1..=247 {
        published::read(published, (0, unit), FLOATS, &words, now, generation);
    }
}

/// KiB of this process.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
    line.trim_end_matches(" kB").trim().parse().expect("a number")
}

/// The argument that makes this program fill a history.
pub(crate) const FILL: &str = "--fill-a-history";
