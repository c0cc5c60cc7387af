//! How coffer-agent is linked for release: its file is in every guest's image.
//!
//! | | KiB less |
//! |---|---|
//! | relocations packed (`DT_RELR`, glibc 2.36) | 116 |
//! | functions of the same code folded | 16 |
//! | no `pthread_getattr_np`, which has libc's scanf linked to read /proc/self/maps with | 89 |
//!
//! std asks that function where a thread's stack is, to explain an overflow. Here it gives an error (any number
//! but 0), as in coffer-oci: an overflow is a plain SIGSEGV.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    for arg in [
        "-Wl,-z,pack-relative-relocs",
        "-Wl,--icf=all",
        "-Wl,--defsym=pthread_getattr_np=getpid",
    ] {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
}
