//! Compiles the three contracts. `protox` is a protobuf compiler in Rust: no `protoc` is needed. And takes the weights of the voice
//! detector's networks from the crates that have them.

use std::path::{Path, PathBuf};

/// The crates with the weights, and where they are in them; the versions that `Cargo.toml` pins, whose networks `dsp::vad::network` and
/// `dsp::vad::silero` are.
const EARSHOT: (&str, &str) = ("earshot-1.2.2", "src/weights.bin");
const SILERO: (&str, &str) = ("silero-0.7.0", "models/silero_vad.onnx");

/// The weights of Silero's network for 8 kHz, in the order in which they are read.
const SILERO_WEIGHTS: [&str; 14] = [
    "encoder.0.reparam_conv.weight",
    "encoder.0.reparam_conv.bias",
    "encoder.1.reparam_conv.weight",
    "encoder.1.reparam_conv.bias",
    "encoder.2.reparam_conv.weight",
    "encoder.2.reparam_conv.bias",
    "encoder.3.reparam_conv.weight",
    "encoder.3.reparam_conv.bias",
    "decoder.rnn.weight_ih",
    "decoder.rnn.weight_hh",
    "decoder.rnn.bias_ih",
    "decoder.rnn.bias_hh",
    "decoder.decoder.2.weight",
    "decoder.decoder.2.bias",
];

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
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::copy(inside(EARSHOT)?, out.join("earshot.bin"))?;
    let silero = std::fs::read(inside(SILERO)?)?;
    std::fs::write(out.join("silero.bin"), onnx::weights(&silero)?)?;
    // Tests run the file itself.
    std::fs::write(out.join("silero.onnx"), silero)?;
    Ok(())
}

/// cargo has unpacked the crate, as it is a dependency of this script; where, it does not say.
fn inside((package, file): (&str, &str)) -> Result<PathBuf, Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-env-changed=CARGO_HOME");
    let home = std::env::var("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|_| Ok::<_, std::env::VarError>(PathBuf::from(std::env::var("HOME")?).join(".cargo")))?;
    let registries =
        std::fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten().map(|entry| entry.path());
    let (name, _) = package.rsplit_once('-').ok_or("a crate has a name and a version")?;
    let vendor = Path::new("vendor");
    let places = registries.map(|registry| registry.join(package)).chain([vendor.join(package), vendor.join(name)]);
    let mut files = places.map(|place| place.join(file));
    let found = files.find(|file| file.is_file()).ok_or_else(|| {
        format!(
            "the source of {package} is neither in {} nor in vendor/: run cargo fetch, or cargo vendor",
            home.join("registry/src").display()
        )
    })?;
    Ok(found)
}

/// As much of ONNX (`onnx.proto3`) as it takes to find a constant by its name.
mod onnx {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    struct Model {
        #[prost(message, optional, tag = "7")]
        graph: Option<Graph>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Graph {
        #[prost(message, repeated, tag = "1")]
        nodes: Vec<Node>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Node {
        #[prost(string, repeated, tag = "2")]
        outputs: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        attributes: Vec<Attribute>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Attribute {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, optional, tag = "5")]
        tensor: Option<Tensor>,
        #[prost(message, optional, tag = "6")]
        graph: Option<Graph>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Tensor {
        /// Little-endian.
        #[prost(bytes, tag = "9")]
        raw: Vec<u8>,
    }

    /// The file is one question, whether the rate is 16 kHz, and a graph for either answer.
    pub fn weights(file: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let graph = Model::decode(file)?.graph.ok_or("no graph")?;
        let mut answers = graph.nodes.into_iter().flat_map(|node| node.attributes);
        let no =
            answers.find(|answer| answer.name == "else_branch").and_then(|answer| answer.graph).ok_or("no 8 kHz")?;
        let weight = |name: &&str| {
            let ends = |output: &String| output.ends_with(&format!("__{name}"));
            let node = no.nodes.iter().find(|node| node.outputs.iter().any(ends)).ok_or(format!("no {name}"))?;
            let tensor = node.attributes.iter().find_map(|attribute| attribute.tensor.as_ref());
            Ok(tensor.ok_or(format!("{name} is no constant"))?.raw.as_slice())
        };
        let weights: Result<Vec<_>, String> = super::SILERO_WEIGHTS.iter().map(weight).collect();
        Ok(weights?.concat())
    }
}

fn prost_encode(set: &impl prost::Message) -> Vec<u8> {
    set.encode_to_vec()
}
