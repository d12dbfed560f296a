//! The announcements of the repository's tables, and wrong ones.

use std::sync::Arc;

use super::*;
use crate::call::announcement::Announcements;

fn tables() -> super::super::tones::Tables {
    let problems = RefCell::new(Vec::new());
    let tables = super::super::tones::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-profiles"), &problems);
    assert_eq!(problems.take(), []);
    tables
}

/// What operators say, as their customers have written it down, and as a recogniser writes it: with and without punctuation.
#[test]
fn what_operators_say_is_known() {
    let tables = tables();
    for (country, outcome, said) in [
        ("cn", "notexist", "您好，您拨打的号码是空号，请核对后再拨。"),
        (
            "cn",
            "notexist",
            "您拨打的号码不存在请核对后再拨 sorry the number you dialed does not exist please check it and dial later",
        ),
        ("cn", "stopped", "您好您拨打的电话已停机"),
        ("cn", "stopped", "对不起，您拨打的用户已暂停服务。Sorry, the subscriber you dialed is out of service."),
        ("cn", "poweroff", "您拨打的电话已关机"),
        ("cn", "poweroff", "Sorry, the subscriber you dialed is power off."),
        ("cn", "cantbeconnected", "您好，您所拨打的用户不在服务区，请稍后再拨。"),
        ("cn", "cantbeconnected", "您拨打的用户暂时无法接通，请稍后再拨"),
        (
            "cn",
            "cantbeconnected",
            "Sorry, the subscriber you dialed can not be connected for the moment, please redial later.",
        ),
        ("cn", "cantbeconnected", "对不起，网络正忙，请稍后再拨。"),
        ("cn", "cantbeconnected", "您拨打的用户已设置呼入限制"),
        ("cn", "cantbeconnected", "您的电话已被限制呼出"),
        ("cn", "linebusy", "您好，请不要挂断您拨打的电话正在通话中"),
        (
            "cn",
            "linebusy",
            "您拨打的用户正忙，请稍后再拨。Sorry, the subscriber you dialed is busy now, please redial later.",
        ),
        ("cn", "linebusy", "您拨打的用户已拒绝接听您的电话"),
        ("cn", "nooneheard", "您拨打的电话暂时无人接听，请稍后再拨"),
        ("cn", "none", "您拨打的电话正在通话中，请不要挂机，对方正在结束通话。"),
        (
            "us",
            "notexist",
            "We're sorry, you have reached a number that has been disconnected or is no longer in service.",
        ),
        (
            "us",
            "notexist",
            "We're sorry. Your call cannot be completed as dialed. Please check the number and dial again.",
        ),
        ("us", "notexist", "The number you have dialled is not in service."),
        ("us", "stopped", "The number you have dialed has been temporarily disconnected."),
        ("us", "poweroff", "The mobile phone you are calling is switched off."),
        ("us", "cantbeconnected", "All circuits are busy now. Will you please try your call again later?"),
        ("us", "cantbeconnected", "The person you are trying to reach is not accepting calls at this time"),
        ("us", "linebusy", "The number you are calling is busy, please try again later"),
        ("us", "none", "The person you are calling is busy, please hold the line."),
        ("uk", "notexist", "The number you have dialled has not been recognised. Please check and try again."),
        ("uk", "linebusy", "Sorry, the number you called is engaged."),
        ("uk", "cantbeconnected", "The person you are calling is unavailable. Please try later."),
        ("uk", "nooneheard", "Sorry, there is no answer."),
        ("de", "notexist", "Kein Anschluss unter dieser Nummer. Kein Anschluss unter dieser Nummer."),
        ("de", "notexist", "Die von Ihnen gewählte Rufnummer ist nicht vergeben."),
        ("de", "cantbeconnected", "Der von Ihnen gewünschte Gesprächspartner ist zurzeit nicht erreichbar."),
        ("de", "linebusy", "der gewünschte anschluss ist besetzt"),
        ("de", "poweroff", "Der Teilnehmer hat sein Telefon ausgeschaltet."),
        ("fr", "notexist", "Le numéro que vous avez demandé n’est pas attribué."),
        ("fr", "cantbeconnected", "Votre correspondant n'est pas joignable pour le moment."),
        ("fr", "linebusy", "La ligne de votre correspondant est occupée"),
        ("fr", "nooneheard", "Votre correspondant ne répond pas."),
        (
            "jp",
            "notexist",
            "おかけになった電話番号は、現在使われておりません。番号をお確かめになって、もう一度おかけ直しください。",
        ),
        ("jp", "stopped", "おかけになった電話は、お客様のご都合により、通話ができなくなっております。"),
        (
            "jp",
            "cantbeconnected",
            "おかけになった電話は、電波の届かない場所にあるか、電源が入っていないため、かかりません。",
        ),
        ("jp", "linebusy", "おかけになった電話は、ただいまお話し中です。"),
        ("jp", "nooneheard", "おかけになった番号をお呼びしましたが、お出になりません。"),
        ("in", "notexist", "The number you have dialled does not exist. Please check the number."),
        ("in", "poweroff", "आपने जिस नंबर पर कॉल किया है वह स्विच ऑफ है"),
        ("in", "linebusy", "The number you are trying to call is currently busy on another call."),
        ("in", "linebusy", "जिस नंबर से आप संपर्क करना चाहते हैं वह अभी व्यस्त है"),
        ("in", "cantbeconnected", "The subscriber you are calling is currently not reachable"),
        ("in", "nooneheard", "The person you are calling is not answering."),
    ] {
        let rules = Announcements::new(tables[country].announcements.clone());
        let found = rules.hear(said).map(|found| found.outcome.map_or("none", |outcome| outcome.as_str()));
        assert_eq!(found, Some(outcome), "{country}: {said}");
        // What is said after the answer, or by somebody else, is none.
        for other in
            ["您好，请问您是哪位？", "Hello, who is it, please?", "Ja, bitte?", "もしもし", "欢迎致电客户服务中心"]
        {
            assert_eq!(rules.hear(other), None, "{country}: {other}");
        }
    }
}

