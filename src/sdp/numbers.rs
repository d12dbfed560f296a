//! RFC 3264 §8.3.2: which payload type stands for what on our side. Once said, a number means the same for the whole call.

use super::AudioFormat;

/// The dynamic payload types.
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;

/// Our numbers.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    formats: Vec<(AudioFormat, u8)>,
    /// Of events, by their clock. None: there are no events.
    events: Vec<(u32, u8)>,
    /// Of what is neither.
    other: Option<u8>,
}

impl Numbers {
    /// Numbers for all of these; `event`: the one of telephone-event/8000, `None` for no events at all.
    pub(super) fn new(formats: &[AudioFormat], event: Option<u8>) -> Numbers {
        let mut numbers = Numbers {
            formats: Vec::new(),
            events: event.map(|number| (8_000, number)).into_iter().collect(),
            other: None,
        };
        for format in formats {
            let number = numbers.free(format.payload_type());
            numbers.formats.push((*format, number));
        }
        for clock in formats.iter().map(|format| format.clock_rate()) {
            if event.is_some() && numbers.of_events(clock).is_none() {
                // What browsers offer.
                let number = numbers.free(if clock == 48_000 { 110 } else { 113 });
                numbers.events.push((clock, number));
            }
        }
        numbers
    }

    /// The number of a format.
    pub(super) fn of(&self, format: AudioFormat) -> u8 {
        let known = self.formats.iter().find(|(known, _)| *known == format);
        known.map_or(format.payload_type(), |(_, number)| *number)
    }

    /// The number of events of a clock.
    pub(super) fn of_events(&self, clock: u32) -> Option<u8> {
        self.events.iter().find(|(known, _)| *known == clock).map(|(_, number)| *number)
    }

    /// The events that go with these formats, first those of 8 kHz, which everybody knows.
    pub(super) fn events(&self, formats: &[AudioFormat]) -> Vec<(u32, u8)> {
        let goes = |clock: u32| clock == 8_000 || formats.iter().any(|format| format.clock_rate() == clock);
        self.events.iter().copied().filter(|(clock, _)| goes(*clock)).collect()
    }

    /// The far side's numbers are ours from now on. What had one of them before gets another.
    pub(super) fn keep(&mut self, format: AudioFormat, number: u8, event: Option<(u32, u8)>) {
        let theirs = [Some(number), event.map(|(_, number)| number)];
        self.formats.retain(|(known, _)| *known != format);
        self.events.retain(|(known, _)| event.is_none_or(|(clock, _)| *known != clock));
        let (formats, events) = (std::mem::take(&mut self.formats), std::mem::take(&mut self.events));
        self.formats.push((format, number));
        self.events.extend(event);
        for (format, number) in formats {
            let number = if theirs.contains(&Some(number)) { self.free(number) } else { number };
            self.formats.push((format, number));
        }
        for (clock, number) in events {
            let number = if theirs.contains(&Some(number)) { self.free(number) } else { number };
            self.events.push((clock, number));
        }
        self.events.sort_unstable();
    }

    /// A number of the far side's for what is neither sound nor events: what had it before gets another.
    pub(super) fn keep_from(&mut self, other: Option<u8>) {
        self.other = other;
        for n in 0..self.formats.len() {
            if other == Some(self.formats[n].1) {
                self.formats[n].1 = self.free(self.formats[n].1);
            }
        }
        for n in 0..self.events.len() {
            if other == Some(self.events[n].1) {
                self.events[n].1 = self.free(self.events[n].1);
            }
        }
    }

    /// `wanted`, or else a dynamic number that is still free.
    fn free(&self, wanted: u8) -> u8 {
        let taken = |number: &u8| {
            let formats = self.formats.iter().map(|(_, taken)| taken);
            formats.chain(self.events.iter().map(|(_, taken)| taken)).chain(&self.other).any(|taken| taken == number)
        };
        std::iter::once(wanted).chain(DYNAMIC).find(|number| !taken(number)).unwrap_or(wanted)
    }
}
