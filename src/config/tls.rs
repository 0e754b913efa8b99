//! The files of `tls` and of brokers: loaded, and their faults by the key that names them.

use std::sync::Arc;

use super::section::{Broker, Listener, StatusTls, Tls};
use super::token_file::warn_if_exposed;
use crate::document::Reader;
use crate::modbus::AduFraming;
use crate::mqtt::Scheme;
use crate::tls::{TlsClient, TlsClientFiles, TlsFiles, TlsServer};

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

/// What a connection to a broker is trusted by and shows; `None` without TLS, and if an error was reported.
pub(super) fn of_broker(
    section: &Broker,
    scheme: Scheme,
    path: &str,
    reader: &mut Reader<'_, '_>,
) -> Option<Arc<TlsClient>> {
    let given = [("ca", &section.ca), ("certificate", &section.certificate), ("key", &section.key)];
    let given: Vec<&str> = given.iter().filter(|(_, file)| file.is_some()).map(|(name, _)| *name).collect();
    if scheme == Scheme::Mqtt {
        for name in given {
            let what = "found beside a broker without TLS";
            reader.error_at_key(&format!("{path}.{name}"), what, "allowed: with `broker: mqtts://...` only");
        }
        return None;
    }
    let identity = match (&section.certificate, &section.key) {
        (Some(certificate), Some(key)) => Some((certificate.0.clone(), key.0.clone())),
        (None, None) => None,
        (certificate, _) => {
            let (found, lacks) =
                if certificate.is_some() { ("certificate", "key") } else { ("key", "certificate") };
            let what = format!("found without a `{lacks}` beside it");
            reader.error_at_key(&format!("{path}.{found}"), &what, "allowed: both, or neither");
            return None;
        }
    };
    if given.iter().any(|name| !reader.is_sound(&format!("{path}.{name}"))) {
        return None;
    }
    if let Some((_, key)) = &identity {
        warn_if_exposed(key, &format!("{path}.key"), reader);
    }
    let fault =
        match TlsClient::load(&TlsClientFiles { ca: section.ca.as_ref().map(|ca| ca.0.clone()), identity }) {
            Ok(client) => return Some(Arc::new(client)),
            Err(fault) => fault,
        };
    reader.error(&format!("{path}.{}", fault.key.name()), &fault.what, fault.help);
    None
}

/// The server with these files; `None`: an error was reported at the key below `path` that names the file.
fn load(files: &TlsFiles, path: &str, reader: &mut Reader<'_, '_>) -> Option<Arc<TlsServer>> {
    if !reader.is_sound(path) {
        return None;
    }
    warn_if_exposed(&files.key, &format!("{path}.key"), reader);
    let fault = match TlsServer::load(files) {
        Ok(server) => return Some(Arc::new(server)),
        Err(fault) => fault,
    };
    reader.error(&format!("{path}.{}", fault.key.name()), &fault.what, fault.help);
    None
}
