//! The launch as data: what the child does, step by step, and what it may point at.
//!
//! ```text
//! steps    [JoinCgroup{fd 3}] [Hostname{str 17}] [MountFs{…}] … [Exec{words 2}]
//! strings  \0proc\0/proc\0web-1\0…            Str  = offset into it, 0 = none
//! words    17 40 END 52 END …                 List = index of a run that ends with END
//! fds      [12, 13, 9, -1, …]                 Fd   = index; -1: filled in by a step
//! ```

use core::sync::atomic::AtomicU64;

/// A NUL-terminated string: its offset into [`LaunchPlan::strings`]. Offset 0 is "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Str(pub u32);

/// A run of strings: index of its first in [`LaunchPlan::words`]; it ends at [`END`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct List(pub u32);

/// Ends a [`List`].
pub const END: Str = Str(u32::MAX);

/// A file descriptor: index into [`LaunchPlan::fds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fd(pub u16);

/// "No descriptor": for optional ones.
pub const NO_FD: Fd = Fd(u16::MAX);

/// What a missing mount point becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A directory.
    Dir,
    /// An empty file.
    File,
    /// A directory if the mount's root is one, else an empty file.
    LikeSource,
    /// A directory that no symbolic link leads to (proc and sysfs: CVE-2019-19921).
    PlainDir,
    /// As `LikeSource`, but a link that the path ends with is mounted on itself.
    Itself,
}

/// What becomes of something that is where a link is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, whatever it is.
    Keep,
    /// It is removed.
    Replace,
    /// It stays if it is the same link, and is an error if not.
    Same,
}

/// Attributes for mount_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attr {
    /// MOUNT_ATTR_* to set.
    pub set: u64,
    /// MOUNT_ATTR_* to clear.
    pub clear: u64,
    /// MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE or 0 for as it is.
    pub propagation: u64,
}

