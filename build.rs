//! Compiles the three contracts. `protox` is a protobuf compiler in Rust: no `protoc` is needed. And takes the weights of the voice
//! detector's network from the crate that has them.

use std::path::{Path, PathBuf};

/// The crate with the weights; the version that `Cargo.toml` pins, whose network `dsp::vad::network` is.
const EARSHOT: &str = "earshot-1.2.2";

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
        // Audio is taken out of what HTTP/2 received as it lies there.
        .bytes(".trunkline.speech.v1")
        .compile_fds(descriptors)?;
    weights(&PathBuf::from(std::env::var("OUT_DIR")?).join("earshot.bin"))
}

/// cargo has unpacked the crate, as it is a dependency of this script; where, it does not say.
fn weights(to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-env-changed=CARGO_HOME");
    let home = std::env::var("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|_| Ok::<_, std::env::VarError>(PathBuf::from(std::env::var("HOME")?).join(".cargo")))?;
    let registries =
        std::fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten().map(|entry| entry.path());
    let places = registries
        .map(|registry| registry.join(EARSHOT))
        .chain([Path::new("vendor").join(EARSHOT), "vendor/earshot".into()]);
    let mut files = places.map(|place| place.join("src/weights.bin"));
    let found = files.find(|file| file.is_file()).ok_or_else(|| {
        format!(
            "the source of {EARSHOT} is neither in {} nor in vendor/: run cargo fetch, or cargo vendor",
            home.join("registry/src").display()
        )
    })?;
    std::fs::copy(found, to)?;
    Ok(())
}

fn prost_encode(set: &impl prost::Message) -> Vec<u8> {
    set.encode_to_vec()
}
