//! The configuration that the README shows has data to show soon after its first start.

use std::time::{Duration, Instant};

use crate::support::page::get;
use crate::support::program::{Folder, Program, chain};

#[test]
fn the_readmes_configuration_shows_every_meter_with_data_within_ten_seconds() {
    let readme = include_str!("../../../README.md");
    let yaml = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let device = yaml.lines().find_map(|line| line.trim().strip_prefix("device: ")).unwrap();
    let folder = Folder::new();
    let _meters = chain(&folder.path("line"), "1-8");
    let here = yaml
        .replace("0.0.0.0:502", "127.0.0.1:0")
        .replace(device, &folder.path("line").display().to_string());
    assert_ne!(here, yaml);
    let config = folder.write("metergate.yaml", &format!("{here}status: {{address: '127.0.0.1:0'}}\n"));
    let started = Instant::now();
    let mut program = Program::start(["run".as_ref(), "--config".as_ref(), config.as_os_str()]);
    let page = program.status_page();
    let has_data = || {
        let status = get(page, "/api/v1/status").json();
        let units = status["units"].as_array().unwrap();
        let measures = |unit: &serde_json::Value| {
            let points = unit["headline"].as_array().unwrap();
            unit["age_ms"].is_u64()
                && !points.is_empty()
                && points.iter().all(|point| point["value"].is_number())
        };
        units.len() == 8 && units.iter().all(measures)
    };
    while !has_data() {
        assert!(started.elapsed() < Duration::from_secs(10), "{}", get(page, "/api/v1/status").body);
        std::thread::yield_now();
    }
    let shown = get(page, "/").body;
    assert_eq!(shown.matches("data-state=\"on-line\"").count(), 8, "{shown}");
    assert_eq!(shown.matches(" kWh").count(), 8, "{shown}");
}
