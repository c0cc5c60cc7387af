//! What libc's start does, but for the questions to the processor: `CPUID` leaves a virtual machine each
//! time, and libc asks some forty times, 0.2 ms for a program that lives for less than one.
//!
//! ```text
//!  first_start ─► begin ─► is this the libc that is known here, no AT_SECURE? ──no──► _start, as ever
//!                            │ yes
//!                            auxiliary vector, tunables, ifuncs, thread-local storage, guards,
//!                            early and first initialisation, constructors, main, exit
//! ```
//! The answers choose between variants of memcpy and its kin and set a few sizes for them. Unasked, libc
//! takes those for any x86-64 (SSE2), and the two sizes that have no value of their own get one here.
//! std and the digests ask by themselves, where they want to know.
//!
//! What is called is internal to a static glibc, and in this order in its `csu/libc-start.c`. So it is done
//! for [`VERSION`] alone, and every name must be there: they are weak, but for the one that tells the version. Left out besides: the destructors of
//! the program's own objects, of which a Rust program has none, and the debugger's link map.

use core::arch::{asm, global_asm};
use core::mem::transmute;

/// glibc of Debian 12.
const VERSION: &[u8] = b"2.36\0";

/// `x86.x86_non_temporal_threshold` where no cache is known: three quarters of 1 MiB.
const NON_TEMPORAL: usize = 0xc_0000;

const AT_NULL: usize = 0;
const AT_SECURE: usize = 23;
const R_X86_64_IRELATIVE: usize = 37;

/// Addresses in libc and in the program, as `coffer_libc` below lists them.
#[repr(C)]
struct Libc {
    environ: usize,
    stack_end: usize,
    random: usize,
    non_temporal: usize,
    rep_movsb_stop: usize,
    ifuncs: [usize; 2],
    preinit: [usize; 2],
    init: [usize; 2],
    /// The first of the functions: from here on none may be missing.
    version: usize,
    aux_init: usize,
    tunables_init: usize,
    setup_tls: usize,
    early_init: usize,
    init_first: usize,
    init_section: usize,
    main: usize,
    exit: usize,
}

global_asm!(
    ".weak __environ, __libc_stack_end, _dl_random",
    ".weak __x86_shared_non_temporal_threshold, __x86_rep_movsb_stop_threshold",
    ".weak __rela_iplt_start, __rela_iplt_end",
    ".weak __preinit_array_start, __preinit_array_end, __init_array_start, __init_array_end",
    ".weak _dl_aux_init, __tunables_init, __libc_setup_tls",
    ".weak __libc_early_init, __libc_init_first, _init, exit",
    ".pushsection .data.rel.ro.coffer_libc, \"aw\", @progbits",
    ".balign 8",
    ".globl coffer_libc",
    ".hidden coffer_libc",
    "coffer_libc:",
    ".quad __environ, __libc_stack_end, _dl_random",
    ".quad __x86_shared_non_temporal_threshold, __x86_rep_movsb_stop_threshold",
    ".quad __rela_iplt_start, __rela_iplt_end",
    ".quad __preinit_array_start, __preinit_array_end, __init_array_start, __init_array_end",
    ".quad gnu_get_libc_version, _dl_aux_init, __tunables_init, __libc_setup_tls",
    ".quad __libc_early_init, __libc_init_first, _init, main, exit",
    ".popsection",
);

type Words = *const usize;

/// Becomes the program, with libc as its own start leaves it; returns where it cannot, and nothing is done.
/// `stack` is what the kernel left: argc, the arguments, a null, the environment, a null, the auxiliary
/// vector.
///
/// As in `first_start`, nothing may be used here that is chosen or set up later.
pub(crate) extern "C" fn begin(stack: Words) {
    let table: *const Libc;
    // SAFETY: an address is taken, nothing is read.
    unsafe { asm!("lea {}, [rip + coffer_libc]", out(reg) table, options(nomem, nostack)) };
    // SAFETY: the table is there, in this order, and nobody writes to it.
    let libc = unsafe { &*table };
    // SAFETY: argc stands there, by the ABI of a process' start.
    let count = unsafe { stack.read() };
    let arguments = stack.wrapping_add(1);
    let environment = arguments.wrapping_add(count).wrapping_add(1);
    let auxiliary = after_null(environment);
    if is_known(libc) && !is_secure(auxiliary) {
        let lists = [
            count,
            arguments.expose_provenance(),
            environment.expose_provenance(),
        ];
        // SAFETY: of this version, and the process has just begun.
        unsafe { start(libc, stack, lists, auxiliary) };
    }
}

/// # Safety
/// libc is of the version whose start this is, and nothing of it has been used.
unsafe fn start(libc: &Libc, stack: Words, lists: [usize; 3], auxiliary: Words) {
    let environment = lists[2];
    let one = |argument| [argument, 0, 0];
    // SAFETY: libc's variable of this meaning.
    unsafe { write(libc.environ, environment) };
    // SAFETY: as above.
    unsafe { write(libc.stack_end, stack.expose_provenance()) };
    // SAFETY: the call that libc's own start makes at this point, with its arguments; so are all below.
    unsafe { call(libc.aux_init, one(auxiliary.expose_provenance())) };
    // SAFETY: see above.
    unsafe { call(libc.tunables_init, one(environment)) };
    // SAFETY: libc's variable of this meaning, which the answers of the processor would set.
    unsafe { write(libc.non_temporal, NON_TEMPORAL) };
    // SAFETY: as above.
    unsafe { write(libc.rep_movsb_stop, NON_TEMPORAL) };
    // SAFETY: the linker's table.
    unsafe { choose(libc.ifuncs) };
    // SAFETY: see above.
    unsafe { call(libc.setup_tls, one(0)) };
    // SAFETY: thread-local storage is set up.
    unsafe { guard(libc.random) };
    // SAFETY: see above; 1 is C's true.
    unsafe { call(libc.early_init, one(1)) };
    // SAFETY: see above.
    unsafe { call(libc.init_first, lists) };
    // SAFETY: the program's constructors, in the order of libc's own start.
    unsafe { construct(libc.preinit, lists) };
    // SAFETY: as above.
    unsafe { call(libc.init_section, one(0)) };
    // SAFETY: as above.
    unsafe { construct(libc.init, lists) };
    // SAFETY: C's main.
    let code = unsafe { call(libc.main, lists) };
    // SAFETY: it does not return; of the word it takes C's int.
    unsafe { call(libc.exit, one(code)) };
}

