//! Makes the contract's Rust code with a compiler that is itself Rust: no `protoc` is needed.

use std::error::Error;

/// The repository's contracts, which the other languages generate from as well.
const PROTOS: &str = "../../../protos";

fn main() -> Result<(), Box<dyn Error>> {
    let contract = format!("{PROTOS}/model_management.proto");
    println!("cargo:rerun-if-changed={contract}");
    let descriptors = protox::compile([contract], [PROTOS])?;
    // The client is the tests' own; it brings its channel itself.
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
