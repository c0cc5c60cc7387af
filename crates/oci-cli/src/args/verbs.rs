//! The table of all options and commands.

use super::table::{NONE, Opt, Verb, switch, value};

/// Options that stand before the command.
pub(crate) const GLOBAL: &[Opt] = &[
    value(
        "root",
        NONE,
        "DIR",
        "where containers are recorded (default: coffer-oci in /run, or of a user in $XDG_RUNTIME_DIR)",
    ),
    value(
        "log",
        NONE,
        "FILE",
        "write messages to FILE instead of stderr",
    ),
    value(
        "log-format",
        NONE,
        "text|json",
        "how messages are written (default text)",
    ),
    value(
        "log-level",
        NONE,
        "error|warning|info|debug",
        "which messages (default warning)",
    ),
    switch("debug", NONE, "write debug messages too"),
    switch(
        "trace",
        NONE,
        "write each step and the microseconds it took to stderr",
    ),
    value(
        "cgroup-manager",
        NONE,
        "cgroupfs|systemd",
        "who manages cgroups (default cgroupfs)",
    ),
    switch("systemd-cgroup", NONE, "as --cgroup-manager systemd"),
    value(
        "rootless",
        NONE,
        "auto|true|false",
        "false: a cgroup that cannot be made is an error (default auto: only if limits are set)",
    ),
    value(
        "criu",
        NONE,
        "FILE",
        "the criu program (default: criu in PATH)",
    ),
    switch("version", 'v', "print the version"),
    switch(
        "help",
        'h',
        "print this text; after a command, that command's",
    ),
];

const CREATE: &[Opt] = &[
    value(
        "bundle",
        'b',
        "DIR",
        "the bundle (default: the current directory)",
    ),
    value(
        "config",
        'f',
        "FILE",
        "the document (default: config.json of the bundle)",
    ),
    value(
        "console-socket",
        NONE,
        "PATH",
        "unix socket that gets the terminal's master",
    ),
    value(
        "pidfd-socket",
        NONE,
        "PATH",
        "unix socket that gets a pidfd of the process",
    ),
    value("pid-file", NONE, "FILE", "write the process id to FILE"),
    switch("no-pivot", NONE, "move the root instead of pivot_root"),
    switch("no-new-keyring", NONE, "keep the caller's session keyring"),
    value(
        "preserve-fds",
        NONE,
        "N",
        "pass N descriptors from 3 on, besides those of LISTEN_FDS",
    ),
];

const RUN: &[Opt] = &[
    switch("detach", 'd', "do not wait"),
    switch("keep", NONE, "do not remove it afterwards"),
    switch("no-subreaper", NONE, "do not adopt orphaned processes"),
];

const EXEC: &[Opt] = &[
    value(
        "process",
        'p',
        "FILE",
        "JSON process document instead of PROGRAM",
    ),
    switch("tty", 't', "give it a terminal"),
    value("user", 'u', "UID[:GID]", "ids to run with"),
    value(
        "additional-gids",
        'g',
        "GID",
        "supplementary groups (repeatable, or a list)",
    ),
    value("env", 'e', "NAME=VALUE", "environment (repeatable)"),
    value("cwd", NONE, "DIR", "working directory in the container"),
    value("cap", 'c', "NAME", "capability to add (repeatable)"),
    switch("no-new-privs", NONE, "set no_new_privs"),
    value("apparmor", NONE, "PROFILE", "AppArmor profile"),
    value("process-label", NONE, "LABEL", "SELinux label"),
    switch("detach", 'd', "do not wait"),
    value("pid-file", NONE, "FILE", "write the process id to FILE"),
    value(
        "console-socket",
        NONE,
        "PATH",
        "unix socket that gets the terminal's master",
    ),
    value(
        "pidfd-socket",
        NONE,
        "PATH",
        "unix socket that gets a pidfd of the process",
    ),
    value("preserve-fds", NONE, "N", "pass N descriptors from 3 on"),
    value(
        "cgroup",
        NONE,
        "[CONTROLLER:]PATH",
        "an existing cgroup below the container's (repeatable)",
    ),
    switch(
        "ignore-paused",
        NONE,
        "also in a paused container; it runs once that is resumed",
    ),
    switch("no-subreaper", NONE, ""),
];

