//! The interpreter: one step after the other, and what they leave for each other.

use core::{cell::Cell, sync::atomic::Ordering};

use crate::{
    LaunchPlan,
    calls::{self, CStr},
    message::{Act, Kind, MESSAGE_SIZE, Message},
    path::Path,
    plan::{END, Fd, List, Str},
    raw::{Errno, sys},
    steps,
};

/// Why a step failed.
#[derive(Clone, Copy)]
pub(crate) struct Fail {
    pub(crate) errno: Errno,
    pub(crate) act: Act,
}

impl Fail {
    /// For `map_err`: this act failed.
    pub(crate) fn on(act: Act) -> impl Fn(Errno) -> Self {
        move |errno| Self { errno, act }
    }
}

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Self {
        Self {
            errno,
            act: Act::Itself,
        }
    }
}

/// The child's whole state.
pub(crate) struct Child<'p, 'a> {
    pub(crate) plan: &'p mut LaunchPlan<'a>,
    /// Index of the step.
    pub(crate) at: u32,
    /// Where messages go: the channel, after the gate perhaps the status fifo.
    pub(crate) report: i32,
    pub(crate) into_cgroup: bool,
    /// The container's root, once attached.
    pub(crate) root: i32,
    /// Directory of the last Mknod, Symlink or mount, valid until something is mounted elsewhere.
    pub(crate) made_in: Option<(u32, usize, i32)>,
    /// The last target in it had to be made, so the next one will have to be.
    pub(crate) made_in_is_new: bool,
    /// The mounts that masks are copies of, once there is a mask.
    pub(crate) mask_dir: i32,
    pub(crate) mask_null: i32,
    pub(crate) mask_attached: bool,
    /// The host's mounts, copied, are slaves of its own or private: none of them is ever its peer again.
    pub(crate) host_apart: bool,
    pub(crate) chdir_again: bool,
    /// Descriptors that nobody needs any more, the first and what follows the last: see [`Child::spent`].
    spent: Cell<(i32, i32)>,
    /// What [`Step::Find`] found.
    pub(crate) program: Path,
}

/// Walks the plan. Does not return: the process becomes the program, or exits.
pub(crate) fn run(plan: &mut LaunchPlan<'_>, into_cgroup: bool) -> ! {
    close_all_but(plan.keep);
    calls::default_signals();
    let report = plan.channel;
    let mut child = Child {
        plan,
        at: 0,
        report,
        into_cgroup,
        root: -1,
        made_in: None,
        made_in_is_new: false,
        mask_dir: -1,
        mask_null: -1,
        mask_attached: false,
        host_apart: false,
        chdir_again: false,
        spent: Cell::new((0, 0)),
        program: Path::new(),
    };
    let steps = child.plan.steps;
    let mut trace = child.plan.trace.iter();
    for step in steps {
        if let Err(fail) = steps::run(&mut child, *step) {
            #[expect(clippy::cast_sign_loss, reason = "error numbers are positive")]
            child.tell(Kind::Failed, fail.errno as u32, fail.act);
            calls::exit(1);
        }
        if let Some(time) = trace.next() {
            time.store(calls::monotonic(), Ordering::Relaxed);
        }
        child.at = child.at.wrapping_add(1);
    }
    calls::exit(0)
}

/// Closes all descriptors from 3 on that are not in the sorted list.
fn close_all_but(keep: &[i32]) {
    let mut first = 3;
    for &fd in keep {
        if fd > first {
            let _ = close_range(first, fd - 1, 0);
        }
        if fd >= first {
            first = fd + 1;
        }
    }
    let _ = close_range(first, i32::MAX, 0);
}

pub(crate) fn close_range(first: i32, last: i32, flags: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory; nobody but us uses these descriptors after the clone.
    unsafe { sys!(SYS_close_range, first, last, flags) }?;
    Ok(())
}

