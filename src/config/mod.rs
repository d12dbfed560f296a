//! Floor 5: `trunkline.toml` and `sip-profiles/*.toml` become the values that each floor defines; below this nobody sees an unparsed
//! string.
//!
//! [`load`] reads all files and checks the values for their form and for their meaning, one by one and against each other. It gives everything
//! or all mistakes at once, each as `file:line:key: reason; what to do`. Only a file that is not TOML is judged for that alone. Paths are relative to the file that names them.
//! Every key, with unit, range and default, stands in the `trunkline.toml` and the `sip-profiles` of the repository.

mod engine;
mod group;
mod identity;
mod numbers;
mod phrases;
mod problem;
mod reader;
mod recording;
mod sip;
mod tones;
mod trunk;
mod values;
mod written;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use problem::{Problem, Problems};
pub use values::Config;

use reader::Source;
use trunk::Profile;

/// Reads `trunkline.toml` and the profiles that it names.
///
/// # Errors
/// All mistakes of all files.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let problems = RefCell::new(Vec::new());
    let config = read(path, &problems);
    let mut problems = problems.into_inner();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => {
            // The main file first, then the profiles by name; each by lines.
            problems.sort_by(|a, b| (a.file != path, a).cmp(&(b.file != path, b)));
            problems.dedup();
            Err(Problems(problems))
        }
    }
}

fn read(path: &Path, problems: &RefCell<Vec<Problem>>) -> Option<Config> {
    let text = contents(path, problems)?;
    let source = Source { file: path, text: &text, problems };
    let (tree, sound) = source.parse();
    // A broken file is read only for the folder of the profiles, which are checked all the same.
    let unheard = RefCell::new(Vec::new());
    let source = Source { problems: if sound { problems } else { &unheard }, ..source };
    let engine = engine::read(&source, &tree);
    let services = sound.then(|| engine.services());
    let tables = tones::read(&engine.profiles, problems);
    let mut trunks = Vec::new();
    let mut disabled = Vec::new();
    let mut files = Vec::new();
    for file in profiles(&engine.profiles, path, problems) {
        match profile(&file, services.as_ref(), &tables, problems) {
            Some(Profile::On(trunk)) => {
                trunks.push(*trunk);
                files.push(file);
            }
            Some(Profile::Off(name)) => disabled.push(name),
            None => {}
        }
    }
    let config = engine.config(trunks, disabled);
    // A profile that is broken would only be missed here.
    if problems.borrow().is_empty() {
        ways_out(&config, &files, problems);
    }
    Some(config)
}

/// The trunks over which calls are handed over: each is one that there is. `files`: the profiles, in the order of the trunks.
fn ways_out(config: &Config, files: &[PathBuf], problems: &RefCell<Vec<Problem>>) {
    let (trunks, groups) = (&config.switchboard.trunks, &config.switchboard.groups);
    let names = trunks.iter().map(|trunk| trunk.name.as_str()).chain(groups.iter().map(|group| group.name.as_str()));
    let known: Vec<_> = names.collect();
    for (trunk, file) in trunks.iter().zip(files) {
        let way = trunk.transfer.trunk.as_str();
        if !way.is_empty() && !known.contains(&way) {
            problems.borrow_mut().push(Problem {
                file: file.clone(),
                line: 0,
                key: "transfer.trunk".to_owned(),
                reason: format!("{way:?} is no trunk that is on, and no group"),
                remedy: format!("write one of: {}", known.join(", ")),
            });
        }
    }
}

fn profile(
    path: &Path,
    services: Option<&trunk::Services>,
    tables: &tones::Tables,
    problems: &RefCell<Vec<Problem>>,
) -> Option<Profile> {
    let text = contents(path, problems)?;
    let source = Source { file: path, text: &text, problems };
    let (tree, sound) = source.parse();
    if !sound {
        return None;
    }
    trunk::read(&source, &tree, services, Some(tables))
}

/// The profiles, in the order of their names.
fn profiles(folder: &Path, named_in: &Path, problems: &RefCell<Vec<Problem>>) -> Vec<PathBuf> {
    // A folder that cannot be listed has been told by `engine`.
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    if files.is_empty() {
        problems.borrow_mut().push(Problem {
            file: named_in.to_owned(),
            line: 0,
            key: "profiles.folder".to_owned(),
            reason: format!("{} has no .toml file, so there is no trunk", folder.display()),
            remedy: "write a profile; ip-trunk.toml of the distribution is one to begin with".to_owned(),
        });
    }
    files
}

fn contents(path: &Path, problems: &RefCell<Vec<Problem>>) -> Option<String> {
    let told = |e: io::Error| {
        let remedy = match e.kind() {
            io::ErrorKind::InvalidData => "save it as UTF-8",
            io::ErrorKind::NotFound => "name the right file",
            _ => "make it readable for the user that runs trunkline",
        };
        problems.borrow_mut().push(Problem {
            file: path.to_owned(),
            line: 0,
            key: String::new(),
            reason: format!("cannot be read: {e}"),
            remedy: remedy.to_owned(),
        });
    };
    fs::read_to_string(path).map_err(told).ok()
}
