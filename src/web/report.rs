//! The report: one text with everything the gateway knows, for remote support.
//!
//! Owns its sections and their order. It holds no secret: only the name of the token's file. It does hold readings,
//! names and addresses of clients. It sends no request to a meter.

use std::fmt::Write;
use std::fs;
use std::time::SystemTime;

use nix::sys::utsname::uname;
use serde::Serialize;

use super::documents::{Documents, headlines};
use super::sources::{SharedSources, Sources};
use crate::runtime::timestamp::utc;
use crate::runtime::{LOG_LINES, Process};
use crate::status::{DoctorReport, Published, clients};
use crate::trace;
use crate::traffic::TrafficKind;

pub(super) fn report(sources: &SharedSources, documents: &Documents) -> String {
    let sources = sources.load();
    let mut text = String::new();
    documents.with(|published, history| {
        section(&mut text, "program", &program(published));
        section(&mut text, "configuration, every default written out", &sources.configuration);
        section(&mut text, "findings", &pretty(&DoctorReport::of(published, history)));
        section(&mut text, "/api/v1/status", &pretty(&headlines(published)));
        section(&mut text, "/api/v1/clients", &pretty(&clients(published)));
    });
    section(&mut text, "last transactions, times are UTC", &transactions(&sources));
    section(&mut text, "last lines of the log", &LOG_LINES.kept().join("\n"));
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    put(text, format_args!("== {title}\n{}\n\n", body.trim_end()));
}

fn program(published: &Published) -> String {
    let mut text = String::new();
    put(&mut text, format_args!("metergate {}\n", env!("CARGO_PKG_VERSION")));
    put(&mut text, format_args!("written {}\n", utc(SystemTime::now())));
    put(
        &mut text,
        format_args!("up for {} s\n", published.at.saturating_duration_since(published.started).as_secs()),
    );
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    put(&mut text, format_args!("system {}\n", name.unwrap_or("not known").trim_matches('"')));
    if let Ok(kernel) = uname() {
        let [system, release, machine] = [kernel.sysname(), kernel.release(), kernel.machine()];
        let [system, release, machine] = [system, release, machine].map(|part| part.to_string_lossy());
        put(&mut text, format_args!("kernel {system} {release} {machine}\n"));
    }
    let process = Process::read();
    let known = |value: Option<u64>| value.map_or_else(|| "not known".to_owned(), |value| value.to_string());
    put(&mut text, format_args!("memory {} bytes\n", known(process.resident_bytes)));
    put(&mut text, format_args!("threads {}\n", known(process.threads)));
    let (open, most) = (known(process.open_descriptors), known(process.most_descriptors));
    put(&mut text, format_args!("descriptors {open} of {most}\n"));
    put(&mut text, format_args!("lines of the log dropped {}\n", known(process.log_lines_dropped)));
    put(&mut text, format_args!("events of the traffic lost {}\n", published.traffic.lost()));
    for bus in &published.buses {
        let port = &bus.port;
        let said = port.problem.as_deref().unwrap_or(&port.report);
        put(&mut text, format_args!("port of {}: {said}\n", bus.name()));
        put(&mut text, format_args!("restarts of the task of {}: {}\n", bus.name(), bus.restarts));
    }
    text
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn transactions(sources: &Sources) -> String {
    let kept = sources.traffic.kept();
    let of_lines = kept.iter().filter(|event| match event.kind {
        TrafficKind::Line { .. } => true,
        TrafficKind::Client(_) => false,
    });
    let lines: Vec<_> = of_lines.filter_map(|event| trace::line(event, &sources.names, |_| UTC)).collect();
    lines[lines.len().saturating_sub(TRANSACTIONS)..].join("\n")
}

fn put(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _never = text.write_fmt(words);
}

/// Seconds the times of a report are ahead of UTC: those of the log and of the audit file are UTC, too.
const UTC: i32 = 0;

/// The last of the lines' events that stand in a report.
const TRANSACTIONS: usize = 500;
