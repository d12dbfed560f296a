//! What `docs/` lists is what there is: every metric, every dependency, and none besides.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use prometheus_client::registry::Registry;
use trunkline::dialogue::Dialogues;
use trunkline::speech::Speech;
use trunkline::{journal, media, net, switchboard};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The part of a text from one heading to the next of its kind.
fn part<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, after) = text.split_once(heading).unwrap_or_else(|| panic!("no {heading:?}"));
    after.split("\n## ").next().unwrap_or(after)
}

/// The first cells of a part's tables, without their quotes; a cell may name several.
fn listed(part: &str) -> BTreeSet<&str> {
    let cells = part.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    cells.flat_map(|cell| cell.split(", ")).filter(|name| *name != "|").map(|name| name.trim_matches('`')).collect()
}

#[tokio::test]
async fn every_metric_is_explained() {
    let mut registry = Registry::default();
    net::Metrics::default().register(&mut registry);
    media::Metrics::default().register(&mut registry);
    switchboard::Metrics::default().register(&mut registry);
    Speech::new(Vec::new()).expect("no endpoint is wrong").metrics().register(&mut registry);
    Dialogues::new(Vec::new()).expect("no endpoint is wrong").metrics().register(&mut registry);
    let folder = std::env::temp_dir();
    journal::start(&journal::Settings {
        folder,
        format: Default::default(),
        keep: Default::default(),
        upload: None,
        keep_events: 1,
    })
    .expect("threads")
    .register(&mut registry);
    // The encoded text leaves out what has labels and was not counted yet; the registry's own description has all.
    let described = format!("{registry:?}");
    let there: BTreeSet<_> = described.split("name: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(there.contains("calls_refused") && there.contains("disk_errors"), "{there:?}");
    let page = read("docs/operations.md");
    let mut explained = listed(part(&page, "\n## Metrics\n"));
    assert!(explained.remove("metric"), "the head of the table");
    // Prefix and unit stand beside the name.
    let bare = |name: &str| {
        let name = name.strip_prefix("journal_").unwrap_or(name);
        let unit = || name.strip_suffix("_seconds").or_else(|| name.strip_suffix("_bytes")).unwrap_or(name);
        if there.contains(name) { name.to_owned() } else { unit().to_owned() }
    };
    let explained: BTreeSet<_> = explained.into_iter().map(bare).collect();
    assert_eq!(explained, there.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn every_dependency_is_accounted_for() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let wanted = tables.iter().filter_map(|table| manifest.get(*table)?.as_table()).flat_map(toml::Table::keys);
    let wanted: BTreeSet<_> = wanted.map(String::as_str).collect();
    let page = read("docs/dependencies.md");
    let accounted: BTreeSet<_> =
        listed(&page).into_iter().filter(|name| !matches!(*name, "crate" | "audiopus")).collect();
    assert_eq!(accounted, wanted);
}

/// The tests that the table of rules names, in `sim_x::name` form.
#[test]
fn every_rule_of_the_conversation_has_its_test() {
    let text = read("docs/conversation.md");
    let rules = part(&text, "## Which test holds which rule");
    let rows: Vec<_> = rules.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rule ")).collect();
    assert!(rows.len() > 50, "{} rules", rows.len());
    for row in rows {
        let named: Vec<_> = row.split('`').filter_map(|part| part.split_once("::")).collect();
        assert!(!named.is_empty(), "no test: {row}");
        for (file, name) in named {
            let there = read(&format!("tests/{file}.rs")).contains(&format!("#[test]\nfn {name}() {{"));
            assert!(there, "tests/{file}.rs has no test {name}");
        }
    }
}
