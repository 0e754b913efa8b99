//! An edge node of Sparkplug B. The tests are named in docs/sparkplug.md beside the rules they show.

mod devices;
mod edge_node;

const DOCUMENTATION: &str = include_str!("../../../docs/sparkplug.md");

/// What the documentation calls the files, and the files.
const FILES: [(&str, &str); 4] = [
    ("devices", include_str!("devices.rs")),
    ("edge_node", include_str!("edge_node.rs")),
    ("program", include_str!("../mqtt/sparkplug.rs")),
    ("mqtt::session", include_str!("../mqtt/session.rs")),
];

#[test]
fn the_table_of_rules_names_tests_that_exist() {
    let mut count = 0;
    for (name, text) in FILES {
        for part in DOCUMENTATION.split(&format!("`{name}::")).skip(1) {
            let test = part.split('`').next().unwrap();
            assert!(text.contains(&format!("#[test]\nfn {test}() {{")), "{name}::{test}");
            count += 1;
        }
    }
    assert!(count > 20, "{count} tests are named");
}
