//! The programs that pull, each with an empty store of its own and paths that only it uses.
//!
//! ```text
//!  coffer            daemon, CRI PullImage                     durable: synced before it answers
//!  containerd        daemon, CRI PullImage, overlayfs          not synced
//!  podman            podman pull, overlay                      not synced
//!  skopeo, umoci     skopeo copy to a layout, umoci unpack     not synced
//! ```
//! A daemon is started before the clock and ended after it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use cri_api::v1::{ImageSpec, PullImageRequest, image_service_client::ImageServiceClient};
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::Channel;

use super::{content::Form, watch};
use crate::cri::Daemon;

/// What one pull has cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// KiB; of a daemon what it took beyond what it had before.
    pub(crate) memory: u64,
    /// The same pull once more, where that is measured.
    pub(crate) again: Option<Duration>,
}

/// Who pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Coffer,
    Containerd,
    Podman,
    SkopeoUmoci,
}

/// Re-pulls of which the fastest counts.
const AGAIN: usize = 5;
/// On a busy machine a pull takes minutes.
const PATIENCE: Duration = Duration::from_secs(900);

impl Tool {
    pub(crate) const ALL: [Tool; 4] = [
        Tool::Coffer,
        Tool::Containerd,
        Tool::Podman,
        Tool::SkopeoUmoci,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Tool::Coffer => "coffer",
            Tool::Containerd => "containerd",
            Tool::Podman => "podman",
            Tool::SkopeoUmoci => "skopeo + umoci",
        }
    }

    /// Debian 12's umoci 0.4.7 has no zstd.
    pub(crate) fn knows(self, form: Form) -> bool {
        (self, form) != (Tool::SkopeoUmoci, Form::Zstd)
    }

    /// One pull into an empty store below `dir`, which stays. `hosts`: a directory with the
    /// registry's `hosts.toml`.
    pub(crate) fn pull(self, bin: &Path, dir: &Path, hosts: &Path, name: &str) -> io::Result<Cost> {
        fs::create_dir_all(dir)?;
        // What others have left to be written would be counted here.
        rustix::fs::sync();
        match self {
            Tool::Coffer => coffer(bin, dir, hosts, name),
            Tool::Containerd => containerd(dir, hosts, name),
            Tool::Podman => podman(dir, name),
            Tool::SkopeoUmoci => skopeo_umoci(dir, name),
        }
    }
}

fn coffer(bin: &Path, dir: &Path, hosts: &Path, name: &str) -> io::Result<Cost> {
    let config = format!("[registry]\nhost_dirs = [{:?}]\n", hosts.display());
    let mut daemon = Daemon::start_here(bin, &config, dir)?;
    daemon.base.keep();
    runtime()?.block_on(async {
        // It serves then.
        daemon.client().await?;
        let images = images(&daemon.base.path().join("coffer.sock")).await?;
        through_cri(daemon.pid(), images, name).await
    })
}

async fn images(socket: &Path) -> io::Result<ImageServiceClient<Channel>> {
    let channel = system_tests::Client::channel_within(socket, PATIENCE).await;
    Ok(ImageServiceClient::new(channel.map_err(io::Error::other)?))
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

async fn through_cri(
    pid: u32,
    mut images: ImageServiceClient<Channel>,
    name: &str,
) -> io::Result<Cost> {
    let request = PullImageRequest {
        image: Some(ImageSpec {
            image: name.to_owned(),
            ..ImageSpec::default()
        }),
        ..PullImageRequest::default()
    };
    let (idle, before) = (watch::resident(pid), watch::cpu(pid));
    let began = Instant::now();
    images
        .pull_image(request.clone())
        .await
        .map_err(io::Error::other)?;
    let wall = began.elapsed();
    let cpu = watch::cpu(pid).saturating_sub(before);
    let memory = watch::most(pid).saturating_sub(idle);
    let mut again = Vec::new();
    for _ in 0..AGAIN {
        let began = Instant::now();
        images
            .pull_image(request.clone())
            .await
            .map_err(io::Error::other)?;
        again.push(began.elapsed());
    }
    Ok(Cost {
        wall,
        cpu,
        memory,
        again: again.into_iter().min(),
    })
}

/// containerd of our own; ends with this value.
struct Containerd(Child);

impl Drop for Containerd {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ended = kill_process(pid, Signal::TERM);
        }
        let _status = self.0.wait();
    }
}

