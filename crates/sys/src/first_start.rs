//! The first of two starts of a program, before libc's own: a handful of system calls, two pages touched.
//!
//! What [`crate::self_exe::protect`] does, it does after a whole start: libc has asked the processor for
//! its features (each question leaves a virtual machine), relocated, made a heap; std has looked at
//! streams and signals. The execve throws all that away, and it is done again. So a program may begin
//! here instead, by the linker's `-e coffer_entry`:
//!
//! ```text
//!  kernel ─► coffer_entry ─► is a word of the command line one of NAMES? ──no──► own_start, or _start
//!                                 │ yes
//!                            /proc/self/exe is on a read-only mount? ──yes──► own_start, or _start
//!                                 │ no
//!                            open_tree(CLONE), mount_setattr(RDONLY), execveat ─► coffer_entry …
//!                                 └ one of them fails ──► own_start, or _start
//! ```
//! This only saves time. A command that must be protected calls `protect`, which looks for itself where nothing
//! began here, and does what failed here, or says why it can't be done.
//!
//! Nothing here may use libc, thread-local storage, or memcpy and its kin (which of them is chosen later).
//! Bytes are read by volatile reads, so that no compiler makes such a call out of a loop. The program must
//! not be a PIE: that relocates itself in libc's start, and unoptimised code calls by a table of addresses.

use core::arch::{asm, global_asm};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};

/// The start has found that our file is on a read-only mount: this is the second one, or it is installed so.
static PROTECTED: AtomicBool = AtomicBool::new(false);

/// Commands whose processes a container can see, each with its NUL: one string, not a table.
pub const NAMES: &[u8] = b"create\0run\0exec\0";
const SELF: &[u8] = b"/proc/self/exe\0";
const EMPTY: &[u8] = b"\0";

/// `struct mount_attr`: read-only.
static READ_ONLY: [u64; 4] = [1, 0, 0, 0];
/// `struct statfs` of 64-bit machines in words, and which of them holds the flags.
const STATFS_WORDS: usize = 15;
const STATFS_FLAGS: usize = 10;
const ST_RDONLY: u64 = 1;
const READ_ONLY_MOUNT: i64 = -(libc::EROFS as i64);
const CLONE: i32 = 1;

#[cfg(target_arch = "x86_64")]
global_asm!(
    // Of its own, to be left out where nothing begins here.
    ".pushsection .text.coffer_entry, \"ax\", @progbits",
    ".globl coffer_entry",
    ".type coffer_entry, @function",
    "coffer_entry:",
    // As in _start: no frame is above ours. The stack pointer is at argc, and aligned to 16.
    "xor ebp, ebp",
    "mov rdi, rsp",
    "call {first}",
    "mov rdi, rsp",
    "call {begin}",
    // As the kernel gives it: no function to call at exit.
    "xor edx, edx",
    "jmp _start",
    ".size coffer_entry, . - coffer_entry",
    ".popsection",
    first = sym first,
    begin = sym begin,
);

#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
use crate::own_start::begin;

/// Other libcs ask the processor nothing.
#[cfg(all(target_arch = "x86_64", not(target_env = "gnu")))]
extern "C" fn begin(_stack: *const usize) {}

// For `char *__dcgettext(domain, message, category)`, by the linker's `--defsym`: the message as it is. libc
// asks for a translation of each error's text, and there is none where nobody calls setlocale.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl coffer_untranslated",
    ".type coffer_untranslated, @function",
    "coffer_untranslated:",
    "mov rax, rsi",
    "ret",
    ".size coffer_untranslated, . - coffer_untranslated",
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl coffer_untranslated",
    ".type coffer_untranslated, %function",
    "coffer_untranslated:",
    "mov x0, x1",
    "ret",
    ".size coffer_untranslated, . - coffer_untranslated",
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl coffer_entry",
    ".type coffer_entry, %function",
    "coffer_entry:",
    "mov x29, #0",
    "mov x30, #0",
    "mov x0, sp",
    "bl {first}",
    "mov x0, #0",
    "b _start",
    ".size coffer_entry, . - coffer_entry",
    first = sym first,
);

/// Whether the start has seen that our file is on a read-only mount.
pub(crate) fn is_protected() -> bool {
    PROTECTED.load(Ordering::Relaxed)
}

/// `stack` is what the kernel left: argc, the arguments, a null, the environment, a null.
extern "C" fn first(stack: *const usize) {
    // SAFETY: argc stands there, by the ABI of a process' start.
    let count = unsafe { stack.read() };
    let arguments = stack.wrapping_add(1).cast::<*const u8>();
    if !is_named(arguments) {
        return;
    }
    if is_read_only() {
        PROTECTED.store(true, Ordering::Relaxed);
        return;
    }
    let flags = number(CLONE | libc::O_CLOEXEC);
    let open = [number(libc::AT_FDCWD), address(SELF), flags, 0, 0];
    // SAFETY: the path ends in NUL.
    let Ok(tree) = usize::try_from(unsafe { call(libc::SYS_open_tree, open) }) else {
        return;
    };
    let itself = number(libc::AT_EMPTY_PATH);
    let attr = (&raw const READ_ONLY).expose_provenance();
    let set = [tree, address(EMPTY), itself, attr, size_of_val(&READ_ONLY)];
    // SAFETY: the path ends in NUL, the structure has the size told.
    if unsafe { call(libc::SYS_mount_setattr, set) } == 0 {
        let environment = arguments.wrapping_add(count).wrapping_add(1);
        let lists = [
            arguments.expose_provenance(),
            environment.expose_provenance(),
        ];
        let execute = [tree, address(EMPTY), lists[0], lists[1], itself];
        // SAFETY: the lists are those that the kernel made for us. It returns only when it fails.
        unsafe { call(libc::SYS_execveat, execute) };
    }
    // SAFETY: the descriptor is ours.
    unsafe { call(libc::SYS_close, [tree, 0, 0, 0, 0]) };
}

