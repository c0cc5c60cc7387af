//! oci-cli
fn main() {}
