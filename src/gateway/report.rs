//! The report: one text with all that is known here, for whoever helps from afar.
//!
//! Owns its sections and their order. It holds no secret: of the token it has the file's name. Readings, names and
//! addresses of clients are in it, so it is for people one trusts with those. It asks no meter.

use std::fmt::Write;
use std::fs;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use nix::sys::utsname::uname;

use super::feeds::UTC;
use super::status::{Looked, Surroundings};
use crate::io::http::{Question, Reply};
use crate::io::log_lines::LOG_LINES;
use crate::io::process::Process;
use crate::io::stamp::utc;
use crate::io::traffic::What;
use crate::status::checkup::Checkup;
use crate::status::{history::History, picture::Picture, site};
use crate::trace;

pub(super) fn report(surroundings: &Arc<ArcSwap<Surroundings>>, looked: &Looked) -> String {
    let surroundings = surroundings.load();
    let picture = surroundings.picture(Process::read());
    let now = Instant::now();
    let mut text = String::new();
    section(&mut text, "program", &program(&picture, now));
    section(&mut text, "configuration, every default written out", &surroundings.configuration);
    looked.with(|history| {
        let checkup = serde_json::to_string_pretty(&Checkup::of(&picture, history, now)).unwrap_or_default();
        section(&mut text, "findings", &checkup);
        for path in ["/api/v1/status", "/api/v1/clients"] {
            section(&mut text, path, &page(path, &picture, history, now));
        }
    });
    section(&mut text, "last transactions, times are UTC", &transactions(&surroundings));
    section(&mut text, "last lines of the log", &LOG_LINES.kept().join("\n"));
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    put(text, format_args!("== {title}\n{}\n\n", body.trim_end()));
}

fn program(picture: &Picture, now: Instant) -> String {
    let mut text = String::new();
    put(&mut text, format_args!("metergate {}\n", env!("CARGO_PKG_VERSION")));
    put(&mut text, format_args!("written {}\n", utc(SystemTime::now())));
    put(&mut text, format_args!("up for {} s\n", now.saturating_duration_since(picture.started).as_secs()));
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    put(&mut text, format_args!("system {}\n", name.unwrap_or("not known").trim_matches('"')));
    if let Ok(kernel) = uname() {
        let [system, release, machine] = [kernel.sysname(), kernel.release(), kernel.machine()];
        let [system, release, machine] = [system, release, machine].map(|part| part.to_string_lossy());
        put(&mut text, format_args!("kernel {system} {release} {machine}\n"));
    }
    let process = picture.process;
    let known = |value: Option<u64>| value.map_or_else(|| "not known".to_owned(), |value| value.to_string());
    put(&mut text, format_args!("memory {} bytes\n", known(process.resident_bytes)));
    put(&mut text, format_args!("threads {}\n", known(process.threads)));
    let (open, most) = (known(process.open_descriptors), known(process.most_descriptors));
    put(&mut text, format_args!("descriptors {open} of {most}\n"));
    put(&mut text, format_args!("lines of the log dropped {}\n", known(process.log_lines_dropped)));
    put(&mut text, format_args!("events of the traffic lost {}\n", picture.traffic.lost()));
    for bus in &picture.buses {
        let port = &bus.port;
        let said = port.problem.as_deref().unwrap_or(&port.report);
        put(&mut text, format_args!("port of {}: {said}\n", bus.name()));
        put(&mut text, format_args!("restarts of the task of {}: {}\n", bus.name(), bus.restarts));
    }
    text
}

/// A page of the status address, with a field a line.
fn page(path: &'static str, picture: &Picture, history: &History, now: Instant) -> String {
    match site::answer(&Question { path, query: "" }, picture, history, now) {
        Reply::Page { body, .. } => serde_json::from_slice::<serde_json::Value>(&body)
            .and_then(|value| serde_json::to_string_pretty(&value))
            .unwrap_or_default(),
        Reply::File { .. } | Reply::Events(_) | Reply::Feed { .. } => String::new(),
    }
}

fn transactions(surroundings: &Surroundings) -> String {
    let kept = surroundings.traffic.kept();
    let of_lines = kept.iter().filter(|event| match event.what {
        What::Line { .. } => true,
        What::Client(_) => false,
    });
    let lines: Vec<_> =
        of_lines.filter_map(|event| trace::line(event, &surroundings.names, |_| UTC)).collect();
    lines[lines.len().saturating_sub(TRANSACTIONS)..].join("\n")
}

fn put(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _never = text.write_fmt(words);
}

/// The last of the lines' events that stand in a report.
const TRANSACTIONS: usize = 500;
