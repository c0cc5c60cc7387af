//! Requests as a kubelet would write them, as small as they can be.

use std::path::Path;

use cri_api::v1;

/// A pod with a network of its own, logs in `logs`/`name`.
pub fn pod(name: &str, logs: &Path) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            namespace: "test".to_owned(),
            attempt: 0,
        }),
        hostname: name.to_owned(),
        log_directory: logs.join(name).display().to_string(),
        linux: Some(v1::LinuxPodSandboxConfig {
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces(v1::NamespaceMode::Pod)),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The same pod on the host's network.
pub fn host_pod(name: &str, logs: &Path) -> v1::PodSandboxConfig {
    let mut config = pod(name, logs);
    config.hostname.clear();
    if let Some(context) = config
        .linux
        .as_mut()
        .and_then(|linux| linux.security_context.as_mut())
    {
        context.namespace_options = Some(namespaces(v1::NamespaceMode::Node));
    }
    config
}

/// Each container has its own processes; network as given.
pub fn namespaces(network: v1::NamespaceMode) -> v1::NamespaceOption {
    v1::NamespaceOption {
        network: network.into(),
        pid: v1::NamespaceMode::Container.into(),
        ..Default::default()
    }
}

/// A container that runs a shell script.
pub fn shell(name: &str, image: &str, script: &str) -> v1::ContainerConfig {
    command(name, image, &["/bin/sh", "-c", script])
}

/// A container that runs a command.
pub fn command(name: &str, image: &str, command: &[&str]) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata {
            name: name.to_owned(),
            attempt: 0,
        }),
        image: Some(v1::ImageSpec {
            image: image.to_owned(),
            ..Default::default()
        }),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        log_path: format!("{name}.log"),
        linux: Some(v1::LinuxContainerConfig {
            security_context: Some(v1::LinuxContainerSecurityContext {
                namespace_options: Some(namespaces(v1::NamespaceMode::Pod)),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A script that waits for ever and ends at SIGTERM with code 0.
pub const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
/// A script that counts aloud for ever, ten numbers a second.
pub const COUNT: &str =
    "trap 'exit 0' TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done";

/// The numbers that a container of [`COUNT`] wrote: none missing, none twice. Answers how many.
///
/// # Panics
/// A line is missing, there twice or torn.
pub fn assert_counted(log: &str) -> usize {
    let numbers: Option<Vec<usize>> = log
        .lines()
        .map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    let count = log.lines().count();
    assert_eq!(numbers, Some((1..=count).collect()), "{log}");
    count
}
