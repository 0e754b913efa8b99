//! `check`: reads a configuration as `run` would, and opens no port.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Instant, SystemTime};

use nix::libc;
use nix::unistd::{AccessFlags, access};

use super::access;
use super::address_holder::stranger_at;
use super::args::{Check, Units};
use super::budget;
use super::command_error::CommandError;
use super::exit::Exit;
use super::{mqtt_volume, output, service_user};
use crate::config::{self, Bus, Config, Severity};
use crate::gateway::AddressKey;
use crate::serial::PortDevice;

/// With whose eyes files are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Eyes {
    /// Those of the user who runs the command.
    Own,
    /// Those of the service's user.
    Service(String),
}

/// Shows what a configuration will cost the lines, or everything that is wrong with it. [`Exit::Fault`] if a line is
/// to do more than it has time for.
#[must_use]
pub fn check(args: &Check) -> Exit {
    let path = args.configured.path();
    let eyes = match put_on_eyes(path, args.user.as_deref()) {
        Ok(eyes) => eyes,
        Err(stop) => return stop.report(),
    };
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => {
            output::report(&problems);
            if let Eyes::Service(user) = eyes {
                output::report(&format!("Files were looked at as the user {user}, as the service does."));
            }
            return Exit::Configuration;
        }
    };
    for warning in &loaded.warnings {
        output::report(warning);
    }
    remark(path, &loaded.config, &eyes);
    match (report_certificates(path, &loaded.config), show(path, &loaded.config, args.effective)) {
        (Exit::Ok, shown) => shown,
        (fault, _) => fault,
    }
}

/// Root can read everything, the service cannot: what root checks is judged as the service will find it.
fn put_on_eyes(path: &Path, named: Option<&str>) -> Result<Eyes, CommandError> {
    if !service_user::is_root() {
        return match named {
            None => Ok(Eyes::Own),
            Some(_) => Err(CommandError::usage("--user: only root can see files as another user does")),
        };
    }
    let is_the_services = std::path::absolute(path).is_ok_and(|path| path.starts_with(SERVICE_FOLDER));
    if named.is_none() && !is_the_services {
        return Ok(Eyes::Own);
    }
    let Some(user) = service_user::find(named)? else { return Ok(Eyes::Own) };
    service_user::switch_to(&user)?;
    Ok(Eyes::Service(user.name))
}

/// What is missing on this machine, and what the file leaves out that nearly everybody wants.
fn remark(path: &Path, config: &Config, eyes: &Eyes) {
    let say = |severity: &str, text: &str| output::report(&format!("{}: {severity}: {text}", path.display()));
    for bus in &config.buses {
        let name = &bus.line.name;
        remark_device(bus, say);
        let without = bus.wire.iter().filter(|unit| !bus.profiles.contains_key(unit)).map(|unit| unit.get());
        let without = Units::of(without);
        if !without.ids().is_empty() {
            let (units, have) = if without.ids().len() == 1 { ("unit", "has") } else { ("units", "have") };
            say(
                "note",
                &format!(
                    "bus {name}: {units} {without} {have} no profile, so nothing is read in the background and no \
                     value has a name; for meters of that kind add `profile: leviton-4000r` (`metergate points \
                     --help` says what a profile is)"
                ),
            );
        }
    }
    remark_serial_clients(config, &say);
    remark_addresses(config, &say);
    let files = [
        (
            "audit.file",
            config.audit.as_ref().map(|audit| &audit.file),
            ", and `run` does not start without it",
        ),
        (
            "events.file",
            config.events.as_ref().map(|events| &events.file),
            ", so `run` forgets its events at a restart",
        ),
    ];
    for (key, file, consequence) in files {
        let Some(file) = file else { continue };
        if file.is_dir() {
            let shown = file.display();
            say("warning", &format!("{key}: {shown} is a directory{consequence}; name a file in it"));
            continue;
        }
        let Some(folder) = file.parent() else { continue };
        let shown = folder.display();
        if !folder.is_dir() {
            say(
                "warning",
                &format!(
                    "{key}: there is no directory {shown}{consequence}; make it (`install -d -o metergate -g \
                     metergate -m 750 {shown}`), or name a file elsewhere"
                ),
            );
        } else if let Eyes::Service(user) = eyes
            && access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_err()
        {
            say(
                "warning",
                &format!(
                    "{key}: the user {user} cannot write in {shown}{consequence}; `chown {user} {shown}` lets it"
                ),
            );
        }
    }
}

/// Reports certificates that no client can accept now, and outdated revocation lists. The gateway starts with them all
/// the same: its clock may be set later, and plain listeners are not concerned.
fn report_certificates(path: &Path, config: &Config) -> Exit {
    let now = SystemTime::now();
    let mut exit = Exit::Ok;
    let listeners = config.listeners.iter().enumerate();
    let listeners = listeners.map(|(index, one)| (format!("listeners[{index}]"), one.settings.tls.as_ref()));
    let page = config.status.as_ref().and_then(|status| status.settings.tls.as_ref());
    for (section, server) in listeners.chain([("status".to_owned(), page)]) {
        if let Some(fault) = server.and_then(|server| server.validity_fault(now)) {
            let key = fault.key.name();
            output::report(&format!("{}: error: {section}.tls.{key}: {fault}", path.display()));
            exit = Exit::Fault;
        }
        if let Some(fault) = server.and_then(|server| server.outdated_list(now)) {
            let key = fault.key.name();
            output::report(&format!("{}: warning: {section}.tls.{key}: {fault}", path.display()));
        }
    }
    exit
}

