//! The container image's tree, laid out as the Dockerfile says: its configuration is right, and what it names is there.

use std::fs;
use std::path::{Path, PathBuf};

use trunkline::config;

/// A folder that is gone with the test.
struct Root(PathBuf);

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn dockerfile() -> String {
    fs::read_to_string(repository().join("Dockerfile")).expect("the Dockerfile")
}

/// What is copied out of the repository into the image, and where to.
fn copied(dockerfile: &str) -> Vec<(&str, &str)> {
    let copies = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")?.split_once(' '));
    // Not what one stage takes from another, nor the whole repository that is built.
    copies.filter(|(from, _)| !from.starts_with("--") && *from != ".").collect()
}

/// The value behind a word of the Dockerfile.
fn said<'a>(dockerfile: &'a str, word: &str) -> &'a str {
    let mut lines = dockerfile.lines().filter_map(|line| line.strip_prefix(word));
    lines.next().unwrap_or_else(|| panic!("no {word}"))
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("made");
        for entry in fs::read_dir(from).expect("listed") {
            let entry = entry.expect("an entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
}

#[test]
fn the_image_holds_a_configuration_that_check_accepts() {
    let dockerfile = dockerfile();
    let root = Root(std::env::temp_dir().join(format!("trunkline-container-{}", std::process::id())));
    for (from, to) in copied(&dockerfile) {
        copy(&repository().join(from), &root.0.join(to.trim_start_matches('/')));
    }
    let entry = said(&dockerfile, "ENTRYPOINT ");
    assert_eq!(entry, r#"["trunkline", "serve", "--config", "/etc/trunkline/trunkline.toml"]"#);
    let config = config::load(&root.0.join("etc/trunkline/trunkline.toml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.prompts, Some(root.0.join("etc/trunkline/prompts")));
    assert_eq!(config.web.to_string(), said(&dockerfile, "ENV TRUNKLINE_WEB="), "where the health check asks");

    // The user of the image may write to its home alone, and only a volume outlives the container.
    let volume = said(&dockerfile, "VOLUME ").trim_matches(['[', ']', '"']);
    assert!(dockerfile.contains(&format!("--home-dir {volume} --create-home")), "{volume} is not the user's");
    assert!(config.journal.folder.starts_with(volume), "{} would be lost", config.journal.folder.display());
}

#[test]
fn nothing_that_the_image_needs_is_kept_out_of_the_build() {
    let ignored = fs::read_to_string(repository().join(".dockerignore")).expect("the .dockerignore");
    let dockerfile = dockerfile();
    let needed = ["Cargo.toml", "Cargo.lock", "build.rs", "src", "proto", "benches"];
    for path in copied(&dockerfile).iter().map(|(from, _)| *from).chain(needed) {
        assert!(repository().join(path).exists(), "{path}");
        let top = path.split('/').next().unwrap_or(path);
        assert!(!ignored.lines().any(|line| line.trim_end_matches('/') == top), "{path} is left out");
    }
}
