//! A certificate authority of a test's own.

use std::{io, net::Ipv4Addr, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

/// An authority that nobody else knows.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    asks_client: bool,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// No key can be made.
    pub fn new() -> io::Result<Authority> {
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(failed)?;
        Ok(Authority {
            issuer,
            asks_client: false,
        })
    }

    /// Servers ask their clients for a certificate of this authority.
    #[must_use]
    pub fn asking_clients(mut self) -> Authority {
        self.asks_client = true;
        self
    }

    /// Its certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes a certificate and its key, as PEM, for a client.
    ///
    /// # Errors
    /// No key can be made, or a file not be written.
    pub fn write_client(&self, certificate: &Path, key: &Path) -> io::Result<()> {
        let (cert, pair) = self.issue()?;
        std::fs::write(certificate, cert)?;
        std::fs::write(key, pair.serialize_pem())
    }

    fn issue(&self) -> io::Result<(String, KeyPair)> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).map_err(failed)?;
        let loopback = SanType::IpAddress(Ipv4Addr::LOCALHOST.into());
        params.subject_alt_names.push(loopback);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok((certificate.pem(), key))
    }

    pub(super) fn server(&self) -> io::Result<Arc<ServerConfig>> {
        let (certificate, key) = self.issue()?;
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(failed)?;
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).map_err(failed)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let builder = if self.asks_client {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(self.pem().as_bytes()).map_err(failed)?)
                .map_err(failed)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(failed)?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let config = builder
            .with_single_cert(vec![certificate], key)
            .map_err(failed)?;
        Ok(Arc::new(config))
    }
}
