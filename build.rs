//! Compiles the three contracts. `protox` is a protobuf compiler in Rust: no `protoc` is needed.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = ["control", "speech", "dialogue"].map(|p| format!("trunkline/{p}/v1/{p}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    // Reflection serves the descriptors as they are.
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("trunkline.bin");
    std::fs::write(&out, prost_encode(&descriptors))?;
    tonic_prost_build::configure()
        // An event's variants differ in size by design; boxing them would cost more than it saves.
        .type_attribute(".", "#[allow(clippy::large_enum_variant)]")
        .codec_path("crate::proto::codec::Codec")
        .compile_fds(descriptors)?;
    Ok(())
}

fn prost_encode(set: &impl prost::Message) -> Vec<u8> {
    set.encode_to_vec()
}
