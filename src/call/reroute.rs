//! A call whose trunk fails before it has given a sign of the call is placed anew over another one: the same call for everybody but the
//! trunks, with a Call-ID, tags and an offer of its own for each.
//!
//! ```text
//! Dialling ─ 503, silence, cannot be sent ► Output::Reroute ─ Input::Route(Ok) ► Rerouted, Dialling …
//!                                                           └ Input::Route(Err) ► over, as it failed
//! ```
//! Where the other trunk, or the next address of the same one, is of the other IP family, so are the media that are offered there: the switchboard
//! takes ports of that family and gives the first ones back.
//!
//! From the first 18x on there is somebody at the other end, and no other way any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};

use super::call::{Call, Phase, SrtpPlan, Timer, negotiator};
use super::event::What;
use super::io::Output;
use super::line::HungUpBy;
use super::quality::LineRules;
use super::transfer;
use crate::sdp::{AudioFormat, Direction};
use crate::sip::Local;
use crate::sip::session::{self, Dial, Event, Failure, Session};

/// Another way to place a call.
#[derive(Debug)]
pub struct Route {
    /// The profile.
    pub trunk: String,
    /// What our messages say of us there.
    pub local: Local,
    /// The INVITE; its offer is made here.
    pub dial: Dial,
    /// Where our media are there; `None`: where they were.
    pub local_media: Option<SocketAddr>,
    /// How long it may ring.
    pub ring_timeout: Duration,
    /// How long the INVITE may stay without any answer.
    pub setup_timeout: Duration,
    /// How long the call may last.
    pub longest: Option<Duration>,
    /// Codecs, the preferred one first.
    pub formats: Vec<AudioFormat>,
    /// RTCP, and what is told of the line.
    pub line: LineRules,
    /// Whether the media are encrypted, with keys that nobody else has been offered.
    pub srtp: Option<Box<SrtpPlan>>,
    /// Upon which answers there may be yet another way; empty: this is the last one.
    pub failover: Vec<u16>,
    /// For transfers.
    pub transfer: Arc<transfer::Rules>,
}

impl Call {
    /// An INVITE is about to go out.
    pub(super) fn dialling(&mut self, now: Instant, ring_timeout: Duration) {
        self.timers[Timer::Ring as usize] = Some(now + ring_timeout);
        self.timers[Timer::Setup as usize] = Some(now + self.plan.setup_timeout);
        let (trunk, parties) = (self.plan.trunk.clone(), &self.plan.parties);
        let (callee, caller) = (parties.callee.clone(), parties.caller.clone());
        let transferred_from = self.plan.transferred_from.clone();
        self.tell(now, What::Dialling { trunk, callee, caller, transferred_from });
    }

    /// Keeps a failure back while another way is asked for.
    pub(super) fn elsewhere(&mut self, event: Event) -> Option<Event> {
        let no_sign = match &event {
            Event::Refused(refusal) => self.plan.failover.contains(&refusal.code),
            Event::TimedOut | Event::Silent | Event::Failed(Failure::Unreachable) => !self.plan.failover.is_empty(),
            _ => false,
        };
        // Of one failure two may tell: our patience and the transaction's own.
        if let Some(failed) = &mut self.failed {
            // Silence was no end yet: what comes after it may be.
            if **failed == Event::Silent && event != Event::Trying {
                **failed = event;
            }
            return None;
        }
        if !no_sign || self.phase != Phase::Dialling || self.ending.is_some() {
            return Some(event);
        }
        // One that is silent so far is waited for after all, should there be no other way.
        if event != Event::Silent {
            self.timers = Default::default();
        }
        self.failed = Some(Box::new(event));
        self.out.push_back(Output::Reroute);
        None
    }

    /// Nothing at all came back for the INVITE in time.
    pub(super) fn unheard(&mut self, now: Instant) {
        if self.phase != Phase::Dialling
            || self.ending.is_some()
            || self.failed.as_ref().is_some_and(|failed| **failed != Event::Silent)
        {
            return;
        }
        // Should the trunk answer after all, this session says goodbye to it: its end is told no more.
        self.session.handle(now, session::Input::Cancel);
        self.signalled(now, Event::TimedOut);
    }

