//! The commands: what was said, as one structure each.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::Parser;

use super::said::Said;
use super::table::Verb;
use super::update::{self, Update};
use super::verbs::VERBS;
use super::{completion, duration, help};
use crate::error::Error;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Create(Create),
    Run(Run),
    Start(String),
    State(String),
    Kill(Kill),
    Delete(Delete),
    Exec(Box<Exec>),
    Spec(Spec),
    Plan(Plan),
    List(List),
    Ps(Ps),
    Pause(String),
    Resume(String),
    Update(Box<Update>),
    Mounts(Mounts),
    Events(Events),
    Checkpoint(Box<Checkpoint>),
    Restore(Box<Restore>),
    Features,
    Version,
    /// A text made of the table: help, the manual page, a completion script.
    Print(String),
}

/// `create`, and what `run` shares with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Create {
    pub(crate) id: String,
    /// The current directory when absent.
    pub(crate) bundle: Option<PathBuf>,
    /// `config.json` of the bundle when absent.
    pub(crate) config: Option<PathBuf>,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) pidfd_socket: Option<PathBuf>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) preserve_fds: u32,
}

/// `run`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) create: Create,
    pub(crate) detach: bool,
    pub(crate) keep: bool,
    pub(crate) no_subreaper: bool,
}

/// `exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Exec {
    pub(crate) id: String,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) pidfd_socket: Option<PathBuf>,
    pub(crate) cwd: Option<String>,
    pub(crate) env: Vec<String>,
    pub(crate) tty: bool,
    pub(crate) user: Option<String>,
    pub(crate) additional_gids: Vec<u32>,
    /// File with a process document instead of the words.
    pub(crate) process: Option<PathBuf>,
    pub(crate) detach: bool,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) process_label: Option<String>,
    pub(crate) apparmor: Option<String>,
    pub(crate) no_new_privs: bool,
    pub(crate) cap: Vec<String>,
    pub(crate) preserve_fds: u32,
    /// `[controller:]path`, below the container's cgroup.
    pub(crate) cgroup: Vec<String>,
    pub(crate) ignore_paused: bool,
    /// Program and arguments.
    pub(crate) args: Vec<String>,
}

/// `kill`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) id: String,
    pub(crate) signal: Option<String>,
    pub(crate) all: bool,
    /// The id is an expression.
    pub(crate) regex: bool,
}

/// `delete`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Delete {
    pub(crate) id: String,
    pub(crate) force: bool,
    /// The id is an expression.
    pub(crate) regex: bool,
}

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) bundle: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) rootless: bool,
}

/// `plan`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) bundle: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
}

/// How lists are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ListFormat {
    #[default]
    Table,
    Json,
}

/// `list`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) format: ListFormat,
    pub(crate) quiet: bool,
}

/// `ps`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ps {
    pub(crate) id: String,
    pub(crate) format: ListFormat,
    /// Options for ps(1); `-ef` when empty.
    pub(crate) args: Vec<String>,
}

/// `mounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounts {
    pub(crate) id: String,
    /// Taken away instead of made.
    pub(crate) remove: bool,
    pub(crate) file: PathBuf,
}

/// `events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Events {
    pub(crate) id: String,
    pub(crate) interval: Duration,
    /// The figures once, and no more.
    pub(crate) stats: bool,
}

/// What `checkpoint` and `restore` tell criu alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Criu {
    pub(crate) image_path: Option<PathBuf>,
    pub(crate) work_path: Option<PathBuf>,
    pub(crate) tcp_established: bool,
    pub(crate) ext_unix_sk: bool,
    pub(crate) shell_job: bool,
    pub(crate) file_locks: bool,
    pub(crate) manage_cgroups: Option<String>,
    pub(crate) empty_ns: Vec<String>,
    pub(crate) auto_dedup: bool,
    pub(crate) lazy_pages: bool,
}

/// `checkpoint`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) id: String,
    pub(crate) criu: Criu,
    pub(crate) parent_path: Option<PathBuf>,
    pub(crate) leave_running: bool,
    pub(crate) pre_dump: bool,
    pub(crate) link_remap: bool,
    pub(crate) tcp_skip_in_flight: bool,
    pub(crate) page_server: Option<String>,
    pub(crate) status_fd: Option<i32>,
}

