//! When a certificate ends: the one field of X.509 (RFC 5280 §4.1.2.5) that rustls does not tell of our own.

use std::time::{Duration, SystemTime};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a certificate in DER form; `None` when it is none.
pub(super) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let (whole, _) = of(SEQUENCE, certificate)?;
    let (mut tbs, _) = of(SEQUENCE, whole)?;
    if tbs.first() == Some(&VERSION) {
        tbs = element(tbs)?.2;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        tbs = element(tbs)?.2;
    }
    let (validity, _) = of(SEQUENCE, tbs)?;
    let (tag, time, _) = element(element(validity)?.2)?;
    read_time(tag, std::str::from_utf8(time).ok()?)
}

fn of(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content, and what follows (X.690 §8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |n, digit| n << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ`, or with four digits of the year; two of them below 50 are of this century.
fn read_time(tag: u8, text: &str) -> Option<SystemTime> {
    let whole = match tag {
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| whole.get(from..to);
    let (date, time) = (part(0, 8)?, part(8, 14)?);
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        date.get(..4)?,
        date.get(4..6)?,
        date.get(6..)?,
        time.get(..2)?,
        time.get(2..4)?,
        time.get(4..)?
    );
    let seconds = text.parse::<jiff::Timestamp>().ok()?.as_second();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What stands in a certificate up to its validity.
    fn certificate(times: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| [&[tag, 0x82, 0, content.len() as u8][..], content].concat();
        let validity = wrap(SEQUENCE, times);
        let tbs = [&[VERSION, 3, 2, 1, 2, 2, 1, 7, SEQUENCE, 0, SEQUENCE, 0][..], &validity, &[SEQUENCE, 0]].concat();
        wrap(SEQUENCE, &wrap(SEQUENCE, &tbs))
    }

    #[test]
    fn the_end_of_a_certificate_is_read() {
        let times = |tag: u8, text: &str| {
            let begin = b"\x17\x0d200101000000Z";
            [&begin[..], &[tag, text.len() as u8], text.as_bytes()].concat()
        };
        for (tag, text, seconds) in [
            (UTC_TIME, "261125170000Z", Some(1_795_626_000)),
            (UTC_TIME, "700101000001Z", Some(1)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "20501301000000Z", None),
            (UTC_TIME, "26112517", None),
            (0x0c, "261125170000Z", None),
        ] {
            let end = not_after(&certificate(&times(tag, text)));
            let end = end.map(|end| end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
            assert_eq!(end, seconds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            not_after(&bytes);
            not_after(&certificate(&bytes));
        }
    }
}
