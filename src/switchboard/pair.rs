//! The two calls of a transfer: how their tasks speak to each other. Each hears the other's end by the end of its words, whatever it died of.

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::call::io::Input;
use crate::call::line::HungUpBy;
use crate::call::second_leg::{News, ToSecond};
use crate::media::Bridge;

/// From one to the other.
pub(super) enum Word {
    /// The second call has news.
    News(News),
    /// The first one wants something.
    Told(ToSecond),
    /// The second one's end of the bridge.
    Bridge(Box<Bridge>),
}

/// Which of the two one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    First,
    Second,
}

/// One call's way to the other.
pub(super) struct Link {
    side: Side,
    to: UnboundedSender<Word>,
    from: UnboundedReceiver<Word>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("side", &self.side).finish_non_exhaustive()
    }
}

/// What one hears of the other.
pub(super) enum Heard {
    Input(Box<Input>),
    Bridge(Box<Bridge>),
}

impl Link {
    /// The first call's and the second one's.
    pub(super) fn pair() -> (Box<Link>, Box<Link>) {
        let (to_second, from_first) = mpsc::unbounded_channel();
        let (to_first, from_second) = mpsc::unbounded_channel();
        let first = Link { side: Side::First, to: to_second, from: from_second };
        let second = Link { side: Side::Second, to: to_first, from: from_first };
        (Box::new(first), Box::new(second))
    }

    /// Tells the other, if it is still there.
    pub(super) fn tell(&self, word: Word) {
        let _ = self.to.send(word);
    }
}

/// What the other says next; its end is said once. For ever, when there is no other.
pub(super) async fn hear(link: &mut Option<Box<Link>>) -> Heard {
    let Some(open) = link else { return std::future::pending().await };
    let (side, word) = (open.side, open.from.recv().await);
    let input = match word {
        Some(Word::Bridge(bridge)) => return Heard::Bridge(bridge),
        Some(Word::News(news)) => Input::Transferred(news),
        Some(Word::Told(told)) => Input::First(told),
        None => {
            *link = None;
            let (by, reason) = (HungUpBy::Network, "the other call of the transfer is gone".to_owned());
            match side {
                Side::First => Input::Transferred(News::Over { by, reason }),
                Side::Second => Input::First(ToSecond::HangUp { by, reason }),
            }
        }
    };
    Heard::Input(Box::new(input))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn input(link: &mut Option<Box<Link>>) -> Input {
        match hear(link).await {
            Heard::Input(input) => *input,
            Heard::Bridge(_) => panic!("nobody gave one"),
        }
    }

    #[tokio::test]
    async fn a_call_whose_task_dies_is_over_for_the_other_one() {
        let (first, second) = Link::pair();
        second.tell(Word::News(News::Ringing { code: 180 }));
        drop(second);
        let mut first = Some(first);
        let told = input(&mut first).await;
        assert!(matches!(told, Input::Transferred(News::Ringing { code: 180 })), "its words come first");
        let over = input(&mut first).await;
        assert!(matches!(over, Input::Transferred(News::Over { by: HungUpBy::Network, .. })));
        assert!(first.is_none(), "and once");
        let (first, second) = Link::pair();
        drop(first);
        let gone = input(&mut Some(second)).await;
        assert!(matches!(gone, Input::First(ToSecond::HangUp { by: HungUpBy::Network, .. })));
    }
}
