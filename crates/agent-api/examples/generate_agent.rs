//! Writes `src/generated/` from `proto/`: run `cargo run -p agent-api --example generate_agent` after a
//! change to a `.proto` file. Needs `protoc`. A test checks that the result is the same as what is
//! checked in.

#[path = "../generator/mod.rs"]
mod generator;

fn main() -> std::io::Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    generator::generate(&root.join("src/generated"))
}