impl<'a> Child<'_, 'a> {
    /// A descriptor, close-on-exec, that is not needed any more. What follows each other is closed by one call,
    /// or by the execve: a container's mounts alone leave fifty behind.
    pub(crate) fn spent(&self, fd: i32) {
        /// Who starts us may have few descriptors to give.
        const MOST: i32 = 16;
        let (first, end) = self.spent.get();
        let more = match fd {
            _ if end - first >= MOST => None,
            _ if fd == end && first < end => Some((first, end + 1)),
            _ if fd + 1 == first => Some((fd, end)),
            _ => None,
        };
        self.spent.set(more.unwrap_or_else(|| {
            self.close_spent();
            (fd, fd + 1)
        }));
    }

    pub(crate) fn close_spent(&self) {
        let (first, end) = self.spent.replace((0, 0));
        if end - first > 1 && close_range(first, end - 1, 0).is_ok() {
            return;
        }
        // One, or a seccomp profile that is older than the call.
        (first..end).for_each(calls::close);
    }

    pub(crate) fn str(&self, s: Str) -> CStr<'a> {
        let strings: &'a [u8] = self.plan.strings;
        let at = usize::try_from(s.0).unwrap_or(0);
        CStr::at(strings.get(at..).unwrap_or_default())
    }

    pub(crate) fn fd(&self, fd: Fd) -> i32 {
        self.plan.fds.get(usize::from(fd.0)).copied().unwrap_or(-1)
    }

    pub(crate) fn set_fd(&mut self, fd: Fd, to: i32) {
        if let Some(slot) = self.plan.fds.get_mut(usize::from(fd.0)) {
            *slot = to;
        }
    }

    /// The strings of a list.
    pub(crate) fn words(&self, list: List) -> &'a [Str] {
        let words: &'a [Str] = self.plan.words;
        let from = usize::try_from(list.0)
            .ok()
            .and_then(|at| words.get(at..))
            .unwrap_or_default();
        let end = from.iter().position(|&w| w == END).unwrap_or(from.len());
        from.get(..end).unwrap_or_default()
    }

    /// A list as execve wants it.
    pub(crate) fn pointers(&self, list: List) -> *const usize {
        let none: &[usize] = &[0];
        usize::try_from(list.0)
            .ok()
            .and_then(|at| self.plan.pointers.get(at..))
            .filter(|run| !run.is_empty())
            .unwrap_or(none)
            .as_ptr()
    }

    pub(crate) fn numbers(&self, first: u32, count: u32) -> &'a [u32] {
        let numbers: &'a [u32] = self.plan.numbers;
        let (Ok(first), Ok(count)) = (usize::try_from(first), usize::try_from(count)) else {
            return &[];
        };
        numbers
            .get(first..)
            .and_then(|n| n.get(..count))
            .unwrap_or_default()
    }

    /// Sends a message that the parent must hear, and ends where it can't be sent: a seccomp profile may
    /// have taken the call away, and both sides would wait for ever.
    pub(crate) fn tell(&self, kind: Kind, value: u32, act: Act) {
        if self.try_to_tell(kind, value, act).is_err() && kind != Kind::Failed {
            calls::exit(1);
        }
    }

    fn try_to_tell(&self, kind: Kind, value: u32, act: Act) -> Result<(), Errno> {
        let bytes = Message {
            kind,
            step: self.at,
            value,
            act,
        }
        .to_bytes();
        if self.report == self.plan.channel {
            // SAFETY: the kernel reads the bytes only. NOSIGNAL: a dead parent is no reason to die by a
            // signal.
            unsafe {
                sys!(
                    SYS_sendto,
                    self.report,
                    bytes.as_ptr(),
                    MESSAGE_SIZE,
                    libc::MSG_NOSIGNAL,
                    0_usize,
                    0_usize
                )
            }?;
            Ok(())
        } else {
            calls::write(self.report, &bytes)
        }
    }

    /// Waits for the parent's word on the channel.
    pub(crate) fn wait_for_parent(&self) -> Result<(), Fail> {
        let mut byte = [0_u8; 1];
        loop {
            // SAFETY: one byte of room.
            let got = unsafe { sys!(SYS_read, self.plan.channel, byte.as_mut_ptr(), 1_usize) };
            match got {
                Ok(1) => return Ok(()),
                Err(libc::EINTR) => {}
                Ok(_) | Err(_) => {
                    return Err(Fail {
                        errno: libc::EPIPE,
                        act: Act::ParentGone,
                    });
                }
            }
        }
    }
}
