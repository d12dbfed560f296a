//! `[phrase_cache]`.

use super::*;

#[test]
fn phrases_are_kept_where_a_folder_says_so_and_nowhere_else() {
    let cache = |more: &str| {
        let folder = Folder::new(&format!("{more}{ENGINE}"), PROFILE);
        let config = load(&folder.main()).unwrap_or_else(|e| panic!("{e}"));
        config.phrases.map(|cache| (cache.folder.strip_prefix(&folder.0).map(Path::to_owned), cache.most))
    };
    assert_eq!(cache(""), None);
    let there = |most| Some((Ok(PathBuf::from("phrases")), most));
    assert_eq!(cache("[phrase_cache]\nfolder = \"phrases\"\n"), there(1 << 30));
    assert_eq!(cache("[phrase_cache]\nfolder = \"phrases\"\nmax_mib = 5\n"), there(5 << 20));
}

#[test]
fn what_is_wrong_with_it_is_told_where_it_stands() {
    for (more, wrong) in [
        (
            "max_mib = 5\n",
            "m.toml:1:phrase_cache.folder: is missing; name the folder in which phrases are to be kept: without one none is",
        ),
        (
            "folder = \"phrases\"\nmax_mib = 0\n",
            "m.toml:3:phrase_cache.max_mib: is out of range; write a whole number from 1 to 16777216",
        ),
        (
            "folder = \"recordings/phrases\"\n",
            "m.toml:2:phrase_cache.folder: recordings/phrases lies in [recording] folder, where phrases would be taken for recordings; name another folder",
        ),
        (
            "folder = \"m.toml/x\"\n",
            "m.toml:2:phrase_cache.folder: m.toml/x cannot be made: a file is in the way; name another folder",
        ),
    ] {
        assert_eq!(engine(&format!("[phrase_cache]\n{more}")), [wrong]);
    }
}
