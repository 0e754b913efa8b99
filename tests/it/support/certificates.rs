//! Certificates of an invented site, made with rcgen and not by the code of `tls init`, and TLS clients that show them.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use metergate::tls::{TlsFault, TlsFiles, TlsServer};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version,
};

const ROLE: [u64; 9] = [1, 3, 6, 1, 4, 1, 50316, 802, 1];
const DAY: Duration = Duration::from_secs(86_400);

/// An authority with its files in a directory that is removed with it.
pub(crate) struct Site {
    authority: CertifiedIssuer<'static, KeyPair>,
    pub(crate) folder: PathBuf,
}

/// A client's certificate and key.
pub(crate) struct ClientCertificate {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
    pub(crate) serial: SerialNumber,
}

/// An authority between a site's and its clients.
pub(crate) struct Intermediate {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) serial: SerialNumber,
}

impl Intermediate {
    /// A client of this authority, and what it shows.
    pub(crate) fn client(&self) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client = params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap();
        vec![client.der().clone(), self.issuer.der().clone()]
    }

    /// A list of this authority that revokes nothing, in PEM.
    pub(crate) fn list(&self) -> String {
        list(&self.issuer, &[])
    }
}

fn list(issuer: &CertifiedIssuer<'static, KeyPair>, serials: &[&SerialNumber]) -> String {
    let now = SystemTime::now();
    let revoked = |serial: &&SerialNumber| RevokedCertParams {
        serial_number: (*serial).clone(),
        revocation_time: now.into(),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: now.into(),
        next_update: (now + DAY).into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().pem().unwrap()
}

/// What is unusual about a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    Nothing,
    Expired,
    NotYetValid,
    ForServers,
    ExpiresIn(Duration),
}

/// The value of the extension with a role.
pub(crate) fn utf8(role: &str) -> Vec<u8> {
    [&[0x0C, u8::try_from(role.len()).unwrap()][..], role.as_bytes()].concat()
}

impl Site {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("metergate-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let site = Self { authority, folder };
        fs::write(site.folder.join("ca.pem"), site.authority.pem()).unwrap();
        site.renew_server();
        site
    }

    /// Writes a new certificate and key of the server.
    pub(crate) fn renew_server(&self) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.write_server(params);
    }

    /// Writes a certificate of the server that is valid only then.
    pub(crate) fn date_server(&self, from: SystemTime, to: SystemTime) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (from.into(), to.into());
        self.write_server(params);
    }

    fn write_server(&self, params: CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.authority).unwrap().pem() + &self.authority.pem();
        fs::write(self.folder.join("server.pem"), chain).unwrap();
        let file = self.folder.join("server.key");
        fs::write(&file, key.serialize_pem()).unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.folder.join("server.pem"),
            key: self.folder.join("server.key"),
            client_ca: Some(self.folder.join("ca.pem")),
            crl: None,
        }
    }

    pub(crate) fn server(&self) -> Arc<TlsServer> {
        Arc::new(TlsServer::load(&self.files()).unwrap_or_else(|fault| panic!("{fault}")))
    }

    /// The server, with a list that revokes these clients.
    pub(crate) fn server_that_revokes(&self, clients: &[&ClientCertificate]) -> Arc<TlsServer> {
        let serials: Vec<_> = clients.iter().map(|client| &client.serial).collect();
        self.server_with_lists(&list(&self.authority, &serials))
            .map(Arc::new)
            .unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// The server, with these revocation lists in PEM.
    pub(crate) fn server_with_lists(&self, lists: &str) -> Result<TlsServer, TlsFault> {
        let crl = self.folder.join("ca.crl");
        fs::write(&crl, lists).unwrap();
        TlsServer::load(&TlsFiles { crl: Some(crl), ..self.files() })
    }

    /// A list of the authority that revokes these certificates, in PEM.
    pub(crate) fn list(&self, serials: &[&SerialNumber]) -> String {
        list(&self.authority, serials)
    }

    /// An authority that this one has signed.
    pub(crate) fn intermediate(&self) -> Intermediate {
        let (mut params, serial) = (CertificateParams::default(), SerialNumber::from(7));
        params.distinguished_name.push(DnType::CommonName, "intermediate");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial.clone());
        let key = KeyPair::generate().unwrap();
        Intermediate { issuer: CertifiedIssuer::signed_by(params, key, &self.authority).unwrap(), serial }
    }

    /// A client whose certificate has these role extensions.
    pub(crate) fn client(&self, name: &str, roles: &[Vec<u8>], odd: Odd) -> ClientCertificate {
        static SERIAL: AtomicU32 = AtomicU32::new(1000);
        let serial = SerialNumber::from(u64::from(SERIAL.fetch_add(1, Ordering::Relaxed)));
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(serial.clone());
        let usage = if odd == Odd::ForServers {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        };
        params.extended_key_usages = vec![usage];
        let now = SystemTime::now();
        let (from, to) = match odd {
            Odd::Nothing | Odd::ForServers => (now - DAY, now + DAY),
            Odd::ExpiresIn(left) => (now - DAY, now + left),
            Odd::Expired => (now - 3 * DAY, now - DAY),
            Odd::NotYetValid => (now + DAY, now + 3 * DAY),
        };
        (params.not_before, params.not_after) = (from.into(), to.into());
        let extension = |value: &Vec<u8>| CustomExtension::from_oid_content(&ROLE, value.clone());
        params.custom_extensions = roles.iter().map(extension).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        ClientCertificate { certificate, key, serial }
    }

    /// Writes the certificate and the key of a client, as `client.pem` and `client.key`.
    pub(crate) fn write_client(&self, client: &ClientCertificate) {
        fs::write(self.folder.join("client.pem"), client.certificate.pem()).unwrap();
        let file = self.folder.join("client.key");
        fs::write(&file, client.key.serialize_pem()).unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    }

    /// A client with one role.
    pub(crate) fn client_with_role(&self, role: &str) -> ClientCertificate {
        self.client(role, &[utf8(role)], Odd::Nothing)
    }

    /// Settings of a TLS client that trusts the site and shows this certificate.
    pub(crate) fn client_config(
        &self,
        client: Option<&ClientCertificate>,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match client {
            Some(client) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(client.key.serialize_der()));
                builder.with_client_auth_cert(vec![client.certificate.der().clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        })
    }

    /// Connects with this certificate over TLS 1.3.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        client: Option<&ClientCertificate>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        connect(&self.client_config(client, &version::TLS13), address).await
    }
}

pub(crate) async fn connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_over(config, TcpStream::connect(address).await?).await
}

/// Does the client's part of a handshake.
pub(crate) async fn connect_over(
    config: &Arc<ClientConfig>,
    stream: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(Arc::clone(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// The first message of a client's handshake.
pub(crate) fn client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(Arc::clone(config), name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

impl Drop for Site {
    fn drop(&mut self) {
        let _stays_in_the_temporary_directory = fs::remove_dir_all(&self.folder);
    }
}