    /// The switchboard has found another way, or none.
    pub(super) fn route(&mut self, now: Instant, route: Result<Box<Route>, String>) {
        let Some(failed) = self.failed.take().map(|failed| *failed) else { return };
        // Whoever did not want the call any more meanwhile does not want it elsewhere either.
        if self.phase != Phase::Dialling {
            return;
        }
        match route {
            Ok(route) if self.ending.is_none() => self.go(now, *route, &failed),
            route => {
                self.plan.failover.clear();
                self.signalled(now, failed);
                if let (Err(reason), Some((by, end))) = (route, &mut self.ending)
                    && *by != HungUpBy::Operator
                {
                    end.push_str("; no other way: ");
                    end.push_str(&reason);
                }
            }
        }
    }

    /// Our media are of the family of the next address now: what is offered to it. `None`: where they were, for there is no other place.
    pub(super) fn media_there(&mut self, now: Instant, media: Result<Option<SocketAddr>, String>) {
        match media {
            Ok(media) => {
                let offer = media.map(|media| {
                    self.plan.local_media = media;
                    self.negotiator = negotiator(&self.plan, &mut self.rng);
                    match self.session.offer() {
                        Some(_) => self.negotiator.offer(Direction::SendRecv),
                        None => Vec::new(),
                    }
                });
                self.session.handle(now, session::Input::InviteThere { offer });
            }
            // For this trunk that was all; its end is told no more.
            Err(reason) => {
                self.session.handle(now, session::Input::Cancel);
                self.signalled(now, Event::Failed(Failure::Unreachable));
                if let Some((HungUpBy::Network, end)) = &mut self.ending {
                    end.push_str("; no media of the next address' family: ");
                    end.push_str(&reason);
                }
            }
        }
    }

