//! The built program as tests start it: arguments in, lines out, signals, and an end that leaves nothing.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A folder of this test's own, gone when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("metergate-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The built program, running; ended when dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    /// Each line, and whether a test has taken note of it.
    seen: Vec<(String, bool)>,
}

impl Program {
    pub(crate) fn start<I, A>(arguments: I) -> Self
    where
        I: IntoIterator<Item = A>,
        A: AsRef<std::ffi::OsStr>,
    {
        Self::start_with::<_, _, &str>(arguments, &[])
    }

    /// The same, with these variables in its environment.
    pub(crate) fn start_with<I, A, V>(arguments: I, variables: &[(&str, V)]) -> Self
    where
        I: IntoIterator<Item = A>,
        A: AsRef<std::ffi::OsStr>,
        V: AsRef<std::ffi::OsStr>,
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_metergate"))
            .args(arguments)
            // No gateway of a test is announced to commands, unless the test wants it.
            .envs(session(Path::new("/nowhere")))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Self { child, lines, seen: Vec::new() }
    }

    /// The first line, of either stream, that contains `text` and was not given before.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.seen.iter_mut().find(|(line, given)| !given && line.contains(text));
            if let Some((line, given)) = found {
                *given = true;
                return line.clone();
            }
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push((line, false)),
                Err(_) => panic!("no line with {text:?}; seen:\n{}", self.said()),
            }
        }
    }

    /// Every line so far, of either stream.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen.iter().map(|(line, _)| line.clone()).collect()
    }

    /// The address in the next line that says where the program listens.
    pub(crate) fn listening(&mut self) -> SocketAddr {
        Self::address_in(&self.line_with("listening"))
    }

    /// The address in the next line that says where the status page is.
    pub(crate) fn status_page(&mut self) -> SocketAddr {
        Self::address_in(&self.line_with("status page address"))
    }

    fn address_in(line: &str) -> SocketAddr {
        let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
        address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("no address in {line:?}"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits for the program to end by itself.
    pub(crate) fn exit(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.seen.extend(self.lines.iter().map(|line| (line, false)));
                return (status, self.said());
            }
            assert!(Instant::now() < until, "still running; seen:\n{}", self.said());
            if let Ok(line) = self.lines.recv_timeout(Duration::from_millis(20)) {
                self.seen.push((line, false));
            }
        }
    }

    fn said(&self) -> String {
        self.seen.iter().map(|(line, _)| line.as_str()).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The variables that have gateways announced and found in `metergate` below this folder, by root, too.
pub(crate) fn session(folder: &Path) -> [(&'static str, PathBuf); 2] {
    [("XDG_RUNTIME_DIR", folder.to_owned()), ("METERGATE_TEST_OF_ROOT", folder.join("metergate"))]
}

/// A simulated chain of 4000-R meters on a pseudo terminal, in a process of its own.
pub(crate) fn chain(link: &Path, units: &str) -> Program {
    let link = link.to_str().unwrap();
    let mut program = Program::start(["simulate", "--link", link, "--units", units, "--baud", "19200"]);
    program.line_with(link);
    program
}

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);