#[test]
fn a_profile_names_one_table_or_several() {
    let read = |media: &str| {
        let folder = Folder::new(ENGINE, &format!("{PROFILE}\n[media]\n{media}\n"));
        let china = tables()["cn"].announcements.clone();
        let table = "[[announcement]]\nall = [\"gone\", \"for good\"]\noutcome = \"stopped\"\n";
        fs::write(folder.0.join("sip-profiles/tones/own.toml"), table).expect("written");
        let config = load(&folder.main()).unwrap_or_else(|e| panic!("{e}"));
        let trunk = &config.switchboard.trunks[0];
        (trunk.announcements.clone(), trunk.hang_up_on_announcement, trunk.early_media_asr, china)
    };
    let (none, ..) = read("tones = \"cn\"");
    assert_eq!(none, None, "tones alone need no recogniser");
    let (one, hang_up, early, china) = read("announcements = \"cn\"");
    assert_eq!(one, Some(Arc::new(Announcements::new(china))));
    assert!(hang_up && !early, "the dialogue is told of early media only if that is asked for");
    let (two, hang_up, ..) = read("announcements = [\"cn\", \"own\"]\nhang_up_on_announcement = false");
    let two = two.expect("both");
    assert_eq!(two.hear("gone for good").map(|found| &**found.rule), Some("own: gone"));
    assert_eq!(two.hear("已关机").map(|found| &**found.rule), Some("cn: 已关机"));
    assert!(!hang_up);
}

#[test]
fn mistakes_in_announcements_are_told_with_their_place() {
    let folder = Folder::new(
        "",
        &format!("{PROFILE}\n[media]\nannouncements = [\"cn\", \"xx\", \"quiet\"]\ntones = \"silent\"\n"),
    );
    let tone = "[[tone]]\nkind = \"busy\"\nfrequencies_hz = [450]\ncadence_ms = [350, 350]\n";
    fs::write(folder.0.join("sip-profiles/tones/quiet.toml"), tone).expect("written");
    let rule = "[[announcement]]\ncontains = [\"gone away\"]\noutcome = \"stopped\"\n";
    fs::write(folder.0.join("sip-profiles/tones/silent.toml"), rule).expect("written");
    fs::write(folder.0.join("sip-profiles/tones/empty.toml"), "").expect("written");
    let table = "[[announcement]]\ncontains = [\"off\"]\noutcome = \"gone\"\n\
                 [[announcement]]\nall = []\noutcome = \"none\"\n\
                 [[announcement]]\nlevel = 3\n";
    fs::write(folder.0.join("sip-profiles/tones/yy.toml"), table).expect("written");
    let mistakes = folder.mistakes();
    for told in [
        "sip-profiles/tones/yy.toml:2:announcement.contains: holds a phrase that says too little: neither two words nor one of four letters; write what is only said in this announcement",
        "sip-profiles/tones/yy.toml:3:announcement.outcome: is nothing that an announcement may mean; write one of: notexist, stopped, poweroff, cantbeconnected, linebusy, nooneheard, none",
        "sip-profiles/tones/yy.toml:5:announcement.all: holds no phrase, or too many; write 1 to 64, or remove it",
        "sip-profiles/tones/yy.toml:7:announcement.outcome: is missing; write what it means, as outcome = \"notexist\", or \"none\"",
        "sip-profiles/tones/yy.toml:7:announcement.contains: is missing; write phrases of which one has to be there, or all = [...] for those that all have to",
        "sip-profiles/tones/yy.toml:8:announcement.level: is not known; remove it, or choose from: contains, all, outcome",
        "sip-profiles/t.toml:8:media.announcements: there is no sound table tones/xx.toml; write one of: cn, quiet, silent",
        "sip-profiles/t.toml:8:media.announcements: tones/quiet.toml has no announcement; write an [[announcement]] there, or name another table",
        "sip-profiles/t.toml:8:media.announcements: is understood by nobody; write a [[speech]] into the main file, or remove it",
        "sip-profiles/t.toml:9:media.tones: tones/silent.toml has no tone; write a [[tone]] there, or name another table",
    ] {
        assert!(mistakes.iter().any(|mistake| mistake == told), "{told}\n{mistakes:#?}");
    }
    let alone = Folder::new(ENGINE, &format!("{PROFILE}\n[media]\nhang_up_on_announcement = true\n")).mistakes();
    assert!(alone[0].contains("media.hang_up_on_announcement: has no meaning without announcements"), "{alone:?}");
}
