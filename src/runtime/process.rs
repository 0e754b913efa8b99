//! The resources of the process, as the kernel counts them, and its dropped log lines.
//!
//! Read from /proc on each call; a value that cannot be read is left out. Source: proc(5).

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use crate::runtime::log_writer::dropped_lines;

/// The process at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Processor time, user and system, in seconds.
    pub cpu_seconds: Option<f64>,
    /// When it was started, in seconds since 1970.
    pub start_seconds: Option<f64>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Virtual memory in bytes.
    pub virtual_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open descriptors.
    pub open_descriptors: Option<u64>,
    /// Limit of open descriptors.
    pub most_descriptors: Option<u64>,
    /// Lines of its log that were dropped.
    pub log_lines_dropped: Option<u64>,
}

impl Process {
    /// Reads all of it.
    #[must_use]
    pub fn read() -> Self {
        let file = |name: &str| fs::read_to_string(name).unwrap_or_default();
        let descriptors = fs::read_dir("/proc/self/fd").ok();
        Self {
            // Without the descriptor that lists the others.
            open_descriptors: descriptors.map(|list| (list.count() as u64).saturating_sub(1)),
            most_descriptors: most_descriptors(&file("/proc/self/limits")),
            log_lines_dropped: Some(dropped_lines()),
            ..Self::from_stat(&file("/proc/self/stat"), &file("/proc/stat"), clock_ticks(), page_size())
        }
    }

    /// From `/proc/self/stat`. The program's name, in brackets, may hold spaces and brackets itself.
    fn from_stat(own: &str, system: &str, ticks: f64, page: u64) -> Self {
        let fields: Vec<&str> =
            own.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let number = |number: usize| -> Option<u64> { fields.get(number - 3)?.parse().ok() };
        let seconds = |ticked: u64| f64::from(u32::try_from(ticked).unwrap_or(u32::MAX)) / ticks;
        let booted = system.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u32>().ok());
        let started = number(22).map(seconds);
        Self {
            cpu_seconds: number(14).zip(number(15)).map(|(user, system)| seconds(user + system)),
            start_seconds: started.zip(booted).map(|(started, booted)| f64::from(booted) + started),
            resident_bytes: number(24).map(|pages| pages * page),
            virtual_bytes: number(23),
            threads: number(20),
            open_descriptors: None,
            most_descriptors: None,
            log_lines_dropped: None,
        }
    }
}

fn most_descriptors(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Ticks per second, the kernel's unit of processor time.
fn clock_ticks() -> f64 {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u32::try_from(ticks).ok());
    f64::from(ticks.filter(|ticks| *ticks > 0).unwrap_or(100))
}

fn page_size() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok());
    size.unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_found_behind_a_name_with_spaces_and_brackets() {
        let own = "77 (a ) b) S 1 77 77 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 3 0 2000 8192000 250 \
                   18446744073709551615 1 1";
        let found = Process::from_stat(own, "cpu 1 2\nbtime 1700000000\n", 100.0, 4096);
        assert_eq!(found.cpu_seconds, Some(2.0));
        assert_eq!(found.start_seconds, Some(1_700_000_020.0));
        assert_eq!(
            (found.virtual_bytes, found.resident_bytes, found.threads),
            (Some(8_192_000), Some(1_024_000), Some(3))
        );
        assert_eq!(Process::from_stat("", "", 100.0, 4096), Process::default());
    }

    #[test]
    fn this_process_has_all_of_them() {
        let found = Process::read();
        assert!(found.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{found:?}");
        assert!(found.open_descriptors.is_some_and(|open| open >= 3), "{found:?}");
        assert!(found.start_seconds.is_some_and(|start| start > 1.6e9), "{found:?}");
        assert!(found.cpu_seconds.is_some() && found.threads.is_some() && found.most_descriptors.is_some());
    }
}