/// Whether one of the arguments, but the program's own name, is one of [`NAMES`].
fn is_named(arguments: *const *const u8) -> bool {
    let mut at = arguments;
    loop {
        // SAFETY: the list ends in a null, at which we stop; an empty one has nothing else.
        if unsafe { at.read() }.is_null() {
            return false;
        }
        at = at.wrapping_add(1);
        // SAFETY: as above.
        let argument = unsafe { at.read() };
        if !argument.is_null() && is_name(argument) {
            return true;
        }
    }
}

fn is_name(argument: *const u8) -> bool {
    let mut name = NAMES.as_ptr();
    let end = name.wrapping_add(NAMES.len());
    while name < end {
        let mut same = true;
        let mut at = argument;
        loop {
            // SAFETY: each name ends in a NUL, and the last is the end of all.
            let wanted = unsafe { name.read_volatile() };
            name = name.wrapping_add(1);
            if same {
                // SAFETY: equal so far, so the argument has not ended yet.
                same = unsafe { at.read_volatile() } == wanted;
                at = at.wrapping_add(1);
            }
            if wanted == 0 {
                break;
            }
        }
        if same {
            return true;
        }
    }
    false
}

fn is_read_only() -> bool {
    let ask = [
        number(libc::AT_FDCWD),
        address(SELF),
        number(libc::W_OK),
        0,
        0,
    ];
    // SAFETY: the path ends in NUL.
    match unsafe { call(libc::SYS_faccessat, ask) } {
        READ_ONLY_MOUNT => true,
        0 => false,
        // Who may not write it anyway is not told. statfs does, but it counts a filesystem's free blocks for that.
        _ => is_mounted_read_only(),
    }
}

fn is_mounted_read_only() -> bool {
    let mut words = MaybeUninit::<[u64; STATFS_WORDS]>::uninit();
    let place = words.as_mut_ptr();
    let into = [address(SELF), place.expose_provenance(), 0, 0, 0];
    // SAFETY: the path ends in NUL; the kernel writes a statfs, for which there is room.
    if unsafe { call(libc::SYS_statfs, into) } != 0 {
        return false;
    }
    let flags = place.cast::<u64>().wrapping_add(STATFS_FLAGS);
    // SAFETY: the kernel has written the whole structure, of which this is a word.
    let flags = unsafe { flags.read() };
    flags & ST_RDONLY != 0
}

fn address(text: &'static [u8]) -> usize {
    text.as_ptr().expose_provenance()
}

#[expect(
    clippy::cast_sign_loss,
    reason = "sign extension to the register is the convention"
)]
fn number(value: i32) -> usize {
    value as isize as usize
}

/// One system call; an error is negative.
///
/// # Safety
/// As the call itself demands.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: i64, a: [usize; 5]) -> i64 {
    let result: i64;
    // SAFETY: the kernel's calling convention; rcx and r11 are clobbered, memory may be written.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// One system call; an error is negative.
///
/// # Safety
/// As the call itself demands.
#[cfg(target_arch = "aarch64")]
unsafe fn call(number: i64, a: [usize; 5]) -> i64 {
    let result: i64;
    // SAFETY: the kernel's calling convention; memory may be written.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a[0] => result,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4],
            options(nostack),
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_words_and_the_programs_own_does_not_count() {
        let named = |words: &[&std::ffi::CStr]| {
            let list: Vec<*const u8> = words
                .iter()
                .map(|word| word.as_ptr().cast())
                .chain([std::ptr::null()])
                .collect();
            is_named(list.as_ptr())
        };
        for word in [c"create", c"run", c"exec"] {
            assert!(named(&[c"coffer-oci", word]), "{word:?}");
            assert!(named(&[c"coffer-oci", c"--root", c"/x", word, c"c1"]));
        }
        for word in [c"", c"ru", c"runs", c"xrun", c"createrun", c"state"] {
            assert!(!named(&[c"coffer-oci", word]), "{word:?}");
        }
        assert!(!named(&[c"run"]));
        assert!(!named(&[]));
    }

    #[test]
    fn a_mount_is_read_only_as_statvfs_has_it() {
        let flags = rustix::fs::statvfs("/proc/self/exe").unwrap().f_flag;
        let read_only = flags.contains(rustix::fs::StatVfsMountFlags::RDONLY);
        assert_eq!(is_read_only(), read_only);
    }
}
