//! System calls without libc: no errno in thread-local storage, no wrapper that might lock.

use core::arch::asm;

/// A kernel error number, positive.
pub(crate) type Errno = i32;

/// One system call.
///
/// # Safety
/// As the call itself demands: pointers among the arguments are valid for what the kernel does
/// with them.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn syscall(number: i64, a: [usize; 6]) -> Result<usize, Errno> {
    let result: i64;
    // SAFETY: the kernel's calling convention; rcx and r11 are clobbered, memory may be written.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    decode(result)
}

/// One system call.
///
/// # Safety
/// As the call itself demands.
#[cfg(target_arch = "aarch64")]
#[inline]
pub(crate) unsafe fn syscall(number: i64, a: [usize; 6]) -> Result<usize, Errno> {
    let result: i64;
    // SAFETY: the kernel's calling convention; memory may be written.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a[0] => result,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(nostack),
        );
    }
    decode(result)
}

/// Where the stack ends: nothing below it is in use but what a leaf function keeps close to it.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

/// Ends the process without a system call: by a fault, which no mask or handler of ours holds back.
pub(crate) fn trap() -> ! {
    loop {
        // SAFETY: the instruction does nothing but raise the fault.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!("ud2", options(nomem, nostack));
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            asm!("udf #0", options(nomem, nostack));
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "-4095..0 are errors, all else is a result, by the kernel's convention"
)]
fn decode(result: i64) -> Result<usize, Errno> {
    if (-4095..0).contains(&result) {
        Err(-result as i32)
    } else {
        Ok(result as usize)
    }
}

/// What a system call takes: numbers widened as the C prototype would, pointers as addresses.
pub(crate) trait Arg {
    fn arg(self) -> usize;
}

macro_rules! args {
    ($($t:ty),*) => { $(
        impl Arg for $t {
            #[expect(
                clippy::cast_sign_loss,
                clippy::cast_possible_truncation,
                reason = "sign extension to the register is the convention"
            )]
            #[inline]
            fn arg(self) -> usize {
                i64::from(self) as usize
            }
        }
    )* };
}
args!(i32, i64);

macro_rules! unsigned {
    ($($t:ty),*) => { $(
        impl Arg for $t {
            #[inline]
            fn arg(self) -> usize {
                self as usize
            }
        }
    )* };
}
unsigned!(u16, u32, usize);

impl Arg for u64 {
    #[expect(clippy::cast_possible_truncation, reason = "64-bit machines only")]
    #[inline]
    fn arg(self) -> usize {
        self as usize
    }
}

impl<T> Arg for *const T {
    #[inline]
    fn arg(self) -> usize {
        self.expose_provenance()
    }
}

impl<T> Arg for *mut T {
    #[inline]
    fn arg(self) -> usize {
        self.expose_provenance()
    }
}

/// `sys!(SYS_close, fd)`: one system call, up to six arguments, `Result<usize, Errno>`.
macro_rules! sys {
    ($number:ident $(, $arg:expr)* $(,)?) => {{
        let mut a = [0_usize; 6];
        #[allow(unused_mut, clippy::allow_attributes, reason = "calls without arguments")]
        let mut rest = a.iter_mut();
        $(
            if let Some(slot) = rest.next() {
                *slot = $crate::raw::Arg::arg($arg);
            }
        )*
        let _ = rest;
        $crate::raw::syscall(libc::$number, a)
    }};
}
pub(crate) use sys;
