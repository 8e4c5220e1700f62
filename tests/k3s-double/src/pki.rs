//! Certificate authorities and certificates, and the CA hash of a token (reference, section 1.6).

use crate::files;
use anyhow::{Context, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Duration;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, Pem, X509Certificate};

/// Validity of a certificate authority made here: ten years.
const CA_DAYS: u64 = 3650;
/// Validity of a leaf certificate.
const LEAF_DAYS: u64 = 365;

/// A certificate authority.
pub struct Ca {
    /// The whole bundle, as in its file.
    pub bundle: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate (with the bundle of its CA) and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Certificates, leaf first.
    pub cert: String,
    /// Private key.
    pub key: String,
}

/// What a leaf certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// TLS server.
    Server,
    /// TLS client.
    Client,
}

impl Ca {
    /// Takes `NAME.crt` and `NAME.key` when they are there, else makes a self-signed CA called `k3s-NAME@UNIX-TIME`.
    ///
    /// # Errors
    /// One of the two files is missing, or they do not fit together.
    pub fn ensure(folder: &Path, name: &str) -> Result<Self> {
        let (crt, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        match (crt.exists(), key.exists()) {
            (true, true) => {}
            (false, false) => {
                let short = name.rsplit('/').next().unwrap_or(name);
                let (cert_pem, key_pem) =
                    new_ca(&format!("k3s-{short}@{}", jiff::Timestamp::now().as_second()))?;
                files::write(&crt, 0o644, cert_pem.as_bytes())?;
                files::write(&key, 0o600, key_pem.as_bytes())?;
            }
            (true, false) => bail!("{} is there, but {} is not", crt.display(), key.display()),
            (false, true) => bail!("{} is there, but {} is not", key.display(), crt.display()),
        }
        let bundle = files::read(&crt)?;
        let pair = KeyPair::from_pem(&files::read(&key)?)
            .with_context(|| format!("reading the key {}", key.display()))?;
        let first = ders(bundle.as_bytes())
            .into_iter()
            .next()
            .with_context(|| format!("{} holds no certificate", crt.display()))?;
        let (_, parsed) =
            X509Certificate::from_der(&first).with_context(|| format!("parsing {}", crt.display()))?;
        if parsed.public_key().subject_public_key.data.as_ref() != pair.public_key_raw() && !is_rsa(&parsed) {
            bail!("{} is not the key of {}", key.display(), crt.display());
        }
        let issuer = Issuer::from_ca_cert_der(&first.into(), pair)
            .with_context(|| format!("using {} as a CA", crt.display()))?;
        Ok(Self { bundle, issuer })
    }

    /// Signs a certificate for a new key.
    ///
    /// # Errors
    /// A name that cannot stand in a certificate.
    pub fn issue(&self, name: &str, groups: &[&str], sans: &[String], usage: Use) -> Result<Leaf> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        for san in sans {
            params.subject_alt_names.push(match san.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(san.as_str().try_into().with_context(|| format!("SAN {san:?}"))?),
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![match usage {
            Use::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Use::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, LEAF_DAYS);
        let key = KeyPair::generate().context("making a key")?;
        let cert = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("signing the certificate of {name}"))?;
        Ok(Leaf { cert: format!("{}{}", cert.pem(), self.bundle), key: key.serialize_pem() })
    }
}

fn is_rsa(cert: &X509Certificate<'_>) -> bool {
    matches!(cert.public_key().parsed(), Ok(x509_parser::public_key::PublicKey::RSA(_)))
}

fn validity(params: &mut CertificateParams, days: u64) {
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // A minute back, for a reader whose clock is a little behind.
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(60));
    params.not_after = epoch + Duration::from_secs(now + days * 86_400);
}

fn new_ca(name: &str) -> Result<(String, String)> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyCertSign,
    ];
    validity(&mut params, CA_DAYS);
    let key = KeyPair::generate().context("making a CA key")?;
    let cert = params.self_signed(&key).with_context(|| format!("making the CA {name}"))?;
    Ok((cert.pem(), key.serialize_pem()))
}

