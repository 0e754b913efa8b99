//! The key `tls` of a listener, and the files of a broker.

use std::fs;
use std::time::{Duration, SystemTime};

use metergate::config::parse;
use metergate::tls::{TlsFiles, TlsServer};
use rcgen::SerialNumber;

use crate::support::certificates::{Odd, Site};

fn with_broker(keys: &str) -> String {
    format!(
        "listeners: [{{address: 0.0.0.0:502}}]
buses: [{{name: riser-a, device: /dev/ttyS0, units: [{{id: 1, profile: leviton-4000r}}]}}]
mqtt: [{{{keys}}}]
"
    )
}

fn file(site: &Site, more: &str) -> String {
    let folder = site.folder.display();
    format!(
        "listeners:
  - address: 0.0.0.0:802
    tls: {{certificate: {folder}/server.pem, key: {folder}/server.key, client_ca: {folder}/ca.pem}}
    {more}
buses: [{{name: riser-a, device: /dev/ttyS0, units: [{{id: 1}}]}}]
"
    )
}

fn errors(text: &str) -> Vec<String> {
    let problems = parse(text, "m.yaml").expect_err(text);
    problems.errors().iter().map(|error| format!("{}: {}", error.key(), error.message())).collect()
}

#[test]
fn a_listener_with_tls_is_read_and_written_back() {
    let site = Site::new();
    let config = parse(&file(&site, "rules: [{role: [Engineer], may: write}]"), "m.yaml").unwrap();
    let warnings: Vec<_> = config.warnings.iter().filter(|warning| warning.key().contains("rules")).collect();
    assert!(warnings.is_empty(), "a role can fit: {warnings:?}");
    let config = config.config;
    let tls = config.listeners[0].settings.tls.as_ref().unwrap();
    assert_eq!(tls.files(), &site.files());
    let again = parse(&config.to_yaml(), "m.yaml").unwrap().config;
    assert_eq!(again, config, "{}", config.to_yaml());
    site.renew_server();
    let renewed = parse(&config.to_yaml(), "m.yaml").unwrap().config;
    assert_ne!(renewed, config, "the contents of the files count");
}

