//! `tls`: certificates for a site that has no authority of its own, and what a certificate is good for.
//!
//! Owns the files of `tls init`: their names, modes and owners, and that none is ever overwritten. What is in them is
//! `tls::issue`'s.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::ifaddrs::getifaddrs;
use nix::unistd::{Uid, User};

use super::args::tls::{Tls, TlsAction};
use super::command_error::CommandError;
use super::exit::Exit;
use super::point_list::host_name;
use super::{output, service_user};
use crate::runtime::timestamp::utc;
use crate::tls::certificate::{Certificate, is_clock_unset};
use crate::tls::issue::{Authority, Issued};
use crate::tls::read_certificates;

/// Makes certificates, or shows some.
#[must_use]
pub fn tls(args: &Tls) -> Exit {
    let done = match args.action {
        TlsAction::Init => init(args),
        TlsAction::Show => show(args),
    };
    match done {
        Ok(text) => output::print(&output::escape(text.as_bytes())),
        Err(error) => error.report(),
    }
}

/// A file to make.
struct NewFile {
    path: PathBuf,
    text: String,
    secrecy: Secrecy,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secrecy {
    /// All users.
    Public,
    /// The service.
    Service,
    /// The user who makes it.
    Own,
}

fn init(args: &Tls) -> Result<String, CommandError> {
    let roles = roles(&args.role)?;
    let user = service_user::find(args.user.as_deref())?;
    let now = SystemTime::now();
    if is_clock_unset(now) {
        let text =
            format!("the clock says {}, so it was never set: set it first, certificates are dated", utc(now));
        return Err(CommandError::Failed(Exit::Fault, text));
    }
    let host = host_name();
    let names = names(&host, &args.name);
    let folder = std::path::absolute(&args.path).map_err(|error| cannot_make(&args.path, &error))?;
    let files = files(&folder, &host, &names, &roles, now)
        .map_err(|error| CommandError::usage(format!("--name: no certificate can be made: {error}")))?;
    if let Some(there) = files.iter().find(|file| file.path.symlink_metadata().is_ok()) {
        let text = format!(
            "{} is there already, and nothing is overwritten; name another directory, or move it away",
            there.path.display()
        );
        return Err(CommandError::Failed(Exit::Fault, text));
    }
    make_folder(&folder).map_err(|error| cannot_make(&folder, &error))?;
    for (index, file) in files.iter().enumerate() {
        if let Err(error) = write(file, user.as_ref()) {
            // Half a set is of no use, and it would stand in the way of the next attempt.
            for made in &files[..index] {
                let _left_for_the_user_to_remove = fs::remove_file(&made.path);
            }
            return Err(cannot_make(&file.path, &error));
        }
    }
    Ok(instructions(&folder, &names, &roles, user.as_ref()))
}

/// The files, in the order in which they are made.
fn files(
    folder: &Path,
    host: &str,
    names: &[String],
    roles: &BTreeSet<String>,
    now: SystemTime,
) -> Result<Vec<NewFile>, rcgen::Error> {
    let authority = Authority::new(host, now)?;
    let file = |name: &str, text: String, secrecy| NewFile { path: folder.join(name), text, secrecy };
    let pair = |name: &str, issued: Issued, secrecy| {
        [
            file(&format!("{name}.key"), issued.key, secrecy),
            file(&format!("{name}.pem"), issued.certificate, Secrecy::Public),
        ]
    };
    let mut files = vec![
        file("ca.key", authority.key(), Secrecy::Own),
        file("ca.pem", authority.certificate(), Secrecy::Public),
    ];
    files.extend(pair("server", authority.issue_server(host, names)?, Secrecy::Service));
    for role in roles {
        let issued = authority.issue_client(&format!("{role} at {host}"), role)?;
        files.extend(pair(&format!("client-{role}"), issued, Secrecy::Own));
    }
    Ok(files)
}

/// The roles, which become names of files.
fn roles(named: &[String]) -> Result<BTreeSet<String>, CommandError> {
    if named.is_empty() {
        return Ok(ROLES.map(str::to_owned).into());
    }
    let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let fits = |role: &str| (1..=LONGEST_ROLE).contains(&role.len()) && role.chars().all(letter);
    match named.iter().find(|role| !fits(role)) {
        Some(role) => Err(CommandError::usage(format!(
            "--role: '{role}' cannot be the name of a file; allowed: 1 to {LONGEST_ROLE} letters, digits, - _ and ."
        ))),
        None => Ok(named.iter().cloned().collect()),
    }
}

/// What clients may call this machine.
fn names(host: &str, more: &[String]) -> Vec<String> {
    let own = [host, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut names: Vec<String> = own.into_iter().chain(addresses()).chain(more.iter().cloned()).collect();
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The addresses of this machine that other machines can connect to.
fn addresses() -> Vec<String> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        let v6 = || address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip()));
        let found = v4.or_else(v6)?;
        let is_local = match found {
            IpAddr::V4(found) => found.is_link_local(),
            IpAddr::V6(found) => found.is_unicast_link_local(),
        };
        (!found.is_loopback() && !is_local).then(|| found.to_string())
    };
    interfaces.filter_map(address).collect()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        // The umask may have taken rights away, and the service enters it, too.
        made => made.and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755))),
    }
}

