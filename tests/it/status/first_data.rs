//! The configuration that the README shows has data to show soon after its first start.

use crate::support::page::{get, get_until};
use crate::support::program::{Folder, Program, chain};

#[test]
fn the_readmes_configuration_shows_every_meter_with_data_soon_after_its_start() {
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
    let mut program = Program::start(["run".as_ref(), "--config".as_ref(), config.as_os_str()]);
    let page = program.status_page();
    let measures = |unit: &serde_json::Value| {
        let points = unit["headline"].as_array().unwrap();
        unit["age_ms"].is_u64() && !points.is_empty() && points.iter().all(|point| point["value"].is_number())
    };
    get_until(page, "/api/v1/status", |answer| {
        let status = answer.json();
        let units = status["units"].as_array().unwrap();
        units.len() == 8 && units.iter().all(measures)
    });
    let shown = get(page, "/").body;
    assert_eq!(shown.matches("data-state=\"on-line\"").count(), 8, "{shown}");
    assert_eq!(shown.matches(" kWh").count(), 8, "{shown}");
}