/// What there is to say of the device or server of a bus.
fn remark_device(bus: &Bus, say: impl Fn(&str, &str)) {
    let name = &bus.line.name;
    match &bus.port.device {
        PortDevice::Path(device) if !device.exists() => say(
            "warning",
            &format!(
                "bus {name}: there is no device {}; the bus stays down until it is plugged in (`ls -l \
                 /dev/serial/by-id` shows the adapters there are)",
                device.display()
            ),
        ),
        PortDevice::Path(device) if is_no_serial_port(device) => say(
            "warning",
            &format!(
                "bus {name}: {} is no serial port, and the bus stays down (`ls -l /dev/serial/by-id` shows the \
                 adapters there are)",
                device.display()
            ),
        ),
        PortDevice::Path(_) => {}
        PortDevice::ModbusTcp(server) => say(
            "note",
            &format!(
                "bus {name}: how long requests take is learned while it runs; if {server} is a gateway, \
                 response_timeout and the listeners' request_deadline must be longer than it takes to give up on a \
                 meter of its own"
            ),
        ),
        PortDevice::Server(server) => say(
            "note",
            &format!(
                "bus {name}: the silence of 3.5 characters before a request is kept here, and cannot be promised \
                 behind {server}, which makes packets and frames of its own; times on the wire are estimates"
            ),
        ),
    }
}

/// Addresses that another program has.
fn remark_addresses(config: &Config, say: &impl Fn(&str, &str)) {
    let ends = "`run` ends with exit code 4";
    let listeners = config.listeners.iter().enumerate().filter_map(|(index, listener)| {
        Some((AddressKey::Listener(index), listener.settings.at.tcp()?, ends))
    });
    let status = config.status.as_ref().map(|status| {
        let consequence = if status.given { ends } else { "there is no status page" };
        (AddressKey::Status, status.settings.address, consequence)
    });
    for (key, address, consequence) in listeners.chain(status) {
        let Some(stranger) = stranger_at(address) else { continue };
        let port = address.port();
        say(
            "warning",
            &format!(
                "{key}: {stranger} listens there already, and as long as it does {consequence}; `sudo ss -ltnp \
                 'sport = :{port}'` shows it, or choose another address than {address}"
            ),
        );
    }
}

/// The ports of serial clients that are missing on this machine.
fn remark_serial_clients(config: &Config, say: &impl Fn(&str, &str)) {
    for port in config.listeners.iter().filter_map(|listener| listener.settings.at.serial()) {
        let device = &port.device;
        if is_no_serial_port(device.as_path()) {
            let text = format!("listener {device}: this is no serial port, and its client is not served");
            say("warning", &text);
        } else if !device.as_path().exists() {
            say(
                "warning",
                &format!(
                    "listener {device}: there is no such device; its client is not served until it is plugged in \
                     (`ls -l /dev/serial/by-id` shows the adapters there are)"
                ),
            );
        }
    }
}

/// Whether this is certainly no serial port. Opening it would tell, and would change the lines of an adapter in use.
fn is_no_serial_port(device: &Path) -> bool {
    let Ok(found) = fs::metadata(device) else { return false };
    if !found.file_type().is_char_device() {
        return true;
    }
    let (major, minor) = (libc::major(found.rdev()), libc::minor(found.rdev()));
    // A pseudo terminal is not listed there.
    let class = fs::read_link(format!("/sys/dev/char/{major}:{minor}/subsystem"));
    class.is_ok_and(|class| class.file_name().is_some_and(|name| name != "tty"))
}

fn show(path: &Path, config: &Config, effective: bool) -> Exit {
    let now = Instant::now();
    let findings = budget::findings(config, now);
    let possible = findings.iter().all(|finding| finding.severity == Severity::Warning);
    // With the configuration all of it is YAML: what is said beside it stands in comments.
    let verdict = match (possible, effective) {
        (true, true) => "# ok\n",
        (true, false) => "ok\n",
        (false, _) => "",
    };
    let described =
        budget::describe(config, now) + &access::describe(config) + &mqtt_volume::describe(config, now);
    let configuration = if effective { config.to_yaml() + "\n" } else { String::new() };
    let shown = format!("{configuration}{described}{verdict}");
    let printed = output::print(shown.as_bytes());
    for finding in &findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        output::report(&format!("{}: {severity}: bus {}: {}", path.display(), finding.bus, finding.text));
    }
    if possible { printed } else { Exit::Fault }
}

/// Where the service's configuration is.
const SERVICE_FOLDER: &str = "/etc/metergate";
