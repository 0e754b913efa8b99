//! The profiles a file's units name: those built in, and those in the directory `profiles`.
//!
//! Owns the finding and reading of profile files, each once; a file there goes before the built-in profile of the
//! same name. What a file says is the room `meter`'s to judge. Contract section 1.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keys::{DEFAULT_PROFILES, Part};
use super::value::directory;
use crate::meter::profile::Profile;
use crate::yaml::nearest::nearest;
use crate::yaml::problem::{Faults, Place, unreadable};
use crate::yaml::section::Section;
use crate::yaml::text::{self, MAX_FILE};

/// Where profiles are, and those that were asked for.
pub(super) struct Profiles {
    /// `None`: reported, so nobody can say which names there are.
    directory: Option<PathBuf>,
    /// What was read; `None`: reported.
    read: BTreeMap<String, Option<Arc<Profile>>>,
}

impl Profiles {
    /// Reads the key `profiles`. Only the default directory may be absent.
    pub(super) fn of(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Self {
        let named = section.value("profiles", faults, directory);
        let directory = named.filter(|path| {
            let there = path == Path::new(DEFAULT_PROFILES) || path.is_dir();
            if !there {
                let message =
                    format!("found {}, where no directory is; allowed: one that exists", path.display());
                faults.error(&section.place_of("profiles"), message);
            }
            there
        });
        Self { directory, read: BTreeMap::new() }
    }

    /// The directory, if it was not reported.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The profile of that name. `None`: it is reported, at `place` or in the profile's own file.
    pub(super) fn find(
        &mut self,
        name: &str,
        place: &Place,
        faults: &mut Faults<'_>,
    ) -> Option<Arc<Profile>> {
        let directory = self.directory.as_ref()?;
        if let Some(known) = self.read.get(name) {
            return known.clone();
        }
        let path = directory.join(format!("{name}.yaml"));
        let found = match read_bounded(&path) {
            Ok(bytes) => parse(&bytes, name, &path, faults),
            Err(error) if is_absent(&error) => match Profile::builtin(name) {
                Some(profile) => Some(Arc::new(profile.clone())),
                None => {
                    faults.error(place, unknown(name, directory));
                    return None;
                }
            },
            Err(error) => {
                let file = path.display().to_string();
                faults.include(unreadable(&file, format!("the file cannot be read: {error}")));
                None
            }
        };
        self.read.insert(name.to_owned(), found.clone());
        found
    }
}

/// The bytes of a file, one more than a file may have where it is too large.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8], name: &str, path: &Path, faults: &mut Faults<'_>) -> Option<Arc<Profile>> {
    let file = path.display().to_string();
    let read = text::decode(bytes, &file).and_then(|text| Profile::parse(text, &file));
    match read {
        Ok(profile) if profile.name == name => Some(Arc::new(profile)),
        Ok(profile) => {
            let message = format!("its name is {}; allowed: {name}, as the file is called", profile.name);
            faults.include(unreadable(&file, message));
            None
        }
        Err(problems) => {
            faults.include(problems);
            None
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unknown(name: &str, directory: &Path) -> String {
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
    let hint = nearest(name, known.iter().map(String::as_str));
    let hint = hint.map_or(String::new(), |near| format!(" (did you mean {near}?)"));
    format!(
        "found no profile of the name {name}{hint}; allowed: {}, or a file {name}.yaml in {}",
        known.join(", "),
        directory.display()
    )
}