/// The certificates of a PEM text.
pub fn ders(pem: &[u8]) -> Vec<Vec<u8>> {
    Pem::iter_from_buffer(pem).flatten().filter(|p| p.label == "CERTIFICATE").map(|p| p.contents).collect()
}

/// The CA hash of a bundle: of the file's bytes when it holds one certificate, else of the root its first one leads to.
pub fn ca_hash(bundle: &[u8]) -> String {
    let ders = ders(bundle);
    match ders.as_slice() {
        [first, others @ ..] if !others.is_empty() => {
            root_of(first, others).map_or_else(|| digest(bundle), |root| digest(&root))
        }
        _ => digest(bundle),
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Follows signatures from a certificate to a root among the others.
fn root_of(first: &[u8], others: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut current = first;
    for _ in 0..=others.len() {
        let (_, cert) = X509Certificate::from_der(current).ok()?;
        let next = others.iter().find(|der| {
            X509Certificate::from_der(der).is_ok_and(|(_, issuer)| {
                der.as_slice() != current
                    && issuer.subject() == cert.issuer()
                    && issuer.is_ca()
                    && issuer.validity().is_valid()
                    && cert.verify_signature(Some(issuer.public_key())).is_ok()
            })
        })?;
        let (_, issuer) = X509Certificate::from_der(next).ok()?;
        if is_root(&issuer) {
            return Some(next.clone());
        }
        current = next;
    }
    None
}

fn is_root(cert: &X509Certificate<'_>) -> bool {
    let mut authority = None;
    let mut subject = None;
    for extension in cert.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(aki) => {
                authority = aki.key_identifier.as_ref().map(|k| k.0)
            }
            ParsedExtension::SubjectKeyIdentifier(ski) => subject = Some(ski.0),
            _ => {}
        }
    }
    authority.is_none() || authority == subject
}

/// Common name and organisations of a certificate.
pub fn subject(der: &[u8]) -> Option<(String, Vec<String>)> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let name = cert.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups =
        cert.subject().iter_organization().filter_map(|o| o.as_str().ok().map(str::to_owned)).collect();
    Some((name, groups))
}

#[cfg(test)]
mod tests {
    use super::{Ca, Use, ca_hash, ders, digest, new_ca, subject};
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    #[test]
    fn one_certificate_hashes_the_file_and_a_chain_its_root() {
        let (root_pem, root_key) = new_ca("root").unwrap();
        assert_eq!(ca_hash(root_pem.as_bytes()), digest(root_pem.as_bytes()));
        let issuer = Issuer::from_ca_cert_pem(&root_pem, KeyPair::from_pem(&root_key).unwrap()).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "leaf ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().pem();
        let bundle = format!("{leaf}{root_pem}");
        assert_eq!(ca_hash(bundle.as_bytes()), digest(&ders(root_pem.as_bytes())[0]));
        let (stranger, _) = new_ca("root").unwrap();
        let broken = format!("{leaf}{stranger}");
        assert_eq!(ca_hash(broken.as_bytes()), digest(broken.as_bytes()), "falls back to the raw bytes");
    }

    #[test]
    fn keeps_a_ca_and_issues_names_and_groups() {
        let folder = tempfile::tempdir().unwrap();
        let first = Ca::ensure(folder.path(), "client-ca").unwrap();
        assert_eq!(Ca::ensure(folder.path(), "client-ca").unwrap().bundle, first.bundle);
        let leaf = first.issue("system:node:m1", &["system:nodes"], &[], Use::Client).unwrap();
        assert_eq!(
            subject(&ders(leaf.cert.as_bytes())[0]),
            Some(("system:node:m1".into(), vec!["system:nodes".into()]))
        );
        std::fs::remove_file(folder.path().join("client-ca.key")).unwrap();
        assert!(
            Ca::ensure(folder.path(), "client-ca")
                .err()
                .unwrap()
                .to_string()
                .ends_with("client-ca.key is not")
        );
    }
}