/// `restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Restore {
    pub(crate) create: Create,
    pub(crate) criu: Criu,
    pub(crate) detach: bool,
    pub(crate) keep: bool,
    pub(crate) lsm_profile: Option<String>,
    pub(crate) lsm_mount_context: Option<String>,
}

pub(super) fn parse(name: &str, parser: &mut Parser) -> Result<Command, Error> {
    match name {
        "help" => return Ok(Command::Print(help::global())),
        "version" => return Ok(Command::Version),
        _ => {}
    }
    let verb = VERBS.iter().find(|verb| verb.name == name).ok_or_else(|| {
        Error::Usage(format!(
            "unknown command {name:?} (No help topic for '{name}')"
        ))
    })?;
    let said = Said::read(verb, parser)?;
    if said.help {
        return Ok(Command::Print(help::of(verb)));
    }
    meant(verb, said)
}

fn meant(verb: &Verb, mut said: Said) -> Result<Command, Error> {
    let said = &mut said;
    Ok(match verb.name {
        "create" => Command::Create(create(said)?),
        "run" => Command::Run(Run {
            create: create(said)?,
            detach: said.on("detach"),
            keep: said.on("keep"),
            no_subreaper: said.on("no-subreaper"),
        }),
        "exec" => Command::Exec(Box::new(exec(said)?)),
        "start" => Command::Start(said.id()?),
        "state" => Command::State(said.id()?),
        "pause" => Command::Pause(said.id()?),
        "resume" => Command::Resume(said.id()?),
        "kill" => {
            let (id, mut words) = said.id_and(1)?;
            Command::Kill(Kill {
                id,
                signal: words.pop(),
                all: said.on("all"),
                regex: said.on("regex"),
            })
        }
        "delete" => Command::Delete(Delete {
            id: said.id()?,
            force: said.on("force"),
            regex: said.on("regex"),
        }),
        "list" => {
            said.words(0)?;
            Command::List(List {
                format: format(said)?,
                quiet: said.on("quiet"),
            })
        }
        "ps" => {
            let (id, args) = said.id_and(usize::MAX)?;
            let format = format(said)?;
            Command::Ps(Ps { id, format, args })
        }
        "update" => Command::Update(Box::new(update::parse(said)?)),
        "mounts" => Command::Mounts(mounts(said)?),
        "events" => Command::Events(Events {
            id: said.id()?,
            interval: duration::parse(said.text("interval")?.as_deref().unwrap_or("5s"))?,
            stats: said.on("stats"),
        }),
        "checkpoint" => Command::Checkpoint(Box::new(checkpoint(said)?)),
        "restore" => Command::Restore(Box::new(Restore {
            criu: criu(said)?,
            create: create(said)?,
            detach: said.on("detach"),
            keep: said.on("keep"),
            lsm_profile: said.text("lsm-profile")?,
            lsm_mount_context: said.text("lsm-mount-context")?,
        })),
        "spec" => {
            said.words(0)?;
            Command::Spec(Spec {
                bundle: said.path("bundle"),
                config: said.path("config"),
                rootless: said.on("rootless"),
            })
        }
        "plan" => Command::Plan(Plan {
            bundle: said
                .words(1)?
                .pop()
                .map(PathBuf::from)
                .or(said.path("bundle")),
            config: said.path("config"),
        }),
        "completion" => Command::Print(completion::script(said.words(1)?.pop().as_deref())?),
        "man" => {
            said.words(0)?;
            Command::Print(super::man::page())
        }
        _ => {
            said.words(0)?;
            Command::Features
        }
    })
}

fn create(said: &mut Said) -> Result<Create, Error> {
    Ok(Create {
        id: said.id()?,
        bundle: said.path("bundle"),
        config: said.path("config"),
        console_socket: said.path("console-socket"),
        pidfd_socket: said.path("pidfd-socket"),
        pid_file: said.path("pid-file"),
        no_pivot: said.on("no-pivot"),
        no_new_keyring: said.on("no-new-keyring"),
        preserve_fds: said.number("preserve-fds")?.unwrap_or(0),
    })
}

