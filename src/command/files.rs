//! How many files this process may open: a call takes three sockets, and shells often allow 1,024 of everything together.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to so many, as far as the system lets us.
///
/// # Errors
/// The limit that there is, if that is lower.
pub(super) fn allow(wanted: u64) -> Result<(), u64> {
    let limit = getrlimit(Resource::Nofile);
    let Some(now) = limit.current.filter(|now| *now < wanted) else { return Ok(()) };
    let most = limit.maximum.map_or(wanted, |most| most.min(wanted));
    let there = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit }).map_or(now, |()| most);
    if there < wanted { Err(there) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_already_is_no_trouble_and_more_than_the_system_has_is_told() {
        assert_eq!(allow(1), Ok(()));
        if let Some(most) = getrlimit(Resource::Nofile).maximum {
            assert_eq!(allow(most + 1), Err(most));
            assert_eq!(getrlimit(Resource::Nofile).current, Some(most));
        }
    }
}
