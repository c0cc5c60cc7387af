//! The exceptions to "a field that is not supported is an error": fields that are accepted although
//! nothing comes of them, each with its reason. There are no others.

/// A field, as its path in the request, and why nothing has to come of it.
pub const ACCEPTED_WITHOUT_EFFECT: &[(&str, &str)] = &[
    (
        "VersionRequest.version",
        "it tells what the client speaks; kubelets send several, and all get the same answer",
    ),
    (
        "PodSandboxConfig.hostname (network NODE)",
        "the hostname is the host's, as the network is",
    ),
    (
        "PodSandboxConfig.port_mappings (network NODE)",
        "every port that the pod opens is the host's",
    ),
    (
        "PodSandboxConfig.port_mappings[].host_ip (without a host port)",
        "nothing is published",
    ),
    (
        "PodSandboxConfig.linux.security_context.selinux_options (privileged)",
        "a sandbox has no process of its own, and privileged containers have no SELinux confinement",
    ),
    (
        "PodSandboxConfig.linux.security_context.run_as_user",
        "a sandbox has no process of its own",
    ),
    (
        "PodSandboxConfig.linux.security_context.run_as_group",
        "a sandbox has no process of its own",
    ),
    (
        "PodSandboxConfig.linux.security_context.supplemental_groups",
        "a sandbox has no process of its own",
    ),
    (
        "PodSandboxConfig.linux.security_context.supplemental_groups_policy",
        "a sandbox has no process of its own",
    ),
    (
        "PodSandboxConfig.linux.security_context.readonly_rootfs",
        "a sandbox has no root filesystem",
    ),
    (
        "PodSandboxConfig.linux.security_context.seccomp",
        "a sandbox has no process of its own",
    ),
    (
        "PodSandboxConfig.linux.security_context.seccomp_profile_path",
        "a sandbox has no process of its own",
    ),
    (
        "PodSandboxConfig.linux.security_context.apparmor",
        "a sandbox has no process of its own",
    ),
    (
        "PodSandboxConfig.linux.overhead",
        "cgroup_parent, which the client has made, holds these limits",
    ),
    (
        "PodSandboxConfig.linux.resources",
        "cgroup_parent, which the client has made, holds these limits",
    ),
    (
        "PodSandboxConfig.port_mappings[].container_port",
        "without a host port it is information: every port of a pod can be reached",
    ),
    (
        "UpdateContainerResourcesRequest.linux.oom_score_adj",
        "it is that of the first process when it was started; processes that run keep theirs",
    ),
    (
        "PullImageRequest.sandbox_config",
        "every pod of this node takes the node's platform and the same unpacked form",
    ),
    (
        "UpdateContainerResourcesRequest.annotations",
        "information for other tools",
    ),
    (
        "UpdatePodSandboxResourcesRequest.{overhead,resources}",
        "cgroup_parent, which the client has made, holds these limits",
    ),
    (
        "CreateContainerRequest.sandbox_config",
        "a pod's configuration is immutable: that of RunPodSandbox counts",
    ),
    (
        "ContainerConfig.linux.security_context.selinux_options (privileged)",
        "a privileged container has no SELinux confinement",
    ),
    (
        "ContainerConfig.linux.security_context.{capabilities,masked_paths,readonly_paths,seccomp,apparmor} (privileged)",
        "a privileged container has every capability and none of these confinements",
    ),
    (
        "ContainerConfig.linux.security_context.apparmor (RuntimeDefault or Unconfined, host without AppArmor)",
        "nothing confines where AppArmor is off",
    ),
    (
        "ContainerConfig.linux.security_context.namespace_options.pid = POD (pod without a shared pid namespace)",
        "POD is also what a client sends that says nothing: the container gets what its pod has",
    ),
    (
        "ContainerConfig.linux.security_context.namespace_options.{network,ipc} = POD (pod with the host's)",
        "POD is also what a client sends that says nothing: the container gets what its pod has",
    ),
    (
        "ContainerConfig.stdin_once (without stdin)",
        "there is no standard input to close",
    ),
    (
        "ContainerConfig.linux.resources.memory_swap_limit_in_bytes (host without swap accounting)",
        "clients send it always, and there is no swap to limit",
    ),
    (
        "ContainerConfig.mounts[].selinux_relabel (host without SELinux)",
        "there are no labels to change",
    ),
    (
        "ContainerConfig.linux.resources.hugepage_limits[].limit = 0",
        "clients send a zero for sizes that the node does not have",
    ),
    (
        "ImageSpec.annotations",
        "information for other tools, told back verbatim",
    ),
    (
        "ImageSpec.user_specified_image",
        "information for other tools, told back verbatim",
    ),
    (
        "ImageSpec.image_ref",
        "information for other tools, told back verbatim: image says which image",
    ),
    (
        "ImageFilter.image.{annotations,user_specified_image,image_ref}",
        "images are chosen by image, which is name, digest or id",
    ),
];
