//! The audit file as the system has it: its mode, and that nothing in it is ever cut.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use metergate::audit::{AuditLog, AuditSettings};

use crate::support::program::Folder;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_is_made_for_owner_and_group_whatever_the_umask() {
    let folder = Folder::new();
    let audit = folder.path("audit.jsonl");
    let text = format!(
        "status: off\nlisteners: [{{address: '127.0.0.1:0'}}]\naudit: {{file: {}}}\n\
         buses: [{{name: a, device: /nowhere, units: [{{id: 1}}]}}]\n",
        audit.display()
    );
    let file = folder.write("metergate.yaml", &text);
    let mut gateway = Command::new("sh")
        .args(["-c", "umask 0077; exec \"$0\" run --config \"$1\""])
        .args([env!("CARGO_BIN_EXE_metergate").as_ref(), file.as_os_str()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !(audit.exists() && mode(&audit) == 0o640) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    assert_eq!(mode(&audit), 0o640);
}

#[test]
fn a_new_file_at_its_full_size_has_the_mode_too_and_every_line_is_still_there() {
    let folder = Folder::new();
    let file = folder.write("audit.jsonl", "{\"n\":0}\n");
    // A mode set by the administrator.
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let settings = AuditSettings { file: file.clone(), max_size: 1_000 };
    let audit_log = AuditLog::open(&settings).unwrap();
    for number in 1..=3 {
        audit_log.append(format!("{{\"n\":{number},\"text\":\"{}\"}}", "x".repeat(600)));
        // One batch each, so that the file is full for the next.
        let until = Instant::now() + Duration::from_secs(20);
        while !fs::read_to_string(&file).unwrap_or_default().contains(&format!("\"n\":{number},")) {
            assert!(Instant::now() < until, "line {number} is not written");
            std::thread::yield_now();
        }
    }
    audit_log.close();
    let first = folder.path("audit.jsonl.2");
    assert_eq!(mode(&first), 0o600, "one that is there keeps its mode");
    assert_eq!((mode(&folder.path("audit.jsonl.1")), mode(&file)), (0o640, 0o640));
    let all: String =
        [first, folder.path("audit.jsonl.1"), file].map(|path| fs::read_to_string(path).unwrap()).concat();
    let numbers: Vec<_> = all.lines().map(|line| line[5..6].to_owned()).collect();
    assert_eq!(numbers, ["0", "1", "2", "3"]);
}
