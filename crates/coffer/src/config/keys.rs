//! Every key of the configuration, in one table: what the file may say, which type it has, what
//! holds without it, and the sentence that the reference prints for it.

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// Dotted name: `network.ipv4` is `ipv4` in the table `[network]`.
    pub(crate) name: &'static str,
    /// What its value is.
    pub(crate) kind: Kind,
    /// What holds when nobody says anything.
    pub(crate) default: Fallback,
    /// The flag of `coffer serve` that says the same, with its environment variable.
    pub(crate) flag: Option<&'static str>,
    /// One sentence.
    pub(crate) doc: &'static str,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A string.
    Text,
    /// A whole number that is not negative.
    Number,
    /// A list of strings.
    List,
}

/// What holds when nobody says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// This text; for a number, its digits; for a list, its parts with ", " between them.
    Is(&'static str),
    /// Found out when the daemon starts, as this phrase says.
    Found(&'static str),
}

impl Kind {
    /// The type's name in messages and in the reference.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Text => "string",
            Kind::Number => "number",
            Kind::List => "list of strings",
        }
    }

    /// Whether a value has this type.
    pub(crate) fn fits(self, value: &toml::Value) -> bool {
        match self {
            Kind::Text => value.is_str(),
            Kind::Number => value.as_integer().is_some_and(|number| number >= 0),
            Kind::List => value
                .as_array()
                .is_some_and(|list| list.iter().all(toml::Value::is_str)),
        }
    }
}

impl Key {
    const fn text(name: &'static str, default: Fallback, doc: &'static str) -> Key {
        Key {
            name,
            kind: Kind::Text,
            default,
            flag: None,
            doc,
        }
    }

    const fn number(name: &'static str, default: Fallback, doc: &'static str) -> Key {
        Key {
            kind: Kind::Number,
            ..Key::text(name, default, doc)
        }
    }

    const fn list(name: &'static str, default: Fallback, doc: &'static str) -> Key {
        Key {
            kind: Kind::List,
            ..Key::text(name, default, doc)
        }
    }

    const fn with_flag(self, flag: &'static str) -> Key {
        Key {
            flag: Some(flag),
            ..self
        }
    }

    /// The key of this name.
    pub(crate) fn of(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }
}

