//! The key `status`: where the status page listens, and the file with its token.
//!
//! Owns the rule that a page others can reach needs a token, and the reading of that token, so that a
//! configuration with an unusable one is refused by `check` already. Contract section 1.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::cross::collide;
use super::keys::Part;
use super::listener::ListenerRead;
use super::settings::Status;
use super::value::{address, file as path};
use crate::io::settings::{StatusSettings, Token};
use crate::yaml::problem::{Faults, Place};
use crate::yaml::section::{Field, KeyTable, Section};
use crate::yaml::tree::{Kind, Node};

/// Reads the key; `None`: something was reported. The page itself is `None` where it is off.
pub(super) fn read(
    file: &Section<'_, Part>,
    listeners: &[Option<ListenerRead>],
    faults: &mut Faults<'_>,
) -> Option<Option<Status>> {
    let place = file.place_of("status");
    let absent = Node::empty_mapping(place.spot);
    let node = file.node("status");
    match &node.unwrap_or(&absent).kind {
        Kind::Scalar { text, .. } if text == "off" => return Some(None),
        Kind::Refused => return None,
        Kind::Scalar { .. } | Kind::List(_) => {
            let keys: Vec<_> = Part::Status.keys().iter().map(|key| key.name).collect();
            let found = node.unwrap_or(&absent).describe();
            let message =
                format!("found {found}; allowed: off, or a mapping with the keys {}", keys.join(", "));
            faults.error(&place, message);
            return None;
        }
        Kind::Empty | Kind::Mapping(_) => {}
    }
    // With every key below it commented out, nothing is left to be wrong.
    let keys = node.filter(|node| !matches!(node.kind, Kind::Empty)).unwrap_or(&absent);
    let section = Section::open(keys, "status", Part::Status, faults)?;
    let found = section.value("address", faults, address);
    if let Some(found) = found.filter(|_| node.is_some()) {
        check_address(found, &section.place_of("address"), listeners, faults);
    }
    let (token_file, token) = match section.field("token_file", faults, path) {
        Field::Absent => (None, None),
        Field::Faulty => return None,
        Field::Given(path) => match read_token(&path) {
            Ok(token) => (Some(path), Some(token)),
            Err(message) => {
                faults.error(&section.place_of("token_file"), message);
                return None;
            }
        },
    };
    let address = found?;
    if token.is_none() && !address.ip().is_loopback() {
        let message = format!(
            "found {address}, which others can reach, and no token_file beside it; allowed: a loopback address \
             such as 127.0.0.1:8502, or with a token_file any ({MAKE_ONE})"
        );
        faults.error(&section.place_of("address"), message);
        return None;
    }
    Some(Some(Status { settings: StatusSettings { address, token }, token_file, given: node.is_some() }))
}

/// A listener and the page cannot both have an address.
fn check_address(
    found: SocketAddr,
    place: &Place,
    listeners: &[Option<ListenerRead>],
    faults: &mut Faults<'_>,
) {
    let taken =
        listeners.iter().flatten().filter_map(|listener| Some((listener.address?, &listener.address_at)));
    if let Some((first, at)) = taken.into_iter().find(|(other, _)| collide(other, &found)) {
        let message = format!(
            "found {found}, but {} on line {} already takes {first}; allowed: each address and port once",
            at.key, at.spot.line
        );
        faults.error(place, message);
    }
}

pub(crate) fn read_token(path: &Path) -> Result<Token, String> {
    let shown = path.display();
    let cannot_be_read = |error: io::Error| {
        let remedy = if error.kind() == io::ErrorKind::NotFound {
            format!("; {MAKE_ONE}")
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            "; the user this runs as must be able to read it, as `chgrp metergate` and `chmod 640` make it"
                .to_owned()
        } else {
            String::new()
        };
        format!("found {shown}, which cannot be read: {error}{remedy}")
    };
    // Looked at before it is opened: opening a pipe waits for whoever writes into it.
    let metadata = fs::metadata(path).map_err(cannot_be_read)?;
    if !metadata.is_file() {
        return Err(format!("found {shown}, which is no file; allowed: a file with the token in it"));
    }
    if others_may_read(&metadata) {
        return Err(format!(
            "found {shown}, which every user of this machine can read; `chmod o= {shown}` would do"
        ));
    }
    let file = File::open(path).map_err(cannot_be_read)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(Token::LONGEST).unwrap_or(u64::MAX) + LINE_END;
    file.take(most).read_to_end(&mut bytes).map_err(cannot_be_read)?;
    let text = String::from_utf8(bytes).unwrap_or_else(|_| "\u{fffd}".to_owned());
    Token::parse(&text).map_err(|found| {
        format!(
            "{shown}: {found}; allowed: one line of {} to {} printable ASCII characters without a space ({MAKE_ONE})",
            Token::SHORTEST,
            Token::LONGEST
        )
    })
}

fn others_may_read(metadata: &Metadata) -> bool {
    metadata.mode() & 0o007 != 0
}

/// How a user gets a token.
const MAKE_ONE: &str = "`(umask 077; openssl rand -hex 32 > FILE)` makes one";

/// Bytes after the token that do not belong to it, and one more to tell that it is too long.
const LINE_END: u64 = 3;
