//! `setup`, as the built program: questions and options, what is written and what is not, and the service.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_yaml::Value;

use crate::support::program::{Folder, Program, chain};

struct Site {
    folder: Folder,
    _chain: Program,
}

impl Site {
    fn new(units: &str) -> Self {
        let folder = Folder::new();
        let chain = chain(&folder.path("line"), units);
        Self { folder, _chain: chain }
    }

    fn config(&self) -> PathBuf {
        self.folder.path("metergate.yaml")
    }

    /// Runs it with these answers and options.
    fn setup(&self, answers: &str, words: &[&str]) -> Output {
        self.setup_on(&self.folder.path("line").display().to_string(), answers, words)
    }

    fn setup_on(&self, device: &str, answers: &str, words: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_metergate"))
            .arg("setup")
            .arg("--config")
            .arg(self.config())
            .arg("--device")
            .arg(device)
            .args(words)
            .env("PATH", format!("{}:{path}", self.folder.path("bin").display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that ends before it has read everything is no failure of the test.
        let _unread = child.stdin.take().unwrap().write_all(answers.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn written(&self) -> Value {
        serde_yaml::from_str(&fs::read_to_string(self.config()).unwrap()).unwrap()
    }

    /// A systemd that notes what it is asked and has a service that runs.
    fn systemd(&self, refused: &str) -> PathBuf {
        let (bin, calls) = (self.folder.path("bin"), self.folder.path("calls"));
        fs::create_dir(&bin).unwrap();
        let script = format!("#!/bin/sh\necho \"$*\" >> {}\n[ \"$1\" != \"{refused}\" ]\n", calls.display());
        let path = bin.join("systemctl");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        calls
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_answers_make_a_configuration_that_check_takes() {
    let site = Site::new("1-3");
    let done = site.setup("1-3\nMain\n\nNorth: 3\nnowhere\n127.0.0.1:15020\n\n", &[]);
    let said = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{said}{}", text(&done.stderr));
    let file = site.written();
    assert_eq!(file["listeners"][0]["address"], "127.0.0.1:15020");
    assert_eq!(file["status"]["address"], "127.0.0.1:8502");
    let units = file["buses"][0]["units"].as_sequence().unwrap();
    let told: Vec<_> = units.iter().map(|unit| (unit["id"].as_u64(), unit["name"].as_str())).collect();
    assert_eq!(told, [(Some(1), Some("Main")), (Some(2), None), (Some(3), Some("North: 3"))]);
    assert!(units.iter().all(|unit| unit["profile"] == "leviton-4000r"), "{units:?}");
    for part in [
        "An address with its port is expected",
        "\nok\n",
        "http://127.0.0.1:8502/",
        "metergate run ",
        "unit identifiers 1-3",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    let checked =
        Command::new(env!("CARGO_BIN_EXE_metergate")).arg("check").arg(site.config()).output().unwrap();
    // Other tests listen at the usual address of the status page.
    let said = text(&checked.stderr).lines().filter(|line| !line.contains("listens there already"));
    assert_eq!(said.collect::<String>(), "", "neither a warning nor a note");
    let mode = fs::metadata(site.config()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn a_file_that_is_there_is_replaced_only_with_consent_and_kept() {
    let site = Site::new("1");
    fs::write(site.config(), "mine").unwrap();
    let calls = site.systemd("");
    let refused = site.setup("", &["--yes", "--units", "1", "--service", "metergate"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        !calls.exists() || !fs::read_to_string(&calls).unwrap().contains("stop"),
        "nothing is stopped for it"
    );
    assert!(text(&refused.stderr).contains("--force replaces it"), "{}", text(&refused.stderr));
    let refused = site.setup(
        "n\n",
        &["--units", "1", "--name", "1=A", "--listen", "127.0.0.1:15020", "--page", "127.0.0.1:8502"],
    );
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stdout));
    assert_eq!(fs::read_to_string(site.config()).unwrap(), "mine");
    let done =
        site.setup("", &["--yes", "--force", "--units", "1", "--name", "1=A", "--page", "0.0.0.0:8599"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_eq!(fs::read_to_string(site.folder.path("metergate.yaml.old")).unwrap(), "mine");
    let file = site.written();
    assert_eq!(file["buses"][0]["units"][0]["name"], "A");
    assert_eq!(file["listeners"][0]["address"], "0.0.0.0:502", "as proposed");
    let token = PathBuf::from(file["status"]["token_file"].as_str().unwrap());
    assert_eq!(token, site.folder.path("token"));
    assert_eq!(fs::metadata(token).unwrap().permissions().mode() & 0o007, 0);
}

#[test]
fn the_example_of_a_package_is_replaced_without_a_question() {
    let site = Site::new("1");
    let packaged = include_str!("../../../packaging/metergate.yaml");
    let words = ["--yes", "--units", "1", "--listen", "127.0.0.1:15020"];
    fs::write(site.config(), packaged).unwrap();
    let done = site.setup("", &words);
    assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
    assert_eq!(site.written()["listeners"][0]["address"], "127.0.0.1:15020");
    assert_eq!(fs::read_to_string(site.folder.path("metergate.yaml.old")).unwrap(), packaged);
    fs::write(site.config(), format!("{packaged}# mine\n")).unwrap();
    assert_eq!(site.setup("", &words).status.code(), Some(1), "a file that was edited stays");
}

#[test]
fn nothing_is_written_where_the_input_ends_or_nobody_answers() {
    let site = Site::new("1");
    for (answers, words, code, part) in [
        ("", &[][..], 2, "the input ended before \"Addresses of the meters"),
        ("1\nMain\n", &[], 2, "the input ended before \"Modbus TCP clients connect to\""),
        ("n\n", &["--units", "9"], 1, "no meter answers"),
        ("", &["--yes", "--units", "1", "--name", "2=Panel"], 2, "no meter answers at address 2"),
        ("", &["--yes", "--units", "1", "--name", "Panel"], 2, "is no UNIT=NAME"),
    ] {
        let done = site.setup(answers, words);
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{answers:?} {words:?}: {said}");
        assert!(said.contains(part), "{answers:?} {words:?}: {said}");
        let left = fs::read_dir(site.folder.path("")).unwrap().count();
        assert_eq!(left, 1, "something beside the line was written");
    }
}

#[test]
fn other_settings_are_tried_where_nobody_answers() {
    let folder = Folder::new();
    let link = folder.path("line").display().to_string();
    let mut chain = Program::start(["simulate", "--link", &link, "--units", "4", "--baud", "9600"]);
    chain.line_with(&link);
    let site = Site { folder, _chain: chain };
    let done = site.setup(
        "y\n",
        &["--units", "4", "--name", "4=A", "--listen", "127.0.0.1:15020", "--page", "127.0.0.1:8502"],
    );
    assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
    assert_eq!(site.written()["buses"][0]["baud_rate"], 9600);
}

#[test]
fn meters_behind_a_serial_server_are_set_up() {
    let site = Site::new("1-2");
    // To its clients, a gateway that speaks RTU over TCP is a serial server.
    let server = site.folder.write(
        "server.yaml",
        &format!(
            "status: off\nlisteners: [{{address: '127.0.0.1:0', framing: rtu}}]\nbuses: [{{name: a, device: {}, units: [{{id: 1-2, \
             poll: off}}]}}]\n",
            site.folder.path("line").display()
        ),
    );
    let mut server = Program::start(["run".as_ref(), "--config".as_ref(), server.as_os_str()]);
    let device = format!("tcp://{}", server.listening());
    let words = ["--yes", "--units", "1-2", "--timeout", "1s", "--listen", "127.0.0.1:15020"];
    let done = site.setup_on(&device, "", &words);
    assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
    assert_eq!(site.written()["buses"][0]["device"], device.as_str());
    assert_eq!(site.written()["buses"][0]["units"].as_sequence().unwrap().len(), 2);
    for (device, words, part) in [
        (device.as_str(), &["--try-settings"][..], "cannot change the settings of the serial server"),
        ("127.0.0.1:502", &[], "a serial server is written tcp://HOST:PORT"),
    ] {
        let done = site.setup_on(device, "", &[&["--yes", "--force", "--units", "1"], words].concat());
        assert_eq!(done.status.code(), Some(2), "{}", text(&done.stderr));
        assert!(text(&done.stderr).contains(part), "{}", text(&done.stderr));
    }
}

#[test]
fn the_service_is_stopped_for_the_scan_and_started_with_the_new_file() {
    let site = Site::new("1");
    let calls = site.systemd("none");
    let done = site.setup("", &["--yes", "--units", "1", "--service", "meters"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let asked = fs::read_to_string(&calls).unwrap();
    let verbs: Vec<&str> = asked.lines().collect();
    let expected = ["cat meters", "is-active --quiet meters", "stop meters", "is-active --quiet meters"];
    assert_eq!(verbs[..4], expected, "{asked}");
    assert!(verbs[4].ends_with("meters") && verbs.len() == 5, "{asked}");
    assert!(text(&done.stdout).contains("The service meters runs with it."), "{}", text(&done.stdout));
}

#[test]
fn a_service_that_was_stopped_runs_again_whatever_happens() {
    let site = Site::new("1");
    let calls = site.systemd("none");
    let done = site.setup("", &["--yes", "--units", "1", "--name", "2=Panel", "--service", "meters"]);
    assert_eq!(done.status.code(), Some(2));
    let asked = fs::read_to_string(&calls).unwrap();
    assert!(asked.ends_with("stop meters\nstart meters\n"), "{asked}");
    assert!(text(&done.stdout).contains("runs again, as before"), "{}", text(&done.stdout));
    assert!(!site.config().exists());
}
