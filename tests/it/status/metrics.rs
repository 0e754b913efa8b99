//! The metrics of the built program, and the papers that name them: alerts, dashboard, documents.

use std::collections::BTreeSet;

use crate::support::page;
use crate::support::program::{Folder, Program, chain};

const ALERTS: &str = include_str!("../../../packaging/prometheus/alerts.yaml");
const ALERTS_TEST: &str = include_str!("../../../packaging/prometheus/alerts_test.yaml");
const DASHBOARD: &str = include_str!("../../../packaging/grafana/dashboard.json");
const METRICS: &str = include_str!("../../../docs/metrics.md");
const API: &str = include_str!("../../../docs/http-api.md");

/// The names in a text that a metric of ours could have.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("metergate_") || word.starts_with("process_")).collect()
}

/// Every name of a field in a page.
fn fields(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(entries) => {
            for (name, value) in entries {
                found.insert(name.clone());
                fields(value, found);
            }
        }
        serde_json::Value::Array(entries) => entries.iter().for_each(|value| fields(value, found)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

#[test]
fn every_metric_the_papers_name_is_in_the_program_and_every_one_of_the_program_in_the_paper() {
    let folder = Folder::new();
    let link = folder.path("chain");
    let _meters = chain(&link, "1-2");
    let text = format!(
        "listeners: [{{address: '127.0.0.1:0', max_age: 5s}}]\nbuses:\n  - name: riser\n    device: {}\n    units:\n      \
         - {{id: 1-2, profile: leviton-4000r, blocks: [integers, configuration, floats]}}\nstatus: {{address: '127.0.0.1:0'}}\n\
         mqtt: [{{broker: 'mqtt://127.0.0.1:1', client_id: harbour, topic: harbour}}]\n\
         audit: {{file: {}}}\n",
        link.display(),
        folder.path("audit.jsonl").display()
    );
    let config = folder.write("metergate.yaml", &text);
    let mut gateway = Program::start(["run".as_ref(), "--config".as_ref(), config.as_os_str()]);
    let page = gateway.status_page();
    page::get_until(page, "/ready", |answer| answer.status == 200);
    let all =
        ["real_energy_watthours_total", "real_power_demand_watts", "alert{", "pulses_total", "events_total"];
    let read = |answer: &page::Answer| {
        all.iter().all(|name| answer.body.contains(&format!("metergate_meter_{name}")))
    };
    let metrics = page::get_until(page, "/metrics", read).body;
    assert!(metrics.starts_with("# HELP metergate_ready "), "{metrics}");

    // Legends and alerts show it alone.
    assert!(metrics.contains("name=\"unit 2\"") && !metrics.contains("name=\"\""), "{metrics}");

    let families: BTreeSet<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    for (paper, text) in [
        ("alerts", ALERTS),
        ("their tests", ALERTS_TEST),
        ("the dashboard", DASHBOARD),
        ("docs/metrics.md", METRICS),
    ] {
        let unknown: Vec<_> = named(text).into_iter().filter(|name| !families.contains(name)).collect();
        // Documented, but of no 4000-R.
        let expected: &[&str] = if paper == "docs/metrics.md" { &OF_OTHER_METERS } else { &[] };
        assert_eq!(unknown, expected, "{paper}");
    }
    let documented = named(METRICS);
    let undocumented: Vec<_> = families.difference(&documented).collect();
    assert_eq!(undocumented, Vec::<&&str>::new());

    let mut found = BTreeSet::new();
    for path in [
        "status",
        "buses",
        "units/1",
        "units/1/history",
        "buses/riser/history",
        "listeners",
        "brokers",
        "clients",
        "findings",
        "nothing",
    ] {
        fields(&page::get(page, &format!("/api/v1/{path}")).json(), &mut found);
        let shown = path.replace("units/1", "units/ID").replace("riser", "NAME");
        assert!(shown == "nothing" || API.contains(&format!("`/api/v1/{shown}`")), "{shown}");
    }
    assert!(found.len() > 60, "{found:?}");
    let undocumented: Vec<_> = found.iter().filter(|name| !API.contains(&format!("`{name}`"))).collect();
    assert_eq!(undocumented, Vec::<&String>::new());
}

#[test]
fn every_alert_is_tried_on_its_scenario_and_on_a_gateway_that_is_well() {
    let names = |text: &'static str, key: &str| -> Vec<&str> {
        let names = text.split(key).skip(1).map(|rest| rest.split([',', '}', '\n']).next().unwrap().trim());
        names.collect()
    };
    let alerts = names(ALERTS, "- alert: ");
    assert!(alerts.len() >= 16, "{alerts:?}");
    let (tried, quiet) = ALERTS_TEST.split_once("name: nothing on a gateway that is well").unwrap();
    for alert in alerts {
        // Once before it fires, once when it does.
        assert_eq!(names(tried, "alertname: ").iter().filter(|name| **name == alert).count(), 2, "{alert}");
        assert!(names(quiet, "alertname: ").contains(&alert), "{alert}");
    }
    assert_eq!(tried.matches("exp_alerts:").count(), names(ALERTS, "- alert: ").len());
}

/// Families of readings that other profiles may have.
const OF_OTHER_METERS: [&str; 4] = [
    "metergate_meter_other",
    "metergate_meter_ratio",
    "metergate_meter_temperature_celsius",
    "metergate_meter_time_seconds",
];