/// Every name was found, and libc is of the version whose start this is, with ifuncs as expected.
fn is_known(libc: &Libc) -> bool {
    let mut at = &raw const libc.version;
    let end = &raw const libc.exit;
    while at <= end {
        // SAFETY: between two fields of one structure of words.
        if unsafe { at.read_volatile() } == 0 {
            return false;
        }
        at = at.wrapping_add(1);
    }
    for variable in [libc.environ, libc.stack_end, libc.random, libc.non_temporal] {
        if variable == 0 {
            return false;
        }
    }
    // SAFETY: it only gives the address of a constant.
    let said = unsafe { call(libc.version, [0; 3]) };
    let mut said = core::ptr::with_exposed_provenance::<u8>(said);
    let mut wanted = VERSION.as_ptr();
    let end = wanted.wrapping_add(VERSION.len());
    while wanted < end {
        // SAFETY: equal so far, so the text has not ended yet.
        let byte = unsafe { said.read_volatile() };
        // SAFETY: before its end.
        if byte != unsafe { wanted.read_volatile() } {
            return false;
        }
        (said, wanted) = (said.wrapping_add(1), wanted.wrapping_add(1));
    }
    let mut at = libc.ifuncs[0];
    while at < libc.ifuncs[1] {
        // SAFETY: an entry of the linker's table: place, kind, resolver.
        if unsafe { read(at + 8) } != R_X86_64_IRELATIVE {
            return false;
        }
        at += 24;
    }
    true
}

/// The word after the next null.
fn after_null(mut at: Words) -> Words {
    // SAFETY: the kernel ends each list by one.
    while unsafe { at.read_volatile() } != 0 {
        at = at.wrapping_add(1);
    }
    at.wrapping_add(1)
}

/// The kernel says that who started this has fewer rights: libc has more to do then.
fn is_secure(mut auxiliary: Words) -> bool {
    loop {
        // SAFETY: pairs of words, the last of kind AT_NULL.
        match unsafe { auxiliary.read_volatile() } {
            AT_NULL => return false,
            // SAFETY: the pair's other word.
            AT_SECURE => return unsafe { auxiliary.wrapping_add(1).read_volatile() } != 0,
            _ => auxiliary = auxiliary.wrapping_add(2),
        }
    }
}

/// Lets each function that has variants choose one, and notes its choice.
///
/// # Safety
/// The table is the linker's, and nothing has used such a function yet.
unsafe fn choose([start, end]: [usize; 2]) {
    let mut at = start;
    while at < end {
        // SAFETY: an entry of the linker's table: place, kind, resolver.
        let place = unsafe { read(at) };
        // SAFETY: as above.
        let resolver = unsafe { read(at + 16) };
        // SAFETY: a resolver takes nothing and gives an address.
        let chosen = unsafe { call(resolver, [0; 3]) };
        // SAFETY: the place is writable until libc protects it.
        unsafe { write(place, chosen) };
        at += 24;
    }
}

/// The stack's and the pointers' guards, of the kernel's random bytes.
///
/// # Safety
/// Thread-local storage is set up; `random` is the address of libc's pointer to those bytes.
unsafe fn guard(random: usize) {
    // SAFETY: by the caller.
    let bytes = unsafe { read(random) };
    // SAFETY: the kernel gives 16 bytes.
    let stack = unsafe { read(bytes) } & !0xff;
    // SAFETY: as above.
    let pointer = unsafe { read(bytes + 8) };
    // SAFETY: its place in the thread's block.
    unsafe { asm!("mov fs:[0x28], {}", in(reg) stack, options(nostack)) };
    // SAFETY: as above.
    unsafe { asm!("mov fs:[0x30], {}", in(reg) pointer, options(nostack)) };
}

/// Runs the constructors of a section.
///
/// # Safety
/// They are such, and all that comes before them is done.
unsafe fn construct([start, end]: [usize; 2], lists: [usize; 3]) {
    let mut at = start;
    while at < end {
        // SAFETY: a word of the section.
        let constructor = unsafe { read(at) };
        // SAFETY: it is the address of a constructor, which gets what main gets.
        unsafe { call(constructor, lists) };
        at += size_of::<usize>();
    }
}

/// # Safety
/// A C function is there that takes these or the first of them; where it gives nothing, so does the result.
unsafe fn call(function: usize, [a, b, c]: [usize; 3]) -> usize {
    // SAFETY: by the caller. More arguments than it takes are registers that it does not read.
    let function: extern "C" fn(usize, usize, usize) -> usize = unsafe { transmute(function) };
    function(a, b, c)
}

/// # Safety
/// A word is there.
unsafe fn read(address: usize) -> usize {
    // SAFETY: by the caller.
    unsafe { core::ptr::with_exposed_provenance::<usize>(address).read_volatile() }
}

/// # Safety
/// A word is there that may be written, or the address is 0.
unsafe fn write(address: usize, word: usize) {
    if address != 0 {
        // SAFETY: by the caller.
        unsafe { core::ptr::with_exposed_provenance_mut::<usize>(address).write_volatile(word) };
    }
}
