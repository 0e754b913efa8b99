//! The audit file, by the built program, simulated meters and real sockets.

use bytes::Bytes;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_yaml::Value;
use tokio::net::TcpStream;

use crate::support::clients::Peer;
use crate::support::program::{Folder, Program, chain};

/// The rated current of a meter's sensors: register 131, `ct_primary`.
const CT_PRIMARY: u8 = 130;

/// A unit that is configured and not there.
const ABSENT: u8 = 3;

/// Two listeners, one of which takes writes, before a chain of two meters.
struct Site {
    folder: Folder,
    gateway: Program,
    _meters: Program,
    open: SocketAddr,
    closed: SocketAddr,
}

impl Site {
    fn start(audit: impl Fn(&Folder) -> PathBuf) -> Self {
        let folder = Folder::new();
        let link = folder.path("line");
        let meters = chain(&link, "1-2");
        let file = audit(&folder);
        let text = configuration(&link, &file);
        let configuration = folder.write("metergate.yaml", &text);
        let mut gateway = Program::start(["run".as_ref(), "--config".as_ref(), configuration.as_os_str()]);
        let (open, closed) = (gateway.listening(), gateway.listening());
        gateway.line_with("port open");
        Self { folder, gateway, _meters: meters, open, closed }
    }

    fn of_a_file() -> Self {
        Self::start(|folder| folder.path("audit.jsonl"))
    }

    fn file(&self) -> PathBuf {
        self.folder.path("audit.jsonl")
    }
}

fn configuration(link: &Path, audit: &Path) -> String {
    format!(
        "listeners:\n  - {{address: '127.0.0.1:0', max_age: 60s, writes: allow, broadcast: acknowledge}}\n  \
         - {{address: '127.0.0.1:0', max_in_flight: 64}}\n\
         buses:\n  - name: riser-a\n    device: {}\n    late_guard: 100ms\n    units:\n      \
         - {{id: 1, as: 11, name: Panel 1, profile: leviton-4000r}}\n      - id: 2\n      - id: 3\n\
         diagnostics_unit: 200\naudit: {{file: {}, max_size: 64kB}}\n",
        link.display(),
        audit.display()
    )
}

async fn connect(address: SocketAddr) -> Peer<TcpStream> {
    Peer::new(TcpStream::connect(address).await.unwrap())
}

fn write(value: u8) -> [u8; 5] {
    [6, 0, CT_PRIMARY, 0, value]
}

/// The lines of the file once there are so many of them. JSON is YAML.
async fn lines(file: &Path, count: usize) -> Vec<Value> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.lines().count() >= count && text.ends_with('\n') {
            return text.lines().map(|line| serde_yaml::from_str(line).unwrap()).collect();
        }
        assert!(Instant::now() < until, "{count} lines expected:\n{text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn text(line: &Value, key: &str) -> String {
    line.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("{key} in {line:?}")).to_owned()
}

fn number(line: &Value, key: &str) -> Option<u64> {
    line.get(key).unwrap_or_else(|| panic!("{key} in {line:?}")).as_u64()
}