const UPDATE: &[Opt] = &[
    value(
        "resources",
        'r',
        "FILE|-",
        "JSON document with limits; - is stdin; other options are not looked at",
    ),
    value(
        "memory",
        NONE,
        "BYTES",
        "memory limit, -1 for none; k, m, g, t may follow the number",
    ),
    value("memory-reservation", NONE, "BYTES", "soft memory limit"),
    value(
        "memory-swap",
        NONE,
        "BYTES",
        "memory and swap together, -1 for no limit",
    ),
    value(
        "kernel-memory",
        NONE,
        "BYTES",
        "kernel memory (gone from Linux 5.16 on)",
    ),
    value(
        "kernel-memory-tcp",
        NONE,
        "BYTES",
        "kernel memory of TCP buffers (cgroup v1)",
    ),
    value("cpu-share", NONE, "N", "relative weight, 2 to 262144"),
    value("cpu-shares", NONE, "N", "as --cpu-share"),
    value(
        "cpu-quota",
        NONE,
        "MICROSECONDS",
        "time per period, -1 for no limit",
    ),
    value("cpu-period", NONE, "MICROSECONDS", "length of a period"),
    value(
        "cpu-burst",
        NONE,
        "MICROSECONDS",
        "time that may be saved up",
    ),
    value(
        "cpu-rt-runtime",
        NONE,
        "MICROSECONDS",
        "real-time time per period (cgroup v1)",
    ),
    value(
        "cpu-rt-period",
        NONE,
        "MICROSECONDS",
        "length of a real-time period (cgroup v1)",
    ),
    value("cpu-idle", NONE, "0|1", "schedule all of it as SCHED_IDLE"),
    value("cpuset-cpus", NONE, "LIST", "CPUs such as 0-3,7"),
    value("cpuset-mems", NONE, "LIST", "memory nodes"),
    value(
        "pids-limit",
        NONE,
        "N",
        "greatest number of tasks, -1 for no limit",
    ),
    value("blkio-weight", NONE, "N", "block I/O weight, 10 to 1000"),
    value("l3-cache-schema", NONE, "SCHEMA", "Intel RDT cache schema"),
    value(
        "mem-bw-schema",
        NONE,
        "SCHEMA",
        "Intel RDT memory bandwidth schema",
    ),
];

const CRIU: &[Opt] = &[
    value(
        "image-path",
        NONE,
        "DIR",
        "where the images are (default: checkpoint)",
    ),
    value(
        "work-path",
        NONE,
        "DIR",
        "where criu writes its logs (default: the images)",
    ),
    switch("tcp-established", NONE, "take open TCP connections along"),
    switch(
        "ext-unix-sk",
        NONE,
        "take unix sockets to the outside along",
    ),
    switch("shell-job", NONE, "take a terminal of a shell along"),
    switch("file-locks", NONE, "take file locks along"),
    value(
        "manage-cgroups-mode",
        NONE,
        "soft|full|strict|ignore",
        "what criu does about cgroups (default ignore: they are ours)",
    ),
    value(
        "empty-ns",
        NONE,
        "network",
        "leave a namespace empty (repeatable)",
    ),
    switch("auto-dedup", NONE, "drop pages that a later image has too"),
    switch("lazy-pages", NONE, "leave pages to be fetched later"),
];

const CHECKPOINT: &[Opt] = &[
    value(
        "parent-path",
        NONE,
        "DIR",
        "images of an earlier --pre-dump, relative to --image-path",
    ),
    switch("leave-running", NONE, "let it run on"),
    switch("pre-dump", NONE, "only memory; it runs on"),
    switch(
        "link-remap",
        NONE,
        "take files along that have no name any more",
    ),
    switch(
        "tcp-skip-in-flight",
        NONE,
        "leave out TCP connections that are being made",
    ),
    value("page-server", NONE, "ADDRESS:PORT", "send pages there"),
    value(
        "status-fd",
        NONE,
        "N",
        "descriptor that is told when --lazy-pages is ready",
    ),
];

const RESTORE: &[Opt] = &[
    value(
        "bundle",
        'b',
        "DIR",
        "the bundle (default: the current directory)",
    ),
    value(
        "config",
        'f',
        "FILE",
        "the document (default: config.json of the bundle)",
    ),
    value(
        "console-socket",
        NONE,
        "PATH",
        "unix socket that gets the terminal's master",
    ),
    value("pid-file", NONE, "FILE", "write the process id to FILE"),
    switch("detach", 'd', "do not wait"),
    switch("keep", NONE, "do not remove it afterwards"),
    switch("no-subreaper", NONE, ""),
    switch("no-pivot", NONE, ""),
    value(
        "lsm-profile",
        NONE,
        "TYPE:NAME",
        "security profile instead of the one before",
    ),
    value(
        "lsm-mount-context",
        NONE,
        "CONTEXT",
        "SELinux context of mounts instead of the one before",
    ),
];

const FORMAT: Opt = value(
    "format",
    'f',
    "table|json",
    "how it is printed (default table)",
);
const REGEX: Opt = switch(
    "regex",
    'r',
    "CONTAINER is an extended regular expression: all whose id it is found in",
);
const ALL: usize = usize::MAX;

