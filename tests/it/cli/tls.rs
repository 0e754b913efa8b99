//! `tls`, as the built program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use metergate::config;
use metergate::tls::certificate::Certificate;
use metergate::tls::read_certificates;

use crate::support::certificates::Site;
use crate::support::program::Folder;

fn run(words: &[&str], path: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metergate"));
    command.arg("tls").arg(words[0]).arg(path).args(&words[1..]).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn init_makes_what_a_listener_and_clients_of_each_role_need() {
    let folder = Folder::new();
    let place = folder.path("the tls");
    let made = run(&["init", "--role", "Engineer", "--role", "Viewer", "--name", "gateway.example"], &place);
    assert_eq!((made.status.code(), text(&made.stderr)), (Some(0), ""));
    let mut names: Vec<String> = fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "ca.key",
        "ca.pem",
        "client-Engineer.key",
        "client-Engineer.pem",
        "client-Viewer.key",
        "client-Viewer.pem",
        "server.key",
        "server.pem",
    ];
    assert_eq!(names, expected);
    for name in names {
        let mode = fs::metadata(place.join(&name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if name.ends_with(".key") { 0o600 } else { 0o644 }, "{name}");
    }
    let read = |name: &str| Certificate::read(&read_certificates(&place.join(name)).unwrap()[0]).unwrap();
    let server = read("server.pem");
    for name in ["gateway.example", "localhost", "127.0.0.1", "::1"] {
        assert!(server.names.iter().any(|found| found == name), "{:?}", server.names);
    }
    assert!(server.uses.server && !server.uses.client && !server.is_ca && read("ca.pem").is_ca);
    let viewer = read("client-Viewer.pem");
    assert_eq!(viewer.role.as_deref(), Ok("Viewer"));
    assert!(viewer.uses.client && !viewer.uses.server);

    // What is printed makes a configuration.
    let said = text(&made.stdout);
    let listeners = said.split("configuration:\n\n").nth(1).unwrap().split("\n\nThen").next().unwrap();
    let file = folder.write(
        "metergate.yaml",
        &format!("{listeners}\nbuses: [{{name: a, device: /dev/null, units: [{{id: 1}}]}}]\n"),
    );
    let loaded = config::load(&file).unwrap_or_else(|problems| panic!("{said}\n{problems}"));
    assert!(loaded.config.listeners[0].settings.tls.is_some());
}

#[test]
fn init_lets_no_role_write_that_is_not_known_to() {
    let folder = Folder::new();
    for (roles, expected) in [
        (
            &["--role", "Auditor", "--role", "Engineer"][..],
            "rules:\n      - {role: [Engineer], may: write}\n",
        ),
        (&["--role", "Auditor"], "rules:\n      - {may: read}\n"),
    ] {
        let made = run(&[&["init"], roles].concat(), &folder.path(&roles.len().to_string()));
        let said = text(&made.stdout);
        assert!(said.contains(expected) && said.contains("\n      - {may: read}\n"), "{said}");
    }
}

#[test]
fn init_makes_a_folder_that_the_service_enters_and_leaves_no_half_set() {
    let folder = Folder::new();
    let place = folder.path("tls");
    let run = |before: &str| {
        let script = format!("{before}; exec \"$0\" tls init \"$1\"");
        let program = env!("CARGO_BIN_EXE_metergate");
        Command::new("sh").args(["-c", &script, program]).arg(&place).output().unwrap()
    };
    // A key fits into 512 bytes, a certificate does not.
    let failed = run("umask 077; trap '' XFSZ; ulimit -f 1");
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed.stderr));
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "nothing is left: {}", text(&failed.stderr));
    let made = run(":");
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
}

#[test]
fn init_overwrites_nothing_and_makes_all_or_nothing() {
    let folder = Folder::new();
    let place = folder.path("tls");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("client-Operator.key"), "mine").unwrap();
    let refused = run(&["init"], &place);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("client-Operator.key is there already, and nothing is overwritten"), "{said}");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(place.join("client-Operator.key")).unwrap(), "mine");
    for role in ["../Engineer", "", "a b"] {
        assert_eq!(run(&["init", "--role", role], &folder.path("other")).status.code(), Some(2), "{role}");
    }
    assert!(!folder.path("other").exists());
}

#[test]
fn check_calls_a_certificate_that_is_not_valid_an_error_by_its_key() {
    let site = Site::new();
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    let folder = Folder::new();
    let tls = site.folder.display();
    let file = folder.write(
        "metergate.yaml",
        &format!(
            "listeners: [{{address: '127.0.0.1:0', tls: {{certificate: {tls}/server.pem, key: {tls}/server.key, client_ca: \
             {tls}/ca.pem}}}}]\nbuses: [{{name: a, device: /dev/null, units: [{{id: 1}}]}}]\nstatus: off\n"
        ),
    );
    let check = || Command::new(env!("CARGO_BIN_EXE_metergate")).arg("check").arg(&file).output().unwrap();
    assert_eq!(check().status.code(), Some(0), "{}", text(&check().stderr));
    site.date_server(now - 30 * day, now - day);
    let checked = check();
    let said = text(&checked.stderr);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains("error: listeners[0].tls.certificate: the certificate in "), "{said}");
    assert!(said.contains("server.pem has expired, on "), "{said}");
}

#[test]
fn show_prints_what_a_certificate_is_good_for() {
    let folder = Folder::new();
    let place = folder.path("tls");
    assert_eq!(run(&["init"], &place).status.code(), Some(0));
    let shown = run(&["show"], &place.join("client-Operator.pem"));
    let said = text(&shown.stdout);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let (client, authority) = said.split_once("\n\n").unwrap();
    assert!(client.contains("subject   CN=Operator at "), "{said}");
    assert!(client.contains("good for  clients\n") && client.ends_with("role      Operator"), "{said}");
    assert!(client.contains(", 1824 days left") || client.contains(", 1825 days left"), "{said}");
    assert!(authority.contains("good for  signing other certificates"), "{said}");
    assert!(authority.contains("role      none: it has no role"), "{said}");
    let key = run(&["show"], &place.join("server.key"));
    assert_eq!(key.status.code(), Some(1));
    assert!(text(&key.stderr).contains("it holds no certificate in PEM"), "{}", text(&key.stderr));
    assert_eq!(run(&["show", "--role", "x"], &place.join("ca.pem")).status.code(), Some(2));
}
