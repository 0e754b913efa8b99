//! Numbers for texts: durations, counts and shares.

use std::time::Duration;

/// `12 s`, `3 min`, `2 h`, `5 days`: the largest unit of which there are at least two.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}

/// `once`, `3 times`.
pub(super) fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// A share in whole percent; at least 1 if `part` is not zero.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    if part == 0 { 0 } else { (part * 100 / whole.max(1)).clamp(1, 100) }
}
