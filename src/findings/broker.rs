//! A broker that cannot be reached, or takes less than is published: nothing, or not everything, of what the meters say
//! gets there.

use std::time::{Duration, Instant};

use crate::mqtt::{BrokerView, Link, Loss, LossCause, OutboxCounts};

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
    let loss = view.last_error.as_ref();
    let reason = loss.map_or_else(|| "the connection was lost".to_owned(), Loss::to_string);
    let away = now.saturating_duration_since(since);
    if away < TOLERATED {
        return None;
    }
    let what = format!("no connection for {}: {reason}{}", duration(away), describe_lost(dropped));
    let steps = steps(loss.map_or(LossCause::Closed, |loss| loss.cause)).iter().chain([&LARGER_BUFFER]);
    let remedy = Remedy::steps(steps.copied()).with_context("The gateway tries again by itself");
    Some(Finding::new(severity(dropped), Kind::BrokerAway, None, what, remedy, now).seen(since, now))
}

/// What to do about a loss of this cause.
fn steps(cause: LossCause) -> &'static [&'static str] {
    match cause {
        LossCause::NameNotFound => &[
            "check the host in `broker`",
            "check this machine's name server (`getent hosts HOST`); an address in `broker` needs none",
        ],
        LossCause::PortRefused => &[
            "check that the broker runs",
            "check the port in `broker`: without one it is 1883 for `mqtt://` and 8883 for `mqtts://`",
            "check that the broker listens for other machines: mosquitto without a `listener` takes only its own",
        ],
        LossCause::NoRoute => &["check this machine's network: cable, address, router (`ip route get HOST`)"],
        LossCause::NoAnswer => &[
            "check that the broker's machine is up, and the host in `broker`",
            "check that no firewall on the way drops connections to the port (`nc -vz HOST PORT`)",
        ],
        LossCause::NotReached => {
            &["check that the broker runs and can be reached from here (`nc -vz HOST PORT`)", HOST_AND_PORT]
        }
        LossCause::Tls => &[
            "check that the broker's certificate is for the host in `broker`, signed by an authority in `ca`, and valid by this machine's clock",
            "check `certificate` and `key` of the entry, if the broker wants a certificate of its clients",
            "check that the port in `broker` is that for TLS",
        ],
        LossCause::NotMqtt => &[
            "check the port in `broker`: what answers there is no broker for MQTT 3.1.1",
            "check whether the port is one for TLS, which wants `mqtts://`, or for WebSockets, which the gateway does not speak",
        ],
        LossCause::NotAccepted => &[
            "check whether the port wants TLS: a broker for `mqtts://` hangs up on `mqtt://`",
            "check whether the broker lets this `client_id` connect (its policy or ACL): some hang up instead of saying so",
            "the broker's log says why it hung up",
        ],
        LossCause::Credentials => {
            &["check `username` and `password_file` of the entry, and that the broker has this user"]
        }
        LossCause::NotAuthorized => &[
            "check `username` and `password_file` of the entry: some brokers say this of a wrong password",
            "check that the broker lets this user connect, with this `client_id` and for the topic of its will (the broker's ACL and log)",
        ],
        LossCause::ClientId => &["set another `client_id`: the broker's log says which it takes"],
        LossCause::Unavailable => &["the broker runs and takes no clients now: its log says why"],
        LossCause::Closed => &[
            "check that no other client has the same `client_id`: a broker ends the older of two connections",
            "the broker's log says why it ended the connection",
        ],
        LossCause::Silent => &[
            "check the way to the broker, and the port in `broker`: the connection was open and nothing came back (`ping HOST`)",
            "check whether the broker is overloaded, or its disk or memory full",
        ],
        LossCause::Protocol => &[
            "check that what answers at the port is a broker for MQTT 3.1.1",
            "the broker's log may say more",
        ],
        LossCause::HostAway => &HOST_STEPS,
        LossCause::Internal => &["report this, with the log of the gateway"],
    }
}

/// There is a connection, and the primary host that births wait for is not there.
fn host_away(view: &BrokerView, since: Instant, dropped: u64, now: Instant) -> Option<Finding> {
    let reason = view.last_error.as_ref();
    let reason = reason.map_or_else(|| "the primary host is not on-line".to_owned(), Loss::to_string);
    let waiting = now.saturating_duration_since(since);
    if waiting < TOLERATED {
        return None;
    }
    let lost = describe_lost(dropped);
    let what = format!("connected, and nothing is published for {}: {reason}{lost}", duration(waiting));
    let steps = HOST_STEPS.iter().chain([&LARGER_BUFFER]);
    let remedy =
        Remedy::steps(steps.copied()).with_context("The gateway begins by itself once the host is there");
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

const HOST_AND_PORT: &str = "check the host and the port in `broker`";

const HOST_STEPS: [&str; 2] = [
    "check that the host runs, that it is connected to this broker, and that its identifier is the `primary_host` of the entry",
    "check that the broker lets this client read `spBv1.0/STATE/` and the identifier",
];

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
        let last_error = Some(Loss::new(LossCause::PortRefused, "connection refused by 10.0.0.7:1883"));
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
    fn the_remedy_fits_the_error_that_was_seen() {
        let start = Instant::now();
        let remedy = |cause| {
            let last_error = Some(Loss::new(cause, "as seen"));
            let away = BrokerView { last_error, ..view(Link::Away(start)) };
            let now = start + Duration::from_secs(90);
            of_broker(&away, &OutboxCounts::default(), now).unwrap().remedy.to_string()
        };
        for (cause, named, not_named) in [
            (LossCause::PortRefused, "the broker runs", "password_file"),
            (LossCause::NameNotFound, "name server", "password_file"),
            (LossCause::NoAnswer, "firewall", "password_file"),
            (LossCause::NoRoute, "router", "the broker runs"),
            (LossCause::Tls, "`ca`", "password_file"),
            (LossCause::Credentials, "password_file", "nc -vz"),
            (LossCause::NotAuthorized, "ACL", "nc -vz"),
            (LossCause::ClientId, "client_id", "password_file"),
            (LossCause::NotAccepted, "mqtts://", "password_file"),
            (LossCause::Silent, "nothing came back", "password_file"),
            (LossCause::HostAway, "primary_host", "password_file"),
        ] {
            let steps = remedy(cause);
            assert!(steps.contains(named) && !steps.contains(not_named), "{cause:?}: {steps}");
            assert!(steps.contains("larger `buffer`"), "{cause:?}: {steps}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant can be had no other way")]
    fn a_primary_host_that_is_not_there_is_a_finding_that_does_not_blame_the_broker() {
        let start = Instant::now();
        let last_error = Some(Loss::new(LossCause::HostAway, "the primary host scada is not on-line"));
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