fn mounts(said: &mut Said) -> Result<Mounts, Error> {
    let words = said.words(3)?;
    let [act, id, file] = words.as_slice() else {
        return Err(Error::Usage(
            "mounts takes add or remove, a container and a file".to_owned(),
        ));
    };
    let remove = match act.as_str() {
        "add" => false,
        "remove" => true,
        other => {
            let text = format!("mounts is add or remove, not {other:?}");
            return Err(Error::Usage(text));
        }
    };
    Ok(Mounts {
        id: id.clone(),
        remove,
        file: PathBuf::from(file),
    })
}

fn exec(said: &mut Said) -> Result<Exec, Error> {
    let (id, args) = said.id_and(usize::MAX)?;
    let process = said.path("process");
    match (&process, args.is_empty()) {
        (None, true) => Err(Error::Usage("exec needs a program or --process".to_owned())),
        (Some(_), false) => Err(Error::Usage(
            "exec takes a program or --process, not both".to_owned(),
        )),
        _ => Ok(()),
    }?;
    Ok(Exec {
        id,
        console_socket: said.path("console-socket"),
        pidfd_socket: said.path("pidfd-socket"),
        cwd: said.text("cwd")?,
        env: said.all("env")?,
        tty: said.on("tty"),
        user: said.text("user")?,
        additional_gids: gids(&said.all("additional-gids")?)?,
        process,
        detach: said.on("detach"),
        pid_file: said.path("pid-file"),
        process_label: said.text("process-label")?,
        apparmor: said.text("apparmor")?,
        no_new_privs: said.on("no-new-privs"),
        cap: lists(said.all("cap")?),
        preserve_fds: said.number("preserve-fds")?.unwrap_or(0),
        cgroup: said.all("cgroup")?,
        ignore_paused: said.on("ignore-paused"),
        args,
    })
}

/// Repeated, or a list with commas.
fn lists(values: Vec<String>) -> Vec<String> {
    let split = values.iter().flat_map(|value| value.split(','));
    split.map(str::to_owned).collect()
}

fn gids(values: &[String]) -> Result<Vec<u32>, Error> {
    let words = values.iter().flat_map(|value| value.split(','));
    words
        .map(|gid| {
            gid.parse()
                .map_err(|_| Error::Usage(format!("--additional-gids takes numbers, not {gid:?}")))
        })
        .collect()
}

fn format(said: &Said) -> Result<ListFormat, Error> {
    match said.text("format")?.as_deref() {
        None | Some("table") => Ok(ListFormat::Table),
        Some("json") => Ok(ListFormat::Json),
        Some(other) => Err(Error::Usage(format!(
            "--format is table or json, not {other:?}"
        ))),
    }
}

fn criu(said: &Said) -> Result<Criu, Error> {
    let empty_ns = said.all("empty-ns")?;
    if let Some(other) = empty_ns.iter().find(|name| *name != "network") {
        return Err(Error::Usage(format!(
            "--empty-ns is network, not {other:?}"
        )));
    }
    let manage_cgroups = said.text("manage-cgroups-mode")?;
    if let Some(mode) = &manage_cgroups
        && !["soft", "full", "strict", "ignore"].contains(&mode.as_str())
    {
        return Err(Error::Usage(format!(
            "--manage-cgroups-mode is soft, full, strict or ignore, not {mode:?}"
        )));
    }
    Ok(Criu {
        image_path: said.path("image-path"),
        work_path: said.path("work-path"),
        tcp_established: said.on("tcp-established"),
        ext_unix_sk: said.on("ext-unix-sk"),
        shell_job: said.on("shell-job"),
        file_locks: said.on("file-locks"),
        manage_cgroups,
        empty_ns,
        auto_dedup: said.on("auto-dedup"),
        lazy_pages: said.on("lazy-pages"),
    })
}

fn checkpoint(said: &mut Said) -> Result<Checkpoint, Error> {
    let page_server = said.text("page-server")?;
    let complete = |text: &String| {
        text.rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty())
    };
    if page_server.as_ref().is_some_and(|text| !complete(text)) {
        return Err(Error::Usage("--page-server is ADDRESS:PORT".to_owned()));
    }
    Ok(Checkpoint {
        id: said.id()?,
        criu: criu(said)?,
        parent_path: said.path("parent-path"),
        leave_running: said.on("leave-running"),
        pre_dump: said.on("pre-dump"),
        link_remap: said.on("link-remap"),
        tcp_skip_in_flight: said.on("tcp-skip-in-flight"),
        page_server,
        status_fd: said.number("status-fd")?,
    })
}
