//! The one way that `src/generated/` is made: prost for the messages, tonic for servers and clients.
//! Shared by the `generate` example and the test that compares.

use std::io;
use std::path::Path;

/// Writes one Rust file per protobuf package into `out`.
pub(crate) fn generate(out: &Path) -> io::Result<()> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    std::fs::create_dir_all(out)?;
    tonic_build::configure()
        .out_dir(out)
        .btree_map(["."])
        .emit_rerun_if_changed(false)
        .compile_protos(
            &[
                proto.join("runtime.v1.proto"),
                proto.join("runtime.v1alpha1.proto"),
                proto.join("coffer.proto"),
            ],
            &[proto],
        )
}