/// One act of the child. The documents of the steps say only what their names do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are named for what they are; the steps are documented"
)]
pub enum Step {
    /// Writes "0" to a v1 `tasks` (or v2 `cgroup.procs`) file: "me". A single task moves without the
    /// kernel's cgroup_threadgroup_rwsem. `unless_cloned_into`: the clone did it (CLONE_INTO_CGROUP).
    JoinCgroup {
        fd: Fd,
        unless_cloned_into: bool,
    },
    /// setns of a namespace file, or of a pidfd with several flags.
    Setns {
        fd: Fd,
        flags: u32,
    },
    Unshare {
        flags: u32,
    },
    /// Written before anyone enters the time namespace; lines of /proc/self/timens_offsets.
    TimeOffsets {
        proc: Fd,
        text: Str,
    },
    /// clone3(CLONE_PARENT): the child goes on as a child of our parent, in the pid and time
    /// namespaces set for children; this process tells its pid and ends.
    Fork {
        flags: u64,
        cgroup: Fd,
    },
    /// Tells the parent and waits for its word.
    Sync {
        what: Sync,
    },
    /// Ids 0 in the new user namespace: until then we are nobody there.
    BecomeRoot {
        groups: bool,
    },
    /// SIOCSIFFLAGS lo up.
    Loopback,
    Hostname {
        name: Str,
    },
    Domainname {
        name: Str,
    },
    /// mount(2) with propagation flags only, on our root.
    Propagation {
        flags: u64,
    },
    /// Attaches the detached root over `/` (where nobody looks) so that mounts can go below it; or over
    /// its own directory `at`, where hooks look for it.
    AttachRoot {
        tree: Fd,
        at: Str,
    },
    /// The root is what `/` is now (after joining a mount namespace).
    OpenRoot,
    /// fsopen, fsconfig, fsmount, move_mount at `dest`. `options` alternates key and value; a value
    /// of offset 0 makes a flag. `propagation` afterwards. `copy_up`: the parent copies what `dest`
    /// held into the new filesystem first.
    MountFs {
        fstype: Str,
        source: Str,
        options: List,
        attr: Attr,
        dest: Str,
        target: Target,
        copy_up: bool,
    },
    /// mount(2): for options over 255 bytes, which fsconfig does not take.
    MountOld {
        fstype: Str,
        source: Str,
        flags: u64,
        data: Str,
        dest: Str,
    },
    /// fspick, fsconfig of `options` (as in [`Step::MountFs`]), reconfigure: "remount" of the
    /// filesystem itself.
    Reconfigure {
        dest: Str,
        options: List,
    },
    /// Moves a detached tree (bind mounts) to `dest`.
    MountTree {
        tree: Fd,
        dest: Str,
        target: Target,
    },
    /// open_tree(CLONE) of a path of ours, in the child: for who has no privilege outside. `itself`: a
    /// link that it ends with is not followed. `inside`: the path is one of the container's.
    CloneTree {
        path: Str,
        to: Fd,
        recursive: bool,
        itself: bool,
        inside: bool,
    },
    /// The parent, which may do it, maps the ids of a detached tree and sets its attributes.
    MapIds {
        tree: Fd,
    },
    /// Attaches a detached tree where nobody looks, below the root: what is copied from it later must
    /// be attached (before Linux 6.15).
    AttachAside {
        tree: Fd,
    },
    /// open_tree(CLONE) of a file in a tree that is attached aside.
    CloneFile {
        tree: Fd,
        name: Str,
        to: Fd,
    },
    /// umount2 of what is mounted at `dest`, whatever still uses it; a link at the end is not followed.
    Unmount {
        dest: Str,
    },
    /// mount_setattr on a detached tree.
    TreeAttr {
        tree: Fd,
        attr: Attr,
        recursive: bool,
        /// What the kernel has locked stays as it is.
        unless_locked: bool,
    },
    /// mount_setattr on what is mounted at `dest` ("remount").
    SetAttr {
        dest: Str,
        attr: Attr,
        recursive: bool,
    },
    Mknod {
        path: Str,
        mode: u32,
        major: u32,
        minor: u32,
        uid: u32,
        gid: u32,
    },
    Symlink {
        to: Str,
        path: Str,
        existing: Existing,
    },
    /// A new pty of the container's devpts becomes stdio; its master goes to the parent.
    Terminal {
        rows: u16,
        columns: u16,
        console: bool,
        uid: u32,
    },
    /// mkdir -p below the root; for the working directory.
    MakeDir {
        path: Str,
    },
    /// createContainer and startContainer hooks: fork, state on stdin, wait. Output without a
    /// descriptor goes to /dev/null. They start in `dir`, if it can be entered.
    Hook {
        path: Str,
        args: List,
        env: List,
        dir: Str,
        timeout_ms: u32,
        stdin: Fd,
        stdout: Fd,
        stderr: Fd,
    },
    /// pivot_root(".", "."), old root detached.
    Pivot,
    /// Without pivot_root: chroot into the root, which lies over `/`, where these mounts are no more.
    Chroot {
        without: List,
    },
    RootPropagation {
        flags: u64,
    },
    RootReadonly,
    /// `null`: a detached bind of /dev/null for files; directories get an empty read-only tmpfs.
    Mask {
        path: Str,
        null: Fd,
    },
    Readonly {
        path: Str,
    },
    /// A private procfs of our pid namespace, never attached; where the kernel refuses one, `host`.
    OpenProc {
        host: Fd,
        to: Fd,
    },
    /// Through the procfs `proc`, without leaving it.
    WriteProc {
        proc: Fd,
        path: Str,
        value: Str,
    },
    Rlimit {
        resource: u32,
        soft: u64,
        hard: u64,
    },
    /// KEYCTL_JOIN_SESSION_KEYRING.
    Keyring {
        name: Str,
    },
    Setsid,
    /// HUP, INT, QUIT and TERM end the process until it becomes the program.
    Mortal,
    /// stdio by descriptors; NO_FD leaves one as it is.
    Stdio {
        stdin: Fd,
        stdout: Fd,
        stderr: Fd,
    },
    Personality {
        value: u64,
    },
    Scheduler {
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    },
    IoPriority {
        value: u32,
    },
    /// sched_setaffinity; a bit per CPU in `numbers`, 32 each.
    Affinity {
        first: u32,
        count: u32,
    },
    /// set_mempolicy; mode with flags, a bit per node in `numbers`, 32 each.
    MemoryPolicy {
        mode: u32,
        first: u32,
        count: u32,
    },
    /// PR_CAPBSET_DROP of all but these.
    Bounding {
        keep: u64,
    },
    NoNewPrivs,
    /// Loads [`LaunchPlan::filter`]. With SECCOMP_FILTER_FLAG_NEW_LISTENER the parent takes the
    /// listener before the next step.
    Seccomp {
        flags: u32,
    },
    Umask {
        mask: u32,
    },
    /// setgroups(numbers[first..first+count]), setresgid, keep capabilities, setresuid.
    Ids {
        uid: u32,
        gid: u32,
        first: u32,
        count: u32,
        groups: bool,
    },
    Capabilities {
        effective: u64,
        permitted: u64,
        inheritable: u64,
        ambient: u64,
    },
    /// chdir, then getcwd must lie inside our root (CVE-2024-21626). EACCES is tried again by
    /// [`Step::ChdirAgain`], as the user.
    Chdir {
        path: Str,
    },
    ChdirAgain {
        path: Str,
    },
    /// Finds the program as execvp would, as the user, and remembers it.
    Find {
        name: Str,
        path: Str,
    },
    /// All from `first` on become close-on-exec (CVE-2024-21626).
    CloseOnExec {
        first: u32,
    },
    /// Waits until the container is started; `fifo` NO_FD: by the parent on the channel. With a fifo
    /// the parent first says that it has written down that we are here.
    AwaitStart {
        fifo: Fd,
        status: Fd,
    },
    /// Empties the signal mask and becomes the program.
    Exec {
        args: List,
        env: List,
    },
}

