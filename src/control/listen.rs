//! `Listen`: both sides of a call as a stream.
//!
//! The listener's ring is looked at when HTTP/2 has room for more, so a slow client holds up nobody: its ring runs full, what has no room is dropped by
//! the media thread, and the gap is told in the next piece. While the recording is paused both sides are silence: what must not be kept must
//! not be listened to.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::Stream;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::Status;

use crate::call::io::RecordedFrame;
use crate::codec::g711::Law;
use crate::dialogue::convert::Refused;
use crate::media::Listener;
use crate::ms::Ms;
use crate::proto::control::v1 as proto;

/// The time and the samples of a frame.
const FRAME: Ms = Ms(20);
const SAMPLES: usize = 160;

/// How pieces are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// `None`: 16 bits.
    law: Option<Law>,
    frames: usize,
}

/// Which call, and how.
pub(super) fn terms(message: proto::ListenRequest) -> Result<(String, Terms), Refused> {
    let encoding = message.encoding;
    let law = match proto::ListenEncoding::try_from(encoding) {
        Ok(proto::ListenEncoding::Unspecified | proto::ListenEncoding::PcmS16le) => None,
        Ok(proto::ListenEncoding::Pcma) => Some(Law::A),
        Ok(proto::ListenEncoding::Pcmu) => Some(Law::Mu),
        Err(_) => return Err(Refused::invalid("encoding", format!("{encoding} is not known to this version"))),
    };
    let frames = match message.frame_ms {
        0 => 1,
        ms @ (20 | 40 | 60 | 80 | 100) => (ms / FRAME.0) as usize,
        ms => return Err(Refused::invalid("frame_ms", format!("{ms} is none of 20, 40, 60, 80, 100"))),
    };
    Ok((super::orders::call_id(message.call_id)?, Terms { law, frames }))
}

/// From frames to pieces. Pure.
#[derive(Debug)]
struct Pieces {
    terms: Terms,
    /// When the next frame begins, if none is missing.
    next: Option<Ms>,
    /// What the caller said before then was said while the recording was paused.
    paused_until: Ms,
    piece: proto::ListenResponse,
    frames: usize,
    whole: VecDeque<proto::ListenResponse>,
}

impl Pieces {
    fn new(terms: Terms) -> Pieces {
        Pieces {
            terms,
            next: None,
            paused_until: Ms(0),
            piece: proto::ListenResponse::default(),
            frames: 0,
            whole: VecDeque::new(),
        }
    }

    fn push(&mut self, frame: &RecordedFrame) {
        let lost = self.next.map_or(Ms(0), |next| frame.robot_at.saturating_sub(next));
        self.next = Some(frame.robot_at + FRAME);
        if frame.paused {
            self.paused_until = frame.robot_at + FRAME;
        }
        if lost > Ms(0) {
            self.finish();
        }
        // What came out of the jitter buffer after the pause may have been said in it.
        let hidden = frame.paused || frame.caller_at.is_some_and(|at| at < self.paused_until);
        if self.frames == 0 {
            self.piece.at_ms = frame.robot_at.0;
            self.piece.caller_at_ms = frame.caller_at.map(|at| at.0);
            self.piece.lost_ms = lost.0;
        }
        self.piece.paused |= frame.paused;
        let Terms { law, frames } = self.terms;
        write(law, &frame.caller, frame.caller_at.is_none() || hidden, &mut self.piece.caller);
        write(law, &frame.robot, frame.paused, &mut self.piece.robot);
        self.frames += 1;
        if self.frames == frames {
            self.finish();
        }
    }

    /// What there is of a piece is all of it.
    fn finish(&mut self) {
        if std::mem::take(&mut self.frames) > 0 {
            self.whole.push_back(std::mem::take(&mut self.piece));
        }
    }
}

fn write(law: Option<Law>, samples: &[i16; SAMPLES], silent: bool, out: &mut Vec<u8>) {
    let samples = if silent { &[0; SAMPLES] } else { samples };
    match law {
        None => out.extend(samples.iter().flat_map(|sample| sample.to_le_bytes())),
        Some(law) => {
            let mut coded = [0; SAMPLES];
            law.encode(samples, &mut coded);
            out.extend_from_slice(&coded);
        }
    }
}

struct Listening {
    listener: Listener,
    pieces: Pieces,
    tick: Interval,
}

/// The pieces as they come, until the call's media end.
pub(super) fn stream(
    listener: Listener,
    terms: Terms,
) -> impl Stream<Item = Result<proto::ListenResponse, Status>> + Send + 'static {
    let mut tick = interval(Duration::from_millis(FRAME.0.into()) * terms.frames as u32);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let listening = Listening { listener, pieces: Pieces::new(terms), tick };
    futures_util::stream::unfold(listening, |mut listening| async move {
        let piece = listening.next().await?;
        Some((Ok(piece), listening))
    })
}

