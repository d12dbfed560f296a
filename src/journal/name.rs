//! File names: a name that somebody else chose stays in the folder, and nothing that is there is ever overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Leaves room for `-99999`, the ending and the mark of a part file within the 255 bytes that file systems take.
const LONGEST: usize = 200;

/// So many files of one name are tried before the name is given up.
const MOST_OF_A_NAME: u32 = 100_000;

/// How the names of recordings end, whatever the format was when they were made.
const RECORDINGS: [&str; 2] = ["wav", "opus"];

/// How the names of all that is kept of a call end, the recording first.
pub(super) const FILES: [&str; 3] = [RECORDINGS[0], RECORDINGS[1], "json"];

/// How the name of a marker ends.
const MARKED: &str = ".upload";

/// A file name without ending; below folders, if a [`Pattern`] made it.
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

    fn is_recorded(&self, folder: &Path) -> bool {
        RECORDINGS.iter().any(|ending| self.path(folder, ending).exists())
    }

    /// The path of its files, without ending.
    pub(super) fn below(&self, folder: &Path) -> PathBuf {
        folder.join(&self.0)
    }
}

/// What a pattern of names may speak of.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'a> {
    /// Our id of the call.
    pub call_id: &'a str,
    /// The profile.
    pub trunk: &'a str,
    /// The number that calls.
    pub caller: &'a str,
    /// The number that is called.
    pub callee: &'a str,
    /// We dialled.
    pub outbound: bool,
    /// When the call began.
    pub wall: SystemTime,
}

/// How recordings and records are named: text with variables in braces, folders set off by `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Vec<Piece>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(&'static str),
}

const VARIABLES: [&str; 7] = ["call_id", "date", "time", "trunk", "caller", "callee", "direction"];
/// Folders within folders, and the file.
const DEEPEST: usize = 8;

/// Why something is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPattern {
    /// One that is not known.
    #[error("has the variable {0:?}, which is not known")]
    Variable(String),
    /// A brace without its other.
    #[error("has a brace without its other one")]
    Brace,
    /// Many calls would have one name.
    #[error("has no {{call_id}} in the file's name, so many calls would have one name")]
    NoCallId,
    /// A part of it cannot be a file's name.
    #[error("has the part {0:?}, which {1}")]
    Part(String, BadName),
    /// Too many folders.
    #[error("has more than 7 folders")]
    Deep,
}

impl Default for Pattern {
    fn default() -> Pattern {
        Pattern(vec![vec![Piece::Variable("call_id")]])
    }
}

impl Pattern {
    /// Takes `{date}/{trunk}/{call_id}` and the like.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Pattern, BadPattern> {
        let parts = text.split('/').map(Pattern::part).collect::<Result<Vec<_>, _>>()?;
        if parts.len() > DEEPEST {
            return Err(BadPattern::Deep);
        }
        match parts.last() {
            Some(file) if file.contains(&Piece::Variable("call_id")) => Ok(Pattern(parts)),
            _ => Err(BadPattern::NoCallId),
        }
    }

    fn part(text: &str) -> Result<Vec<Piece>, BadPattern> {
        // With a name in place of each variable it has to be a name.
        let bad = |e| BadPattern::Part(text.to_owned(), e);
        Stem::parse(&text.replace(['{', '}'], "x")).map_err(bad)?;
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (variable, behind) = after.split_once('}').ok_or(BadPattern::Brace)?;
            let known = VARIABLES.into_iter().find(|known| *known == variable);
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Variable(known.ok_or_else(|| BadPattern::Variable(variable.to_owned()))?));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        match pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains('}'))) {
            true => Err(BadPattern::Brace),
            false => Ok(pieces),
        }
    }

    /// The name of a call. Whatever its variables hold, it stays below the folder.
    pub fn name(&self, of: &Naming<'_>) -> Stem {
        let parts = self.0.iter().map(|part| tame(&part.iter().map(|piece| piece.text(of)).collect::<String>()));
        Stem(parts.collect::<Vec<_>>().join("/"))
    }
}

impl Piece {
    fn text(&self, of: &Naming<'_>) -> String {
        let moment = |format| jiff::Timestamp::try_from(of.wall).unwrap_or_default().strftime(format).to_string();
        match self {
            Piece::Text(text) => text.clone(),
            Piece::Variable("date") => moment("%Y-%m-%d"),
            Piece::Variable("time") => moment("%H%M%S"),
            Piece::Variable("trunk") => of.trunk.to_owned(),
            Piece::Variable("caller") => of.caller.to_owned(),
            Piece::Variable("callee") => of.callee.to_owned(),
            Piece::Variable("direction") => if of.outbound { "outbound" } else { "inbound" }.to_owned(),
            Piece::Variable(_) => of.call_id.to_owned(),
        }
    }
}

/// Makes of anything a name of one part. What it may not hold becomes `_`; the end, with our id in it, is worth more than the beginning.
fn tame(text: &str) -> String {
    let tamed: String = text.chars().map(|c| if matches!(c, '/' | '\\') || c.is_control() { '_' } else { c }).collect();
    let from = tamed.ceil_char_boundary(tamed.len().saturating_sub(LONGEST));
    match &tamed[from..] {
        "" => "_".to_owned(),
        // Would be hidden, or a folder's.
        name if name.starts_with('.') => format!("_{}", &name[1..]),
        name => name.to_owned(),
    }
}