const fn verb(
    name: &'static str,
    words: &'static str,
    about: &'static str,
    more: &'static str,
    options: &'static [&'static [Opt]],
) -> Verb {
    Verb {
        name,
        words,
        about,
        more,
        options,
        raw_from: ALL,
    }
}

/// All commands, in the order of help.
pub(crate) const VERBS: &[Verb] = &[
    verb(
        "create",
        "CONTAINER",
        "make a container; its process waits for start",
        "",
        &[CREATE],
    ),
    verb(
        "start",
        "CONTAINER",
        "start the process of a created container",
        "",
        &[],
    ),
    verb(
        "run",
        "CONTAINER",
        "create and start in one go",
        "Waits for the end of its process and removes the container; the exit code is the process'.",
        &[RUN, CREATE],
    ),
    Verb {
        raw_from: 2,
        ..verb(
            "exec",
            "CONTAINER [PROGRAM [ARGUMENT …]]",
            "run another process in a container",
            "The process is the container's own with what the options change, or that of --process.",
            &[EXEC],
        )
    },
    verb(
        "state",
        "CONTAINER",
        "print the state of a container as JSON",
        "",
        &[],
    ),
    verb(
        "kill",
        "CONTAINER [SIGNAL]",
        "send a signal to a container's process",
        "SIGNAL is a number or a name (KILL, SIGRTMIN+3); the default is TERM.",
        &[&[
            switch("all", 'a', "send it to every process of the container"),
            REGEX,
        ]],
    ),
    verb(
        "delete",
        "CONTAINER",
        "remove a container and what it holds",
        "",
        &[&[
            switch(
                "force",
                'f',
                "kill it first if it runs; succeed if it does not exist",
            ),
            REGEX,
        ]],
    ),
    verb(
        "list",
        "",
        "list containers",
        "",
        &[&[FORMAT, switch("quiet", 'q', "ids only")]],
    ),
    Verb {
        raw_from: 1,
        ..verb(
            "ps",
            "CONTAINER [OPTION OF PS …]",
            "list the processes of a container",
            "What follows the container is for ps(1); the default is -ef.",
            &[&[FORMAT]],
        )
    },
    verb("pause", "CONTAINER", "freeze a container", "", &[]),
    verb("resume", "CONTAINER", "thaw a container", "", &[]),
    verb(
        "update",
        "[OPTION]... CONTAINER",
        "change the limits of a container",
        "What is not given stays as it is.",
        &[UPDATE],
    ),
    verb(
        "mounts",
        "[add|remove] CONTAINER FILE",
        "mount in a container that exists, or take mounts away",
        "FILE is a JSON list of mounts, as in config.json.",
        &[],
    ),
    verb(
        "events",
        "CONTAINER",
        "print what a container uses, and when it runs out of memory",
        "One JSON object a line, until the container ends.",
        &[&[
            value(
                "interval",
                NONE,
                "DURATION",
                "time between figures, such as 5s or 100ms (default 5s)",
            ),
            switch("stats", NONE, "print the figures once and end"),
        ]],
    ),
    verb(
        "checkpoint",
        "CONTAINER",
        "write a running container to disk, by criu",
        "",
        &[CRIU, CHECKPOINT],
    ),
    verb(
        "restore",
        "CONTAINER",
        "run a container from a checkpoint, by criu",
        "",
        &[CRIU, RESTORE],
    ),
    verb(
        "spec",
        "",
        "write a config.json to start from",
        "A file that is there already is left alone, and an error.",
        &[&[
            value(
                "bundle",
                'b',
                "DIR",
                "where (default: the current directory)",
            ),
            value("config", 'f', "FILE", "another name than config.json"),
            switch("rootless", NONE, "for a user without privileges"),
        ]],
    ),
    verb(
        "plan",
        "[BUNDLE]",
        "show what would be done to launch a bundle",
        "Prints the steps (default: of the bundle in the current directory); does nothing.",
        &[&[
            value("bundle", 'b', "DIR", "the bundle"),
            value(
                "config",
                'f',
                "FILE",
                "the document (default: config.json of the bundle)",
            ),
        ]],
    ),
    verb(
        "features",
        "",
        "print what this runtime can do as JSON",
        "",
        &[],
    ),
    verb(
        "completion",
        "bash|zsh|fish",
        "print a completion script for a shell",
        "For example: coffer-oci completion bash >/etc/bash_completion.d/coffer-oci",
        &[],
    ),
    verb(
        "man",
        "",
        "print the manual page (roff)",
        "To read it: coffer-oci man | man -l -",
        &[],
    ),
];
