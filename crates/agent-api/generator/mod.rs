//! The one way that `src/generated/` is made: prost for the messages, ttrpc's own generator for the
//! services (async server traits and clients). Shared by the `generate` example and the test that
//! compares.

use std::io;
use std::path::Path;

use ttrpc_codegen_prost::{Codegen, Customize};

/// Writes one Rust file per protobuf package, and `mod.rs`, into `out`.
pub(crate) fn generate(out: &Path) -> io::Result<()> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    std::fs::create_dir_all(out)?;
    Codegen::new()
        .out_dir(out)
        .include(&proto)
        .inputs(
            [
                "agent.proto",
                "health.proto",
                "coffer/agent/v1/sandbox.proto",
            ]
            .map(|f| proto.join(f)),
        )
        .prost()
        .customize(Customize {
            gen_mod: true,
            async_all: true,
            ..Default::default()
        })
        .run()
}