/// What the parent is asked for by [`Step::Sync`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Sync {
    /// Write the id maps; set what needs the host's privileges (rlimits, oom_score_adj); fill in
    /// the states that hooks in the container read.
    Setup = 1,
    /// Run prestart and createRuntime hooks.
    Hooks = 2,
}

/// A pid namespace for the child: entered before the clone and left after it, by this thread, whose own
/// namespace stays what it is. One clone less than a child that enters and forks.
#[derive(Debug, Clone, Copy)]
pub struct Pids {
    /// A pidfd of a process in it, or a descriptor of the namespace.
    pub child: i32,
    /// A descriptor of this thread's namespace for children, to go back to. The caller has seen that
    /// it may.
    pub own: i32,
}

/// All that the child reads. It lives in the parent's memory, of which the child has a copy.
#[derive(Debug)]
pub struct LaunchPlan<'a> {
    /// What to do, in order.
    pub steps: &'a [Step],
    /// All strings, each ended by NUL; the first byte is a NUL of its own.
    pub strings: &'a [u8],
    /// Runs of strings, each ended by [`END`].
    pub words: &'a [Str],
    /// Room for as many pointers as there are words; filled in before the clone.
    pub pointers: &'a mut [usize],
    /// Group ids and bit masks.
    pub numbers: &'a [u32],
    /// A seccomp program, `struct sock_filter` by `struct sock_filter`.
    pub filter: &'a [u8],
    /// Descriptors by index, -1 where a step fills one in.
    pub fds: &'a mut [i32],
    /// Descriptors that stay open, sorted; all others from 3 on are closed at once, because a
    /// threaded parent has many that a waiting container must not hold.
    pub keep: &'a [i32],
    /// The child's end of the channel.
    pub channel: i32,
    /// The pid namespace that the child is born in, if it is another than ours.
    pub pids: Option<Pids>,
    /// Memory shared with the parent: when each step had been done (CLOCK_MONOTONIC, nanoseconds).
    /// The last one, which becomes the program, has no time. Empty: nobody wants to know.
    pub trace: &'a [AtomicU64],
}

impl LaunchPlan<'_> {
    /// Whether every offset and index leads where it may. [`crate::launch`] refuses others.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.strings.first() == Some(&0)
            && self.strings.last() == Some(&0)
            && self.pointers.len() == self.words.len()
            && self.words.last().is_none_or(|&last| last == END)
            && self
                .words
                .iter()
                .all(|&w| w == END || usize::try_from(w.0).is_ok_and(|at| at < self.strings.len()))
            && self.filter.len().is_multiple_of(8)
    }
}
