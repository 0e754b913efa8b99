//! `--profile`: the profile that a command uses: the one that was named, or the one that fits.
//!
//! Owns where profiles are looked for: a file by its path, a name first in the directory of profiles, then among
//! those built in, as `run` does. What a file says is the module `meter`'s to judge.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::command_error::CommandError;
use super::exit::Exit;
use super::instances;
use crate::config::{self, read_bounded};
use crate::document::{decode, did_you_mean};
use crate::meter::Profile;

/// The profile that `named` names; without a name `configured`, else the built-in one for the 4000-R.
///
/// # Errors
/// No such profile, or one with faults.
pub fn find(
    named: Option<&str>,
    configured: Option<Arc<Profile>>,
    config: Option<&Path>,
) -> Result<Arc<Profile>, CommandError> {
    match (named, configured) {
        (Some(named), _) => load(named, config),
        (None, Some(profile)) => Ok(profile),
        (None, None) => load(DEFAULT_PROFILE, config),
    }
}

fn load(named: &str, config: Option<&Path>) -> Result<Arc<Profile>, CommandError> {
    if named.contains('/') || named.ends_with(".yaml") {
        let path = Path::new(named);
        return read_bounded(path)
            .map_err(|error| cannot_read(path, &error))
            .and_then(|bytes| parse(&bytes, path));
    }
    // Without a configuration, or with a faulty one, the profiles of the usual place are still there.
    let found = instances::find(config).ok().flatten();
    let directory = found
        .and_then(|found| config::load(found.path()).ok())
        .map_or_else(|| PathBuf::from(DIRECTORY), |loaded| loaded.config.profiles);
    let path = directory.join(format!("{named}.yaml"));
    match read_bounded(&path) {
        Ok(bytes) => parse(&bytes, &path),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            match Profile::builtin(named) {
                Some(profile) => Ok(Arc::new(profile.clone())),
                None => Err(CommandError::usage(unknown(named, &directory))),
            }
        }
        Err(error) => Err(cannot_read(&path, &error)),
    }
}

fn parse(bytes: &[u8], path: &Path) -> Result<Arc<Profile>, CommandError> {
    let file = path.display().to_string();
    let profile = decode(bytes, &file).and_then(|text| Profile::parse(text, &file))?;
    Ok(Arc::new(profile))
}

fn cannot_read(path: &Path, error: &io::Error) -> CommandError {
    CommandError::Failed(Exit::Configuration, format!("{}: the file cannot be read: {error}", path.display()))
}

fn unknown(named: &str, directory: &Path) -> String {
    let hint = did_you_mean(named, Profile::builtin_names().iter().copied());
    format!(
        "there is no profile {named}; {hint}there are {}, files {named}.yaml in {}, and files by their path",
        Profile::builtin_names().join(", "),
        directory.display()
    )
}

/// The profile of the meters this program is made for.
const DEFAULT_PROFILE: &str = "leviton-4000r";

/// Where profiles are unless a configuration says otherwise.
const DIRECTORY: &str = "/etc/metergate/profiles";
