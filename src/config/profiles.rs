//! The profiles that units name: the built-in ones, and those in the directory `profiles`.
//!
//! Finds profile files and reads each once; a file there replaces the built-in profile of the same name. Its content is
//! checked by the module `meter`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::value::Directory;
use crate::document::{MAX_FILE, Reader, decode, did_you_mean, unreadable};
use crate::meter::Profile;

/// The directory of profiles, and the profiles read so far.
pub(super) struct Profiles {
    /// `None`: an error was reported, so the names there are unknown.
    directory: Option<PathBuf>,
    /// The profiles read so far; `None`: an error was reported.
    read: BTreeMap<String, Option<Arc<Profile>>>,
}

impl Profiles {
    /// Checks the directory; only the default one may be absent.
    pub(super) fn of(directory: &Directory, reader: &mut Reader<'_, '_>) -> Self {
        let path = &directory.0;
        if !reader.is_sound("profiles") {
            return Self { directory: None, read: BTreeMap::new() };
        }
        let is_there = path == Path::new(Directory::PROFILES) || path.is_dir();
        if !is_there {
            let what = format!("there is no directory {}", path.display());
            reader.error("profiles", &what, "correct the path, make the directory, or leave the key out");
        }
        Self { directory: is_there.then(|| path.clone()), read: BTreeMap::new() }
    }

    /// The profile of that name. `None`: an error was reported, at its key or in the profile's own file.
    pub(super) fn find(&mut self, name: &str, at: &str, reader: &mut Reader<'_, '_>) -> Option<Arc<Profile>> {
        if let Some(known) = self.read.get(name) {
            return known.clone();
        }
        // Without the directory only the built-in ones are known, and one with another name may be there.
        let Some(directory) = &self.directory else { return Profile::builtin(name).cloned().map(Arc::new) };
        let path = directory.join(format!("{name}.yaml"));
        let found = match read_bounded(&path) {
            Ok(bytes) => parse(&bytes, name, &path, reader),
            Err(error) if is_absent(&error) => match Profile::builtin(name) {
                Some(profile) => Some(Arc::new(profile.clone())),
                None => {
                    let help = suggest_names(name, directory);
                    reader.error(at, &format!("no profile is called `{name}`"), &help);
                    return None;
                }
            },
            Err(error) => {
                let file = path.display().to_string();
                reader.include(unreadable(&file, format!("the file cannot be read: {error}"), None));
                None
            }
        };
        self.read.insert(name.to_owned(), found.clone());
        found
    }
}

/// Reads a file; of one that is too large, one byte more than is allowed.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8], name: &str, path: &Path, reader: &mut Reader<'_, '_>) -> Option<Arc<Profile>> {
    let file = path.display().to_string();
    let read = decode(bytes, &file).and_then(|text| Profile::parse(text, &file));
    match read {
        Ok(profile) if profile.name == name => Some(Arc::new(profile)),
        Ok(profile) => {
            let help = format!("allowed: {name}, as the file is called");
            reader.include(unreadable(&file, format!("its name is {}", profile.name), Some(&help)));
            None
        }
        Err(problems) => {
            reader.include(problems);
            None
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Help for an unknown name: the existing ones.
fn suggest_names(name: &str, directory: &Path) -> String {
    let mut known: Vec<String> = Profile::builtin_names().iter().map(|name| (*name).to_owned()).collect();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
            && path.extension().is_some_and(|extension| extension == "yaml")
        {
            known.push(stem.to_owned());
        }
    }
    known.sort_unstable();
    known.dedup();
    format!(
        "{}allowed: {}, or a file {name}.yaml in {}",
        did_you_mean(name, known.iter().map(String::as_str)),
        known.join(", "),
        directory.display()
    )
}