fn containerd(dir: &Path, hosts: &Path, name: &str) -> io::Result<Cost> {
    let at = |part: &str| dir.join(part).display().to_string();
    let config = format!(
        r#"version = 2
root = {root:?}
state = {state:?}
[grpc]
address = {socket:?}
[ttrpc]
address = {ttrpc:?}
[plugins."io.containerd.internal.v1.opt"]
path = {opt:?}
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = {hosts:?}
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".cni]
conf_dir = {cni:?}
"#,
        root = at("root"),
        state = at("state"),
        socket = at("sock"),
        ttrpc = at("sock.ttrpc"),
        opt = at("opt"),
        cni = at("cni"),
        hosts = hosts.display().to_string(),
    );
    fs::write(dir.join("config.toml"), config)?;
    let log = fs::File::options()
        .append(true)
        .create(true)
        .open(dir.join("log"))?;
    let child = Command::new("containerd")
        .arg("--config")
        .arg(dir.join("config.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    let mut daemon = Containerd(child);
    let complain = |what: &str| {
        let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        io::Error::other(format!("containerd: {what}\n{}", last.join("\n")))
    };
    runtime()?.block_on(async {
        let deadline = Instant::now() + Duration::from_secs(20);
        let images = loop {
            if let Ok(mut images) = images(&dir.join("sock")).await {
                // Its plugins come up one after the other.
                if images
                    .list_images(cri_api::v1::ListImagesRequest::default())
                    .await
                    .is_ok()
                {
                    break images;
                }
            }
            let ended = daemon.0.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                return Err(complain(&format!("it does not serve ({ended:?})")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let cost = through_cri(daemon.0.id(), images, name).await;
        cost.map_err(|error| complain(&error.to_string()))
    })
}

fn podman(dir: &Path, name: &str) -> io::Result<Cost> {
    let mut command = Command::new("podman");
    for part in ["root", "runroot", "tmpdir"] {
        command.arg(format!("--{part}")).arg(dir.join(part));
    }
    command
        .args([
            "--storage-driver",
            "overlay",
            "--cgroup-manager",
            "cgroupfs",
        ])
        .args(["--events-backend", "none"])
        .args(["pull", "--quiet", "--tls-verify=false", name]);
    commands([command])
}

fn skopeo_umoci(dir: &Path, name: &str) -> io::Result<Cost> {
    let layout: PathBuf = dir.join("layout");
    let mut skopeo = Command::new("skopeo");
    skopeo
        .args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--src-tls-verify=false",
        ])
        .arg(format!("docker://{name}"))
        .arg(format!("oci:{}:it", layout.display()));
    let mut umoci = Command::new("umoci");
    umoci
        .args(["unpack", "--image"])
        .arg(format!("{}:it", layout.display()))
        .arg(dir.join("bundle"));
    commands([skopeo, umoci])
}

/// Runs commands one after the other.
fn commands<const N: usize>(commands: [Command; N]) -> io::Result<Cost> {
    let before = sys::rusage::reaped_children()?;
    let began = Instant::now();
    let mut memory = 0;
    for mut command in commands {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let watch = Watched(Some(watch::Watch::of(child.id())));
        let mut said = String::new();
        if let Some(stderr) = &mut child.stderr {
            io::Read::read_to_string(stderr, &mut said)?;
        }
        let status = child.wait()?;
        memory = memory.max(watch.peak());
        if !status.success() {
            let text = format!("{command:?}: {status}: {}", said.trim());
            return Err(io::Error::other(text));
        }
    }
    Ok(Cost {
        wall: began.elapsed(),
        cpu: sys::rusage::reaped_children()?.saturating_sub(before),
        memory,
        again: None,
    })
}

/// A watch that ends also where a step fails.
struct Watched(Option<watch::Watch>);

impl Watched {
    fn peak(mut self) -> u64 {
        self.0.take().map_or(0, watch::Watch::peak)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _peak = self.0.take().map(watch::Watch::peak);
    }
}