fn numbers(line: &Value, key: &str) -> Vec<u64> {
    line.get(key).and_then(Value::as_sequence).unwrap().iter().map(|value| value.as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_write_is_recorded_with_who_what_before_after_and_outcome() {
    let mut site = Site::of_a_file();
    let mut peer = connect(site.open).await;
    let client = peer.stream.local_addr().unwrap();
    // From now on the snapshot has the register.
    let before = peer.ask(11, &[3, 0, 128, 0, 22]).await.unwrap();
    let old = u64::from(before[2 + 4]) << 8 | u64::from(before[2 + 5]);
    assert_eq!(peer.ask(11, &write(200)).await.unwrap()[..], write(200));
    // Nothing is known of it just after the write, nor of any register of this unit.
    assert_eq!(peer.ask(2, &[0x10, 0, CT_PRIMARY, 0, 1, 2, 0, 0]).await.unwrap()[..], [0x90, 3]);
    assert_eq!(peer.ask(0, &write(100)).await.unwrap()[..], write(100));

    let told = lines(&site.file(), 3).await;
    let done = &told[0];
    assert_eq!(text(done, "client"), client.to_string());
    assert_eq!(text(done, "listener"), site.open.to_string());
    assert_eq!((number(done, "unit"), number(done, "line_unit")), (Some(11), Some(1)));
    assert_eq!((text(done, "name"), text(done, "function")), ("Panel 1".into(), "0x06".into()));
    assert_eq!((number(done, "register"), number(done, "quantity")), (Some(131), Some(1)));
    assert_eq!(done.get("points").unwrap()[0], "ct_primary");
    assert_eq!((numbers(done, "old"), numbers(done, "new")), (vec![old], vec![200]));
    assert!(number(done, "old_age_ms").unwrap() < 60_000);
    assert_eq!((text(done, "outcome"), text(done, "pdu")), ("answered".into(), "06 00 82 00 C8".into()));
    assert!(text(done, "time").ends_with('Z'));

    assert_eq!(text(&told[1], "outcome"), "refused by the unit");
    assert_eq!((number(&told[1], "exception"), numbers(&told[1], "new")), (Some(3), vec![0]));
    assert!(told[1].get("old").unwrap().is_null());
    assert_eq!(text(&told[2], "outcome"), "sent to all units");
    assert_eq!((number(&told[2], "unit"), number(&told[2], "line_unit")), (Some(0), None));
    assert_eq!(told[2].get("buses").unwrap()[0], "riser-a");

    let logged = site.gateway.line_with("write: answered");
    for part in ["ct_primary", &client.to_string(), "unit=11", &format!("[{old}]")] {
        assert!(logged.contains(part), "{part} in {logged}");
    }
}

#[tokio::test]
async fn a_refused_write_is_recorded_whatever_it_was_refused_for_and_a_read_never() {
    let site = Site::of_a_file();
    let mut peer = connect(site.closed).await;
    for (unit, pdu, exception) in [
        (11, &write(200)[..], 1),
        (77, &write(200), 10),
        (0, &write(200), 10),
        (200, &write(200), 1),
        (11, &[0x10, 0, 0], 1),
        (11, &[0x5A, 1, 2], 1),
        (11, &[0x90], 1),
    ] {
        assert_eq!(peer.ask(unit, pdu).await.unwrap()[1], exception, "{unit} {pdu:02X?}");
        // A read, refused or not, leaves no line.
        peer.ask(unit, &[3, 0xFF, 0xFF, 0, 2]).await.unwrap();
    }
    let told = lines(&site.file(), 7).await;
    let outcomes: Vec<_> =
        told.iter().map(|line| (number(line, "unit").unwrap(), number(line, "exception").unwrap())).collect();
    assert_eq!(outcomes, [(11, 1), (77, 10), (0, 10), (200, 1), (11, 1), (11, 1), (11, 1)]);
    assert!(told.iter().all(|line| text(line, "outcome") == "refused here, never sent"));
    assert_eq!(told[0].get("points").unwrap()[0], "ct_primary");
    assert_eq!((text(&told[4], "pdu"), number(&told[4], "register")), ("10 00 00".into(), None));
}

#[tokio::test]
async fn a_write_whose_client_is_gone_before_the_answer_is_recorded_with_what_became_of_it() {
    let site = Site::of_a_file();
    let mut peer = connect(site.open).await;
    // The unit is absent, so there is time.
    peer.send(1, ABSENT, &write(150)).await;
    let mut watcher = connect(site.closed).await;
    let transactions = 100 + 20 * u16::from(ABSENT) + 6;
    let [high, low] = transactions.to_be_bytes();
    // The first request is the read that checks for an echo before a write.
    let counted = |reply: Bytes| reply.get(5).copied();
    while watcher.ask(200, &[3, high, low, 0, 2]).await.map(counted).unwrap() < Some(2) {}
    // A reset, not a half-close that still accepts answers.
    socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let told = lines(&site.file(), 1).await;
    assert_eq!(
        (text(&told[0], "outcome"), numbers(&told[0], "new")),
        ("sent, no valid answer: unknown".into(), vec![150])
    );
}

#[tokio::test]
async fn a_full_file_makes_room_and_no_line_is_lost_or_torn() {
    const WRITES: usize = 400;
    let site = Site::of_a_file();
    let mut peer = connect(site.closed).await;
    for start in (0..WRITES).step_by(50) {
        for number in start..start + 50 {
            let id = u16::try_from(number).unwrap();
            peer.send(id, 11, &[6, 0, CT_PRIMARY, id.to_be_bytes()[0], id.to_be_bytes()[1]]).await;
        }
        for _ in 0..50 {
            peer.receive().await.unwrap();
        }
    }
    let (status, _) = stopped(site.gateway);
    assert!(status.success());
    let file = site.folder.path("audit.jsonl");
    let mut values = Vec::new();
    for name in ["audit.jsonl.4", "audit.jsonl.3", "audit.jsonl.2", "audit.jsonl.1", "audit.jsonl"] {
        let path = file.with_file_name(name);
        let Ok(bytes) = std::fs::read_to_string(&path) else { continue };
        assert!(bytes.len() <= 64_000, "{name} has {} bytes", bytes.len());
        for line in bytes.lines() {
            values.extend(numbers(&serde_yaml::from_str(line).unwrap(), "new"));
        }
    }
    assert_eq!(values, (0..WRITES as u64).collect::<Vec<_>>());
    assert!(file.with_file_name("audit.jsonl.1").exists());
}

fn stopped(gateway: Program) -> (std::process::ExitStatus, String) {
    gateway.signal(Signal::SIGTERM);
    gateway.exit()
}

#[tokio::test]
async fn a_full_disk_is_logged_once_and_the_loss_is_reported_later() {
    let mut site = Site::start(|folder| {
        symlink("/dev/full", folder.path("audit.jsonl")).unwrap();
        folder.path("audit.jsonl")
    });
    let mut peer = connect(site.open).await;
    for value in [100, 101, 102] {
        assert_eq!(peer.ask(11, &write(value)).await.unwrap()[..], write(value), "the meter is written to");
    }
    site.gateway.line_with("audit file: cannot write");
    std::fs::remove_file(site.file()).unwrap();
    site.gateway.signal(Signal::SIGHUP);
    site.gateway.line_with("audit file is written again");
    let lost = lines(&site.file(), 1).await;
    assert_eq!(number(&lost[0], "lost"), Some(3));
    peer.ask(11, &write(103)).await.unwrap();
    assert_eq!(numbers(&lines(&site.file(), 2).await[1], "new"), [103]);
    let (_, said) = stopped(site.gateway);
    assert_eq!(said.matches("audit file: cannot write").count(), 1, "{said}");
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_begun_anew_at_a_reload() {
    let mut site = Site::of_a_file();
    let mut peer = connect(site.closed).await;
    peer.ask(11, &write(1)).await.unwrap();
    lines(&site.file(), 1).await;
    let moved = site.folder.path("moved.jsonl");
    std::fs::rename(site.file(), &moved).unwrap();
    site.gateway.signal(Signal::SIGHUP);
    site.gateway.line_with("reloaded");
    peer.ask(11, &write(2)).await.unwrap();
    assert_eq!(numbers(&lines(&site.file(), 1).await[0], "new"), [2]);
    assert_eq!(lines(&moved, 1).await.len(), 1);
}

#[tokio::test]
async fn a_file_that_was_moved_away_unsaid_costs_none_of_its_predecessors() {
    let folder = Folder::new();
    let file = folder.path("audit.jsonl");
    for number in 1..=4 {
        folder.write(&format!("audit.jsonl.{number}"), &number.to_string());
    }
    let settings = metergate::audit::AuditSettings { file: file.clone(), max_size: 1_000 };
    let audit_log = metergate::audit::AuditLog::open(&settings).unwrap();
    audit_log.append("{\"n\":1}".into());
    lines(&file, 1).await;
    let moved = folder.path("moved.jsonl");
    std::fs::rename(&file, &moved).unwrap();
    // More than there is room for.
    let long = format!("{{\"n\":\"{}\"}}\n", "2".repeat(1_000));
    audit_log.append(long.trim_end().into());
    audit_log.close();
    assert_eq!(std::fs::read_to_string(moved).unwrap(), "{\"n\":1}\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), long);
    for number in 1..=4 {
        let kept = std::fs::read_to_string(folder.path(&format!("audit.jsonl.{number}"))).unwrap();
        assert_eq!(kept, number.to_string());
    }
}

#[tokio::test]
async fn a_file_that_another_program_removed_or_shortened_gets_the_next_write_and_the_log_says_so() {
    let site = Site::of_a_file();
    let (file, mut peer) = (site.file(), connect(site.closed).await);
    peer.ask(11, &write(1)).await.unwrap();
    lines(&file, 1).await;
    std::fs::remove_file(&file).unwrap();
    peer.ask(11, &write(2)).await.unwrap();
    assert_eq!(numbers(&lines(&file, 1).await[0], "new"), [2]);
    let moved = site.folder.path("moved.jsonl");
    std::fs::rename(&file, &moved).unwrap();
    peer.ask(11, &write(3)).await.unwrap();
    assert_eq!(numbers(&lines(&file, 1).await[0], "new"), [3]);
    assert_eq!(lines(&moved, 1).await.len(), 1);
    std::fs::File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
    peer.ask(11, &write(4)).await.unwrap();
    assert_eq!(numbers(&lines(&file, 1).await[0], "new"), [4]);
    let (_, said) = stopped(site.gateway);
    assert_eq!(said.matches("moved or removed the audit file").count(), 2, "{said}");
    assert_eq!(said.matches("shortened the audit file from").count(), 1, "{said}");
}

#[tokio::test]
async fn a_write_that_no_file_can_take_is_counted_as_lost_and_reported_once_there_is_one_again() {
    let folder = Folder::new();
    let directory = folder.path("logs");
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("audit.jsonl");
    let settings = metergate::audit::AuditSettings { file: file.clone(), max_size: 1_000 };
    let audit_log = metergate::audit::AuditLog::open(&settings).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    audit_log.append("{\"n\":1}".into());
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    while audit_log.state().problem().is_none() && tokio::time::Instant::now() < until {
        tokio::task::yield_now().await;
    }
    let problem = audit_log.state().problem().expect("the file is gone");
    assert!(problem.what.contains("another program removed the file"), "{}", problem.what);
    assert_eq!(audit_log.state().lost(), 1);
    std::fs::create_dir(&directory).unwrap();
    audit_log.append("{\"n\":2}".into());
    // What was lost is told at the next try, which may come with the next write or before.
    let written = lines(&file, 2).await;
    let has = |key: &str, value: u64| {
        written.iter().any(|line| line.get(key).and_then(Value::as_u64) == Some(value))
    };
    assert!(has("n", 2) && has("lost", 1), "{written:?}");
    audit_log.close();
}

#[tokio::test]
async fn a_file_that_cannot_be_begun_anew_goes_on_keeps_its_predecessors_and_is_complained_of_once() {
    const WRITES: usize = 400;
    let site = Site::start(|folder| {
        // Nothing can take the place of a directory with something in it.
        std::fs::create_dir_all(folder.path("audit.jsonl.4/full")).unwrap();
        for number in 1..=3 {
            folder.write(&format!("audit.jsonl.{number}"), &number.to_string());
        }
        folder.path("audit.jsonl")
    });
    let mut peer = connect(site.closed).await;
    for _ in 0..WRITES {
        peer.ask(11, &write(1)).await.unwrap();
    }
    let file = site.file();
    assert_eq!(lines(&file, WRITES).await.len(), WRITES);
    assert!(std::fs::metadata(&file).unwrap().len() > 64_000, "it was full");
    for number in 1..=3 {
        let kept = file.with_file_name(format!("audit.jsonl.{number}"));
        assert_eq!(std::fs::read_to_string(kept).unwrap(), number.to_string());
    }
    let (_, said) = stopped(site.gateway);
    assert_eq!(said.matches("cannot begin a new file").count(), 1, "{said}");
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let folder = Folder::new();
    let text = configuration(&folder.path("line"), &folder.path("nowhere/audit.jsonl"));
    let file = folder.write("metergate.yaml", &text);
    let gateway = Program::start(["run".as_ref(), "--config".as_ref(), file.as_os_str()]);
    let (status, said) = gateway.exit();
    assert_eq!(status.code(), Some(5), "{said}");
    assert!(said.contains("cannot open the audit file") && said.contains("nowhere/audit.jsonl"), "{said}");
    let (status, said) = Program::start(["check".as_ref(), "--config".as_ref(), file.as_os_str()]).exit();
    assert!(status.success(), "{said}");
    assert!(said.contains("audit.file: there is no directory") && said.contains("install -d"), "{said}");
}

#[test]
fn half_a_line_of_an_earlier_run_does_not_spoil_the_next() {
    let folder = Folder::new();
    let file = folder.write("audit.jsonl", "{\"time\":\"2026");
    let settings = metergate::audit::AuditSettings { file: file.clone(), max_size: 64_000 };
    let audit_log = metergate::audit::AuditLog::open(&settings).unwrap();
    audit_log.append("{\"a\":1}".into());
    audit_log.close();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"time\":\"2026\n{\"a\":1}\n");
}

#[test]
fn an_audit_log_with_more_records_than_the_disk_takes_reports_how_many_it_lost() {
    const LINES: u64 = 20_000;
    let folder = Folder::new();
    let file = folder.path("audit.jsonl");
    let settings = metergate::audit::AuditSettings { file: file.clone(), max_size: 1_000_000_000 };
    let audit_log = metergate::audit::AuditLog::open(&settings).unwrap();
    for number in 0..LINES {
        audit_log.append(format!("{{\"n\":{number}}}"));
    }
    let state = std::sync::Arc::clone(audit_log.state());
    audit_log.close();
    let (mut written, mut lost) = (0, 0);
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let line: Value = serde_yaml::from_str(line).unwrap();
        match line.get("lost") {
            Some(count) => lost += count.as_u64().unwrap(),
            None => written += 1,
        }
    }
    assert_eq!(written + lost, LINES, "{lost} lost");
    assert_eq!(state.lost(), lost, "page and metrics say the same");
}
