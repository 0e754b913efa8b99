//! A listener at a serial port whose adapter is gone: the finding, the page, the JSON and the metrics name the port and
//! the reason, and nothing of it is left once the port is open.

use std::sync::Arc;
use std::time::Instant;

use metergate::serial::PortView;
use metergate::status::{History, Published};

use crate::support::published::{json, page, published};

const PROBLEM: &str = "No such file or directory <by-id>";

/// A listener for TCP, and one at a port in this state.
fn with_port(port: PortView, now: Instant) -> Published {
    let text = "
listeners:
  - {address: 127.0.0.1:502}
  - {device: /dev/ttyS7, max_age: 5s}
buses:
  - {name: riser-a, device: /dev/ttyS0, units: [{id: 1}]}
";
    let mut published = published(text, now);
    published.listeners[1].port = Some(Arc::new(port));
    published
}

fn closed() -> PortView {
    let mut port = PortView::default();
    port.fail(PROBLEM.to_owned());
    port
}

#[test]
fn a_closed_port_is_a_finding_and_is_shown_with_its_reason() {
    let now = Instant::now();
    let published = with_port(closed(), now);
    let findings = json(&published, "/api/v1/findings", now);
    assert_eq!(findings.as_array().unwrap().len(), 1, "{findings}");
    let finding = &findings[0];
    assert_eq!((&finding["kind"], &finding["severity"]), (&"client_port_closed".into(), &"fault".into()));
    let what = finding["what"].as_str().unwrap();
    assert!(what.contains("/dev/ttyS7") && what.contains(PROBLEM), "{what}");
    assert!(finding["remedy"].to_string().contains("/dev/serial/by-id"), "{finding}");
    let status = json(&published, "/api/v1/status", now);
    let listener = &status["listeners"][1];
    assert_eq!((&listener["listener"], &listener["port"]["state"]), (&"/dev/ttyS7".into(), &"closed".into()));
    assert_eq!(listener["port"]["problem"], PROBLEM);
    assert!(status["listeners"][0].get("port").is_none(), "{status}");
    let shown = page(&published, &History::default(), "/", now);
    for words in ["/dev/ttyS7", "port closed", "No such file or directory &lt;by-id&gt;"] {
        assert!(shown.contains(words), "{words}");
    }
    assert!(!shown.contains("<by-id>"));
    let metrics = page(&published, &History::default(), "/metrics", now);
    let expected = "metergate_listener_port_open{listener=\"/dev/ttyS7\"} 0\n";
    assert!(metrics.contains(expected), "{metrics}");
    assert!(!metrics.contains("metergate_listener_port_open{listener=\"127.0.0.1:502\"}"));
}

#[test]
fn an_open_port_is_no_finding() {
    let now = Instant::now();
    let mut port = closed();
    port.open("9600 8E1, read back", now);
    let published = with_port(port, now);
    assert_eq!(json(&published, "/api/v1/findings", now), serde_json::json!([]));
    let listener = &json(&published, "/api/v1/status", now)["listeners"][1];
    assert_eq!(
        (&listener["port"]["state"], &listener["port"]["active"]),
        (&"open".into(), &"9600 8E1, read back".into())
    );
    assert!(page(&published, &History::default(), "/", now).contains("port open"));
    let metrics = page(&published, &History::default(), "/metrics", now);
    assert!(metrics.contains("metergate_listener_port_open{listener=\"/dev/ttyS7\"} 1\n"));
}
