//! Rules about listeners and their clients.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::finding::{Finding, Kind, Severity};
use super::format::duration;
use super::remedy::Remedy;
use crate::endpoint::{ClientAddress, Endpoint};
use crate::modbus::AduFraming;

/// A client spoke another framing than its listener, first and last at these instants. If it has not tried again for a
/// while, it counts as corrected.
#[must_use]
pub fn misframed(
    listener: &Endpoint,
    client: &ClientAddress,
    spoken: AduFraming,
    first: Instant,
    last: Instant,
    at: Instant,
) -> Option<Finding> {
    let (kind, wanted) = match spoken {
        AduFraming::Rtu => (Kind::RtuOverTcp, AduFraming::Tcp),
        AduFraming::Tcp => (Kind::TcpToRtu, AduFraming::Rtu),
    };
    let (spoken, wanted, key) = (spoken.name(), wanted.name(), spoken.word());
    let what = format!("Client {client} speaks {spoken} to the listener {listener}, which speaks {wanted}");
    let remedy = Remedy::step(format!(
        "Set that client to {wanted}, or give it a listener of its own with `framing: {key}`"
    ));
    let found = Finding::new(Severity::Fault, kind, None, what, remedy, at);
    (at.saturating_duration_since(last) <= KEPT).then(|| found.about(listener.to_string()).seen(first, last))
}

/// The certificate of `server`, a listener or the status page, is valid until `expires`, and it is `now`.
#[must_use]
pub fn certificate(server: &str, expires: SystemTime, now: SystemTime, at: Instant) -> Option<Finding> {
    let (severity, state) = match expires.duration_since(now) {
        Ok(left) if left > RENEWAL => return None,
        Ok(left) => (Severity::Warning, format!("expires in {}", duration(left))),
        Err(_) => (Severity::Fault, "has expired: no client accepts it".to_owned()),
    };
    let what = format!("The certificate of the {server} {state}");
    let remedy = Remedy::step("Renew it, and reload the configuration".to_owned());
    Some(Finding::new(severity, Kind::CertificateExpires, None, what, remedy, at).about(server))
}

/// The audit file lacks `lost` writes; `problem`: it is not written since then, and why.
#[must_use]
pub fn audit_incomplete(
    file: &Path,
    lost: u64,
    problem: Option<(&str, Instant)>,
    at: Instant,
) -> Option<Finding> {
    let shown = file.display();
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.display();
    let missing = match lost {
        0 => "no write is missing yet".to_owned(),
        1 => "1 write is missing there".to_owned(),
        lost => format!("{lost} writes are missing there"),
    };
    let (severity, what, since, remedy) = match problem {
        Some((why, since)) => (
            Severity::Fault,
            format!("The audit file {shown} is not written: {why}; {missing}"),
            since,
            Remedy::steps([
                format!(
                    "look at its directory and disk: whether it is there and can be written (`ls -ld {folder}`), and \
                     has room (`df -h {folder}`)"
                ),
                format!("{IN_THE_LOG} (`journalctl -u metergate`)"),
            ])
            .with_context("Writes are carried out all the same"),
        ),
        None if lost == 0 => return None,
        None => (
            Severity::Warning,
            format!("The audit file {shown} is incomplete: {missing}, and it is written again"),
            at,
            Remedy::step(format!("{IN_THE_LOG}; this is shown until the next start")),
        ),
    };
    let found = Finding::new(severity, Kind::AuditIncomplete, None, what, remedy, at);
    Some(found.about("audit").seen(since, at))
}

/// Where to look for writes that are not in the file; the log is limited in its rate.
const IN_THE_LOG: &str = "The log has the writes that are missing, as far as there were not too many at once";

/// How long before its end a certificate should be renewed.
const RENEWAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The port of a serial client is closed, for this reason.
#[must_use]
pub fn client_port_closed(listener: &Endpoint, problem: &str, at: Instant) -> Finding {
    let what = format!("The serial client at {listener} cannot be served, its port is closed: {problem}");
    let remedy = Remedy::step(
        "Plug the adapter in, or set `device` of that listener to the adapter that is there: \
         `ls -l /dev/serial/by-id` lists them",
    );
    let found = Finding::new(Severity::Fault, Kind::ClientPortClosed, None, what, remedy, at);
    found.about(listener.to_string())
}

/// Rejected clients usually retry within a minute.
const KEPT: Duration = Duration::from_secs(120);