#[test]
fn a_fault_of_a_file_is_reported_at_the_key_that_names_it() {
    let site = Site::new();
    let text = file(&site, "");
    let folder = site.folder.display().to_string();
    let other = Site::new();
    fs::copy(other.folder.join("server.key"), site.folder.join("other.key")).unwrap();
    fs::write(site.folder.join("empty"), "").unwrap();
    fs::copy(site.folder.join("server.key"), site.folder.join("no.key")).unwrap();
    fs::write(site.folder.join("no.key"), "none").unwrap();
    nix::unistd::mkfifo(&site.folder.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let client = site.client("of a client", &[], Odd::Nothing).certificate.pem();
    let authority = fs::read_to_string(site.folder.join("ca.pem")).unwrap();
    fs::write(site.folder.join("with-client.pem"), authority + &client).unwrap();
    let (older, newer) = (site.list(&[]), site.list(&[&SerialNumber::from(5)]));
    fs::write(site.folder.join("old-new.crl"), older.clone() + &newer).unwrap();
    fs::write(site.folder.join("new-old.crl"), newer + &older).unwrap();
    let lists = |name: &str| {
        let found = format!("{folder}/{name} holds more than one revocation list of CN=authority ");
        ("ca.pem", format!("ca.pem, crl: {folder}/{name}"), format!("tls.crl: {found}"))
    };
    for (from, to, expected) in [
        ("server.pem", "none.pem", format!("tls.certificate: there is no file {folder}/none.pem")),
        (
            "server.pem",
            "server.key",
            format!("tls.certificate: {folder}/server.key holds no certificate in PEM"),
        ),
        ("server.key", "no.key", format!("tls.key: {folder}/no.key holds no private key in PEM")),
        ("server.key", "other.key", format!("tls.key: {folder}/other.key is not the key of the certificate")),
        ("ca.pem", "empty", format!("tls.client_ca: {folder}/empty holds no certificate in PEM")),
        ("ca.pem", "ca.pem, crl: /nowhere/ca.crl", "tls.crl: there is no file /nowhere/ca.crl".to_owned()),
        ("server.key", "pipe", format!("tls.key: {folder}/pipe is not a file")),
        ("ca.pem", "pipe", format!("tls.client_ca: {folder}/pipe is not a file")),
        (
            "ca.pem",
            "with-client.pem",
            format!("tls.client_ca: CN=of a client in {folder}/with-client.pem is no authority"),
        ),
    ]
    .map(|(from, to, expected)| (from, to.to_owned(), expected))
    .into_iter()
    .chain([lists("old-new.crl"), lists("new-old.crl")])
    {
        let errors = errors(&text.replace(from, &to));
        assert!(errors[0].starts_with(&format!("listeners[0].{expected}")), "{errors:?}");
        assert_eq!(errors.len(), 1, "{errors:?}");
    }
    let without = text.replace(&format!(", client_ca: {folder}/ca.pem"), "");
    assert!(
        errors(&without)[0].starts_with("listeners[0].tls.client_ca: the key is missing"),
        "{:?}",
        errors(&without)
    );
    let rtu = errors(&file(&site, "framing: rtu"));
    assert!(rtu[0].starts_with("listeners[0].tls: found beside framing: rtu"), "{rtu:?}");
}

#[test]
fn a_certificate_whose_time_is_not_now_says_so_and_a_clock_that_was_never_set_is_the_cause() {
    let site = Site::new();
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    site.date_server(now - 30 * day, now - day);
    let fault =
        |now| TlsServer::load(&site.files()).unwrap().validity_fault(now).map(|fault| fault.to_string());
    assert!(fault(now).unwrap().contains("has expired, on "), "{:?}", fault(now));
    assert_eq!(fault(now - 2 * day), None);
    let early = fault(now - 40 * day).unwrap();
    assert!(early.contains(" is valid from ") && !early.contains("never set"), "{early}");
    let unset = fault(SystemTime::UNIX_EPOCH + day).unwrap();
    assert!(
        unset.contains("the clock of this machine says 1970-01-02") && unset.contains("it was never set"),
        "{unset}"
    );
}

#[test]
fn a_revocation_list_without_the_next_one_is_named_and_used() {
    let site = Site::new();
    let day = Duration::from_secs(86_400);
    let server = site.server_with_lists(&site.list(&[])).unwrap();
    let now = SystemTime::now();
    assert_eq!(server.outdated_list(now), None);
    let fault = server.outdated_list(now + 2 * day).unwrap().to_string();
    assert!(fault.contains("ca.crl is out of date since ") && fault.contains("CN=authority "), "{fault}");
}

#[test]
fn without_an_authority_of_clients_there_is_a_server_that_asks_for_no_certificate() {
    let site = Site::new();
    let files = TlsFiles { client_ca: None, ..site.files() };
    assert_eq!(TlsServer::load(&files).unwrap().files(), &files);
}

#[test]
fn a_broker_with_tls_is_read_and_written_back() {
    let site = Site::new();
    site.write_client(&site.client_with_role("Publisher"));
    let folder = site.folder.display();
    let text = with_broker(&format!(
        "broker: 'mqtts://broker.example', client_id: a, topic: a, ca: {folder}/ca.pem, \
         certificate: {folder}/client.pem, key: {folder}/client.key"
    ));
    let config = parse(&text, "m.yaml").unwrap_or_else(|problems| panic!("{problems}")).config;
    let connection = &config.brokers[0].connection;
    assert_eq!(connection.address.to_string(), "mqtts://broker.example:8883");
    let files = connection.tls.as_ref().unwrap().files();
    assert_eq!(files.ca.as_ref(), Some(&site.folder.join("ca.pem")));
    assert_eq!(parse(&config.to_yaml(), "m.yaml").unwrap().config, config, "{}", config.to_yaml());
    site.write_client(&site.client_with_role("Publisher"));
    assert_ne!(parse(&text, "m.yaml").unwrap().config, config, "the contents of the files count");
}

#[test]
fn a_fault_of_the_files_of_a_broker_is_reported_at_its_key() {
    let site = Site::new();
    let folder = site.folder.display();
    let plain = "broker: 'mqtt://broker.example', client_id: a, topic: a";
    let tls = format!("broker: 'mqtts://broker.example', client_id: a, topic: a, ca: {folder}/ca.pem");
    let (server, key) = (format!("{folder}/server.pem"), format!("{folder}/server.key"));
    for (keys, expected) in [
        (format!("{plain}, ca: {folder}/ca.pem"), "ca: found beside a broker without TLS".to_owned()),
        (format!("{tls}, certificate: {server}"), "certificate: found without a `key` beside it".to_owned()),
        (format!("{tls}, key: {key}"), "key: found without a `certificate` beside it".to_owned()),
        (tls.replace("ca.pem", "none.pem"), format!("ca: there is no file {folder}/none.pem")),
        (
            format!("{tls}, certificate: {folder}/ca.pem, key: {key}"),
            format!("key: {key} is not the key of the certificate in {folder}/ca.pem"),
        ),
    ] {
        let errors = errors(&with_broker(&keys));
        assert!(errors[0].starts_with(&format!("mqtt[0].{expected}")), "{errors:?}");
        assert_eq!(errors.len(), 1, "{errors:?}");
    }
}
