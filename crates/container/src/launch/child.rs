//! The clone, and the conversation until the child waits at its gate or has become the program.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use init::{Kind, LaunchPlan, Message, Step};
use rustix::process::DumpableBehavior;

use super::{
    Channel, Error, Words, copy_up, id_map,
    sources::{self, Fds, Opened},
};
use crate::plan::{Plan, Privileged, Source};

/// A child of ours that must not outlive a failure.
#[derive(Debug)]
pub(crate) struct Child {
    pid: i32,
    pidfd: OwnedFd,
}

impl Child {
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Kills and reaps it. One that somebody else reaped is gone as well.
    pub(crate) fn end(self) -> Option<sys::wait::Exit> {
        let _ = sys::pidfd::send_signal(self.pidfd.as_fd(), 9);
        sys::wait::wait(self.pidfd.as_fd())
            .ok()
            .map(|ended| ended.exit)
    }

    pub(crate) fn into_parts(self) -> (i32, OwnedFd) {
        (self.pid, self.pidfd)
    }
}

/// What the launch asks of its caller.
pub(crate) trait Answers {
    /// State JSON for hooks inside, once the pid is known.
    fn state(&mut self, status: oci::runtime::Status, pid: i32) -> Result<Vec<u8>, crate::Error>;
    /// What else waits for the pid: groups to be put into, devices to be moved in.
    fn place(&mut self, _pid: i32) -> Result<(), crate::Error> {
        Ok(())
    }
    /// Time for prestart and createRuntime hooks.
    fn hooks(&mut self, pid: i32) -> Result<(), crate::Error>;
    /// The seccomp listener of process `pid`, to be handed on.
    fn listener(&mut self, pid: i32, listener: OwnedFd) -> Result<(), crate::Error>;
}

/// A child that waits at its gate, or runs its program.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) child: Child,
    pub(crate) console: Option<OwnedFd>,
    pub(crate) channel: Channel,
    /// What hooks to come print.
    pub(crate) words: Words,
}

/// Opens, clones, answers.
pub(crate) fn launch(
    plan: &Plan,
    from: &mut Opened<'_>,
    into_cgroup: Option<BorrowedFd<'_>>,
    filter: Option<&crate::seccomp::Filter>,
    preserve_fds: u32,
    answers: &mut dyn Answers,
) -> Result<Launched, crate::Error> {
    let mut fds = sources::open(plan, from)?;
    let (channel, theirs) =
        Channel::pair().map_err(|e| Error::io("make", "a channel to the child", e))?;
    // A low number may be one that is to be preserved, or a stream.
    let keep = keep_list(&fds.numbers, theirs.as_raw_fd(), preserve_fds)?;
    let mut steps = plan.steps.clone();
    if let Some(filter) = filter {
        for step in &mut steps {
            if let Step::Seccomp { flags } = step {
                *flags = filter.flags;
            }
        }
    }
    let mut pointers = vec![0; plan.words.len()];
    let pids = match (plan.born_in_pids, from.init_pidfd, from.own_pids) {
        (false, ..) => None,
        (true, Some(child), Some(own)) => Some(init::Pids {
            child: child.as_raw_fd(),
            own: own.as_raw_fd(),
        }),
        _ => return Err(Error::Protocol.into()),
    };
    let trace = crate::trace::child(plan);
    crate::trace::mark("sources opened");
    let mut child = {
        let mut numbers = fds.numbers.clone();
        let mut launch_plan = LaunchPlan {
            steps: &steps,
            strings: &plan.strings,
            words: &plan.words,
            pointers: &mut pointers,
            numbers: &plan.numbers,
            filter: filter.map(|f| f.bpf.as_slice()).unwrap_or_default(),
            fds: &mut numbers,
            keep: &keep,
            channel: theirs.as_raw_fd(),
            pids,
            trace: trace
                .as_ref()
                .map(|times| times.words())
                .unwrap_or_default(),
        };
        let _open = (from.foreign_proc && plan.id_maps.is_some()).then(Dumpable::new);
        spawn(&mut launch_plan, plan.namespaces, into_cgroup)?
    };
    drop(theirs);
    crate::trace::mark("cloned");
    let mut console = None;
    let setgroups = from.setgroups;
    match converse(
        plan,
        &channel,
        &mut child,
        &mut fds,
        setgroups,
        answers,
        &mut console,
    ) {
        Ok(()) => {
            crate::trace::mark("the child is ready");
            Ok(Launched {
                child,
                console,
                channel,
                words: fds.words,
            })
        }
        Err(Ending::Said(error)) => {
            drop(channel);
            child.end();
            Err(error)
        }
        Err(Ending::Silent) => {
            drop(channel);
            Err(died(child.end()).into())
        }
    }
}