impl Listening {
    async fn next(&mut self) -> Option<proto::ListenResponse> {
        loop {
            if let Some(piece) = self.pieces.whole.pop_front() {
                return Some(piece);
            }
            // In this order: what was put in before the end is there.
            let over = self.listener.is_over();
            while self.pieces.whole.is_empty()
                && let Some(frame) = self.listener.frame()
            {
                self.pieces.push(&frame);
            }
            if !self.pieces.whole.is_empty() {
                continue;
            }
            if over {
                self.pieces.finish();
                return self.pieces.whole.pop_front();
            }
            self.tick.tick().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    fn frame(n: u32) -> RecordedFrame {
        let caller_at = Some(Ms((n * 20).saturating_sub(60)));
        RecordedFrame { robot_at: Ms(n * 20), robot: [n as i16 + 1; 160], caller_at, caller: [-5; 160], paused: false }
    }

    fn pieces(frames: &[RecordedFrame], length: usize) -> Vec<proto::ListenResponse> {
        let mut pieces = Pieces::new(Terms { law: None, frames: length });
        frames.iter().for_each(|frame| pieces.push(frame));
        pieces.finish();
        pieces.whole.into()
    }

    /// Which of its frames have any sound.
    fn sounds(side: &[u8]) -> Vec<bool> {
        side.chunks(320).map(|frame| frame.iter().any(|byte| *byte != 0)).collect()
    }

    #[test]
    fn pieces_are_of_the_length_that_was_asked_for_and_say_when() {
        let frames: Vec<_> = (5..12).map(frame).collect();
        let pieces = pieces(&frames, 3);
        let times: Vec<_> = pieces.iter().map(|p| (p.at_ms, p.caller_at_ms, p.robot.len() / 320)).collect();
        assert_eq!(times, [(100, Some(40), 3), (160, Some(100), 3), (220, Some(160), 1)]);
        assert!(pieces.iter().all(|p| p.lost_ms == 0 && p.caller.len() == p.robot.len()));
        assert_eq!(pieces[1].robot[..2], 9_i16.to_le_bytes());
    }

    #[test]
    fn a_gap_is_told_and_nothing_is_joined_over_it() {
        let frames: Vec<_> = [0, 1, 2, 3, 60, 61].map(frame).into();
        let told: Vec<_> = pieces(&frames, 3).iter().map(|p| (p.at_ms, p.robot.len() / 320, p.lost_ms)).collect();
        assert_eq!(told, [(0, 3, 0), (60, 1, 0), (1_200, 2, 1_120)]);
    }

    #[test]
    fn who_is_silent_is_silence_and_so_is_what_was_said_while_the_recording_was_paused() {
        let mut frames: Vec<_> = (0..8).map(frame).collect();
        frames[0].caller_at = None;
        (frames[2].paused, frames[3].paused) = (true, true);
        let one = &pieces(&frames, 8)[0];
        assert!(one.paused && one.caller_at_ms.is_none());
        assert_eq!(sounds(&one.robot), [true, true, false, false, true, true, true, true]);
        // The fifth to seventh frame were said at 20 to 60 ms, and the pause lasted until 80.
        assert_eq!(sounds(&one.caller), [false, true, false, false, false, false, false, true]);
    }

    #[test]
    fn what_is_asked_for_is_checked_by_name() {
        let ask = |encoding, frame_ms| terms(proto::ListenRequest { call_id: "c".into(), encoding, frame_ms });
        assert_eq!(ask(0, 0), Ok(("c".into(), Terms { law: None, frames: 1 })));
        assert_eq!(ask(3, 100), Ok(("c".into(), Terms { law: Some(Law::Mu), frames: 5 })));
        let refused = |encoding, frame_ms| ask(encoding, frame_ms).expect_err("no sense").to_string();
        assert_eq!(refused(9, 0), "INVALID_ARGUMENT: encoding: 9 is not known to this version");
        assert_eq!(refused(0, 30), "INVALID_ARGUMENT: frame_ms: 30 is none of 20, 40, 60, 80, 100");
    }

    #[tokio::test]
    async fn the_stream_ends_with_the_media_and_gives_all_that_was_there() {
        let (mut ring, frames) = rtrb::RingBuffer::new(50);
        let terms = Terms { law: Some(Law::A), frames: 5 };
        let all = stream(Listener::of(frames), terms);
        (0..12).for_each(|n| ring.push(frame(n)).expect("room"));
        drop(ring);
        let all: Vec<_> = all.map(|piece| piece.expect("no error")).collect().await;
        assert_eq!(all.iter().map(|piece| piece.robot.len()).collect::<Vec<_>>(), [800, 800, 320]);
    }
}
