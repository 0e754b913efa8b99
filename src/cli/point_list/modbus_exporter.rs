//! modbus_exporter of Prometheus: a module for each profile, which holds for all its meters, and as a comment the job
//! that scrapes each of them.
//!
//! Source: `config/config.go` and `modbus/modbus.go` of github.com/RichiH/modbus_exporter. The first digit of an
//! address is the function, the others count from 0. It speaks Modbus TCP only, and knows no offset. One metric that
//! cannot be read fails the whole scrape of a meter.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Chosen, Listed, Meter, Number, NumberKind};
use crate::cli::command_error::CommandError;
use crate::cli::output;
use crate::meter::{ByteOrder, Decimal, Group, WordOrder};
use crate::modbus::AduFraming;

#[derive(Serialize)]
struct File {
    modules: Vec<Module>,
}

#[derive(Serialize)]
struct Module {
    name: String,
    protocol: &'static str,
    timeout: u32,
    metrics: Vec<Metric>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    name: String,
    help: String,
    address: u32,
    data_type: String,
    endianness: &'static str,
    metric_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
}

#[derive(Serialize)]
struct Prometheus {
    scrape_configs: [Job; 1],
}

#[derive(Serialize)]
struct Job {
    job_name: &'static str,
    metrics_path: &'static str,
    static_configs: Vec<Targets>,
    relabel_configs: [Relabelling; 3],
}

#[derive(Serialize)]
struct Targets {
    targets: [String; 1],
    labels: BTreeMap<&'static str, String>,
}

#[derive(Default, Serialize)]
struct Relabelling {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_labels: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    separator: Option<&'static str>,
    target_label: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    replacement: Option<&'static str>,
}

pub(super) fn list(endpoints: &[Chosen<'_>]) -> Result<String, CommandError> {
    let mut modules: Vec<Module> = Vec::new();
    let mut targets = Vec::new();
    let mut unreached = Vec::new();
    for endpoint in endpoints {
        for (meter, points) in &endpoint.meters {
            match endpoint.framing {
                AduFraming::Tcp => {}
                AduFraming::Rtu => {
                    unreached.push(meter.unit.to_string());
                    continue;
                }
            }
            let name = &meter.profile.name;
            if modules.iter().all(|module| module.name != *name) {
                modules.push(module(name, points));
            }
            targets.push(target(endpoint, meter));
        }
    }
    if !unreached.is_empty() {
        output::complain(&format!(
            "not exported, for no listener for Modbus TCP leads to them: units {}",
            unreached.join(", ")
        ));
    }
    if targets.is_empty() {
        return Err(CommandError::usage("modbus_exporter speaks Modbus TCP only; no unit is left to export"));
    }
    let job = Job {
        job_name: "meters",
        metrics_path: "/modbus",
        static_configs: targets,
        relabel_configs: relabellings(),
    };
    let modules = yaml(&File { modules });
    let job = yaml(&Prometheus { scrape_configs: [job] });
    let job: String = job.lines().map(|line| format!("# {line}\n")).collect();
    Ok(format!("{HEAD}{job}\n{modules}"))
}

fn yaml(file: &impl Serialize) -> String {
    serde_yaml::to_string(file).expect("text keys with plain values can always be written")
}

fn module(name: &str, points: &[Listed<'_>]) -> Module {
    let mut metrics: Vec<Metric> = Vec::new();
    for metric in points.iter().filter_map(|listed| metric(*listed)) {
        // Two representations of a quantity would be added up, where it is a counter.
        if metrics.iter().all(|known| known.name != metric.name) {
            metrics.push(metric);
        }
    }
    // In milliseconds; longer than the gateway takes to answer anything.
    Module { name: name.to_owned(), protocol: "tcp/ip", timeout: 5000, metrics }
}

fn metric(listed: Listed<'_>) -> Option<Metric> {
    let point = listed.point;
    let number = Number::of(point).filter(|number| number.offset.is_none())?;
    let kind = match number.kind {
        NumberKind::Signed => "int",
        NumberKind::Unsigned => "uint",
        NumberKind::Float => "float",
    };
    let is_wide = number.bits > 16;
    let endianness = match (number.word_order, number.byte_order) {
        (WordOrder::HighFirst, ByteOrder::LowFirst) if is_wide => "mixed",
        (WordOrder::LowFirst, ByteOrder::HighFirst) if is_wide => "yolo",
        (_, ByteOrder::LowFirst) => "little",
        (_, ByteOrder::HighFirst) => "big",
    };
    let unit = point.unit.filter(|unit| !matches!(*unit, "ratio" | "count" | "pulses"));
    let unit = unit.map(|unit| format!("_{}", unit.replace('%', "percent").replace('/', "_per_")));
    let counts = point.group == Group::Energy || point.group == Group::Pulses;
    Some(Metric {
        name: metric_name(&format!("meter_{}{}", listed.quantity, unit.unwrap_or_default())),
        help: point.description.clone(),
        address: u32::from(listed.function().0) * 100_000 + u32::from(listed.address()),
        data_type: format!("{kind}{}", number.bits),
        endianness,
        // What is signed may fall, which a counter must not.
        metric_type: if counts && number.kind != NumberKind::Signed { "counter" } else { "gauge" },
        factor: number.scale.map(Decimal::to_f64),
    })
}

/// In the letters that Prometheus allows.
fn metric_name(text: &str) -> String {
    let allowed =
        |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
    text.chars().map(allowed).collect()
}

fn target(endpoint: &Chosen<'_>, meter: &Meter) -> Targets {
    let host = endpoint.host;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let labels = [
        ("__param_module", meter.profile.name.clone()),
        ("__param_sub_target", meter.unit.to_string()),
        ("bus", meter.bus.clone()),
        ("meter", meter.title()),
    ];
    Targets { targets: [format!("{host}:{}", endpoint.port)], labels: labels.into() }
}

/// Prometheus scrapes the exporter, which gets the meter from parameters.
fn relabellings() -> [Relabelling; 3] {
    [
        Relabelling {
            source_labels: vec!["__address__"],
            target_label: "__param_target",
            ..Relabelling::default()
        },
        Relabelling {
            source_labels: vec!["__param_target", "__param_sub_target"],
            separator: Some("/"),
            target_label: "instance",
            ..Relabelling::default()
        },
        Relabelling {
            target_label: "__address__",
            replacement: Some("127.0.0.1:9602"),
            ..Relabelling::default()
        },
    ]
}

const HEAD: &str = "\
# modbus_exporter, by `metergate export prometheus`, for its modbus.yml. Untried with a real modbus_exporter.
# The gateway's own metrics have all of this and more, without it: `metergate export prometheus-scrape`.
#
# For prometheus.yml, where the exporter runs beside Prometheus:
#
";
