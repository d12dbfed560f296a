//! Debian's baresip (`baresip-core`) as a phone that speaks a file and writes what it hears; it answers, or calls, by itself.
//!
//! The demo's own phone, which is driven by commands, is [`trunkline::command::demo::phone`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::audio::Wav;
use super::{PATIENCE, Rig, soon};

/// How one is set up.
#[derive(Debug, Default)]
pub struct Terms<'a> {
    /// The port that it calls; none: it is called.
    pub calls: Option<u16>,
    /// Parameters of the account: codecs, length of packets, encryption.
    pub parameters: &'a str,
    /// What it plays; none: the demo's greeting. It has to have exactly the rate and the channels of the codec.
    pub speech: Option<PathBuf>,
    /// It is called over TLS, with these files.
    pub tls: Option<&'a [PathBuf; 3]>,
}

/// A baresip that speaks. Killed when it is dropped.
#[derive(Debug)]
pub struct Baresip {
    child: Child,
    folder: PathBuf,
}

impl Baresip {
    pub async fn start(rig: &Rig, terms: Terms<'_>) -> Baresip {
        let Terms { calls, parameters, speech, tls } = terms;
        let folder = rig.folder().join("baresip");
        fs::create_dir_all(folder.join("audio")).expect("a folder");
        let speech = speech.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("test-audio/greeting.wav"));
        let media = rig.ports.caller().1;
        let user = if calls.is_some() { "200" } else { "100" };
        let (account, listens) = match tls {
            None => (format!("<sip:{user}@127.0.0.1>"), format!("sip_listen 127.0.0.1:{}", rig.ports.phone())),
            Some([ca, certificate, key]) => {
                let both = folder.join("both.pem");
                let text = [certificate, key].map(|file| fs::read_to_string(file).expect("written before")).concat();
                fs::write(&both, text).expect("written");
                // TLS has the port above the one that it is told.
                let port = rig.ports.phone() - 1;
                let files = format!("sip_certificate {}\nsip_cafile {}", both.display(), ca.display());
                (format!("<sip:{user}@127.0.0.1;transport=tls>"), format!("sip_listen 127.0.0.1:{port}\n{files}"))
            }
        };
        let config = format!(
            "{listens}\ncall_local_timeout 120\naudio_player aubridge,nil\naudio_source aufile,{speech}\naudio_alert aubridge,nil\n\
             audio_path /nonexistent\nausrc_format s16\nauplay_format s16\nauenc_format s16\naudec_format s16\n\
             net_interface 127.0.0.1\nrtp_ports {media}-{last}\njitter_buffer_delay 0-0\nsnd_path {heard}\n\
             module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule g722.so\nmodule opus.so\nmodule l16.so\n\
             module aufile.so\nmodule aubridge.so\nmodule sndfile.so\n\
             module srtp.so\nmodule_tmp account.so\nmodule_app menu.so\n",
            heard = folder.join("audio").display(),
            speech = speech.display(),
            last = media + 19,
        );
        fs::write(folder.join("config"), config).expect("written");
        fs::write(folder.join("accounts"), format!("{account};regint=0;answermode=auto;{parameters}\n"))
            .expect("written");
        let log = fs::File::create(folder.join("log")).expect("a file");
        let child = Command::new("baresip")
            .arg("-f")
            .arg(&folder)
            .args(calls.into_iter().flat_map(|port| ["-e".to_owned(), format!("/dial sip:100@127.0.0.1:{port}")]))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("baresip: {error}; Debian has it in the package baresip-core"));
        let phone = Baresip { child, folder };
        soon("baresip is ready", PATIENCE, async || phone.log().contains("baresip is ready")).await;
        phone
    }

    /// What it has said of itself.
    pub fn log(&self) -> String {
        fs::read(self.folder.join("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// What it has heard in its calls. It is in the files when a call is over.
    pub fn heard(&self) -> Vec<Wav> {
        let files = fs::read_dir(self.folder.join("audio")).expect("a folder").flatten().map(|entry| entry.path());
        files.filter(|path| path.to_string_lossy().ends_with("-dec.wav")).filter_map(|path| Wav::read(&path)).collect()
    }

    /// Ends it, whatever it does.
    pub async fn end(mut self) {
        self.child.kill().await.expect("it is ours");
    }
}
