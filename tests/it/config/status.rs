//! The key `status`: accepted and refused values, and their messages.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use metergate::config::{Config, Status, parse};

const MINIMAL: &str = include_str!("../../../config/minimal.yaml");
const WORD: &str = "correct-horse-battery";

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("metergate-status-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A file of that content and mode.
    fn file(&self, content: &[u8], mode: u32) -> PathBuf {
        let path = self.0.join("token");
        let _none_yet = fs::remove_file(&path);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn good(status: &str) -> Config {
    let text = format!("{MINIMAL}{status}\n");
    parse(&text, "m.yaml").unwrap_or_else(|problems| panic!("{problems}")).config
}

/// All headlines of the messages about a file with this status.
fn refused(status: &str) -> String {
    let text = format!("{MINIMAL}{status}\n");
    let problems = parse(&text, "m.yaml").expect_err(status);
    problems.errors().iter().map(|problem| format!("{}: {}\n", problem.key(), problem.message())).collect()
}

fn with_token(file: &Path) -> String {
    format!("status: {{address: 0.0.0.0:8502, token_file: {}}}", file.display())
}

fn page(config: &Config) -> &Status {
    config.status.as_ref().unwrap()
}

#[test]
fn without_the_key_there_is_a_page_on_loopback_and_the_file_did_not_ask_for_it() {
    let config = good("");
    let status = page(&config);
    assert_eq!(status.settings.address, "127.0.0.1:8502".parse().unwrap());
    assert_eq!((&status.settings.token, status.given), (&None, false));
    assert!(page(&good("status: {address: 127.0.0.1:8502}")).given);
    assert!(page(&good("status:")).given);
}

#[test]
fn off_is_off_and_is_written_back_as_such() {
    assert_eq!(good("status: off").status, None);
    assert!(good("status: off").to_yaml().contains("\nstatus: off\n"));
    assert!(good("").to_yaml().contains("\nstatus:\n  address: 127.0.0.1:8502\n"));
}

#[test]
fn any_loopback_address_needs_no_token_and_every_other_does() {
    for address in ["127.0.0.1:0", "127.9.9.9:1", "'[::1]:8502'"] {
        good(&format!("status: {{address: {address}}}"));
    }
    for address in ["0.0.0.0:8502", "192.168.1.5:8502", "'[::]:8502'", "'[::ffff:127.0.0.1]:8502'"] {
        let said = refused(&format!("status: {{address: {address}}}"));
        let expected =
            format!("status.address: found {}, which others can reach", address.trim_matches('\''));
        assert!(said.starts_with(&expected) && said.contains("token_file"), "{said}");
    }
}

#[test]
fn a_token_is_read_from_its_file_and_only_the_file_is_written_back() {
    let folder = Folder::new("read");
    for content in [WORD.to_owned(), format!("{WORD}\n"), format!("{WORD}\r\n")] {
        let file = folder.file(content.as_bytes(), 0o640);
        let config = good(&with_token(&file));
        let token = page(&config).settings.token.as_ref().unwrap();
        assert!(token.opens(format!("Bearer {WORD}").as_bytes()));
        let written = config.to_yaml();
        assert!(written.contains(&format!("token_file: {}", file.display())), "{written}");
        assert!(!format!("{written}{config:?}").contains(WORD));
        assert_eq!(parse(&written, "w.yaml").unwrap().config, config);
    }
}

#[test]
fn another_token_in_the_same_file_is_another_configuration() {
    let folder = Folder::new("another");
    let before = good(&with_token(&folder.file(WORD.as_bytes(), 0o600)));
    let after = good(&with_token(&folder.file(b"another-word-of-length", 0o600)));
    assert_ne!(before, after);
}

#[test]
fn a_token_file_that_cannot_do_is_refused_with_what_would() {
    let folder = Folder::new("refused");
    let cases: [(&[u8], u32, &str); 6] = [
        (b"", 0o600, "found nothing in it"),
        (b"\n", 0o600, "found nothing in it"),
        (b"fifteen-letters\n", 0o600, "found 15 characters; allowed: one line of 16 to 512"),
        (&[b'x'; 513], 0o600, "found 513 characters"),
        (b"two words of some length", 0o600, "printable ASCII"),
        (b"\xff\xfe\xfd\xfc-not-text-at-all", 0o600, "printable ASCII"),
    ];
    for (content, mode, expected) in cases {
        let said = refused(&with_token(&folder.file(content, mode)));
        assert!(said.starts_with("status.token_file: ") && said.contains(expected), "{said}");
        assert!(!said.contains(WORD), "{said}");
    }
    let said = refused(&with_token(&folder.0.join("none")));
    assert!(said.contains("cannot be read: No such file") && said.contains("metergate token"), "{said}");
    let said = refused(&with_token(&folder.0));
    assert!(said.contains("which is not a file"), "{said}");
}

#[test]
fn what_is_no_page_is_refused_and_other_faults_are_reported_beside_it() {
    for (status, found) in [("status: on", "`on`"), ("status: [off]", "a list"), ("status: 8502", "`8502`")] {
        let said = refused(status);
        assert_eq!(
            said,
            format!(
                "status: found {found}; allowed: off, or one or more of the keys address, token_file, tls, as in `status: {{address: 127.0.0.1:8502}}`\n"
            )
        );
    }
    let said = refused("status: {address: here, token: x}\nlog_level: loud");
    for key in ["status.address: found `here`", "status.token: unknown key", "log_level: "] {
        assert!(said.contains(key), "{said}");
    }
}

#[test]
fn a_listener_and_the_page_do_not_share_an_address() {
    let text =
        "listeners: [{address: 127.0.0.1:8502}]\nbuses: [{name: a, device: /dev/ttyS0, units: [{id: 1}]}]\n";
    let said =
        |more: &str| parse(&format!("{text}{more}"), "m.yaml").map_err(|problems| problems.to_string());
    let refused = said("status: {address: 127.0.0.1:8502}\n").unwrap_err();
    assert!(refused.contains("listeners[0].address on line 1 already takes 127.0.0.1:8502"), "{refused}");
    // The page was not requested, so it is the page that is missing.
    assert!(said("").is_ok());
}
