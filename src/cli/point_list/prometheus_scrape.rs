//! Prometheus, on the gateway's own metrics: where they are, and the alert rules for them. There is nothing to map.

use serde::Serialize;

use super::reached_at;
use crate::cli::command_error::CommandError;
use crate::cli::exit::Exit;
use crate::config::Config;

#[derive(Serialize)]
struct File {
    scrape_configs: Vec<Job>,
    rule_files: Vec<&'static str>,
}

#[derive(Serialize)]
struct Job {
    job_name: &'static str,
    scrape_interval: &'static str,
    static_configs: Vec<Targets>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<Authorization>,
}

#[derive(Serialize)]
struct Targets {
    targets: Vec<String>,
}

#[derive(Serialize)]
struct Authorization {
    credentials_file: &'static str,
}

pub(super) fn list(config: &Config, host: Option<&str>) -> Result<String, CommandError> {
    let Some(status) = &config.status else {
        let text = "`status: off` leaves nothing to scrape; give it an address, such as `status: {address: 127.0.0.1:8502}`";
        return Err(CommandError::Failed(Exit::Configuration, text.to_owned()));
    };
    let address = status.settings.address;
    let (host, port) = reached_at(address, host);
    let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let token = status.token_file.as_ref();
    let authorization = token.map(|_| Authorization { credentials_file: "/etc/prometheus/metergate.token" });
    let job = Job {
        job_name: "metergate",
        scrape_interval: "15s",
        static_configs: vec![Targets { targets: vec![target] }],
        authorization,
    };
    let file = File { scrape_configs: vec![job], rule_files: vec!["/etc/prometheus/metergate-alerts.yaml"] };
    let yaml = serde_yaml::to_string(&file).expect("text keys with plain values can always be written");
    let token = token.map_or_else(String::new, |path| {
        format!(
            "# The credentials file: a copy of {} that Prometheus can read and other users cannot.\n",
            path.display()
        )
    });
    let reach = if address.ip().is_loopback() {
        "# This address answers on the gateway's own machine only; for another see docs/security.md, \"The status \
         page\".\n"
    } else {
        ""
    };
    Ok(format!("{HEAD}{token}{reach}{yaml}"))
}

const HEAD: &str = "\
# Prometheus, by `metergate export prometheus-scrape`, for prometheus.yml. The rules are packaged as
# /usr/share/metergate/prometheus/alerts.yaml, the Grafana dashboard as /usr/share/metergate/grafana/dashboard.json.
";
