//! `token`, and `check` with the eyes of the service's user, as the built program.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

use nix::unistd::{Uid, User};

use crate::support::program::Folder;

fn run(words: &[&str], file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_metergate")).args(words).arg(file).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn configuration(folder: &Folder, rest: &str) -> std::path::PathBuf {
    let text = format!(
        "listeners: [{{address: '127.0.0.1:0'}}]\nbuses: [{{name: a, device: /dev/null, units: [{{id: 1}}]}}]\n{rest}\n"
    );
    folder.write("metergate.yaml", &text)
}

/// The lines to put into the configuration, as they are printed.
fn printed_status(said: &str) -> String {
    let from = said.find("\nstatus:\n").unwrap_or_else(|| panic!("{said}"));
    said[from..].trim_start().lines().take(2).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_token_is_random_and_private_and_what_is_printed_makes_a_configuration() {
    let folder = Folder::new();
    let file = folder.path("the token: 1");
    let done = run(&["token"], &file);
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), ""));
    let token = fs::read_to_string(&file).unwrap();
    assert!(token.len() == 65 && token.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()), "{token:?}");
    assert!(!text(&done.stdout).contains(token.trim_end()), "the token is shown");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o137, 0, "others can use it");
    let config = configuration(&folder, &printed_status(text(&done.stdout)));
    let checked = run(&["check"], &config);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));

    let again = run(&["token"], &file);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("is there already; --force"), "{}", text(&again.stderr));
    assert_eq!(fs::read_to_string(&file).unwrap(), token, "it was written over");
    assert_eq!(run(&["token", "--force"], &file).status.code(), Some(0));
    assert_ne!(fs::read_to_string(&file).unwrap(), token, "two tokens are equal");
    let left: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn no_token_is_made_where_none_can_be() {
    let folder = Folder::new();
    let nowhere = run(&["token"], &folder.path("nowhere/token"));
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("cannot make "), "{}", text(&nowhere.stderr));
    let unknown = run(&["token", "--user", "no-such-user"], &folder.path("token"));
    assert_eq!(unknown.status.code(), Some(2));
    assert!(!folder.path("token").exists());
}

#[test]
fn root_makes_and_checks_it_for_the_services_user() {
    let Ok(Some(nobody)) = User::from_name("nobody") else { return };
    let folder = Folder::new();
    let config =
        configuration(&folder, &format!("status: {{token_file: {}}}", folder.path("token").display()));
    if !Uid::effective().is_root() {
        let refused = run(&["check", "--user", "nobody"], &config);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
        return;
    }
    let file = folder.path("token");
    let done = run(&["token", "--user", "nobody"], &file);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("sudo systemctl reload metergate"), "{}", text(&done.stdout));
    let made = fs::metadata(&file).unwrap();
    assert_eq!((made.mode() & 0o777, made.uid(), made.gid()), (0o640, 0, nobody.gid.as_raw()));
    assert_eq!(run(&["check", "--user", "nobody"], &config).status.code(), Some(0));

    // As a recipe makes it that only thinks of root.
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(run(&["check"], &config).status.code(), Some(0), "not below /etc/metergate");
    let refused = run(&["check", "--user", "nobody"], &config);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("token_file") && said.contains("chgrp metergate"), "{said}");
    assert!(said.contains("looked at as the user nobody"), "{said}");
}

#[test]
fn a_folder_the_services_user_cannot_write_in_is_warned_of() {
    let folder = Folder::new();
    let config =
        configuration(&folder, &format!("events: {{file: {}}}", folder.path("events.jsonl").display()));
    if !Uid::effective().is_root() {
        return;
    }
    let done = run(&["check", "--user", "nobody"], &config);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("warning: events.file: the user nobody cannot write in "), "{said}");
    assert!(!text(&run(&["check"], &config).stderr).contains("events.file"));
}