/// Dumpable until dropped: the child inherits it, and its maps can be written.
struct Dumpable;

impl Dumpable {
    fn new() -> Self {
        // Refused, it shows as EACCES on the maps.
        let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
        Self
    }
}

impl Drop for Dumpable {
    fn drop(&mut self) {
        let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

fn died(exit: Option<sys::wait::Exit>) -> Error {
    use sys::wait::Exit;
    let (how, hint) = match exit {
        Some(Exit::Signal(9)) => (
            "killed".to_owned(),
            "by somebody, or for want of memory in its cgroup",
        ),
        Some(Exit::Signal(31)) => (
            "killed by seccomp".to_owned(),
            "the profile forbids what the start of a program needs",
        ),
        Some(Exit::Signal(signal)) => (format!("signal {signal}"), "look at the kernel's log"),
        Some(Exit::Code(code)) => (format!("code {code}"), "look at the kernel's log"),
        None => ("unknown".to_owned(), "somebody else reaped it"),
    };
    Error::Died { how, hint }
}

/// What stays open in the child, sorted.
fn keep_list(numbers: &[i32], channel: i32, preserve: u32) -> Result<Vec<i32>, Error> {
    let mut keep: Vec<i32> = numbers.iter().copied().filter(|&fd| fd > 2).collect();
    keep.push(channel);
    for number in 3..preserve.saturating_add(3) {
        let fd = i32::try_from(number).map_err(|_| Error::NotPreserved(number))?;
        keep.push(fd);
    }
    keep.sort_unstable();
    keep.dedup();
    Ok(keep)
}

/// Clones and takes hold of the child.
pub(super) fn spawn(
    plan: &mut LaunchPlan<'_>,
    namespaces: u64,
    into_cgroup: Option<BorrowedFd<'_>>,
) -> Result<Child, Error> {
    let cgroup = into_cgroup.map_or(-1, |fd| fd.as_raw_fd());
    sys::heap::keep();
    let pid = init::launch(plan, namespaces, cgroup)
        .map_err(|errno| Error::io("clone", "a child", std::io::Error::from_raw_os_error(errno)))?;
    // Not reaped yet, so the number is still its own.
    let pidfd = sys::pidfd::open(pid).map_err(|e| Error::io("open a pidfd of", "the child", e))?;
    Ok(Child { pid, pidfd })
}

enum Ending {
    /// There is an error to tell.
    Said(crate::Error),
    /// The child ended before it should.
    Silent,
}

impl<E: Into<crate::Error>> From<E> for Ending {
    fn from(error: E) -> Self {
        Self::Said(error.into())
    }
}

/// Whether the end of the channel is a program that runs: nothing waits at a gate.
fn runs_through(plan: &Plan) -> bool {
    !plan
        .steps
        .iter()
        .any(|step| matches!(step, Step::AwaitStart { .. }))
}

fn converse(
    plan: &Plan,
    channel: &Channel,
    child: &mut Child,
    fds: &mut Fds,
    setgroups: bool,
    answers: &mut dyn Answers,
    console: &mut Option<OwnedFd>,
) -> Result<(), Ending> {
    let failed = |e| Error::io("read", "what the child says", e);
    loop {
        let Some((message, mut received)) = channel.receive().map_err(failed)? else {
            return if runs_through(plan) {
                Ok(())
            } else {
                Err(Ending::Silent)
            };
        };
        match message.kind {
            Kind::Failed => {
                let error = Error::from_message(plan, message, &|name| fds.words.of(name));
                return Err(error.into());
            }
            Kind::Ready => return Ok(()),
            Kind::Console => *console = received.pop(),
            Kind::Forked => {
                adopt(child, message)?;
                channel.go().map_err(failed)?;
            }
            Kind::Sync if message.value == init::Sync::Hooks as u32 => {
                answers.hooks(child.pid).map_err(Ending::Said)?;
                channel.go().map_err(failed)?;
            }
            Kind::Sync => {
                setup(plan, child.pid, fds, setgroups, answers)?;
                channel.go().map_err(failed)?;
            }
            Kind::Listener => {
                let number = i32::try_from(message.value).map_err(|_| Error::Protocol)?;
                let listener = sys::pidfd::get_fd(child.pidfd.as_fd(), number)
                    .map_err(|e| Error::io("take", "the child's seccomp listener", e))?;
                answers
                    .listener(child.pid, listener)
                    .map_err(Ending::Said)?;
                channel.go().map_err(failed)?;
            }
            Kind::MapIds => {
                let step = usize::try_from(message.step).ok();
                let tree = match step.and_then(|at| plan.steps.get(at)) {
                    Some(Step::MapIds { tree }) => plan.fds.get(usize::from(tree.0)),
                    _ => None,
                };
                let (Some(Source::Taken(tree)), Some(fd)) = (tree, received.pop()) else {
                    return Err(Error::Protocol.into());
                };
                sources::finish(tree, fd.as_fd())?;
                channel.go().map_err(failed)?;
            }
            Kind::CopyUp => {
                let (Some(to), Some(from)) = (received.pop(), received.pop()) else {
                    return Err(Error::Protocol.into());
                };
                copy_up::copy_tree(from.as_fd(), to.as_fd())
                    .map_err(|e| Error::io("copy", "what a tmpfs will cover (tmpcopyup)", e))?;
                channel.go().map_err(failed)?;
            }
        }
    }
}

/// The intermediate has forked: its child is the one from now on.
fn adopt(child: &mut Child, message: Message) -> Result<(), Error> {
    let pid = i32::try_from(message.value).map_err(|_| Error::Protocol)?;
    // It waits for our word: it cannot have ended but by force.
    let pidfd = sys::pidfd::open(pid).map_err(|e| Error::io("open a pidfd of", "the child", e))?;
    let intermediate = std::mem::replace(child, Child { pid, pidfd });
    // It exits by itself; who else reaps it does no harm.
    let _ = sys::wait::wait(intermediate.pidfd.as_fd());
    Ok(())
}

/// Id maps, limits and states: what the child is not privileged enough for, or does not know.
fn setup(
    plan: &Plan,
    pid: i32,
    fds: &Fds,
    setgroups: bool,
    answers: &mut dyn Answers,
) -> Result<(), crate::Error> {
    if let Some(maps) = &plan.id_maps {
        id_map::write(pid, maps, setgroups)?;
    }
    for act in &plan.privileged {
        match act {
            Privileged::Rlimit {
                name,
                resource,
                soft,
                hard,
            } => {
                sys::process::set_rlimit(pid, *resource, *soft, *hard)
                    .map_err(|e| Error::io("set", format!("{name} to {soft}:{hard}"), e))?;
            }
            Privileged::OomScoreAdj(score) => {
                let path = format!("/proc/{pid}/oom_score_adj");
                std::fs::write(&path, score.to_string())
                    .map_err(|e| Error::io("write", format!("{path} ({score})"), e))?;
            }
        }
    }
    answers.place(pid)?;
    for (status, number) in &fds.states {
        let json = answers.state(*status, pid)?;
        if let Some(file) = fds.state(*number) {
            sources::fill(file, &json)?;
        }
    }
    Ok(())
}
