//! `[phrase_cache]`: where phrases are kept that were synthesised.

use std::path::Path;

use super::engine::{absolute, number_or};
use super::reader::Section;
use super::{recording, written};
use crate::speech::PhraseCache;

const MAX_MIB: u64 = 1_024;

/// Reads it; without a folder nothing is kept. `recordings`: the folder of recordings, which are swept and uploaded.
pub(super) fn read(mut section: Section<'_>, base: &Path, recordings: &Path) -> Option<PhraseCache> {
    let folder = section.parsed("folder", written::some);
    let most = section.number("max_mib", 1..=16_777_216);
    if most.is_some() {
        section.need("folder", "name the folder in which phrases are to be kept: without one none is");
    }
    section.done();
    let folder = folder?;
    recording::to_be_made(&folder, base);
    let path = absolute(base.join(&folder.value));
    if path.starts_with(recordings) {
        let reason =
            format!("{} lies in [recording] folder, where phrases would be taken for recordings", path.display());
        folder.place.wrong(reason, "name another folder");
    }
    Some(PhraseCache { folder: path, most: number_or(most, MAX_MIB) << 20 })
}
