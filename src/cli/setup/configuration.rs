//! The configuration that follows from the answers, and its way into the file.

use std::fmt::Write;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::browsed;
use crate::document::{Name, Scalar, show};
use crate::line::Framing;
use crate::scan::report::{LATE_TIMEOUT, parity, quoted};
use crate::serial::PortDevice;

/// Everything that was chosen.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) bus: String,
    pub(super) device: PortDevice,
    pub(super) framing: Framing,
    pub(super) units: Vec<Unit>,
    pub(super) listen: SocketAddr,
    pub(super) page: SocketAddr,
    /// Used where the page is shown to other machines.
    pub(super) token_file: PathBuf,
    /// Where events are kept over restarts.
    pub(super) events: Option<PathBuf>,
}

/// One meter.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) id: u8,
    pub(super) name: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) is_late: bool,
    pub(super) is_loose: bool,
}

/// The file.
pub(super) fn configuration(chosen: &Chosen) -> String {
    let Chosen { bus, device, framing, units, listen, page, token_file, events } = chosen;
    let mut text = HEAD.to_owned();
    // Writing to a String cannot fail.
    if let Some(file) = events {
        let file = quoted(&file.display().to_string());
        let _never = write!(
            text,
            "events: {{file: {file}}}   # outages, lost ports, restarts: `metergate events`\n\n"
        );
    }
    let token = if page.ip().is_loopback() {
        String::new()
    } else {
        format!(
            ", token_file: {}",
            quoted(
                &std::path::absolute(token_file).unwrap_or_else(|_| token_file.clone()).display().to_string()
            )
        )
    };
    let _never = write!(
        text,
        "status: {{address: \"{page}\"{token}}}\n\nlisteners:\n  - address: \"{listen}\"   # clients may read; writes \
         are refused unless you say `writes: allow`\n    max_age: 5s   # the oldest data a read may be given; 0s asks \
         the meter each time\n\nbuses:\n  - name: {}\n    device: {}\n    baud_rate: {}\n    parity: {}\n",
        text_scalar(bus),
        quoted(&device.to_string()),
        framing.baud_rate,
        parity(framing.parity)
    );
    if framing.stop_bits != 1 {
        let _never = writeln!(text, "    stop_bits: {}", framing.stop_bits);
    }
    text.push_str("    units:\n");
    for unit in units {
        let mut keys = vec![format!("id: {}", unit.id)];
        keys.extend(unit.name.as_deref().map(|name| format!("name: {}", text_scalar(name))));
        keys.extend(unit.profile.as_ref().map(|profile| format!("profile: {profile}")));
        keys.extend(unit.is_loose.then(|| "replies: loose".to_owned()));
        keys.extend(unit.is_late.then(|| format!("response_timeout: {}", show(LATE_TIMEOUT))));
        let _never = writeln!(text, "      - {{{}}}", keys.join(", "));
    }
    text
}

/// As a YAML scalar. JSON's quotes are YAML's, too.
fn text_scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.'))
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// Whether the configuration takes it as a name.
pub(super) fn is_name(text: &str) -> bool {
    Name::parse(text).is_some()
}

/// The page's address, and what it takes to see it.
pub(super) fn page_of(page: SocketAddr, token_file: &Path) -> String {
    let port = page.port();
    if page.ip().is_loopback() {
        format!(
            "{} on this machine; from a laptop `ssh -L {port}:{page} USER@THIS-MACHINE`, then the same",
            browsed(page)
        )
    } else {
        format!(
            "http://THIS-MACHINE:{port}/; the browser asks for a name and a password: any name, and the token (sudo \
             cat {})",
            token_file.display()
        )
    }
}

/// Whether the file is the example that a package installed, which is no work of the operator's.
pub(super) fn is_as_packaged(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| PACKAGED.contains(&text.as_str()))
}

/// Puts the text into the file: it is there whole or not at all. What was there before is kept beside it.
///
/// # Errors
/// What the system says.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<Option<PathBuf>> {
    let beside = |suffix: &str| beside(path, suffix);
    let unfinished = beside(&format!(".{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&unfinished)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| {
        // Whatever the umask: the service reads it as another user.
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.sync_all()?;
        let kept = keep(path, beside)?;
        fs::rename(&unfinished, path)?;
        Ok(kept)
    });
    if written.is_err() {
        let _no_more_than_a_stray_file = fs::remove_file(&unfinished);
    }
    written
}

/// Takes a replacement back: the file is again what it was before, and the text that took its place is beside it.
/// Returns where that is.
///
/// # Errors
/// What the system says.
pub(super) fn put_back(path: &Path, kept: &Path) -> io::Result<PathBuf> {
    let refused = beside(path, ".refused");
    fs::copy(path, &refused)?;
    fs::rename(kept, path)?;
    Ok(refused)
}

