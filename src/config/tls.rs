//! The files of `tls`: loaded, and their faults by the key that names them.

use std::sync::Arc;

use super::section::{Listener, StatusTls, Tls};
use crate::document::Reader;
use crate::modbus::AduFraming;
use crate::tls::{TlsFiles, TlsServer};

/// The server of the listener at `path`; `None`: an error was reported.
pub(super) fn of_listener(
    section: &Tls,
    listener: &Listener,
    path: &str,
    reader: &mut Reader<'_, '_>,
) -> Option<Arc<TlsServer>> {
    let path = format!("{path}.tls");
    if listener.framing == AduFraming::Rtu && reader.is_sound(&path) {
        let what = "found beside framing: rtu; Modbus/TCP Security has the framing of Modbus TCP";
        reader.error_at_key(&path, what, "allowed: with framing: tcp only");
    }
    let files = TlsFiles {
        certificate: section.certificate.0.clone(),
        key: section.key.0.clone(),
        client_ca: Some(section.client_ca.0.clone()),
        crl: section.crl.as_ref().map(|crl| crl.0.clone()),
    };
    load(&files, &path, reader)
}

/// The server of the status page; `None`: an error was reported.
pub(super) fn of_status(section: &StatusTls, reader: &mut Reader<'_, '_>) -> Option<Arc<TlsServer>> {
    let files = TlsFiles {
        certificate: section.certificate.0.clone(),
        key: section.key.0.clone(),
        client_ca: None,
        crl: None,
    };
    load(&files, "status.tls", reader)
}

/// The server with these files; `None`: an error was reported at the key below `path` that names the file.
fn load(files: &TlsFiles, path: &str, reader: &mut Reader<'_, '_>) -> Option<Arc<TlsServer>> {
    if !reader.is_sound(path) {
        return None;
    }
    let fault = match TlsServer::load(files) {
        Ok(server) => return Some(Arc::new(server)),
        Err(fault) => fault,
    };
    reader.error(&format!("{path}.{}", fault.key.name()), &fault.what, fault.help);
    None
}
