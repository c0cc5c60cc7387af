//! The parent's side of the clone itself.

use crate::{
    LaunchPlan, Pids, child,
    clone::{self, Spawned},
    plan::END,
    raw::sys,
};

/// Clones a child that runs `plan` and gives its pid as we see it. `namespaces` are CLONE_NEW* flags; `cgroup` is a descriptor of a
/// cgroup2 directory to be born in, or -1.
///
/// # Errors
/// The kernel's error number. EINVAL for a plan that is not sound, or flags that are no namespaces.
pub fn launch(plan: &mut LaunchPlan<'_>, namespaces: u64, cgroup: i32) -> Result<i32, i32> {
    const NEW: u64 = 0x7e02_0000;
    if !plan.is_sound() || namespaces & !NEW != 0 {
        return Err(libc::EINVAL);
    }
    let strings = plan.strings;
    for (pointer, word) in plan.pointers.iter_mut().zip(plan.words) {
        let at = usize::try_from(word.0).ok().filter(|_| *word != END);
        *pointer = at
            .and_then(|at| strings.get(at..))
            .map_or(0, |string| string.as_ptr().expose_provenance());
    }
    let mut old = 0_u64;
    let all = u64::MAX;
    // A handler of ours must not run in the child, nor a signal meant for us kill it.
    // SAFETY: both masks live through the call.
    unsafe {
        sys!(
            SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const all,
            &raw mut old,
            8_usize
        )
    }?;
    let result = match plan.pids {
        Some(pids) => in_pids(pids, namespaces, cgroup),
        None => clone::clone(namespaces, libc::SIGCHLD as u64, cgroup, false),
    };
    if let Ok(spawned) = &result
        && spawned.pid == 0
    {
        let into_cgroup = spawned.into_cgroup;
        child::run(plan, into_cgroup);
    }
    // SAFETY: the mask lives through the call.
    unsafe {
        sys!(
            SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const old,
            core::ptr::null::<u8>(),
            8_usize
        )
    }?;
    result.map(|spawned| spawned.pid)
}

/// Clones a child in another pid namespace.
fn in_pids(pids: Pids, namespaces: u64, cgroup: i32) -> Result<Spawned, i32> {
    const NEWPID: u64 = 0x2000_0000;
    // SAFETY: touches no memory. This is where the thread's children are born; it stays where it is.
    unsafe { sys!(SYS_setns, pids.child, NEWPID) }?;
    let result = clone::clone(namespaces, libc::SIGCHLD as u64, cgroup, false);
    if let Ok(spawned) = &result
        && spawned.pid == 0
    {
        return result;
    }
    // SAFETY: touches no memory.
    let back = unsafe { sys!(SYS_setns, pids.own, NEWPID) };
    match (back, &result) {
        (Err(errno), Ok(spawned)) => {
            // Nobody would know of it.
            // SAFETY: touches no memory; not reaped yet, so the number is its own.
            let _ = unsafe { sys!(SYS_kill, spawned.pid, libc::SIGKILL) };
            Err(errno)
        }
        _ => result,
    }
}