/// A name in the same folder.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// A second name for the file that is there.
fn keep(path: &Path, beside: impl Fn(&str) -> PathBuf) -> io::Result<Option<PathBuf>> {
    if !path.exists() {
        return Ok(None);
    }
    for number in 1..=KEPT {
        let old = beside(&if number == 1 { ".old".to_owned() } else { format!(".old{number}") });
        match fs::hard_link(path, &old) {
            Ok(()) => return Ok(Some(old)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("there are {KEPT} old ones already")))
}

const HEAD: &str = "\
# metergate, by `metergate setup`.
#
# After a change:  metergate check && systemctl reload metergate
# When a meter does not answer:  metergate doctor
# Every key there is, with its unit, default and range: /usr/share/doc/metergate/examples/metergate.yaml

";

/// Words that YAML takes for something else than text.
const RESERVED: [&str; 7] = ["yes", "no", "on", "off", "true", "false", "null"];

/// Old files that are kept.
const KEPT: u32 = 99;

/// The examples that the packages install as the configuration.
const PACKAGED: [&str; 2] = [
    include_str!("../../../packaging/metergate.yaml"),
    include_str!("../../../packaging/openwrt/metergate.yaml"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::line::Parity;

    fn chosen(page: &str) -> Chosen {
        let unit = |id, name: Option<&str>| Unit {
            id,
            name: name.map(str::to_owned),
            profile: Some("leviton-4000r".to_owned()),
            is_late: false,
            is_loose: false,
        };
        let names = ["Main switchboard", "Tenant: \"2\", north", "No", "# 4", "ä|ö"];
        let mut units: Vec<Unit> = (1..).zip(names).map(|(id, name)| unit(id, Some(name))).collect();
        units.push(Unit { profile: None, is_loose: true, is_late: true, ..unit(9, None) });
        Chosen {
            bus: "riser a".to_owned(),
            device: PortDevice::Path("/dev/serial/by-id/usb-FTDI: x".into()),
            framing: Framing { baud_rate: 9600, parity: Parity::Even, stop_bits: 2 },
            units,
            listen: "[::]:1502".parse().expect("an address"),
            page: page.parse().expect("an address"),
            token_file: PathBuf::from("/etc/metergate/to ken"),
            events: Some(PathBuf::from("/var/lib/metergate/events.jsonl")),
        }
    }

    #[test]
    fn what_is_written_means_what_was_chosen() {
        let text = configuration(&chosen("127.0.0.1:8502"));
        let config =
            config::parse(&text, "test").unwrap_or_else(|problems| panic!("{problems}\n{text}")).config;
        let bus = &config.buses[0];
        let names: Vec<_> = bus.line.units.iter().filter_map(|unit| unit.name.as_deref()).collect();
        assert_eq!(names, ["Main switchboard", "Tenant: \"2\", north", "No", "# 4", "ä|ö"], "{text}");
        assert_eq!(
            (bus.line.protocol.to_string(), bus.line.name.as_str()),
            ("9600 8E2".to_owned(), "riser a")
        );
        assert_eq!(bus.port.device.to_string(), "/dev/serial/by-id/usb-FTDI: x");
        assert_eq!((bus.profiles.len(), bus.line.units.len()), (5, 6));
        assert_eq!(config.listeners[0].settings.endpoint().to_string(), "[::]:1502");
    }

    #[test]
    fn a_page_for_other_machines_has_its_token() {
        let text = configuration(&chosen("0.0.0.0:8502"));
        assert!(text.contains("token_file: \"/etc/metergate/to ken\"}"), "{text}");
        assert!(!configuration(&chosen("127.0.0.1:8502")).contains("token_file"));
    }

    #[test]
    fn the_old_files_are_kept() {
        let folder = std::env::temp_dir().join(format!("metergate-replace-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("m.yaml");
        let names: Vec<_> = ["1", "2", "3"]
            .map(|text| replace(&path, text).unwrap().map(|kept| fs::read_to_string(kept).unwrap()))
            .into_iter()
            .collect();
        let files = fs::read_dir(&folder).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(names, [None, Some("1".to_owned()), Some("2".to_owned())]);
        assert_eq!(files, 3);
    }

    #[test]
    fn a_replacement_that_is_taken_back_leaves_what_was_there_and_the_refused_text_beside_it() {
        let folder = std::env::temp_dir().join(format!("metergate-put-back-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("m.yaml");
        fs::write(&path, "works").unwrap();
        let kept = replace(&path, "refused").unwrap().unwrap();
        let refused = put_back(&path, &kept).unwrap();
        let texts = [&path, &refused].map(|file| fs::read_to_string(file).unwrap());
        let files = fs::read_dir(&folder).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((texts, files), (["works".to_owned(), "refused".to_owned()], 2));
    }
}
