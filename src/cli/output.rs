//! What commands say to the person or script that started them: results to stdout, complaints to stderr.
//!
//! A reader that went away (`metergate ... | head`) is no reason to panic, nor a fault of the command. A full disk
//! is a fault, and is said.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Once;

use super::exit::Exit;

/// Writes a result to stdout. [`Exit::Fault`] if it could not be written for another reason than that the
/// reader went away.
#[must_use]
pub fn print(result: &[u8]) -> Exit {
    show(result).err().unwrap_or(Exit::Ok)
}

/// Writes one of several results to stdout.
///
/// # Errors
/// How the command should end, since nobody reads what else it has to say.
pub fn show(result: &[u8]) -> Result<(), Exit> {
    let mut stdout = io::stdout().lock();
    judge(stdout.write_all(result).and_then(|()| stdout.flush()))
}

/// What became of something written to stdout. A failure is said on stderr, once: a command that goes on writing
/// meets it again and again.
///
/// # Errors
/// How the command should end.
pub fn judge(written: io::Result<()>) -> Result<(), Exit> {
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Exit::Ok),
        Err(error) => {
            static SAID: Once = Once::new();
            SAID.call_once(|| complain(&format!("cannot write to the standard output: {error}")));
            Err(Exit::Fault)
        }
    }
}

/// Says on stderr what went wrong. If even that cannot be written, the exit code still tells.
pub fn complain(text: &str) {
    let _untold = writeln!(io::stderr().lock(), "metergate: {text}");
}

/// Shows a text that already names its file and place, such as the problems of a configuration, on stderr.
pub fn report(text: &impl Display) {
    let _untold = writeln!(io::stderr().lock(), "{text}");
}

/// Text from outside with nothing in it that a terminal acts on.
#[must_use]
pub fn safe(text: &str) -> String {
    let shown = |character: char| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    };
    text.chars().map(shown).collect()
}
