//! File names: a name that somebody else chose stays in the folder, and nothing that is there is ever overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Leaves room for `-99999`, the ending and the mark of a part file within the 255 bytes that file systems take.
const LONGEST: usize = 200;

/// So many files of one name are tried before the name is given up.
const MOST_OF_A_NAME: u32 = 100_000;

/// A file name without folder and ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stem(String);

/// Why a name cannot be a file's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadName {
    /// There is none.
    #[error("is empty")]
    Empty,
    /// Too long.
    #[error("is longer than 200 bytes")]
    TooLong,
    /// Would be hidden, or a folder's.
    #[error("begins with a dot")]
    Dot,
    /// Would lead elsewhere, or cannot be shown.
    #[error("contains {0:?}: no separators and no control characters")]
    Character(char),
}

impl Stem {
    /// Takes a name if it can only be that of a file in the folder: 1 to 200 bytes, no leading dot, no `/`, `\` or control character.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(name: &str) -> Result<Stem, BadName> {
        if name.is_empty() {
            return Err(BadName::Empty);
        }
        if name.len() > LONGEST {
            return Err(BadName::TooLong);
        }
        if name.starts_with('.') {
            return Err(BadName::Dot);
        }
        let bad = |c: &char| matches!(c, '/' | '\\') || c.is_control();
        match name.chars().find(bad) {
            Some(c) => Err(BadName::Character(c)),
            None => Ok(Stem(name.to_owned())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name itself, then `name-2`, `name-3` …
    fn variants(&self) -> impl Iterator<Item = Stem> + '_ {
        let numbered = (2..MOST_OF_A_NAME).map(|n| Stem(format!("{}-{n}", self.0)));
        std::iter::once(self.clone()).chain(numbered)
    }

    fn path(&self, folder: &Path, ending: &str) -> PathBuf {
        folder.join(format!("{}.{ending}", self.0))
    }
}

/// Makes the WAV file of the first free variant of a name. Free is one that has no record either, so that the two keep one name.
pub(super) fn create_wav(folder: &Path, name: &Stem) -> io::Result<(Stem, PathBuf, File)> {
    fs::create_dir_all(folder)?;
    for stem in name.variants() {
        if stem.path(folder, "json").try_exists()? {
            continue;
        }
        let path = stem.path(folder, "wav");
        match new_file(&path) {
            Ok(file) => return Ok((stem, path, file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(used_up(name))
}

/// Writes a record at once or not at all: under the name of its recording, else under the first free variant of `name`.
pub(super) fn write_json(folder: &Path, name: &Stem, recorded: Option<&Stem>, json: &[u8]) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let part = folder.join(format!(".{}.json.part", recorded.unwrap_or(name).0));
    let _ = fs::remove_file(&part);
    let written = new_file(&part).and_then(|mut file| file.write_all(json));
    let placed = written.and_then(|()| {
        let recorded = recorded.cloned().into_iter();
        let free = |stem: &Stem| !stem.path(folder, "wav").exists();
        for stem in recorded.chain(name.variants().filter(free)) {
            let path = stem.path(folder, "json");
            match place(&part, &path) {
                Ok(()) => return Ok(path),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Err(used_up(name))
    });
    // After a hard link it is the second name of the record, after a fault a torso.
    let _ = fs::remove_file(&part);
    placed
}

/// Gives a whole file its name, unless something is there. A rename would replace it; a hard link does not.
fn place(part: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(part, path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            // Not every file system knows hard links: look, then rename.
            if path.try_exists()? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(part, path)
        }
        done => done,
    }
}

/// Makes a file in the folder, and the folder before it, as the first call would.
pub(super) fn probe(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!(".trunkline-{}.probe", std::process::id()));
    let _ = fs::remove_file(&path);
    new_file(&path)?;
    fs::remove_file(&path)
}

/// What people said on the telephone is not for everybody on the machine.
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)
}

fn used_up(name: &Stem) -> io::Error {
    io::Error::other(format!("{MOST_OF_A_NAME} files are named {:?}", name.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        for (name, fault) in [
            ("", BadName::Empty),
            ("..", BadName::Dot),
            (".hidden", BadName::Dot),
            ("../x", BadName::Dot),
            ("a/b", BadName::Character('/')),
            ("/etc/passwd", BadName::Character('/')),
            ("a\\b", BadName::Character('\\')),
            ("a\0", BadName::Character('\0')),
            ("a\nb", BadName::Character('\n')),
        ] {
            assert_eq!(Stem::parse(name), Err(fault), "{name:?}");
        }
        assert_eq!(Stem::parse(&"x".repeat(201)), Err(BadName::TooLong));
        for name in ["a", "订单 17", "call..2", "-rf", &"x".repeat(200)] {
            assert_eq!(Stem::parse(name).expect(name).as_str(), name);
        }
    }
}
