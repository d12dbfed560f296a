//! What prompts are made of: tones, texts, recordings and pauses, one after the other without a gap.

mod sim;

use sim::phone::Act;
use sim::services::{Reply, act, length_of, spoken, text};
use sim::{Scenario, Seen};
use trunkline::call::action::Action;
use trunkline::call::event::What;
use trunkline::call::line::Line;
use trunkline::call::prompt::{Prompt, Segment, Source};
use trunkline::call::record::Role;
use trunkline::dsp::tone::signal::Signal;
use trunkline::ms::Ms;

/// A prompt whose segments are marked by their numbers.
fn numbered(sources: Vec<Source>) -> Prompt {
    let marked = sources.into_iter().enumerate().map(|(n, source)| Segment { source, mark: n.to_string() });
    Prompt { id: "p".to_owned(), segments: marked.collect(), ..Prompt::text("") }
}

/// The robot says one thing, and the caller hangs up after it.
fn says(mut replies: impl FnMut() -> Vec<Reply> + 'static) -> Scenario {
    Scenario {
        dialogue: Box::new(move |event| if event.id == 1 { replies() } else { Vec::new() }),
        talk: vec![(12_000, Act::HangUp)],
        ..Scenario::outbound()
    }
}

/// What was sent, from one media time on.
fn sent(seen: &Seen, from: Ms, samples: usize) -> Vec<i16> {
    let frames = seen.recorded.iter().filter(|frame| frame.robot_at + Ms(20) > from);
    let skip = frames.clone().next().map_or(0, |frame| from.saturating_sub(frame.robot_at).samples(8_000) as usize);
    frames.flat_map(|frame| frame.robot).skip(skip).take(samples).collect()
}

/// When each of the marks was told.
fn marks(seen: &Seen) -> Vec<(String, Ms)> {
    let mark = |(_, at, what): &(_, Ms, What)| match what {
        What::Mark { mark, .. } => Some((mark.clone(), *at)),
        _ => None,
    };
    seen.told.iter().filter_map(mark).collect()
}

#[test]
fn a_tone_is_joined_to_what_is_before_and_after_it_and_runs_on_in_phase() {
    let ringing = Signal::new(425, None, -10.0, Ms(2_030)).with_pauses(Ms(700), Ms(300));
    let prompt =
        move || numbered(vec![text("Hello."), Source::Tone(ringing), Source::Silence(Ms(35)), text("Here I am.")]);
    for seed in 0..3 {
        let seen = says(move || vec![act(Action::Say(prompt()))]).run(seed);
        let [turn] = seen.turns(Role::Speech)[..] else { panic!("{:?}", seen.talk()) };
        assert_eq!(turn.text, "Hello. [tone] Here I am.");
        let whole = length_of("Hello.") + Ms(2_030 + 35) + length_of("Here I am.");
        assert!(turn.length_ms.0.abs_diff(whole.0) <= 1, "no gap: {} of {whole}", turn.length_ms);
        assert_eq!(seen.record().quality.under_runs, 0);
        let mut tone = vec![0; ringing.samples() as usize];
        ringing.write(0, &mut tone);
        let begin = turn.start + length_of("Hello.");
        let heard = sent(&seen, begin, tone.len());
        assert!(heard == tone, "seed {seed}: every sample of it, from the text's last one on");
        let told = marks(&seen);
        assert_eq!(told.iter().map(|(mark, _)| mark.as_str()).collect::<Vec<_>>(), ["0", "1", "2", "3"]);
        assert!(told[1].1.0.abs_diff(begin.0) <= 40, "{told:?}");
    }
}

#[test]
fn a_tone_is_stopped_like_any_prompt_and_nothing_of_it_is_left() {
    let stop = || act(Action::Stop).after(1_500);
    let tone = || Source::Tone(Signal::new(440, Some(480), -13.0, Ms(60_000)));
    let seen = says(move || vec![act(Action::Say(numbered(vec![tone(), text("Never said.")]))), stop()]).run(7);
    let [(_, heard, _)] = seen.interruptions()[..] else { panic!("{:?}", seen.interruptions()) };
    assert_eq!((heard.segment, heard.characters), (0, 0));
    let [turn] = seen.turns(Role::Speech)[..] else { panic!("{:?}", seen.talk()) };
    let stop = turn.start + turn.length_ms;
    assert!(heard.heard == turn.length_ms && stop < Ms(1_600), "{heard:?}");
    let after = sent(&seen, stop, 8_000);
    assert!(after.len() == 8_000 && after.iter().all(|sample| *sample == 0), "silence from the fade on");
}

/// A call that was handed a name along.
fn named(replies: impl FnMut() -> Vec<Reply> + 'static) -> Scenario {
    Scenario { variables: vec![("name".to_owned(), "Ann".to_owned())], ..says(replies) }
}