    fn go(&mut self, now: Instant, route: Route, failed: &Event) {
        let Route {
            trunk,
            local,
            mut dial,
            local_media,
            ring_timeout,
            setup_timeout,
            longest,
            formats,
            line,
            srtp,
            failover,
            transfer,
        } = route;
        let reason = match failed {
            Event::Refused(refusal) => format!("{} {}", refusal.code, refusal.reason),
            Event::TimedOut | Event::Silent => "no answer to the INVITE".to_owned(),
            _ => "the INVITE could not be sent".to_owned(),
        };
        self.tell(now, What::Rerouted { trunk: self.plan.trunk.clone(), reason });
        (self.plan.trunk, self.plan.formats, self.plan.failover) = (trunk, formats, failover);
        (self.plan.setup_timeout, self.plan.longest, self.plan.line) = (setup_timeout, longest, line);
        (self.plan.srtp, self.plan.transfer) = (srtp, transfer);
        self.plan.local_media = local_media.unwrap_or(self.plan.local_media);
        self.negotiator = negotiator(&self.plan, &mut self.rng);
        dial.offer = self.negotiator.offer(Direction::SendRecv);
        let rng = rand::rngs::StdRng::seed_from_u64(self.rng.random());
        let next = Session::dial(now, local, dial, rng);
        let sip_call_id = next.call_id().to_owned();
        let mut left = Box::new(std::mem::replace(&mut self.session, next));
        self.teach();
        // Should it be answered after all, it says goodbye: its end is told no more.
        left.handle(now, session::Input::Cancel);
        while let Some(output) = left.poll() {
            if let session::Output::Transmit { to, payload } = output {
                self.out.push_back(Output::Transmit { to, payload });
            }
        }
        self.out.push_back(Output::Moved { left, sip_call_id });
        self.dialling(now, ring_timeout);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::SystemTime;

    use super::*;
    use crate::call::action::{Action, Farewell};
    use crate::call::call::Plan;
    use crate::call::conversation::Rules;
    use crate::call::io::Input;
    use crate::call::knobs::Knobs;
    use crate::call::line::Parties;
    use crate::call::record::{CallRecord, Outcome};
    use crate::ms::epoch;
    use crate::sip::Ways;
    use crate::sip::locate::{Hop, Spares};
    use crate::sip::message::{Message, NameAddr, Request, Target, Writer, parse};
    use crate::sip::session::{ExtraHeaders, Terms};
    use crate::sip::transport::Transport;

    const TRUNK: &str = "192.0.2.2:5060";

    fn dial() -> Dial {
        Dial {
            request_uri: "sip:2@192.0.2.2".parse().expect("a URI"),
            from: NameAddr::parse("<sip:1@192.0.2.1>").expect("an address"),
            to: NameAddr::parse("<sip:2@192.0.2.2>").expect("an address"),
            next_hop: Target::Addr(TRUNK.parse().expect("an address")),
            spares: Default::default(),
            patience: Some(Duration::from_secs(4)),
            route: Vec::new(),
            credentials: None,
            headers: ExtraHeaders::default(),
            offer: Vec::new(),
            terms: Terms::default(),
        }
    }

    fn local() -> Local {
        Local {
            contact_user: "r".into(),
            contact: "192.0.2.1:5060".parse().expect("an address"),
            user_agent: "t".into(),
            ways: Ways::default(),
        }
    }

    fn route(trunk: &str) -> Box<Route> {
        Box::new(Route {
            trunk: trunk.to_owned(),
            local: local(),
            dial: dial(),
            local_media: None,
            ring_timeout: Duration::from_secs(60),
            setup_timeout: Duration::from_secs(32),
            longest: None,
            formats: vec![AudioFormat::Pcmu],
            line: LineRules::default(),
            srtp: None,
            failover: Vec::new(),
            transfer: Arc::new(transfer::Rules::bare()),
        })
    }

    /// A call and what it has said.
    struct Bench {
        now: Instant,
        call: Call,
        out: VecDeque<Output>,
    }

    impl Bench {
        fn new(setup_s: u64, failover: &[u16]) -> Bench {
            Bench::dialled(local(), dial(), setup_s, failover)
        }

        fn dialled(local: Local, dial: Dial, setup_s: u64, failover: &[u16]) -> Bench {
            let plan = Plan {
                call_id: "c".into(),
                trunk: "one".into(),
                parties: Parties { caller: "1".into(), callee: "2".into(), ..Parties::default() },
                failover: failover.to_vec(),
                setup_timeout: Duration::from_secs(setup_s),
                longest: None,
                request_id: String::new(),
                correlation: String::new(),
                variables: Vec::new(),
                pass_headers: Vec::new(),
                knobs: Knobs::default(),
                background: None,
                rules: Rules {
                    dialogue_timeout: Duration::from_secs(8),
                    dialogue_resumes: 0,
                    dead_air: Duration::ZERO,
                    waiting_sound: None,
                    final_timeout: Duration::from_secs(3),
                    fallback_prompt: None,
                    dialogue: false,
                    recogniser: false,
                    recorded: false,
                },
                transfer: Arc::new(transfer::Rules::bare()),
                transferred_from: None,
                early_media: false,
                early_media_asr: false,
                rtp_timeout: Duration::from_secs(30),
                inband_keys: Default::default(),
                tones: None,
                answerer: None,
                answerer_early: false,
                record_early: false,
                hang_up_on_tone: true,
                announcements: None,
                hang_up_on_announcement: true,
                local_media: "192.0.2.1:4000".parse().expect("an address"),
                formats: vec![AudioFormat::Pcma],
                line: LineRules::default(),
                srtp: None,
            };
            let now = epoch();
            let rng = rand::rngs::StdRng::seed_from_u64(3);
            let ring = Duration::from_secs(60);
            let call = Call::dial(now, SystemTime::UNIX_EPOCH, plan, ring, local, dial, rng);
            let mut bench = Bench { now, call, out: VecDeque::new() };
            bench.drain();
            bench
        }

        fn drain(&mut self) {
            while let Some(output) = self.call.poll() {
                self.out.push_back(output);
            }
        }

        fn give(&mut self, input: Input) {
            self.call.handle(self.now, input);
            self.drain();
        }

        fn wait(&mut self, span: Duration) {
            let end = self.now + span;
            while let Some(at) = self.call.deadline().filter(|at| *at <= end) {
                self.now = at;
                self.call.tick(at);
                self.drain();
            }
            self.now = end;
        }

        /// The last INVITE that went out.
        fn invite(&self) -> Request {
            let mut invites = self.out.iter().filter_map(|output| match output {
                Output::Transmit { payload, .. } => match parse(payload).expect("a message") {
                    Message::Request(request) if request.method().as_str() == "INVITE" => Some(request),
                    _ => None,
                },
                _ => None,
            });
            invites.next_back().expect("an INVITE")
        }

        fn answer(&mut self, code: u16) {
            let source = TRUNK.parse().expect("an address");
            let response = Writer::reply(&self.invite(), source, code, "x", Some("t")).finish("", b"");
            self.give(Input::Sip { message: Message::Response(response), source });
        }

        fn asked(&self) -> usize {
            self.out.iter().filter(|output| matches!(output, Output::Reroute)).count()
        }

        fn record(&self) -> &CallRecord {
            let mut over = self.out.iter().filter_map(|output| match output {
                Output::Over(record) => Some(record),
                _ => None,
            });
            over.next_back().expect("it is over")
        }
    }

    #[test]
    fn silence_is_a_failure_at_the_setup_timeout_and_not_before() {
        let mut b = Bench::new(3, &[503]);
        b.wait(Duration::from_millis(2_999));
        assert_eq!(b.asked(), 0);
        b.wait(Duration::from_millis(1));
        assert_eq!(b.asked(), 1);
        // The first INVITE goes on in its session; the second one has another Call-ID, and an offer of its own trunk's.
        let first = b.invite();
        b.give(Input::Route(Ok(route("two"))));
        let second = b.invite();
        assert_ne!(first.call_id(), second.call_id());
        assert!(String::from_utf8_lossy(second.body()).contains("RTP/AVP 0"), "{second:?}");
        let moved = b.out.iter().find_map(|output| match output {
            Output::Moved { left, sip_call_id } => Some((left.call_id(), sip_call_id.as_str())),
            _ => None,
        });
        assert_eq!(moved, Some((first.call_id().expect("one"), second.call_id().expect("one"))));
        b.answer(486);
        assert_eq!((b.record().outcome, b.record().trunk.as_str()), (Outcome::Linebusy, "two"));
    }

    #[test]
    fn a_silent_trunk_is_left_in_seconds_and_said_goodbye_to_when_it_wakes() {
        let mut b = Bench::new(32, &[503]);
        b.wait(Duration::from_millis(3_999));
        assert_eq!(b.asked(), 0);
        b.wait(Duration::from_millis(1));
        assert_eq!(b.asked(), 1);
        let first = b.invite();
        b.give(Input::Route(Ok(route("two"))));
        let moved = b.out.iter_mut().find_map(|output| match output {
            Output::Moved { left, .. } => Some(left),
            _ => None,
        });
        let left = moved.expect("the first session lives on");
        let source = TRUNK.parse().expect("an address");
        let late = Writer::reply(&first, source, 180, "x", Some("t")).finish("", b"");
        left.handle(b.now, session::Input::Message { message: Message::Response(late), source });
        let cancelled = std::iter::from_fn(|| left.poll()).any(|output| match output {
            session::Output::Transmit { payload, .. } => payload.starts_with(b"CANCEL "),
            session::Output::Event(_) => false,
        });
        assert!(cancelled);
        let told = b.out.iter().find_map(|output| match output {
            Output::Tell { what: What::Rerouted { trunk, reason }, .. } => Some((trunk.as_str(), reason.as_str())),
            _ => None,
        });
        assert_eq!(told, Some(("one", "no answer to the INVITE")));
        b.answer(486);
        assert_eq!((b.record().outcome, b.record().trunk.as_str()), (Outcome::Linebusy, "two"));
    }

    #[test]
    fn a_silent_trunk_is_waited_for_when_nobody_else_can_take_the_call() {
        let mut b = Bench::new(32, &[503]);
        b.wait(Duration::from_secs(4));
        b.give(Input::Route(Err("full".into())));
        b.wait(Duration::from_secs(20));
        b.answer(486);
        assert_eq!((b.record().outcome, b.asked()), (Outcome::Linebusy, 1));
        // Nor is it left when it never had company.
        let mut b = Bench::new(32, &[]);
        b.wait(Duration::from_millis(31_999));
        assert_eq!(b.asked(), 0);
        b.wait(Duration::from_millis(1));
        assert_eq!((b.record().sip_code, b.asked()), (408, 0));
    }

    #[test]
    fn our_patience_and_timer_b_are_one_failure() {
        let mut b = Bench::new(32, &[503]);
        b.wait(Duration::from_secs(40));
        assert_eq!(b.asked(), 1);
        b.give(Input::Route(Err("nothing".into())));
        assert_eq!((b.record().sip_code, b.asked()), (408, 1));
        assert_eq!(b.record().end_reason, "the trunk did not answer the INVITE; no other way: nothing");
    }

    #[test]
    fn a_100_is_an_answer_but_no_sign_of_the_call() {
        let mut b = Bench::new(4, &[503]);
        b.answer(100);
        b.wait(Duration::from_secs(30));
        assert_eq!(b.asked(), 0);
        b.answer(503);
        assert_eq!(b.asked(), 1);
    }

    #[test]
    fn without_another_way_none_is_asked_for() {
        let mut b = Bench::new(4, &[]);
        b.answer(503);
        assert_eq!((b.asked(), b.record().sip_code), (0, 503));
        let mut b = Bench::new(4, &[]);
        b.wait(Duration::from_secs(4));
        assert_eq!((b.asked(), b.record().sip_code), (0, 408));
    }

    #[test]
    fn what_cannot_be_sent_goes_another_way() {
        let mut b = Bench::new(4, &[503]);
        b.give(Input::Unsent { to: dial().next_hop });
        assert_eq!(b.asked(), 1);
    }

    const OF_SIX: &str = "[2001:db8::1]:4002";

    /// A call to a name with an address of each family, of which the first one has refused.
    fn at_the_other_family(failover: &[u16], delayed: bool) -> Bench {
        let hops = [TRUNK, "[2001:db8::2]:5060"]
            .map(|at| Hop { transport: Transport::Udp, address: at.parse().expect("one") });
        let ways = Ways::default().reached(Transport::Udp, "192.0.2.1:5060".parse().expect("an address"));
        let ways = ways.reached(Transport::Udp, "[2001:db8::1]:5060".parse().expect("an address"));
        let terms = Terms { delayed_offer: delayed, ..Terms::default() };
        let dial = Dial { spares: Spares::of(&hops).expect("two").1, terms, ..dial() };
        let mut b = Bench::dialled(Local { ways, ..local() }, dial, 32, failover);
        b.answer(503);
        assert!(matches!(b.out.back(), Some(Output::OtherFamily { v6: true })), "{:?}", b.out.back());
        b
    }

    fn offered(invite: &Request) -> String {
        String::from_utf8_lossy(invite.body()).into_owned()
    }

    #[test]
    fn an_address_of_the_other_family_is_offered_media_of_its_own() {
        let mut b = at_the_other_family(&[], false);
        let first = b.invite();
        b.give(Input::Media(Ok(Some(OF_SIX.parse().expect("an address")))));
        let second = b.invite();
        assert_eq!(first.call_id(), second.call_id());
        assert!(
            offered(&first).contains("c=IN IP4 192.0.2.1") && offered(&first).contains("m=audio 4000 "),
            "{first:?}"
        );
        let told = offered(&second);
        assert!(
            told.contains("c=IN IP6 2001:db8::1") && told.contains("m=audio 4002 ") && !told.contains("IP4"),
            "{told}"
        );
        b.answer(486);
        assert_eq!((b.record().outcome, b.record().sip_code, b.asked()), (Outcome::Linebusy, 486, 0));
    }

    #[test]
    fn an_address_of_the_other_family_is_offered_nothing_where_the_callee_offers() {
        let mut b = at_the_other_family(&[], true);
        b.give(Input::Media(Ok(Some(OF_SIX.parse().expect("an address")))));
        assert_eq!(offered(&b.invite()), "");
    }

    #[test]
    fn with_media_in_one_place_only_the_offer_stays_as_it_was() {
        let mut b = at_the_other_family(&[], false);
        let first = b.invite();
        b.give(Input::Media(Ok(None)));
        assert_eq!(b.invite().body(), first.body());
        assert_ne!(b.invite().top_via(), first.top_via());
    }

    #[test]
    fn without_media_of_the_other_family_the_trunk_has_failed() {
        let mut b = at_the_other_family(&[], false);
        b.give(Input::Media(Err("no ports".into())));
        let record = b.record();
        assert_eq!(record.outcome, Outcome::Cantbeconnected);
        assert!(record.end_reason.ends_with("no media of the next address' family: no ports"), "{}", record.end_reason);
        let mut b = at_the_other_family(&[503], false);
        b.give(Input::Media(Err("no ports".into())));
        assert_eq!(b.asked(), 1);
        b.give(Input::Route(Ok(Box::new(Route { local_media: OF_SIX.parse().ok(), ..*route("two") }))));
        assert!(offered(&b.invite()).contains("c=IN IP6 2001:db8::1"));
        b.answer(486);
        assert_eq!((b.record().outcome, b.record().trunk.as_str()), (Outcome::Linebusy, "two"));
    }

    #[test]
    fn who_hangs_up_while_another_way_is_sought_is_not_called_again() {
        let mut b = Bench::new(4, &[503]);
        b.answer(503);
        let before = b.invite();
        b.give(Input::Command(Action::Hangup { now: true, reason: "enough".into(), farewell: Farewell::default() }));
        b.give(Input::Route(Ok(route("two"))));
        assert_eq!(b.invite().call_id(), before.call_id());
        let record = b.record();
        assert_eq!((record.outcome, record.end_reason.as_str()), (Outcome::Cancelled, "enough"));
    }
}
