//! The gateways that run on this machine, as client commands find them when none is named.
//!
//! Owns a folder of this user with a file for each gateway that runs: the configuration it obeys, with the addresses it
//! really has. The name of a file holds its process's number and start, so that what a killed one left is told from
//! what runs. Files that another user could have written are not read: a configuration may name a token.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Uid;
use tracing::debug;

use super::command_error::CommandError;
use super::service_user::is_root;
use crate::config::{self, Config};
use crate::gateway::Gateway;
use crate::modbus::AduFraming;
use crate::server::ListenAt;

/// What started a gateway.
#[derive(Clone, Copy, Debug)]
pub enum StartedBy<'a> {
    /// `demo`.
    Demo,
    /// `run`, with this configuration.
    Run(&'a Path),
}

/// The file of this process's gateway; gone when dropped.
#[derive(Debug)]
pub struct Announcement {
    path: Option<PathBuf>,
    head: String,
    mode: u32,
}

impl Announcement {
    /// Announces a gateway that has started. Where that cannot be done it runs all the same.
    #[must_use]
    pub fn new(origin: StartedBy<'_>, config: &Config, gateway: &Gateway) -> Self {
        let (kind, head, mode) = match origin {
            StartedBy::Demo => (DEMO, "demo".to_owned(), 0o644),
            StartedBy::Run(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                // What is in it is no more public than the file it was read from.
                let mode = fs::metadata(&path).map_or(0o600, |metadata| metadata.mode() & 0o644);
                (RUN, format!("run {}", path.display()), mode)
            }
        };
        let pid = std::process::id();
        let path = start_of(pid).map(|start| folder().join(format!("{kind}-{pid}-{start}.yaml")));
        let announcement = Self { path, head, mode };
        announcement.renew(config, gateway);
        announcement
    }

    /// The same with what a reload has changed.
    pub fn renew(&self, config: &Config, gateway: &Gateway) {
        let Some(path) = &self.path else { return };
        let mut config = config.clone();
        let all = config.listeners.iter_mut().map(|listener| &mut listener.settings.at);
        let of_tcp = all.filter_map(|at| match at {
            ListenAt::Tcp(address) => Some(address),
            ListenAt::Serial(_) => None,
        });
        for (configured, address) in of_tcp.zip(gateway.addresses()) {
            // The system's choice; after reloads the others may come in another order.
            if configured.port() == 0 {
                *configured = address;
            }
        }
        config.status = config.status.zip(gateway.status_address()).map(|(mut status, address)| {
            status.settings.address = address;
            status
        });
        let text = format!("{HEAD}{}\n{}", self.head, config.to_yaml());
        if let Err(error) = self.write(path, &text) {
            debug!("not announced to commands in {}: {error}", path.display());
        }
    }

    /// Under another name first, so that no command reads half of it.
    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let folder = folder();
        if !folder.is_dir() {
            let mode = if is_root() { 0o755 } else { 0o700 };
            DirBuilder::new().mode(mode).create(&folder)?;
        }
        if !is_trusted(&folder) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        for dead in entries(&folder).into_iter().filter(|entry| !entry.is_running()) {
            let _gone_already = fs::remove_file(dead.path);
        }
        let unfinished = path.with_extension("new");
        let _of_no_use = fs::remove_file(&unfinished);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(self.mode))?;
        fs::rename(&unfinished, path)
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _never_made = fs::remove_file(path);
        }
    }
}

/// The configuration of the gateway that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Named, or in its usual place.
    Configured(PathBuf),
    /// What a running gateway announced.
    Running {
        /// The configuration it obeys.
        path: PathBuf,
        /// What it is, in words.
        title: String,
    },
}

impl Found {
    /// The file.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Configured(path) | Self::Running { path, .. } => path,
        }
    }

    /// For messages: the file, or what runs.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Configured(path) => path.display().to_string(),
            Self::Running { title, .. } => format!("the {title}"),
        }
    }
}