/// Makes the recording of the first free variant of a name. Free is one that has no record and no recording of another format either, so
/// that the two keep one name.
pub(super) fn create(folder: &Path, name: &Stem, ending: &str) -> io::Result<(Stem, PathBuf, File)> {
    make_folder(folder, name)?;
    let mut again = true;
    for stem in name.variants() {
        if stem.path(folder, "json").try_exists()? || stem.is_recorded(folder) {
            continue;
        }
        let path = stem.path(folder, ending);
        let mut made = new_file(&path);
        if made.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) && std::mem::take(&mut again) {
            // The sweeper has found the folder empty just now.
            make_folder(folder, name)?;
            made = new_file(&path);
        }
        match made {
            Ok(file) => return Ok((stem, path, file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(used_up(name))
}

/// Writes a record at once or not at all: under the name of its recording, else under the first free variant of `name`.
pub(super) fn write_json(
    folder: &Path,
    name: &Stem,
    recorded: Option<&Stem>,
    json: &[u8],
) -> io::Result<(Stem, PathBuf)> {
    make_folder(folder, name)?;
    let part = recorded.unwrap_or(name).path(folder, "json");
    let hidden = part.file_name().unwrap_or_default().to_string_lossy();
    let part = part.with_file_name(format!(".{hidden}.part"));
    let _ = fs::remove_file(&part);
    let written = new_file(&part).and_then(|mut file| file.write_all(json));
    let placed = written.and_then(|()| {
        let recorded = recorded.cloned().into_iter();
        let free = |stem: &Stem| !stem.is_recorded(folder);
        for stem in recorded.chain(name.variants().filter(free)) {
            let path = stem.path(folder, "json");
            match place(&part, &path) {
                Ok(()) => return Ok((stem, path)),
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

/// A path with an ending; what looks like one already stays.
pub(super) fn ended(stem: &Path, ending: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

/// The marker of what waits for its upload.
pub(super) fn marker(stem: &Path) -> PathBuf {
    let name = stem.file_name().unwrap_or_default().to_string_lossy();
    stem.with_file_name(format!(".{name}{MARKED}"))
}

/// What a marker is of.
pub(super) fn marked(marker: &Path) -> Option<PathBuf> {
    let name = marker.file_name()?.to_str()?;
    Some(marker.with_file_name(name.strip_prefix('.')?.strip_suffix(MARKED)?))
}

/// Makes a marker, which says whose it is; one that is there is as good.
pub(super) fn mark(stem: &Path, call_id: &str) -> io::Result<()> {
    match new_file(&marker(stem)) {
        Ok(mut file) => file.write_all(call_id.as_bytes()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

/// The folder of a name.
fn make_folder(folder: &Path, name: &Stem) -> io::Result<()> {
    fs::create_dir_all(name.below(folder).parent().unwrap_or(folder))
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

    fn of(caller: &str) -> Naming<'_> {
        let wall = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_790_000_000);
        Naming { call_id: "c0ffee", trunk: "lab", caller, callee: "张三", outbound: false, wall }
    }

    #[test]
    fn a_pattern_names_calls_and_nothing_leads_out_of_the_folder() {
        let pattern =
            Pattern::parse("{date}/{trunk}/{direction} {time} {caller}→{callee} {call_id}").expect("a pattern");
        let named = |caller: &str| pattern.name(&of(caller)).as_str().to_owned();
        assert_eq!(named("100"), "2026-09-21/lab/inbound 141320 100→张三 c0ffee");
        assert_eq!(named("../../etc/passwd"), "2026-09-21/lab/inbound 141320 .._.._etc_passwd→张三 c0ffee");
        assert_eq!(named("a\\b\0\n"), "2026-09-21/lab/inbound 141320 a_b__→张三 c0ffee");
        let caller = Pattern::parse("{caller}/{call_id}").expect("a pattern");
        for (number, folder) in [("..", "_."), (".", "_"), ("", "_"), (".ssh", "_ssh"), ("/", "_")] {
            assert_eq!(caller.name(&of(number)).as_str(), format!("{folder}/c0ffee"), "{number:?}");
        }
        let long = "长".repeat(300);
        let name = Pattern::parse("{caller}{call_id}").expect("a pattern").name(&of(&long));
        assert!(name.as_str().len() <= 200 && name.as_str().ends_with("长c0ffee"), "{}", name.as_str());
        assert_eq!(Pattern::default().name(&of("1")).as_str(), "c0ffee");
    }

    #[test]
    fn patterns_say_what_is_wrong_with_them() {
        for (text, wrong) in [
            ("{date}", "has no {call_id} in the file's name, so many calls would have one name"),
            ("{call_id}/{date}", "has no {call_id} in the file's name, so many calls would have one name"),
            ("{id}", "has the variable \"id\", which is not known"),
            ("{call_id", "has a brace without its other one"),
            ("call_id}{call_id}", "has a brace without its other one"),
            ("../{call_id}", "has the part \"..\", which begins with a dot"),
            ("/{call_id}", "has the part \"\", which is empty"),
            ("1/2/3/4/5/6/7/8/{call_id}", "has more than 7 folders"),
        ] {
            assert_eq!(Pattern::parse(text).expect_err(text).to_string(), wrong, "{text}");
        }
    }
}
