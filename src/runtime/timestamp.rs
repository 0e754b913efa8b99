//! Instants as text: in UTC for files and programs, in local time for people.
//!
//! Source: RFC 3339. The time zone is the system's.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The instant in UTC to the millisecond, as `2026-11-22T14:30:00.123Z`. Before 1970 it is the beginning of 1970.
#[must_use]
pub fn utc(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default().max(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// The instant to the second in the system's time zone, as `2026-11-22 15:30:00`.
#[must_use]
pub fn local(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The instant to the second with the zone's name, as `2026-11-22 15:30:00 CET`.
#[must_use]
pub fn local_with_zone(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn an_instant_has_milliseconds_and_utc() {
        assert_eq!(utc(UNIX_EPOCH + Duration::from_millis(1_250)), "1970-01-01T00:00:01.250Z");
        assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(951_782_400)), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(UNIX_EPOCH - Duration::from_secs(5)), "1970-01-01T00:00:00.000Z");
    }
}
