//! A broker that cannot be reached: nothing of what the meters say gets there meanwhile.

use std::time::{Duration, Instant};

use crate::mqtt::{BrokerView, Link};

use super::finding::{Finding, Kind, Severity};
use super::format::duration;
use super::remedy::Remedy;

/// The finding of a broker without a connection; `dropped` readings made room for newer ones since the start.
#[must_use]
pub fn broker_away(view: &BrokerView, dropped: u64, now: Instant) -> Option<Finding> {
    let Link::Away(since) = view.link else { return None };
    let reason = view.last_error.as_deref().unwrap_or("the connection was lost");
    let away = now.saturating_duration_since(since);
    if away < TOLERATED {
        return None;
    }
    let lost = match dropped {
        0 => "; readings are kept meanwhile".to_owned(),
        1 => "; 1 reading has been dropped since the start".to_owned(),
        dropped => format!("; {dropped} readings have been dropped since the start"),
    };
    let what = format!("no connection for {}: {reason}{lost}", duration(away));
    let severity = if dropped == 0 { Severity::Warning } else { Severity::Fault };
    let remedy = Remedy::steps([
        "check that the broker runs and can be reached from here (`nc -vz HOST PORT`)",
        "check `username`, `password_file` and `client_id` of the entry, and the broker's log",
        "a larger `buffer` bridges a longer time; what is kept is lost with a restart",
    ])
    .with_context("The gateway tries again by itself");
    Some(Finding::new(severity, Kind::BrokerAway, None, what, remedy, now).seen(since, now))
}

/// A broker that restarts is back within this time.
const TOLERATED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn view(link: Link) -> BrokerView {
        let last_error = Some("connection refused by 10.0.0.7:1883".to_owned());
        BrokerView { link, last_error, connections: 1, published: 9, rate: None }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant can be had no other way")]
    fn a_broker_that_is_away_is_a_warning_and_a_fault_once_readings_are_lost() {
        let start = Instant::now();
        let now = start + Duration::from_secs(90);
        let away = view(Link::Away(start));
        let found = broker_away(&away, 0, now).unwrap();
        assert_eq!(
            found.what,
            "no connection for 90 s: connection refused by 10.0.0.7:1883; readings are kept meanwhile"
        );
        assert_eq!((found.severity, found.active_since), (Severity::Warning, start));
        assert_eq!(broker_away(&away, 1, now).unwrap().severity, Severity::Fault);
        assert_eq!(broker_away(&away, 0, start + TOLERATED / 2), None);
        assert_eq!(broker_away(&view(Link::Connected(start)), 7, now), None);
        assert_eq!(broker_away(&view(Link::NotTried), 0, now), None);
    }
}
