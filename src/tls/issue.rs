//! New certificates: an authority, a server, and clients with a role, for a site that has no authority of its own.
//!
//! All keys are EC P-256, which the specification requires of a device with EC keys and which every client has.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

use super::role::ROLE_OID;

/// A certificate and its key, in PEM. The certificate's file has the authority's behind it.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, and the authority that signed it.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// A new authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    now: SystemTime,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes an authority for the site.
    ///
    /// # Errors
    /// The system has no random numbers, or the name cannot be written.
    pub fn new(site: &str, now: SystemTime) -> Result<Self, rcgen::Error> {
        let mut params = params(&format!("{site} Modbus CA"), now, AUTHORITY_VALID);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer, now })
    }

    /// Its certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// Its key, in PEM.
    #[must_use]
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for a server with these host names and addresses.
    ///
    /// # Errors
    /// A name is none that a certificate can have.
    pub fn issue_server(&self, name: &str, names: &[String]) -> Result<Issued, rcgen::Error> {
        let mut params = params(name, self.now, VALID);
        params.subject_alt_names = CertificateParams::new(names.to_vec())?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A certificate for a client with this role.
    ///
    /// # Errors
    /// The name cannot be written.
    pub fn issue_client(&self, name: &str, role: &str) -> Result<Issued, rcgen::Error> {
        let mut params = params(name, self.now, VALID);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.custom_extensions = vec![CustomExtension::from_oid_content(&ROLE_OID, role_extension(role))];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Issued, rcgen::Error> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem() + &self.issuer.pem(), key: key.serialize_pem() })
    }
}

fn params(name: &str, now: SystemTime, valid: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    // The clocks of the other machines may be behind.
    params.not_before = (now - CLOCK_TOLERANCE).into();
    params.not_after = (now + valid).into();
    params
}

/// The value of the extension: one UTF8String in DER.
fn role_extension(role: &str) -> Vec<u8> {
    let length = u8::try_from(role.len()).unwrap_or(u8::MAX);
    let head: &[u8] = if length < 0x80 { &[0x0C, length] } else { &[0x0C, 0x81, length] };
    [head, role.as_bytes()].concat()
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an authority is valid: as long as a meter.
const AUTHORITY_VALID: Duration = DAY.saturating_mul(365 * 20);

/// How long a server's and a client's certificate are valid.
pub const VALID: Duration = DAY.saturating_mul(365 * 5);

/// How far behind the clocks of other machines may be.
const CLOCK_TOLERANCE: Duration = DAY;
