//! A gateway with a plain listener and one with TLS, and a client with a certificate for it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::gateway::{Gateway, program};
use crate::load;
use crate::wire::{Pace, Wire};

/// The files, which `tls init` makes; removed when dropped.
pub(crate) struct Site {
    folder: PathBuf,
    client: Arc<ClientConfig>,
}

/// A gateway with both listeners.
pub(crate) struct Served {
    pub(crate) gateway: Gateway,
    pub(crate) plain: SocketAddr,
    pub(crate) secured: SocketAddr,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("metergate-bench-tls-{}", std::process::id()));
        let made = Command::new(program())
            .args(["tls", "init"])
            .arg(&folder)
            .args(["--role", ROLE, "--name", NAME])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .expect("the built program starts");
        assert!(made.success(), "it makes certificates");
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&folder.join("ca.pem")));
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("client-{ROLE}.key")));
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has suites for them")
            .with_root_certificates(roots)
            .with_client_auth_cert(
                certificates(&folder.join(format!("client-{ROLE}.pem"))),
                key.expect("the key was made"),
            )
            .expect("certificate and key fit");
        Self { folder, client: Arc::new(client) }
    }

    /// A gateway whose only unit is read in the background.
    pub(crate) fn serve(&self, line: &Wire) -> Served {
        let (device, folder) = (line.device().display(), self.folder.display());
        let limits = "max_age: 5s\n    max_connections: 600\n    max_connections_per_ip: 600\n";
        let text = format!(
            "listeners:\n  - address: 127.0.0.1:0\n    {limits}  - address: 127.0.0.2:0\n    {limits}    \
             tls: {{certificate: {folder}/server.pem, key: {folder}/server.key, client_ca: {folder}/ca.pem}}\n\
             buses:\n  - name: bench\n    device: {device}\n    baud_rate: {}\n    \
             units: [{{id: 1, profile: leviton-4000r}}]\nstatus: {{address: 127.0.0.1:0}}\n",
            PACE.baud_rate
        );
        let mut gateway = Gateway::run(line, &text);
        let (plain, secured) = (gateway.address(), gateway.further_address());
        Served { gateway, plain, secured }
    }

    /// A connection after its handshake.
    pub(crate) async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        let stream = load::connect(address).await;
        let connected = TlsConnector::from(Arc::clone(&self.client)).connect(name(), stream).await;
        connected.expect("its certificate is good")
    }

    /// The first message of a handshake.
    pub(crate) fn client_hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        let mut client = ClientConnection::new(Arc::clone(&self.client), name()).expect("a client");
        client.write_tls(&mut hello).expect("memory can be written");
        hello
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _stays_in_the_temporary_folder = fs::remove_dir_all(&self.folder);
    }
}

fn certificates(file: &std::path::Path) -> Vec<CertificateDer<'static>> {
    let certificates = CertificateDer::pem_file_iter(file).expect("it was made");
    certificates.map(|one| one.expect("a certificate")).collect()
}

fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("a name")
}

const ROLE: &str = "Engineer";
const NAME: &str = "gateway.example";

/// The fastest rate that can be configured; the line only refreshes one unit.
pub(crate) const PACE: Pace = Pace { baud_rate: 1_000_000, turnaround: None };
