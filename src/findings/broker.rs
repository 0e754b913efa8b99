//! A broker that cannot be reached, or takes less than is published: nothing, or not everything, of what the meters say
//! gets there.

use std::time::{Duration, Instant};

use crate::mqtt::{BrokerView, Link, OutboxCounts};

use super::finding::{Finding, Kind, Severity};
use super::format::duration;
use super::remedy::Remedy;

/// What is wrong with the connection to a broker, or with what it takes.
#[must_use]
pub fn of_broker(view: &BrokerView, counts: &OutboxCounts, now: Instant) -> Option<Finding> {
    match view.link {
        Link::NotTried => None,
        Link::Waiting(since) => host_away(view, since, counts.dropped, now),
        Link::Away(since) => broker_away(view, since, counts.dropped, now),
        Link::Connected(since) => broker_slow(since, counts, now),
    }
}

/// Readings are dropped although there is a connection. What was kept while there was none fills the buffer for a while
/// after it is back.
fn broker_slow(connected: Instant, counts: &OutboxCounts, now: Instant) -> Option<Finding> {
    let dropped = counts.last_dropped.filter(|at| *at >= connected + DRAINING)?;
    if now.saturating_duration_since(dropped) >= RECENT {
        return None;
    }
    let waiting = counts.queued;
    let what = format!("readings are dropped although the broker is connected: {waiting} wait for it");
    let remedy = Remedy::steps([
        "compare the rate on the page with what `metergate check` says: the broker or the way to it is too slow",
        "publish less: fewer `points`, or a longer `every`",
    ]);
    Some(Finding::new(Severity::Fault, Kind::BrokerSlow, None, what, remedy, now).seen(dropped, now))
}

fn broker_away(view: &BrokerView, since: Instant, dropped: u64, now: Instant) -> Option<Finding> {
    let reason = view.last_error.as_deref().unwrap_or("the connection was lost");
    let away = now.saturating_duration_since(since);
    if away < TOLERATED {
        return None;
    }
    let what = format!("no connection for {}: {reason}{}", duration(away), describe_lost(dropped));
    let remedy = Remedy::steps([
        "check that the broker runs and can be reached from here (`nc -vz HOST PORT`)",
        "check `username`, `password_file` and `client_id` of the entry, and the broker's log",
        LARGER_BUFFER,
    ])
    .with_context("The gateway tries again by itself");
    Some(Finding::new(severity(dropped), Kind::BrokerAway, None, what, remedy, now).seen(since, now))
}

/// There is a connection, and the primary host that births wait for is not there.
fn host_away(view: &BrokerView, since: Instant, dropped: u64, now: Instant) -> Option<Finding> {
    let reason = view.last_error.as_deref().unwrap_or("the primary host is not on-line");
    let waiting = now.saturating_duration_since(since);
    if waiting < TOLERATED {
        return None;
    }
    let lost = describe_lost(dropped);
    let what = format!("connected, and nothing is published for {}: {reason}{lost}", duration(waiting));
    let remedy = Remedy::steps([
        "check that the host runs, that it is connected to this broker, and that its identifier is the `primary_host` of the entry",
        "check that the broker lets this client read `spBv1.0/STATE/` and the identifier",
        LARGER_BUFFER,
    ])
    .with_context("The gateway begins by itself once the host is there");
    Some(Finding::new(severity(dropped), Kind::BrokerAway, None, what, remedy, now).seen(since, now))
}

fn describe_lost(dropped: u64) -> String {
    match dropped {
        0 => "; readings are kept meanwhile".to_owned(),
        1 => "; 1 reading has been dropped since the start".to_owned(),
        dropped => format!("; {dropped} readings have been dropped since the start"),
    }
}

fn severity(dropped: u64) -> Severity {
    if dropped == 0 { Severity::Warning } else { Severity::Fault }
}

const LARGER_BUFFER: &str = "a larger `buffer` bridges a longer time; what is kept is lost with a restart";

/// How long a new connection may take for what was kept, until the buffer is no longer full.
const DRAINING: Duration = Duration::from_secs(60);

/// How long ago the last reading may have been dropped.
const RECENT: Duration = Duration::from_secs(60);

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
        let dropped = |dropped| OutboxCounts { dropped, ..OutboxCounts::default() };
        let found = of_broker(&away, &dropped(0), now).unwrap();
        assert_eq!(
            found.what,
            "no connection for 90 s: connection refused by 10.0.0.7:1883; readings are kept meanwhile"
        );
        assert_eq!((found.severity, found.active_since), (Severity::Warning, start));
        assert_eq!(of_broker(&away, &dropped(1), now).unwrap().severity, Severity::Fault);
        assert_eq!(of_broker(&away, &dropped(0), start + TOLERATED / 2), None);
        assert_eq!(of_broker(&view(Link::Connected(start)), &dropped(7), now), None);
        assert_eq!(of_broker(&view(Link::NotTried), &dropped(0), now), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant can be had no other way")]
    fn a_primary_host_that_is_not_there_is_a_finding_that_does_not_blame_the_broker() {
        let start = Instant::now();
        let last_error = Some("the primary host scada is not on-line".to_owned());
        let waiting = BrokerView { last_error, ..view(Link::Waiting(start)) };
        let found = of_broker(&waiting, &OutboxCounts::default(), start + Duration::from_secs(90)).unwrap();
        assert_eq!(
            found.what,
            "connected, and nothing is published for 90 s: the primary host scada is not on-line; \
             readings are kept meanwhile"
        );
        assert_eq!(of_broker(&waiting, &OutboxCounts::default(), start + TOLERATED / 2), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant can be had no other way")]
    fn a_connected_broker_that_takes_too_little_is_a_fault_while_readings_are_dropped() {
        let start = Instant::now();
        let connected = view(Link::Connected(start));
        let second = Duration::from_secs(1);
        let found = |dropped: Duration, now: Duration| {
            let last_dropped = Some(start + dropped);
            let counts = OutboxCounts { queued: 90, dropped: 7, last_dropped, ..OutboxCounts::default() };
            of_broker(&connected, &counts, start + now)
        };
        assert_eq!(found(30 * second, 70 * second), None, "what was kept still fills the buffer");
        let slow = found(300 * second, 310 * second).unwrap();
        assert_eq!((slow.severity, slow.kind), (Severity::Fault, Kind::BrokerSlow));
        assert_eq!(slow.what, "readings are dropped although the broker is connected: 90 wait for it");
        assert_eq!(found(300 * second, 360 * second), None, "nothing is dropped any more");
    }
}