fn write(new: &NewFile, user: Option<&User>) -> io::Result<()> {
    let service = user.filter(|_| new.secrecy == Secrecy::Service && service_user::is_root());
    let mode = match (new.secrecy, service) {
        (Secrecy::Public, _) => 0o644,
        // As its token: users in the group of the service can use the commands that read the configuration.
        (Secrecy::Service, Some(_)) => 0o640,
        (Secrecy::Service, None) | (Secrecy::Own, _) => 0o600,
    };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new.path)?;
    let made = fill(file, new, mode, service);
    if made.is_err() {
        let _left_for_the_user_to_remove = fs::remove_file(&new.path);
    }
    made
}

fn fill(mut file: File, new: &NewFile, mode: u32, service: Option<&User>) -> io::Result<()> {
    if let Some(user) = service {
        fchown(&file, None, Some(user.gid.as_raw()))?;
    }
    // The umask may have taken rights away.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(new.text.as_bytes())?;
    file.sync_all()
}

fn cannot_make(path: &Path, error: &io::Error) -> CommandError {
    CommandError::Failed(Exit::Fault, format!("cannot make {}: {error}", path.display()))
}

fn instructions(folder: &Path, names: &[String], roles: &BTreeSet<String>, user: Option<&User>) -> String {
    let shown = folder.display();
    let owner = match user {
        Some(user) if service_user::is_root() => {
            format!("root and can be read by the service's group, that of {}", user.name)
        }
        Some(user) if user.uid != Uid::effective() => {
            format!(
                "you; the service, which runs as {}, cannot read it: make it with sudo for the service",
                user.name
            )
        }
        Some(_) | None => "you".to_owned(),
    };
    let clients: String = roles
        .iter()
        .map(|role| format!("  client-{role}.pem, client-{role}.key   for a client with the role {role}, and ca.pem with them\n"))
        .collect();
    // JSON's quotes are YAML's, too.
    let quoted = |name: &str| serde_json::Value::from(folder.join(name).display().to_string());
    let (server, key, ca) = (quoted("server.pem"), quoted("server.key"), quoted("ca.pem"));
    // Which role may write is the site's to say; of the specification's own examples one is meant for it.
    let writers = if roles.contains(WRITER) {
        format!("      - {{role: [{WRITER}], may: write}}\n")
    } else {
        String::new()
    };
    format!(
        "{shown}: a new authority and its certificates, for {}.\n\n  server.pem, server.key   for the gateway; the key belongs to {owner}\n{clients}  \
         ca.key   signs further certificates; take it away from this machine and keep it safe\n\nPut this into the \
         configuration:\n\nlisteners:\n  - address: 0.0.0.0:802\n    max_age: 5s\n    tls: {{certificate: {server}, key: \
         {key}, client_ca: {ca}}}\n    rules:\n{writers}      - {{may: read}}\n\nThen check \
         and reload it: metergate check, and systemctl reload metergate.\n",
        names.join(", ")
    )
}

fn show(args: &Tls) -> Result<String, CommandError> {
    if !args.role.is_empty() || !args.name.is_empty() || args.user.is_some() {
        return Err(CommandError::usage("--role, --name and --user are for `tls init`"));
    }
    let fault = |error: &dyn std::fmt::Display| {
        CommandError::Failed(Exit::Fault, format!("cannot read {}: {error}", args.path.display()))
    };
    let certificates = read_certificates(&args.path).map_err(|error| fault(&error))?;
    let now = SystemTime::now();
    let mut shown = Vec::new();
    for certificate in certificates {
        let read = Certificate::read(&certificate)
            .ok_or_else(|| fault(&"it holds a certificate that cannot be read"))?;
        shown.push(describe(&read, now));
    }
    Ok(shown.join("\n"))
}

fn describe(certificate: &Certificate, now: SystemTime) -> String {
    let Certificate { subject, issuer, serial, validity, names, is_ca, uses, key, role } = certificate;
    let state = if validity.is_over(now) {
        "expired".to_owned()
    } else if validity.is_early(now) && is_clock_unset(now) {
        "not valid yet: the clock of this machine was never set".to_owned()
    } else if validity.is_early(now) {
        "not valid yet".to_owned()
    } else {
        format!("{} days left", validity.left(now).as_secs() / (24 * 60 * 60))
    };
    let good_for = match (is_ca, uses.server, uses.client) {
        (true, _, _) => "signing other certificates",
        (false, true, true) => "servers and clients",
        (false, true, false) => "servers",
        (false, false, true) => "clients",
        (false, false, false) => "neither servers nor clients",
    };
    let role = match role {
        Ok(role) => role.clone(),
        Err(reason) => format!("none: {reason}"),
    };
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    format!(
        "subject   {subject}\nissuer    {issuer}\nserial    {serial}\nvalid     {} to {}, {state}\ngood for  {good_for}\nnames     \
         {names}\nkey       {key}\nrole      {role}\n",
        utc(validity.not_before),
        utc(validity.not_after)
    )
}

/// The role that the printed rules let write.
const WRITER: &str = "Engineer";

/// The roles of `tls init` where none is named.
const ROLES: [&str; 2] = ["Engineer", "Operator"];

/// Most characters of a role that becomes the name of a file.
const LONGEST_ROLE: usize = 64;
