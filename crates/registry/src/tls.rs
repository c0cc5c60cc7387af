//! HTTP clients, one for each way to trust: made when first needed, kept while its files stay.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use image::FetchErrorKind as Kind;
use reqwest::Client;
use rustls::{
    ClientConfig, RootCertStore,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{dns::Dns, error::Error, hosts::Tls};

/// Connections that wait for their next use.
const IDLE: Duration = Duration::from_secs(30);

type Stamps = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

#[derive(Debug)]
pub(crate) struct Clients {
    /// How long a connection may take where its endpoint does not say.
    dial: Duration,
    made: Mutex<HashMap<Tls, (Stamps, Client)>>,
}

impl Clients {
    pub(crate) fn new(dial: Duration) -> Self {
        Self {
            dial,
            made: Mutex::default(),
        }
    }

    /// The client for an endpoint. Reads files when it is new or they have changed.
    pub(crate) fn of(&self, tls: &Tls) -> Result<Client, Error> {
        let stamps = stamps(tls);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((old, client)) = made.get(tls)
            && *old == stamps
        {
            return Ok(client.clone());
        }
        let client = client(tls, self.dial).map_err(|text| Error::new(Kind::Refused, text))?;
        made.insert(tls.clone(), (stamps, client.clone()));
        Ok(client)
    }
}

fn stamps(tls: &Tls) -> Stamps {
    let client = tls.client.iter();
    let client = client.flat_map(|(cert, key)| [Some(cert), key.as_ref()].into_iter().flatten());
    tls.authorities
        .iter()
        .chain(client)
        .map(|path| {
            let meta = fs::metadata(path).ok();
            let stamp = meta.and_then(|meta| Some((meta.modified().ok()?, meta.len())));
            (path.clone(), stamp)
        })
        .collect()
}

fn client(tls: &Tls, dial: Duration) -> Result<Client, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = if tls.skip_verify {
        versions
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
    } else {
        versions.with_root_certificates(roots(&tls.authorities)?)
    };
    let config = match &tls.client {
        None => config.with_no_client_auth(),
        Some((certificates, key)) => {
            let key = key.as_ref().unwrap_or(certificates);
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("read the key {}: {error}", key.display()))?;
            config
                .with_client_auth_cert(certificates_of(certificates)?, secret)
                .map_err(|error| format!("use {}: {error}", certificates.display()))?
        }
    };
    let dial = match tls.dial_seconds {
        0 => dial,
        seconds => Duration::from_secs(seconds),
    };
    Client::builder()
        .tls_backend_preconfigured(config)
        .dns_resolver(Dns::within(dial / 2))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(dial)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(8)
        .tcp_keepalive(Duration::from_secs(30))
        .user_agent(concat!("coffer/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())
}

/// The system's authorities, and those of the endpoint.
fn roots(authorities: &[PathBuf]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "an authority of the system cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    for file in authorities {
        for certificate in certificates_of(file)? {
            roots
                .add(certificate)
                .map_err(|error| format!("trust {}: {error}", file.display()))?;
        }
    }
    Ok(roots)
}

fn certificates_of(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: rustls::pki_types::pem::Error| {
        format!("read the certificates {}: {error}", file.display())
    };
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if found.is_empty() {
        return Err(format!("{} holds no certificate", file.display()));
    }
    Ok(found)
}

/// `skip_verify`: any certificate will do. The operator has asked for it, for this endpoint.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