/// The gateway a command means: by the configuration that is `named`, else the one that runs here, else the one in
/// [`CONFIGURATION`]. `None`: there is none of them.
///
/// # Errors
/// Several run here.
pub(super) fn find(named: Option<&Path>) -> Result<Option<Found>, CommandError> {
    if let Some(path) = named {
        return Ok(Some(Found::Configured(path.to_owned())));
    }
    let usual = Path::new(CONFIGURATION);
    let mut running = running();
    let is_announced = running.iter().any(|entry| entry.origin.as_deref() == Some(usual));
    let has_usual = usual.exists() && !is_announced;
    if running.is_empty() {
        return Ok(has_usual.then(|| Found::Configured(usual.to_owned())));
    }
    let taken: Vec<SocketAddr> = running.iter().flat_map(|entry| addresses(&entry.path)).collect();
    let runs_usual = has_usual && answers(usual, &taken);
    if let ([_], false) = (running.as_slice(), runs_usual) {
        return Ok(running.pop().map(Entry::into_found));
    }
    let mut listed: Vec<String> = running.iter().map(Entry::described).collect();
    listed.extend(runs_usual.then(|| describe("service", usual)));
    Err(CommandError::usage(format!(
        "{} gateways run here; name the one that is meant:\n  {}",
        listed.len(),
        listed.join("\n  ")
    )))
}

/// A file of the folder.
#[derive(Debug)]
struct Entry {
    path: PathBuf,
    kind: &'static str,
    pid: u32,
    start: u64,
    /// The configuration that `run` was given.
    origin: Option<PathBuf>,
}

impl Entry {
    fn read(path: PathBuf) -> Option<Self> {
        let name = path.file_stem()?.to_str()?;
        let mut parts = name.split('-');
        let kind = parts.next()?;
        let kind = [DEMO, RUN].into_iter().find(|known| *known == kind)?;
        let (pid, start) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let is_entry = parts.next().is_none() && path.extension()? == "yaml" && is_trusted(&path);
        let origin = || {
            let bytes = config::read_bounded(&path).ok()?;
            let head = String::from_utf8_lossy(&bytes);
            let origin = head.lines().next()?.strip_prefix(HEAD)?.strip_prefix("run ")?;
            Some(PathBuf::from(origin))
        };
        let origin = is_entry.then(origin).flatten();
        is_entry.then_some(Self { path, kind, pid, start, origin })
    }

    fn is_running(&self) -> bool {
        start_of(self.pid) == Some(self.start)
    }

    fn title(&self) -> String {
        match &self.origin {
            Some(origin) => format!("gateway of {} (process {})", origin.display(), self.pid),
            None => format!("{} (process {})", self.kind, self.pid),
        }
    }

    fn described(&self) -> String {
        describe(&self.title(), &self.path)
    }

    fn into_found(self) -> Found {
        let title = self.title();
        Found::Running { path: self.path, title }
    }
}

/// What runs there, its addresses, and the option that names it.
fn describe(title: &str, path: &Path) -> String {
    let addresses = config::load(path).map_or_else(
        |_| String::new(),
        |loaded| {
            let listeners = loaded.config.listeners.iter().map(|one| &one.settings).collect::<Vec<_>>();
            let spoken = [AduFraming::Tcp, AduFraming::Rtu].into_iter().map(|framing| {
                let speaking = listeners.iter().filter(|one| one.framing == framing);
                let addresses = speaking
                    .filter_map(|one| one.at.tcp())
                    .map(|one| one.to_string())
                    .collect::<Vec<_>>()
                    .join(" and ");
                if addresses.is_empty() { addresses } else { format!(", {} {addresses}", framing.name()) }
            });
            let page = loaded.config.status.map(|status| format!(", page {}", status.settings.address));
            spoken.chain(page).collect::<String>()
        },
    );
    format!("{title}{addresses}: --config {}", path.display())
}

/// What runs, of this user and of root.
fn running() -> Vec<Entry> {
    let own = folder();
    let of_root = of_root();
    let of_root = (!is_root() && of_root != own).then_some(of_root);
    let folders = [own].into_iter().chain(of_root).filter(|folder| is_trusted(folder));
    let mut found: Vec<Entry> =
        folders.flat_map(|folder| entries(&folder)).filter(Entry::is_running).collect();
    found.sort_by_key(|entry| entry.pid);
    found
}

fn entries(folder: &Path) -> Vec<Entry> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.take(MOST).filter_map(|file| Entry::read(file.path())).collect()
}

/// Whether only root and this user can have written it.
fn is_trusted(path: &Path) -> bool {
    let Ok(metadata) = path.symlink_metadata() else { return false };
    let is_ours = metadata.uid() == 0 || metadata.uid() == Uid::effective().as_raw();
    is_ours && !metadata.is_symlink() && metadata.mode() & 0o022 == 0
}

/// Where the gateways of this user are announced.
fn folder() -> PathBuf {
    folder_of(is_root(), env::var_os("XDG_RUNTIME_DIR"))
}

