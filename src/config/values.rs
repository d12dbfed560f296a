//! What the floors below are given.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::sip::transport::Transport;
use crate::switchboard::settings::{MediaAddresses, Settings};
use crate::{dialogue, journal, media, net, speech};

/// Everything that the files say, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where SIP is received; there is an address, and no port is 0.
    pub sip: net::Config,
    /// The media engine.
    pub media: media::Config,
    /// The gRPC control server's address.
    pub control: SocketAddr,
    /// The HTTP server's address.
    pub web: SocketAddr,
    /// The speech services; the first one is the default.
    pub speech: Vec<speech::ServiceConfig>,
    /// The dialogues; the first one is the default.
    pub dialogues: Vec<dialogue::ServiceConfig>,
    /// Where the prompts' recordings lie; `None`: prompts are synthesised only.
    pub prompts: Option<PathBuf>,
    /// Where phrases that were synthesised are kept; `None`: nowhere.
    pub phrases: Option<speech::PhraseCache>,
    /// Events, recordings and records.
    pub journal: journal::Settings,
    /// Calls and trunks.
    pub switchboard: Settings,
    /// Profiles that are checked but not used: `enabled = false`.
    pub disabled: Vec<String>,
}

/// A range of UDP ports, both ends in it; `first` is even, there are at least two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PortRange {
    /// RTP of the first leg.
    pub first: u16,
    /// The last one that may be used.
    pub last: u16,
}

impl PortRange {
    /// For how many legs there is room: RTP and RTCP have a port each, RFC 3550 §11.
    pub(super) fn legs(self) -> usize {
        (usize::from(self.last) + 1 - usize::from(self.first)) / 2
    }

    /// Whether a port is one of them.
    pub(super) fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl Config {
    /// What is allowed and may not be meant, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let told = self.switchboard.trunks.iter().filter(|t| t.srtp.is_some() && t.transport != Some(Transport::Tls));
        let warning = |name: &str| {
            format!(
                "trunk {name}: media.srtp: the keys are told by SIP that anybody on the way can read; write transport = \"tls\" in \
                 [peer], unless the way is your own"
            )
        };
        told.map(|trunk| warning(&trunk.name)).collect()
    }

    /// One line that says what was read.
    pub fn summary(&self) -> String {
        let names = |names: Vec<&str>| match names.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        let trunks = self.switchboard.trunks.iter().map(|t| t.name.as_str());
        let off = match self.disabled.as_slice() {
            [] => String::new(),
            off => format!(" (switched off: {})", off.join(", ")),
        };
        let by = if self.sip.tcp { "UDP and TCP" } else { "UDP" };
        let addresses = |listen: &[SocketAddr]| listen.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
        let tls = self.sip.tls.as_ref().map_or(String::new(), |(listen, _)| format!(", TLS on {}", addresses(listen)));
        let sip = format!("{} ({by}){tls}", addresses(&self.sip.listen));
        let MediaAddresses { first, other } = self.switchboard.media;
        let media = other.map_or(first.bind.to_string(), |other| format!("{}, {}", first.bind, other.bind));
        format!(
            "trunks: {}{off}; speech: {}; dialogues: {}; SIP on {}, media on {} ports {}-{}, control on {}, web on {}",
            names(trunks.collect()),
            names(self.speech.iter().map(|s| s.name.as_str()).collect()),
            names(self.dialogues.iter().map(|d| d.name.as_str()).collect()),
            sip,
            media,
            self.media.ports.start(),
            self.media.ports.end(),
            self.control,
            self.web,
        )
    }
}