/// The whole configuration.
pub(crate) const KEYS: &[Key] = &[
    Key::text(
        "root",
        Fallback::Is("/var/lib/coffer"),
        "Durable state: images, layers, addresses of pods. Mode 0700; outlives the boot.",
    )
    .with_flag("--root"),
    Key::text(
        "state",
        Fallback::Is("/run/coffer"),
        "State of running pods. Mode 0711; best on a tmpfs.",
    )
    .with_flag("--state"),
    Key::text(
        "socket",
        Fallback::Found("`coffer.sock` in `state`"),
        "Where the daemon listens, mode 0600; longer than 107 bytes is fine.",
    )
    .with_flag("--socket, COFFER_SOCKET"),
    Key::text(
        "agent",
        Fallback::Found("`coffer-agent` beside `coffer`, else `/usr/libexec/coffer/coffer-agent`"),
        "The program that is started for each pod.",
    )
    .with_flag("--agent"),
    Key::text(
        "cgroup_root",
        Fallback::Is("coffer"),
        "First part of cgroup names: pods are below `/<cgroup_root>/`, agents below \
         `/<cgroup_root>-agents/`.",
    )
    .with_flag("--cgroup-root"),
    Key::text(
        "log_level",
        Fallback::Is("info"),
        "How much is logged to standard error: error, warn, info, debug or trace.",
    )
    .with_flag("--log-level, COFFER_LOG"),
    Key::text(
        "seccomp_root",
        Fallback::Is("/var/lib/kubelet/seccomp"),
        "Directory of the seccomp profiles that pods name by a relative path (`localhost/<file>`).",
    ),
    Key::number(
        "container_log.max_bytes",
        Fallback::Is("0"),
        "Bytes of one container's log file: over it what is written is dropped, counted, and told in the log, until \
         the file is rotated. 0: no limit.",
    ),
    Key::number(
        "container_log.bytes_per_second",
        Fallback::Is("0"),
        "Bytes a second that a container may write to its log on average (bursts of one second, at least 64 KiB, \
         pass); what is over it is dropped, counted, and told in the log. 0: no limit.",
    ),
    Key::text(
        "network.mode",
        Fallback::Is("bridge"),
        "The network of pods that have one of their own: `bridge` (the built-in network) or `none` \
         (loopback alone).",
    ),
    Key::text(
        "network.bridge",
        Fallback::Is("coffer0"),
        "Name of the bridge that pods are connected to; the daemon makes it, at most 15 characters.",
    ),
    Key::text(
        "network.ipv4",
        Fallback::Is("10.214.0.0/16"),
        "IPv4 subnet that pods get addresses from; the first address is the bridge's. `\"\"`: no IPv4. \
         A pod CIDR that a kubelet sends wins.",
    ),
    Key::text(
        "network.ipv6",
        Fallback::Is("fd00:c0ff:e::/64"),
        "IPv6 subnet that pods get addresses from. `\"\"`: no IPv6.",
    ),
    Key::number(
        "network.mtu",
        Fallback::Is("0"),
        "MTU of the pods' interfaces, 576 to 65535 (1280 at least with IPv6); 0: that of the interface \
         of the host's default route.",
    ),
    Key::text(
        "network.table",
        Fallback::Found("the bridge's name"),
        "Name of the one nftables table (family inet) that is made and owned by the daemon.",
    ),
    Key::text(
        "stream.address",
        Fallback::Is("127.0.0.1:0"),
        "Where exec, attach and port-forward are served, IP:PORT; port 0: a free one. Anything but a \
         loopback address lets others on the network reach it: a URL's token is its only guard.",
    ),
    Key::text(
        "stream.idle_timeout",
        Fallback::Is("4h"),
        "How long an exec, attach or port-forward may pass no data before it is ended: a number with \
         `s`, `m` or `h`.",
    ),
    Key::text(
        "registry.default",
        Fallback::Is("docker.io"),
        "The registry of image names that say none; empty: such names are refused. Names in archives are \
         docker.io's, as their writers meant them.",
    ),
    Key::list(
        "registry.host_dirs",
        Fallback::Is("/etc/coffer/registries.d, /etc/containerd/certs.d, /etc/docker/certs.d"),
        "Directories with `<registry>/hosts.toml` (containerd's format) or docker's certificates; the first \
         that knows a registry counts, `_default` where none does.",
    ),
    Key::list(
        "registry.auth_files",
        Fallback::Is(
            "/etc/coffer/auth.json, /root/.config/containers/auth.json, /root/.docker/config.json",
        ),
        "Files with credentials, as `podman login` and `docker login` write them; the first with some for an \
         image counts. Credential helpers are not started.",
    ),
    Key::number(
        "registry.retries",
        Fallback::Is("4"),
        "How often a request is tried again that failed for a reason that may pass (no connection, 429, 5xx).",
    ),
    Key::text(
        "registry.max_retry_after",
        Fallback::Is("1m"),
        "The longest wait that a registry may ask for (`Retry-After`, seconds or a date): who asks for more is \
         an error at once.",
    ),
    Key::text(
        "registry.connect_timeout",
        Fallback::Is("10s"),
        "How long it may take until a connection to a host stands: half of it for the lookup of its name, the \
         addresses share the rest. A host that is not reached is given up after twice this at most.",
    ),
    Key::text(
        "registry.stall_timeout",
        Fallback::Is("30s"),
        "How long a registry may take to answer, and the window in which `registry.min_rate` is measured: a \
         number with `s`, `m` or `h`.",
    ),
    Key::number(
        "registry.min_rate",
        Fallback::Is("1024"),
        "Bytes a second below which a transfer is ended as stalled; 0: any byte within the window will do.",
    ),
    Key::number(
        "image.max_layers",
        Fallback::Is("500"),
        "Layers of one image; overlayfs takes 500.",
    ),
    Key::number(
        "image.max_layer_bytes",
        Fallback::Is("68719476736"),
        "Bytes of one layer, unpacked; also the size of one sparse file.",
    ),
    Key::number(
        "image.max_layer_entries",
        Fallback::Is("2000000"),
        "Entries (files, directories, links) of one layer.",
    ),
    Key::number(
        "image.max_ratio",
        Fallback::Is("200"),
        "Bytes out for each byte in that a layer's compression may give, once 256 MiB are unpacked.",
    ),
    Key::number(
        "image.max_manifest_bytes",
        Fallback::Is("4194304"),
        "Bytes of one manifest or index.",
    ),
    Key::number(
        "image.max_config_bytes",
        Fallback::Is("8388608"),
        "Bytes of one image configuration.",
    ),
    Key::number(
        "image.max_archive_bytes",
        Fallback::Is("274877906944"),
        "Bytes of an archive that is imported, decompressed.",
    ),
    Key::number(
        "image.max_path_bytes",
        Fallback::Is("4096"),
        "Bytes of a path in a layer; 4096 is the kernel's limit.",
    ),
    Key::number(
        "image.max_header_bytes",
        Fallback::Is("1048576"),
        "Bytes of an extended header in a layer: long names and extended attributes.",
    ),
    Key::text(
        "image.verify",
        Fallback::Is("never"),
        "`create`: each container's image is first held against its digests, blobs and unpacked layers, which \
         takes as long as unpacking it; a container of one that has changed on the disk is not made. `coffer image \
         verify` does the same by hand.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_defaults_have_the_type() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(
                KEYS[..at].iter().all(|other| other.name != key.name),
                "{}",
                key.name
            );
            assert!(key.doc.ends_with('.'), "{}: not a sentence", key.name);
            if let (Kind::Number, Fallback::Is(text)) = (key.kind, key.default) {
                assert!(text.parse::<u64>().is_ok(), "{}: {text}", key.name);
            }
        }
    }
}
