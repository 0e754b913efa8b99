//! Files that the configuration names: where relative paths begin, and secrets that others can read.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use metergate::config::{Loaded, load, parse};

use crate::support::certificates::Site;

const MINIMAL: &str = include_str!("../../../config/minimal.yaml");
const WORD: &str = "correct-horse-battery";

fn load_in(site: &Site, more: &str) -> Loaded {
    let file = site.folder.join("metergate.yaml");
    fs::write(&file, format!("{MINIMAL}{more}")).unwrap();
    load(&file).unwrap_or_else(|problems| panic!("{problems}"))
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(|warning| format!("{}: {}", warning.key(), warning.message())).collect()
}

#[test]
fn a_relative_path_begins_in_the_folder_of_the_file() {
    let site = Site::new();
    fs::write(site.folder.join("token"), WORD).unwrap();
    fs::create_dir(site.folder.join("profiles")).unwrap();
    let config = load_in(
        &site,
        "status: {address: 0.0.0.0:8502, token_file: token, tls: {certificate: server.pem, key: ./server.key}}
profiles: profiles
audit: {file: logs/audit.jsonl}
events: {file: events.jsonl}
mqtt: [{broker: 'mqtts://broker.example', username: riser, password_file: token, ca: ca.pem}]
",
    )
    .config;
    let at = |name: &str| site.folder.join(name);
    let status = config.status.as_ref().unwrap();
    assert_eq!(status.token_file, Some(at("token")));
    assert_eq!(status.settings.tls.as_ref().unwrap().files().certificate, at("server.pem"));
    assert_eq!(status.settings.tls.as_ref().unwrap().files().key, at("./server.key"));
    assert_eq!(config.profiles, at("profiles"));
    assert_eq!(config.audit.as_ref().unwrap().file, at("logs/audit.jsonl"));
    assert_eq!(config.events.as_ref().unwrap().file, at("events.jsonl"));
    let broker = &config.brokers[0];
    assert_eq!(broker.password_file, Some(at("token")));
    assert_eq!(broker.connection.tls.as_ref().unwrap().files().ca, Some(at("ca.pem")));
    let elsewhere = parse(&config.to_yaml(), "/elsewhere/m.yaml").unwrap().config;
    assert_eq!(elsewhere, config, "what is written holds whole paths");
}

#[test]
fn the_files_of_a_listener_are_found_beside_the_configuration() {
    let site = Site::new();
    let file = site.folder.join("metergate.yaml");
    let text = MINIMAL.replacen(
        "address: 0.0.0.0:502",
        "address: 0.0.0.0:802\n    tls: {certificate: server.pem, key: server.key, client_ca: ca.pem}",
        1,
    );
    assert_ne!(text, MINIMAL);
    fs::write(&file, text).unwrap();
    let config = load(&file).unwrap_or_else(|problems| panic!("{problems}")).config;
    assert_eq!(config.listeners[0].settings.tls.as_ref().unwrap().files(), &site.files());
}

#[test]
fn secrets_that_every_user_can_read_are_used_and_warned_of() {
    let site = Site::new();
    let secret = |name: &str, mode: u32| -> PathBuf {
        let path = site.folder.join(name);
        if !path.exists() {
            fs::write(&path, WORD).unwrap();
        }
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    };
    let text =
        "status: {address: 0.0.0.0:8502, token_file: token, tls: {certificate: server.pem, key: server.key}}
mqtt: [{broker: 'mqtt://broker.example', username: riser, password_file: password}]
";
    for name in ["token", "password", "server.key"] {
        secret(name, 0o640);
    }
    assert_eq!(warnings(&load_in(&site, text)), [""; 0]);
    let paths = ["token", "password", "server.key"].map(|name| secret(name, 0o644));
    let loaded = load_in(&site, text);
    let found = warnings(&loaded);
    for (key, path) in ["status.token_file", "mqtt[0].password_file", "status.tls.key"].iter().zip(&paths) {
        let expected = format!("{key}: every user of this machine can read {}", path.display());
        assert!(found.iter().any(|warning| warning.starts_with(&expected)), "{found:?}");
    }
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(loaded.config.status.unwrap().settings.token.unwrap().opens(format!("Bearer {WORD}").as_bytes()));
}
