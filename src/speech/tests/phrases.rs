//! Phrases that are kept on disk: heard again without the synthesiser, bounded, and never anything but whole.

use std::fs;
use std::path::{Path, PathBuf};

use super::synthesis::{piece, words};
use super::*;
use crate::speech::phrases::{Key, PhraseCache};

/// A folder of a test's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = Folder(std::env::temp_dir().join(format!("trunkline-phrases-{name}-{}", std::process::id())));
        let _ = fs::remove_dir_all(&folder.0);
        folder
    }

    /// Files in it: of phrases, and others.
    fn files(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let list = |folder: &Path| -> Vec<PathBuf> {
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        };
        list(&self.0)
            .iter()
            .flat_map(|folder| list(folder))
            .partition(|file| file.extension().is_some_and(|e| e == "wav"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const PLENTY: u64 = 1 << 30;

async fn keeping(speech: Speech, folder: &Folder, most: u64) -> Speech {
    speech.keep_phrases(PhraseCache { folder: folder.0.clone(), most }).await.expect("a folder")
}

/// What comes of a text: its sound, whether it came as a whole, and how it ended.
async fn hear(speech: &Speech, text: Text) -> (Vec<i16>, bool, Result<(), String>) {
    let (inbox, mut outbox) = mpsc::channel::<FromSpeech>(64);
    let _synthesis = speech.synthesise("s", "call", (PromptNo(3), 1), text, Band::Narrow, inbox);
    let mut sound = Vec::new();
    loop {
        match outbox.recv().await.expect("an end") {
            FromSpeech::Sound { samples, .. } => sound.extend(samples),
            FromSpeech::Recording { samples, .. } => return (samples.to_vec(), true, Ok(())),
            FromSpeech::SoundEnd { .. } => return (sound, false, Ok(())),
            FromSpeech::SoundFailed { reason, .. } => return (sound, false, Err(reason)),
            other => panic!("{other:?}"),
        }
    }
}

/// Waits until so many phrases are kept, and nothing is being written.
async fn kept(folder: &Folder, phrases: usize) {
    for _ in 0..1_000 {
        let (kept, others) = folder.files();
        if (kept.len(), others.len()) == (phrases, 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (kept, others) = folder.files();
    let sizes: Vec<_> = kept.iter().map(|file| fs::metadata(file).map(|meta| meta.len()).unwrap_or_default()).collect();
    panic!("{kept:?} of {sizes:?} bytes, {others:?}");
}

/// Says each text in samples of its own: a tenth of a second for each character.
async fn engine() -> Served {
    let speaking = |_, request: proto::SynthesizeRequest, out: Speak| async move {
        let first = i16::from(request.text.as_bytes()[0]);
        for _ in request.text.chars() {
            let bytes = (0..800).flat_map(|n| (first * 100 + n).to_le_bytes()).collect();
            if out.send(piece(bytes)).await.is_err() {
                return;
            }
        }
    };
    Fake::new().speaking(speaking).serve().await
}

fn spoken(served: &Served) -> usize {
    served.fake.spoken.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_phrase_is_heard_again_when_the_synthesiser_is_dead_and_after_a_restart() {
    let folder = Folder::new("restart");
    let served = engine().await;
    let speech = keeping(served.client(), &folder, PLENTY).await;
    let (made, whole, end) = hear(&speech, words("good morning")).await;
    assert_eq!((made.len(), whole, end), (9_600, false, Ok(())));
    kept(&folder, 1).await;
    for _ in 0..2 {
        let (sound, whole, end) = hear(&speech, words("good morning")).await;
        assert!(sound == made && whole && end.is_ok());
    }
    assert_eq!(spoken(&served), 1, "the engine was asked once");
    // Nobody is there any more, and the process is another one.
    let alone = || async { Speech::new(vec![config(&nobody().await)]).expect("a good endpoint") };
    let speech = keeping(alone().await, &folder, PLENTY).await;
    let (sound, whole, end) = hear(&speech, words("good morning")).await;
    assert!(sound == made && whole && end.is_ok());
    let (_, _, end) = hear(&speech, words("good night")).await;
    assert!(end.is_err(), "what was never said needs a synthesiser");
    let counted = &speech.metrics().phrases;
    assert_eq!((counted.hits.get(), counted.misses.get(), counted.phrases.get()), (1, 1, 1));
    let (_, _, end) = hear(&alone().await, words("good morning")).await;
    assert!(end.is_err(), "without a folder nothing is kept");
}

#[tokio::test]
async fn what_fails_is_cancelled_or_is_said_but_once_is_not_kept() {
    let folder = Folder::new("failed");
    let speaking = |_, request: proto::SynthesizeRequest, out: Speak| async move {
        let _ = out.send(piece(vec![1; 3_200])).await;
        match request.text.as_str() {
            "breaks" => drop(out.send(Err(Status::internal("broke"))).await),
            "hangs" => std::future::pending().await,
            _ => {}
        }
    };
    let served = Fake::new().speaking(speaking).serve().await;
    let speech = keeping(served.client(), &folder, PLENTY).await;
    assert!(hear(&speech, words("breaks")).await.2.is_err());
    let (inbox, mut outbox) = mpsc::channel::<FromSpeech>(64);
    let cancelled = speech.synthesise("s", "call", (PromptNo(3), 1), words("hangs"), Band::Narrow, inbox);
    assert!(matches!(outbox.recv().await, Some(FromSpeech::Sound { .. })));
    drop(cancelled);
    assert_eq!(outbox.recv().await, None);
    assert!(hear(&speech, Text { once: true, ..words("once") }).await.2.is_ok());
    // Asks go in order: when this one is there, those before would be.
    assert!(hear(&speech, words("well")).await.2.is_ok());
    kept(&folder, 1).await;
    let counted = &speech.metrics().phrases;
    assert_eq!((counted.misses.get(), counted.failures.get()), (3, 0), "what is said once was not looked for");
}

#[tokio::test]
async fn they_take_no_more_than_they_may_and_what_was_heard_last_stays() {
    let folder = Folder::new("bound");
    let served = engine().await;
    // Of one second each, with room for three.
    let speech = keeping(served.client(), &folder, 3 * 16_044).await;
    for (n, text) in ["a123456789", "b123456789", "c123456789"].into_iter().enumerate() {
        assert!(hear(&speech, words(text)).await.2.is_ok());
        kept(&folder, n + 1).await;
    }
    assert!(hear(&speech, words("a123456789")).await.1);
    assert!(hear(&speech, words("d123456789")).await.2.is_ok());
    let counted = speech.metrics().phrases.clone();
    let gone = async |gone: u64| {
        for _ in 0..1_000 {
            if counted.evicted.get() == gone && counted.phrases.get() == 3 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        kept(&folder, 3).await;
    };
    gone(1).await;
    assert_eq!((counted.evicted.get(), counted.bytes.get()), (1, 3 * 16_044));
    assert!(hear(&speech, words("a123456789")).await.1 && !hear(&speech, words("b123456789")).await.1);
    // Which is kept anew.
    gone(2).await;
    // A restart with less room leaves what was used last.
    let speech = keeping(served.client(), &folder, 16_044).await;
    assert_eq!(speech.metrics().phrases.phrases.get(), 1);
    kept(&folder, 1).await;
}

#[tokio::test]
async fn a_file_that_is_torn_is_never_heard_and_is_made_anew() {
    let folder = Folder::new("torn");
    let served = engine().await;
    let speech = keeping(served.client(), &folder, PLENTY).await;
    let (made, ..) = hear(&speech, words("hello")).await;
    kept(&folder, 1).await;
    let file = folder.files().0.remove(0);
    let whole = fs::read(&file).expect("is there");
    fs::write(&file, &whole[..whole.len() / 2]).expect("room");
    fs::write(file.with_extension("1-1.tmp"), &whole[..100]).expect("room");
    let speech = keeping(served.client(), &folder, PLENTY).await;
    let (sound, whole, end) = hear(&speech, words("hello")).await;
    assert!(sound == made && !whole && end.is_ok(), "the synthesiser said it");
    assert_eq!(speech.metrics().phrases.failures.get(), 1);
    assert_eq!(spoken(&served), 2);
    for _ in 0..1_000 {
        if hear(&speech, words("hello")).await == (made.clone(), true, Ok(())) {
            return;
        }
    }
    panic!("it is not kept anew");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_told_at_the_start() {
    let folder = Folder::new("file");
    fs::write(&folder.0, "a file").expect("room");
    let speech = Speech::new(vec![config("http://127.0.0.1:1")]).expect("a good endpoint");
    let cache = PhraseCache { folder: folder.0.clone(), most: PLENTY };
    assert!(speech.keep_phrases(cache).await.is_err(), "a file is in the way");
    fs::remove_file(&folder.0).expect("ours");
}

#[test]
fn a_phrase_is_all_that_makes_its_sound() {
    let service = ServiceConfig { voice: "anna".into(), language: "en".into(), ..config("http://a:1") };
    let key = |text: &Text| Key::of(&service, text, Band::Narrow);
    let hello = words("hello");
    let named =
        Text { voice: "anna".into(), language: "en".into(), speed: Some(1.0), pitch: Some(-0.0), ..hello.clone() };
    assert_eq!(key(&hello), key(&named), "as configured, and as the contract says of what is unset");
    let others = [
        words("hello "),
        Text { voice: "bert".into(), ..hello.clone() },
        Text { language: "de".into(), ..hello.clone() },
        Text { speed: Some(1.1), ..hello.clone() },
        Text { pitch: Some(1.1), ..hello.clone() },
        Text { volume: Some(1.1), ..hello.clone() },
        Text { ssml: true, ..hello.clone() },
    ];
    let mut keys: Vec<_> = others.iter().map(key).collect();
    keys.push(key(&hello));
    keys.push(Key::of(&ServiceConfig { name: "other".into(), ..service.clone() }, &hello, Band::Narrow));
    keys.push(Key::of(&service, &hello, Band::Wide));
    for (n, one) in keys.iter().enumerate() {
        assert!(one.is_some() && !keys[..n].contains(one), "{n}");
    }
    assert_eq!(key(&Text { once: true, ..hello }), None);
}
