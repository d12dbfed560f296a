//! `[recording]`: what is kept of calls, and whereto it goes.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};

use super::engine::{absolute, number_or, or_default};
use super::identity::secret_of;
use super::reader::{Found, Section};
use super::{sip, written};
use crate::journal::{Destination, Format, Keep, Pattern, S3, Secret, Upload};
use crate::net::tls::ClientFiles;

/// What recordings in Opus may take, kbit/s for both channels.
const OPUS_KBIT_S: RangeInclusive<u64> = 16..=40;
const DEFAULT_KBIT_S: u64 = 32;

/// Recordings that are uploaded at a time.
const AT_A_TIME: u64 = 2;

/// What the section says.
pub(super) struct Recording {
    pub enabled: bool,
    /// They begin with early media.
    pub early: bool,
    pub folder: PathBuf,
    pub format: Format,
    pub keep: Keep,
    pub names: Pattern,
    pub upload: Option<Upload>,
}

/// Reads it; `file` is the one in which it stands.
pub(super) fn read(mut recording: Section<'_>, file: &Path) -> Recording {
    let base = file.parent().unwrap_or(Path::new(""));
    let enabled = recording.flag("enabled");
    let early = or_default(&mut recording, "from", written::recording_from, false);
    let folder = or_default(&mut recording, "folder", written::some, "recordings".to_owned());
    let kbit_s = recording.number("opus_kbit_s", OPUS_KBIT_S);
    let bitrate = number_or(kbit_s, DEFAULT_KBIT_S);
    let format = or_default(&mut recording, "format", |text| written::recording_format(text, bitrate), Format::Pcm16);
    if recording.has("opus_kbit_s") && !matches!(format.value, Format::Opus { .. }) {
        recording.place_of("opus_kbit_s").wrong("means nothing without format = \"opus\"", "remove it, or write that");
    }
    let names = or_default(&mut recording, "name", written::pattern, Pattern::default());
    let days = recording.number("keep_days", 1..=36_500);
    let gib = recording.number("keep_gib", 1..=1_000_000);
    let keep = Keep {
        age: days.map(|found| Duration::from_secs(found.value * 86_400)),
        bytes: gib.map(|found| found.value << 30),
    };
    let path = absolute(base.join(&folder.value));
    let upload = upload(recording.section("upload"), file, &path);
    recording.done();
    to_be_made(&folder, base);
    Recording {
        enabled: enabled.is_some_and(|found| found.value),
        early: early.value,
        folder: path,
        format: format.value,
        keep,
        names: names.value,
        upload,
    }
}

/// A folder that is made with its first file; so something has to be there to make it in.
pub(super) fn to_be_made(folder: &Found<'_, String>, base: &Path) {
    let path = absolute(base.join(&folder.value));
    let standing = path.ancestors().find(|folder| folder.exists()).filter(|folder| folder.is_dir());
    match standing {
        None => folder.place.wrong(
            format!("{} cannot be made: a file is in the way", base.join(&folder.value).display()),
            "name another folder",
        ),
        Some(standing) => {
            if let Err(e) = access(standing, Access::WRITE_OK | Access::EXEC_OK) {
                folder.place.wrong(
                    format!("{} cannot be written: {e}", standing.display()),
                    "give it to the user that runs trunkline, or name another folder",
                );
            }
        }
    }
}

fn upload(mut section: Section<'_>, file: &Path, recordings: &Path) -> Option<Upload> {
    if !section.is_there() {
        return None;
    }
    section.need("url", "write s3://bucket/prefix, or file:///folder of a share");
    let url = section.parsed("url", written::upload);
    let delete = section.flag("delete_after_upload");
    let at_a_time = section.number("at_a_time", 1..=64);
    let to = match url {
        None => {
            section.pass(S3_KEYS);
            None
        }
        Some(Found { value: written::Url::Folder(folder), place }) => {
            let meant = S3_KEYS.into_iter().filter(|key| section.has(key));
            for key in meant {
                section.place_of(key).wrong("means nothing with file://", "remove it, or write url = \"s3://…\"");
            }
            section.pass(S3_KEYS);
            if folder.starts_with(recordings) || recordings.starts_with(&folder) {
                place.wrong("is the recordings' own folder, or in it, or around it", "name another folder");
            } else if folder.exists() && access(&folder, Access::WRITE_OK | Access::EXEC_OK).is_err() {
                place.wrong(
                    format!("{} cannot be written", folder.display()),
                    "give it to the user that runs trunkline, or name another folder",
                );
            }
            Some(Destination::Folder(folder))
        }
        Some(Found { value: written::Url::S3(bucket, prefix), .. }) => {
            bucket_of(&mut section, file, bucket, prefix).map(|s3| Destination::S3(Box::new(s3)))
        }
    };
    section.done();
    let at_a_time = number_or(at_a_time, AT_A_TIME) as usize;
    Some(Upload { to: to?, delete_after: delete.is_some_and(|found| found.value), at_a_time })
}

/// What has a meaning with S3 only.
const S3_KEYS: [&str; 8] =
    ["endpoint", "region", "path_style", "access_key", "secret_key", "secret_key_env", "secret_key_file", "ca"];

fn bucket_of(section: &mut Section<'_>, file: &Path, bucket: String, prefix: String) -> Option<S3> {
    let base = file.parent().unwrap_or(Path::new(""));
    let endpoint = section.parsed("endpoint", written::web_origin);
    let region = section.parsed("region", written::some);
    let path_style = section.flag("path_style");
    let access_key = section.parsed("access_key", written::some);
    section.need("access_key", "write the id of the key that may put objects there");
    let secret_key = secret_of(section, ["secret_key", "secret_key_env", "secret_key_file"], file);
    let ca = sip::path(section, "ca", base);
    let endpoint = endpoint.map(|found| found.value);
    if let Some(ca) = &ca {
        let files = ClientFiles { name: String::new(), ca: Some(ca.clone()), identity: None };
        if endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
            section.place_of("ca").wrong("means nothing with http://", "remove it, or write endpoint = \"https://…\"");
        } else if let Err(error) = files.load() {
            section.place_of("ca").wrong(error.to_string(), "name a file with the certificate in PEM form");
        }
    }
    Some(S3 {
        bucket,
        prefix,
        // Its own servers know each bucket by name; what stands elsewhere mostly does not.
        path_style: path_style.map_or(endpoint.is_some(), |found| found.value),
        endpoint,
        region: region.map_or_else(|| "us-east-1".to_owned(), |found| found.value),
        access_key: access_key?.value,
        secret_key: Secret(secret_key?),
        ca,
    })
}
