//! The texts of `--help`.

pub(super) const GLOBAL: &str = "\
coffer-oci - run containers by the OCI runtime specification

usage: coffer-oci [global options] command [options] [arguments]

commands:
  create    make a container; its process waits for start
  start     start the process of a created container
  run       create and start in one go
  exec      run another process in a container
  state     print the state of a container as JSON
  kill      send a signal to a container's process
  delete    remove a container and what it holds
  list      list containers
  ps        list the processes of a container
  pause     freeze a container
  resume    thaw a container
  spec      write a config.json to start from
  plan      show what would be done to launch a bundle
  features  print what this runtime can do as JSON

global options:
  --root DIR             where containers are recorded (default /run/coffer-oci)
  --log FILE             write messages to FILE instead of stderr
  --log-format FORMAT    text (default) or json
  --debug                write debug messages too
  --systemd-cgroup       have systemd manage cgroups (not supported yet)
  --cgroup-manager NAME  cgroupfs (default) or systemd
  --rootless WHEN        ignore cgroup permission errors: auto (default), true or false
  -v, --version          print the version
  -h, --help             print this text; after a command, that command's
";

macro_rules! create_options {
    () => {
        "\
  -b, --bundle DIR       the bundle (default: the current directory)
  --console-socket PATH  unix socket that gets the terminal's master
  --pid-file FILE        write the process id to FILE
  --no-pivot             move the root instead of pivot_root
  --no-new-keyring       keep the caller's session keyring
  --preserve-fds N       pass N descriptors from 3 on, besides those of LISTEN_FDS
"
    };
}

pub(super) const CREATE: &str = concat!(
    "usage: coffer-oci create [options] CONTAINER\n\n\
     Makes a container from a bundle; its process waits for `start`.\n\noptions:\n",
    create_options!()
);
pub(super) const RUN: &str = concat!(
    "usage: coffer-oci run [options] CONTAINER\n\n\
     Creates and starts a container, waits for its end and removes it; the exit code is its own.\n\n\
     options:\n\
     \x20 -d, --detach           do not wait\n\
     \x20 --keep                 do not remove it afterwards\n\
     \x20 --no-subreaper         do not adopt orphaned processes\n",
    create_options!()
);
pub(super) const EXEC: &str = "\
usage: coffer-oci exec [options] CONTAINER PROGRAM [ARGUMENTS]
       coffer-oci exec [options] --process FILE CONTAINER

options:
  -p, --process FILE         JSON process document instead of PROGRAM
  -t, --tty                  give it a terminal
  -u, --user UID[:GID]       ids to run with
  -g, --additional-gids GID  supplementary groups (repeatable, or a list)
  -e, --env NAME=VALUE       environment (repeatable)
  --cwd DIR                  working directory in the container
  -c, --cap NAME             capability to add (repeatable)
  --no-new-privs             set no_new_privs
  --apparmor PROFILE         AppArmor profile
  --process-label LABEL      SELinux label
  -d, --detach               do not wait
  --pid-file FILE            write the process id to FILE
  --console-socket PATH      unix socket that gets the terminal's master
  --preserve-fds N           pass N descriptors from 3 on
  --cgroup PATH              an existing cgroup below the container's
  --ignore-paused            also in a paused container
";
pub(super) const START: &str = "usage: coffer-oci start CONTAINER\n";
pub(super) const STATE: &str = "usage: coffer-oci state CONTAINER\n";
pub(super) const PAUSE: &str = "usage: coffer-oci pause CONTAINER\n";
pub(super) const RESUME: &str = "usage: coffer-oci resume CONTAINER\n";
pub(super) const KILL: &str = "\
usage: coffer-oci kill [--all] CONTAINER [SIGNAL]

SIGNAL is a number or a name (KILL, SIGRTMIN+3); the default is TERM.

options:
  -a, --all  send it to every process of the container
";
pub(super) const DELETE: &str = "\
usage: coffer-oci delete [--force] CONTAINER

options:
  -f, --force  kill it first if it runs; succeed if it does not exist
";
pub(super) const SPEC: &str = "\
usage: coffer-oci spec [options]

Writes config.json, which must not exist yet.

options:
  -b, --bundle DIR  where (default: the current directory)
  --rootless        for a user without privileges
";
pub(super) const PLAN: &str = "\
usage: coffer-oci plan [BUNDLE]

Prints the steps that would launch the bundle (default: the current directory); does nothing.
";
pub(super) const LIST: &str = "\
usage: coffer-oci list [options]

options:
  -f, --format FORMAT  table (default) or json
  -q, --quiet          ids only
";
pub(super) const PS: &str = "\
usage: coffer-oci ps [--format table|json] CONTAINER [options of ps(1)]
";
pub(super) const FEATURES: &str = "usage: coffer-oci features\n";
