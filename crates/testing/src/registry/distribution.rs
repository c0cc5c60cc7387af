//! Debian's `docker-registry` (the CNCF distribution), on a free port of 127.0.0.1.

use std::{
    fmt::Write as _,
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::Authority;
use crate::guard::Process;

/// `user` with the password `secret`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "user:$2y$05$.OWvlmi9R4SNRTdpK.OJoufxCeb3DaNkFd8QRTArsJ9XEZJYxjdOK\n";
/// Somebody else may take the port between our look and its use.
const TRIES: usize = 5;

/// How it is set up.
#[derive(Debug, Default)]
pub struct Setup<'a> {
    /// Only `user` with the password `secret` is let in.
    pub htpasswd: bool,
    /// It speaks TLS, with a certificate of this authority.
    pub tls: Option<&'a Authority>,
    /// It holds nothing itself, and fetches what it is asked for from this address.
    pub proxy_of: Option<String>,
}

/// The registry; it ends, and what it holds goes, when this is dropped.
#[derive(Debug)]
pub struct Distribution {
    address: SocketAddr,
    tls: bool,
    _process: Process,
    dir: tempfile::TempDir,
}

impl Distribution {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// The program is missing (Debian: docker-registry) or ends at once; its log says why.
    pub fn start(setup: &Setup<'_>) -> io::Result<Distribution> {
        let dir = tempfile::Builder::new()
            .prefix("coffer-distribution-")
            .tempdir()?;
        let mut last = io::Error::other("not tried");
        for _ in 0..TRIES {
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            let config = dir.path().join("config.yml");
            fs::write(&config, document(setup, &dir, address)?)?;
            let log = dir.path().join("log");
            let child = Command::new("docker-registry")
                .arg("serve")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log_to(&log)?)
                .spawn()
                .map_err(|error| {
                    let text = format!("docker-registry (Debian package of that name): {error}");
                    io::Error::new(error.kind(), text)
                })?;
            match answers(child, address) {
                Ok(process) => {
                    return Ok(Distribution {
                        address,
                        tls: setup.tls.is_some(),
                        _process: process,
                        dir,
                    });
                }
                Err(error) => {
                    let said = fs::read_to_string(&log).unwrap_or_default();
                    last = io::Error::other(format!("{error}; it says: {said}"));
                }
            }
        }
        Err(last)
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Where it keeps what it holds.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.dir.path().join("storage")
    }
}

fn log_to(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
}

/// Waits until somebody listens, or the program has ended.
fn answers(mut child: std::process::Child, address: SocketAddr) -> io::Result<Process> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("docker-registry ended: {status}")));
        }
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            return Ok(Process::child(child));
        }
        if Instant::now() > end {
            drop(Process::child(child));
            return Err(io::Error::other("docker-registry does not listen"));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn document(setup: &Setup<'_>, dir: &tempfile::TempDir, address: SocketAddr) -> io::Result<String> {
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mut text = format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
         rootdirectory: {}\nhttp:\n  addr: {address}\n",
        path("storage")
    );
    if let Some(authority) = setup.tls {
        let (certificate, key) = (path("tls.crt"), path("tls.key"));
        authority.write_client(certificate.as_ref(), key.as_ref())?;
        let _ = writeln!(
            text,
            "  tls:\n    certificate: {certificate}\n    key: {key}"
        );
    }
    if setup.htpasswd {
        let file = path("htpasswd");
        fs::write(&file, HTPASSWD)?;
        let _ = writeln!(
            text,
            "auth:\n  htpasswd:\n    realm: test\n    path: {file}"
        );
    }
    if let Some(upstream) = &setup.proxy_of {
        let _ = writeln!(text, "proxy:\n  remoteurl: {upstream}");
    }
    Ok(text)
}