fn folder_of(is_root: bool, session: Option<OsString>) -> PathBuf {
    // The session root has may be that of the user who became root, or one that other users cannot read.
    if is_root {
        return of_root();
    }
    match session.filter(|path| Path::new(path).is_absolute()) {
        Some(path) => Path::new(&path).join("metergate"),
        None => env::temp_dir().join(format!("metergate-{}", Uid::effective())),
    }
}

fn of_root() -> PathBuf {
    // So that the tests, which may run as root, keep out of each other's way and of the system's.
    let of_tests = if cfg!(debug_assertions) { env::var_os("METERGATE_TEST_OF_ROOT") } else { None };
    of_tests.map_or_else(|| PathBuf::from(OF_ROOT), PathBuf::from)
}

/// When a process started, in ticks of the kernel; `None`: there is none. Source: proc_pid_stat(5).
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(STARTTIME).and_then(|ticks| ticks.parse().ok())
}

/// Whether a gateway with this configuration runs, as far as a connection tells: to an address that no other gateway
/// has `taken`. A demo has the page's usual address.
fn answers(path: &Path, taken: &[SocketAddr]) -> bool {
    let mut own = addresses(path).into_iter().filter(|address| !taken.contains(address));
    own.any(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok())
}

/// Where a gateway with this configuration is reached from here.
fn addresses(path: &Path) -> Vec<SocketAddr> {
    let Ok(loaded) = config::load(path) else { return Vec::new() };
    let page = loaded.config.status.map(|status| status.settings.address);
    let listeners = loaded.config.listeners.iter().filter_map(|listener| listener.settings.at.tcp());
    let seen = |address: SocketAddr| SocketAddr::new(seen_from_here(address.ip()), address.port());
    page.into_iter().chain(listeners).map(seen).collect()
}

/// Where the configuration is unless the command line says otherwise.
pub(super) const CONFIGURATION: &str = "/etc/metergate/metergate.yaml";

/// The address a listener has for clients on this machine.
pub(super) fn seen_from_here(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    }
}

/// Where root's gateways are announced.
const OF_ROOT: &str = "/run/metergate";

const DEMO: &str = "demo";
const RUN: &str = "run";

/// Begins a file; then comes what started the gateway.
const HEAD: &str = "# metergate ";

/// Files that are looked at.
const MOST: usize = 256;

/// The field `starttime`, counted from the one behind the name.
const STARTTIME: usize = 19;

/// On this machine a connection stands at once or never.
const PATIENCE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_of_root_are_announced_in_one_place_whatever_its_session() {
        for session in [None, Some("/run/user/1000".into())] {
            assert_eq!(folder_of(true, session), Path::new(OF_ROOT));
        }
        assert_eq!(folder_of(false, Some("/run/user/1000".into())), Path::new("/run/user/1000/metergate"));
    }

    #[test]
    fn a_gateway_is_described_with_what_each_listener_speaks() {
        let path = env::temp_dir().join(format!("metergate-described-{}.yaml", std::process::id()));
        let text = "listeners: [{address: '127.0.0.1:2101', framing: rtu}, {address: '127.0.0.1:5020'}, {address: \
                    '127.0.0.1:5021'}]\nbuses: [{name: a, device: /dev/null, units: [{id: 1}]}]\nstatus: off\n";
        fs::write(&path, text).expect("a temporary file");
        let described = describe("demo", &path);
        fs::remove_file(&path).expect("the same");
        let expected =
            "demo, Modbus TCP 127.0.0.1:5020 and 127.0.0.1:5021, RTU over TCP 127.0.0.1:2101: --config ";
        assert_eq!(described, format!("{expected}{}", path.display()));
    }

    #[test]
    fn an_address_that_another_gateway_has_shows_no_second_one() {
        let there = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = there.local_addr().expect("an address");
        let path = env::temp_dir().join(format!("metergate-answers-{}.yaml", std::process::id()));
        let text = format!(
            "listeners: [{{address: '127.0.0.1:1'}}]\nbuses: [{{name: a, device: /dev/null, units: [{{id: 1}}]}}]\n\
             status: {{address: '{address}'}}\n"
        );
        fs::write(&path, text).expect("a temporary file");
        let (alone, beside) = (answers(&path, &[]), answers(&path, &[address]));
        fs::remove_file(&path).expect("the same");
        assert_eq!((alone, beside), (true, false));
    }
}
