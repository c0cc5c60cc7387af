//! Has the program linked again when a linker script has changed: cargo sees their names only.

fn main() {
    for script in ["link.ld", "heap.ld", "hot.ld"] {
        println!("cargo::rerun-if-changed={script}");
    }
}
