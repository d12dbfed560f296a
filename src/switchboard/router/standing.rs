//! How the trunks stand: who may be dialled over, and who is told when that changes.

use super::Router;
use crate::journal::Standing;
use crate::switchboard::order::TrunkState;
use crate::switchboard::settings::Trunk;

impl Router {
    /// Whether a trunk is thought to be able to take calls.
    pub(super) fn is_up(&self, number: usize) -> bool {
        self.down[number].is_none() && self.registrations[number].fault().is_none()
    }

    /// All trunks, with their load.
    pub(super) fn trunks(&self) -> Vec<TrunkState> {
        let state = |(number, trunk): (usize, &Trunk)| TrunkState {
            name: trunk.name.clone(),
            up: self.is_up(number),
            channels_used: self.channels[number],
            channels_max: trunk.channels,
            registration: self.registrations[number].clone(),
            down: self.down[number].clone(),
        };
        self.settings.trunks.iter().enumerate().map(state).collect()
    }

    pub(super) fn standing(&self, number: usize) -> Standing {
        let registration = &self.registrations[number];
        let faults: Vec<_> = self.down[number].as_deref().into_iter().chain(registration.fault()).collect();
        Standing {
            trunk: self.settings.trunks[number].name.clone(),
            up: self.is_up(number),
            registration: registration.as_str(),
            reason: faults.join("; "),
        }
    }

    /// Tells how a trunk stands, if it did not stand like that before: a registration that is refreshed, or that fails again as it did,
    /// is no news.
    pub(super) fn tell_standing(&mut self, number: usize) {
        let standing = self.standing(number);
        if self.told[number] != standing {
            self.told[number] = standing.clone();
            self.shells.journal.tell_trunk(standing);
        }
    }
}
