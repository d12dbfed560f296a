//! Who we are on a trunk, who may call, and with which passwords: `[identity]`, `[[callers]]`, `[auth]`, `[inbound_auth]` of a profile.

use std::env;
use std::fs;
use std::path::Path;

use super::problem::Wrong;
use super::reader::{Found, Section};
use super::written;
use crate::sip::auth::{Algorithm, Credentials, RealmCredentials};
use crate::sip::identity::{Privacy, Source, Written};
use crate::switchboard::settings::{Called, CallerChoice, CallerNumber, FromUser, Identity, InboundAuth};

/// What `[identity]` says beside domain and caller.
pub(super) fn identity(section: &mut Section<'_>, account: bool) -> (Identity, CallerChoice) {
    let display = section.parsed("display", written::some);
    let from = section.parsed("from", from_user);
    if let Some(from) = from.as_ref().filter(|from| from.value == FromUser::Account && !account) {
        from.place.wrong("there is no account", "write an [auth] or a [registration] with a user, or remove the key");
    }
    let mut flag = |key| section.flag(key).is_some_and(|found| found.value);
    let asserted = flag("asserted");
    let preferred = flag("preferred");
    let remote_party = flag("remote_party_id");
    let history = flag("history");
    let privacy = section.parsed("privacy", privacy);
    let diverted_from = section.parsed("diverted_from", written::user);
    if history && !section.has("diverted_from") {
        section.place_of("history").wrong("has nothing to tell", "write diverted_from, or remove the key");
    }
    let read = section.list("read", source);
    if let Some([]) = read.as_deref() {
        section
            .place_of("read")
            .wrong("names no header", "write [\"P-Asserted-Identity\", \"From\"], or remove the key");
    }
    let called = section.parsed("called", called);
    let choice = section.parsed("choice", choice);
    let identity = Identity {
        display: display.map(|found| found.value),
        from: from.map(|found| found.value).unwrap_or_default(),
        written: Written { asserted, preferred, remote_party, history },
        privacy: privacy.map(|found| found.value).unwrap_or_default(),
        diverted_from: diverted_from.map(|found| found.value),
        read: read.map_or_else(
            || vec![Source::Asserted, Source::RemoteParty, Source::From],
            |found| found.into_iter().map(|found| found.value).collect(),
        ),
        called: called.map(|found| found.value).unwrap_or_default(),
    };
    (identity, choice.map(|found| found.value).unwrap_or_default())
}

/// `[[callers]]`.
pub(super) fn callers(sections: Vec<Section<'_>>, choice: CallerChoice, identity: &Section<'_>) -> Vec<CallerNumber> {
    let named = |choice| match choice {
        CallerChoice::Fixed => "fixed",
        CallerChoice::RoundRobin => "round_robin",
        CallerChoice::ByArea => "by_area",
        CallerChoice::LeastUsed => "least_used",
    };
    if sections.is_empty() && choice != CallerChoice::Fixed {
        let remedy = "write [[callers]] with a number each, or choice = \"fixed\"";
        identity.place_of("choice").wrong(format!("{} has no numbers to choose from", named(choice)), remedy);
    }
    let mut taken: Vec<String> = Vec::new();
    let read = |mut section: Section<'_>| {
        let number = section.parsed("number", written::user);
        section.need("number", "write the number that is shown");
        if choice == CallerChoice::Fixed {
            section.place.wrong(
                "is never shown: the choice is fixed",
                "write choice = \"round_robin\", \"by_area\" or \"least_used\" into [identity], or remove it",
            );
        }
        let areas = section.list("areas", written::user);
        match choice {
            CallerChoice::ByArea => section.need("areas", "list the beginnings of the numbers that see this one"),
            _ if section.has("areas") => {
                section
                    .place_of("areas")
                    .wrong("is not looked at", "write choice = \"by_area\" into [identity], or remove it");
            }
            _ => {}
        }
        section.done();
        let number = number?;
        if taken.contains(&number.value) {
            number.place.wrong("stands there twice", "write each number once");
        }
        taken.push(number.value.clone());
        let areas = areas.unwrap_or_default().into_iter().map(|found| found.value).collect();
        Some(CallerNumber { number: number.value, areas })
    };
    sections.into_iter().filter_map(read).collect()
}

/// `[auth]`.
pub(super) fn credentials(mut auth: Section<'_>, file: &Path) -> Option<Credentials> {
    if !auth.is_there() {
        return None;
    }
    let realms = auth.sections("realm").into_iter().filter_map(|mut section| {
        let realm = section.parsed("realm", written::some);
        section.need("realm", "write the realm as the challenge names it");
        let known = secret(&mut section, file);
        section.done();
        let (username, password) = known?;
        Some(RealmCredentials { realm: realm?.value, username, password })
    });
    let realms = realms.collect();
    let known = secret(&mut auth, file);
    auth.done();
    let (username, password) = known?;
    Some(Credentials { username, password, realms })
}

