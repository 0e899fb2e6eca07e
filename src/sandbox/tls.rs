//! HTTPS with a certificate authority that is made at the start and lives as long as the server.
//!
//! Only the authority's certificate ever leaves the process: whoever trusts it trusts nothing that outlives the sandbox.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::error::Error;
use crate::error::Result;

/// A server's certificate, and the authority that vouches for it.
#[derive(Clone)]
pub(super) struct Tls {
    names: Arc<[String]>,
    authority: Arc<str>,
    pub(super) acceptor: TlsAcceptor,
}

impl Tls {
    /// Makes an authority and a certificate for `names`: host names, one of which may begin with `*.`, and addresses.
    pub(super) fn new(names: &[&str]) -> Result<Self> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (authority, acceptor) = make(&names)
            .map_err(|cause| Error::bug(format!("the sandbox's certificate could not be made: {cause}")))?;
        Ok(Self { names: names.into(), authority: pem(&authority).into(), acceptor })
    }

    /// The authority's certificate as PEM.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether the certificate is good for a host.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            // A wildcard stands for one label.
            Some(domain) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == domain),
            None => *name == host,
        })
    }
}

fn make(names: &[String]) -> std::result::Result<(Vec<u8>, TlsAcceptor), Box<dyn std::error::Error + Send + Sync>> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::OrganizationName, "sf2gs");
    authority.distinguished_name.push(DnType::CommonName, "sf2gs sandbox authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "sf2gs sandbox");
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &authority)?;

    // The provider that the HTTP client brings anyway, named because two are linked.
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.into(), authority.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((authority.der().to_vec(), TlsAcceptor::from(Arc::new(config))))
}

/// RFC 7468.
fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for at in (0..text.len()).step_by(64) {
        pem.push_str(&text[at..text.len().min(at + 64)]);
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_one_label() {
        let tls = Tls::new(&["login.salesforce.com", "*.my.salesforce.com", "127.0.0.1"]).unwrap();
        for (host, good) in [
            ("login.salesforce.com", true),
            ("LOGIN.salesforce.com.", true),
            ("acme.my.salesforce.com", true),
            ("a.b.my.salesforce.com", false),
            (".my.salesforce.com", false),
            ("my.salesforce.com", false),
            ("127.0.0.1", true),
            ("example.com", false),
        ] {
            assert_eq!(tls.is_for(host), good, "{host}");
        }
        assert!(tls.authority().starts_with("-----BEGIN CERTIFICATE-----\n"));
    }
}