#[test]
fn variables_are_said_by_their_values_and_heard_is_counted_in_what_was_said() {
    let prompt = || numbered(vec![text("Hello ${name}, write $${name}."), text("${name}")]);
    let seen = named(move || vec![act(Action::Say(prompt()))]).run(1);
    let [turn] = seen.turns(Role::Speech)[..] else { panic!("{:?}", seen.talk()) };
    assert_eq!(turn.text, "Hello Ann, write ${name}. Ann");
    assert_eq!(turn.length_ms, length_of("Hello Ann, write ${name}.Ann"), "the synthesiser was asked for that");
    assert!(seen.faults().is_empty() && seen.record().faults.is_empty());
    let stop = || act(Action::Stop).after(1_200);
    let seen = named(move || vec![act(Action::Say(prompt())), stop()]).run(2);
    let [(_, heard, _)] = seen.interruptions()[..] else { panic!("{:?}", seen.interruptions()) };
    assert!(heard.characters.abs_diff(heard.heard.0 / 61) <= 1, "{heard:?}");
}

#[test]
fn a_variable_that_the_call_does_not_have_is_named_once_and_the_prompt_goes_on() {
    let prompt =
        |id: &str| Prompt { id: id.to_owned(), ..numbered(vec![text("Dear ${nmae}, hello."), text("${nmae}")]) };
    let seen = named(move || vec![act(Action::Say(prompt("p"))), act(Action::Say(prompt("q"))).after(60)]).run(3);
    let said: Vec<_> = seen.turns(Role::Speech).iter().map(|turn| turn.text.clone()).collect();
    assert_eq!(said, ["Dear , hello."; 2]);
    let reason = "${nmae} is no variable of the call: nothing is said for it";
    assert_eq!(seen.faults(), [format!("say: {reason}")]);
    assert_eq!(seen.record().faults, [format!("say: {reason}")]);
    let done = |(_, event): &(_, trunkline::call::line::LineEvent)| match &event.what {
        Line::PromptDone { prompt_id, fault, .. } => Some((prompt_id.clone(), fault.clone())),
        _ => None,
    };
    let done: Vec<_> = seen.line.iter().filter_map(done).collect();
    assert_eq!(done, [("p".to_owned(), reason.to_owned()), ("q".to_owned(), reason.to_owned())]);
    let marked: Vec<_> = marks(&seen).into_iter().map(|(mark, _)| mark).collect();
    assert_eq!(marked, ["0", "1", "0", "1"], "nothing is said in the second segment, and its mark is told");
}

#[test]
fn a_variable_may_be_torn_between_two_messages_of_a_text_that_goes_on() {
    let piece = |text: &str, more| act(Action::Say(Prompt { id: "p".to_owned(), more, ..Prompt::text(text) }));
    let pieces = ["Good morning, dear $", "{na", "me}, your parcel costs 5 $", " and ${", "."];
    let seen = named(move || {
        let last = pieces.len() - 1;
        pieces.iter().enumerate().map(|(n, text)| piece(text, n < last).after(20 + 60 * n as u32)).collect()
    })
    .run(4);
    assert_eq!(seen.turns(Role::Speech)[0].text, "Good morning, dear Ann, your parcel costs 5 $ and ${.");
}

#[test]
fn later_segments_are_made_while_earlier_ones_play_so_that_a_late_engine_leaves_no_gap() {
    const PARTS: [&str; 4] =
        ["The first of the parts.", "The second one, a bit longer.", "The third.", "The last of them all."];
    let mut scenario = says(|| vec![act(Action::Say(numbered(PARTS.map(text).into())))]);
    // Half a second to the first sound of each: four gaps, if each were asked for at the end of the one before.
    scenario.synthesiser = Box::new(|place, wanted, _| spoken(place, wanted, 500));
    let seen = scenario.run(5);
    let [turn] = seen.turns(Role::Speech)[..] else { panic!("{:?}", seen.talk()) };
    let whole = PARTS.iter().fold(Ms(0), |sum, part| sum + length_of(part));
    assert!(turn.length_ms.0.abs_diff(whole.0) <= 1, "no gap: {} of {whole}", turn.length_ms);
    assert_eq!(seen.record().quality.under_runs, 0);
    let wanted: Vec<_> = seen.wanted.iter().map(|(at, _, segment)| (*segment, seen.media(*at))).collect();
    assert_eq!(wanted.iter().map(|(segment, _)| *segment).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(wanted[1].1 < turn.start && wanted[2].1 < turn.start + length_of(PARTS[0]), "{wanted:?}");
    assert!(wanted[3].1 > wanted[2].1 + Ms(1_000), "and not all at once: {wanted:?}");
}
