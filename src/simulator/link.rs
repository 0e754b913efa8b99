//! A stable name for a device whose own name changes with every start.
//!
//! Owns one symbolic link from its creation to its removal. It never replaces or removes anything else.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A symbolic link that is removed when this is dropped, unless it points elsewhere by then.
#[derive(Debug)]
pub struct DeviceLink {
    path: PathBuf,
    target: PathBuf,
}

impl DeviceLink {
    /// Makes `path` a link to `target`, atomically. An existing symbolic link is replaced.
    ///
    /// # Errors
    /// `AlreadyExists` if something other than a symbolic link is at `path`; else the system's error.
    pub fn create(path: &Path, target: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.is_symlink() => {
                let text = format!("{} exists and is not a symbolic link", path.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let name = path.file_name().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{} names no file", path.display()))
        })?;
        // Renaming makes it atomic: the name is never missing or incomplete.
        let mut fresh = OsString::from(".");
        fresh.push(name);
        fresh.push(format!(".{}", std::process::id()));
        let fresh = path.with_file_name(fresh);
        symlink(target, &fresh)?;
        if let Err(error) = fs::rename(&fresh, path) {
            // The first error is the one to report.
            let _ignored = fs::remove_file(&fresh);
            return Err(error);
        }
        Ok(Self { path: path.to_owned(), target: target.to_owned() })
    }

    /// Where the link is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DeviceLink {
    fn drop(&mut self) {
        if fs::read_link(&self.path).is_ok_and(|target| target == self.target) {
            // No caller is left to report a failure to.
            let _ignored = fs::remove_file(&self.path);
        }
    }
}