/// `[inbound_auth]`.
pub(super) fn inbound(
    mut section: Section<'_>,
    file: &Path,
    domain: Option<&str>,
    answers: bool,
) -> Option<InboundAuth> {
    if !section.is_there() {
        return None;
    }
    if !answers {
        section.place.wrong("guards nothing: no call is taken", "write an [[inbound]], or remove it");
    }
    let realm = section.parsed("realm", written::some);
    let algorithms = section.list("algorithms", algorithm);
    if let Some([]) = algorithms.as_deref() {
        section.place_of("algorithms").wrong("names no algorithm", "write [\"SHA-256\", \"MD5\"], or remove the key");
    }
    let integrity = section.flag("integrity");
    let known = secret(&mut section, file);
    section.done();
    let (username, password) = known?;
    Some(InboundAuth {
        realm: realm.map(|found| found.value).or(domain.map(str::to_owned))?,
        credentials: Credentials::new(username, password),
        algorithms: algorithms.map_or_else(
            || vec![Algorithm::Sha256, Algorithm::Md5],
            |found| found.into_iter().map(|found| found.value).collect(),
        ),
        integrity: integrity.is_some_and(|found| found.value),
    })
}

/// User and password of a section.
fn secret(auth: &mut Section<'_>, file: &Path) -> Option<(String, String)> {
    let user = auth.parsed("user", written::some);
    auth.need("user", "write the user name for authentication");
    let password = secret_of(auth, ["password", "password_env", "password_file"], file);
    Some((user?.value, password?))
}

/// A secret that stands in the file itself, in the environment or in a file of its own.
pub(super) fn secret_of(section: &mut Section<'_>, keys: [&'static str; 3], file: &Path) -> Option<String> {
    let [here, env, elsewhere] = keys;
    let given = section.parsed(here, written::some);
    let variable = section.parsed(env, written::some);
    let kept_in = section.parsed(elsewhere, written::some);
    let ways = keys.into_iter().filter(|key| section.has(key)).collect::<Vec<_>>();
    match ways.as_slice() {
        [] => section.need(here, &format!("write {here}, {env} or {elsewhere}")),
        [_] => {}
        [_, again, ..] => section
            .place_of(again)
            .wrong(format!("stands beside {}", ways[0]), format!("keep one of {here}, {env} and {elsewhere}")),
    }
    // No message here may quote a secret.
    if let Some(given) = given {
        Some(given.value)
    } else if let Some(variable) = variable {
        let value = env::var(&variable.value).ok().filter(|v| !v.is_empty());
        if value.is_none() {
            variable.place.wrong(
                format!("the environment has no {}", variable.value),
                "set it for the process, or write another name",
            );
        }
        value
    } else {
        kept_in.and_then(|kept_in| first_line(&kept_in, file))
    }
}

fn first_line(kept_in: &Found<'_, String>, file: &Path) -> Option<String> {
    let path = file.parent().unwrap_or(Path::new("")).join(&kept_in.value);
    let told = |reason: String| {
        let remedy = "write the secret into its first line, readable for the user that runs trunkline";
        kept_in.place.wrong(format!("{} {reason}", path.display()), remedy);
    };
    match fs::read_to_string(&path) {
        Err(e) => told(format!("cannot be read: {e}")),
        Ok(text) => match text.lines().next().map(str::trim_end) {
            Some(line) if !line.is_empty() => return Some(line.to_owned()),
            _ => told("is empty".to_owned()),
        },
    }
    None
}

fn from_user(text: &str) -> Result<FromUser, Wrong> {
    match text {
        "caller" => Ok(FromUser::Caller),
        "account" => Ok(FromUser::Account),
        _ => Err(Wrong::new("is not what From can hold", "write \"caller\" or \"account\"")),
    }
}

fn privacy(text: &str) -> Result<Privacy, Wrong> {
    match text {
        "none" => Ok(Privacy::Shown),
        "id" => Ok(Privacy::Id),
        "anonymous" => Ok(Privacy::Anonymous),
        _ => Err(Wrong::new("is not a kind of privacy", "write \"none\", \"id\" or \"anonymous\"")),
    }
}

fn source(text: &str) -> Result<Source, Wrong> {
    let all = [
        ("P-Asserted-Identity", Source::Asserted),
        ("P-Preferred-Identity", Source::Preferred),
        ("Remote-Party-ID", Source::RemoteParty),
        ("From", Source::From),
    ];
    let found = all.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, source)| source).ok_or_else(|| {
        let remedy = "write P-Asserted-Identity, P-Preferred-Identity, Remote-Party-ID or From";
        Wrong::new("is not a header that says who calls", remedy)
    })
}

fn called(text: &str) -> Result<Called, Wrong> {
    match text {
        "request_uri" => Ok(Called::RequestUri),
        "to" => Ok(Called::To),
        _ => Err(Wrong::new("is not where a called number stands", "write \"request_uri\" or \"to\"")),
    }
}

fn choice(text: &str) -> Result<CallerChoice, Wrong> {
    match text {
        "fixed" => Ok(CallerChoice::Fixed),
        "round_robin" => Ok(CallerChoice::RoundRobin),
        "by_area" => Ok(CallerChoice::ByArea),
        "least_used" => Ok(CallerChoice::LeastUsed),
        _ => {
            let remedy = "write \"fixed\", \"round_robin\", \"by_area\" or \"least_used\"";
            Err(Wrong::new("is not a way to choose a number", remedy))
        }
    }
}

fn algorithm(text: &str) -> Result<Algorithm, Wrong> {
    Algorithm::parse(text).ok_or_else(|| Wrong::new("is not an algorithm", "write SHA-256, SHA-512-256 or MD5"))
}
