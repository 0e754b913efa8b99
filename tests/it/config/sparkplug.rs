//! The keys of an edge node: what they mean, and which names it may not have.

use metergate::config::{Broker, parse};
use metergate::sparkplug::Ids;

const SITE: &str = "
listeners: [{address: 127.0.0.1:502}]
buses:
  - name: riser-a
    device: /dev/ttyS0
    units: [{id: 1, profile: leviton-4000r}]
mqtt:
  - {broker: mqtt://broker.example, client_id: harbour, publish: sparkplug KEYS}
";

fn broker(keys: &str) -> Broker {
    let loaded = parse(&SITE.replace("KEYS", keys), "m.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings.len(), 0, "{:?}", loaded.warnings);
    loaded.config.brokers[0].clone()
}

#[test]
fn a_node_has_defaults_and_its_death_is_the_status() {
    let ids = |group: &str, node: &str, host: Option<&str>| Ids {
        group: group.to_owned(),
        node: node.to_owned(),
        primary_host: host.map(str::to_owned),
    };
    let given = broker(", sparkplug: {group: a, node: b, primary_host: scada}");
    assert_eq!(given.publication.sparkplug, Some(ids("a", "b", Some("scada"))));
    assert_eq!(given.connection.status_topic, "spBv1.0/a/NDEATH/b");
    assert_eq!(given.publication.topic, "spBv1.0/a/+/b");
    assert_eq!(broker(", sparkplug: {node: b}").publication.sparkplug, Some(ids("site", "b", None)));
    let text = SITE.replace("KEYS", "");
    let unnamed = parse(&text, "m.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    let found = unnamed.config.brokers[0].publication.sparkplug.clone().unwrap();
    assert_eq!(found.group, "site");
    assert!(!found.node.is_empty() && !found.node.contains(['/', '+', '#']), "{found:?}");
}

#[test]
fn a_node_is_written_as_it_was_read() {
    let keys = ", sparkplug: {group: a, node: b, primary_host: scada}";
    let loaded = parse(&SITE.replace("KEYS", keys), "m.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    let written = loaded.config.to_yaml();
    let again = parse(&written, "again.yaml").unwrap_or_else(|problems| panic!("{problems}\n{written}"));
    assert_eq!(again.config.brokers, loaded.config.brokers, "{written}");
}
