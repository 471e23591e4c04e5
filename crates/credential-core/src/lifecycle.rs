//! The life of a credential: eleven phases, one table of lawful moves.

use std::fmt;

use crate::CredentialError;

macro_rules! phases {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $text:literal, $state:ident;)*) => {
        /// Where a credential stands in its life. This is what is stored; [`CredentialState`] is the short form.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Phase {
            $($(#[$doc])* $name = $id,)*
        }

        impl Phase {
            /// Every phase, in the order of their stored numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable name, in `snake_case`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The phase behind a stored number.
            pub const fn from_id(id: u8) -> Option<Self> {
                match id {
                    $($id => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The short form.
            pub const fn state(self) -> CredentialState {
                match self {
                    $(Self::$name => CredentialState::$state,)*
                }
            }
        }
    };
}

phases! {
    /// Nothing was obtained yet.
    Uninitialized = 1, "uninitialized", Draft;
    /// Waits for a person, such as at a consent page.
    PendingInteraction = 2, "pending_interaction", Draft;
    /// The first value is being obtained.
    Authenticating = 3, "authenticating", Draft;
    /// In use.
    Active = 4, "active", Active;
    /// Past its expiry; may be refreshed or replaced.
    Expired = 5, "expired", Expired;
    /// A fresh value is being obtained.
    Refreshing = 6, "refreshing", Active;
    /// Will be rotated at a known time; in use until then.
    RotationScheduled = 7, "rotation_scheduled", Active;
    /// A new value is being made and tested; the old one is in use.
    Rotating = 8, "rotating", Rotating;
    /// The new value is in use and the old one still works.
    GracePeriod = 9, "grace_period", Deprecated;
    /// Forcefully and finally withdrawn.
    Revoked = 10, "revoked", Revoked;
    /// Needs a new authentication.
    Failed = 11, "failed", Expired;
}

/// The short form of a [`Phase`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialState {
    /// Being created.
    Draft,
    /// In use.
    Active,
    /// Being replaced with a new version.
    Rotating,
    /// Still usable but scheduled for removal.
    Deprecated,
    /// No longer usable until it is refreshed or authenticated anew.
    Expired,
    /// Forcefully invalidated.
    Revoked,
}

impl CredentialState {
    /// The stable name, in `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Rotating => "rotating",
            Self::Deprecated => "deprecated",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for CredentialState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every lawful move from one phase to another.
///
/// [`Phase::can_become`] looks here, and so does whatever else says or draws which moves there are.
/// Invariants, held by tests: every phase but `Revoked` reaches `Revoked`; nothing leaves `Revoked`; every phase is
/// reached from `Uninitialized`.
pub const TRANSITIONS: &[(Phase, Phase)] = {
    use Phase::{
        Active, Authenticating, Expired, Failed, GracePeriod, PendingInteraction, Refreshing, Revoked,
        Rotating, RotationScheduled, Uninitialized,
    };
    &[
        (Uninitialized, PendingInteraction),
        (Uninitialized, Authenticating),
        // A value that needs no authentication, such as a typed-in API key.
        (Uninitialized, Active),
        (Uninitialized, Revoked),
        (PendingInteraction, Authenticating),
        (PendingInteraction, Failed),
        (PendingInteraction, Revoked),
        (Authenticating, Active),
        (Authenticating, Failed),
        (Authenticating, Revoked),
        // Refreshed before it expires.
        (Active, Refreshing),
        (Active, RotationScheduled),
        (Active, Rotating),
        (Active, Expired),
        (Active, Revoked),
        (Expired, Refreshing),
        // Replaced by hand.
        (Expired, Rotating),
        (Expired, Failed),
        (Expired, Revoked),
        // Done, or failed while the old value still works.
        (Refreshing, Active),
        // Failed, and the old value has expired meanwhile.
        (Refreshing, Expired),
        (Refreshing, Failed),
        (Refreshing, Revoked),
        (RotationScheduled, Rotating),
        // Cancelled.
        (RotationScheduled, Active),
        (RotationScheduled, Refreshing),
        (RotationScheduled, Expired),
        (RotationScheduled, Revoked),
        (Rotating, GracePeriod),
        // Done without grace, or rolled back.
        (Rotating, Active),
        (Rotating, Expired),
        (Rotating, Failed),
        (Rotating, Revoked),
        // The old value is gone, or the new one was rolled back.
        (GracePeriod, Active),
        (GracePeriod, Rotating),
        (GracePeriod, Refreshing),
        (GracePeriod, Expired),
        (GracePeriod, Revoked),
        // Authenticated anew.
        (Failed, PendingInteraction),
        (Failed, Authenticating),
        (Failed, Active),
        (Failed, Revoked),
    ]
};

impl Phase {
    /// The stored number.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Whether the current value may be handed out.
    pub const fn is_usable(self) -> bool {
        matches!(
            self,
            Self::Active | Self::Refreshing | Self::RotationScheduled | Self::Rotating | Self::GracePeriod
        )
    }

    /// Whether `to` may follow.
    pub fn can_become(self, to: Self) -> bool {
        TRANSITIONS.contains(&(self, to))
    }

    /// `to`, if it may follow.
    ///
    /// # Errors
    /// [`CredentialError::InvalidState`] that names the moves there are.
    pub fn become_phase(self, to: Self) -> Result<Self, CredentialError> {
        if self.can_become(to) {
            return Ok(to);
        }
        let next: Vec<_> = TRANSITIONS
            .iter()
            .filter(|(from, _)| *from == self)
            .map(|(_, to)| to.as_str())
            .collect();
        let choice = if next.is_empty() {
            "nothing; store a new credential".to_owned()
        } else {
            next.join(", ")
        };
        Err(CredentialError::invalid_state(format!(
            "a credential that is {self} cannot become {to}, only {choice}"
        )))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_numbers_and_names_are_one_to_one() {
        assert_eq!(Phase::ALL.len(), 11);
        for phase in Phase::ALL {
            assert_eq!(Phase::from_id(phase.id()), Some(*phase));
            assert_eq!(
                Phase::ALL.iter().filter(|p| p.as_str() == phase.as_str()).count(),
                1
            );
        }
        assert_eq!(Phase::from_id(0), None);
        assert_eq!(Phase::from_id(12), None);
    }

    #[test]
    fn revoked_is_final_and_reached_from_everywhere() {
        for phase in Phase::ALL {
            assert!(!Phase::Revoked.can_become(*phase));
            assert_eq!(
                phase.can_become(Phase::Revoked),
                *phase != Phase::Revoked,
                "{phase}"
            );
        }
    }

    #[test]
    fn every_phase_is_reached_and_no_move_is_listed_twice() {
        let mut reached = vec![Phase::Uninitialized];
        let mut at = 0;
        while let Some(&from) = reached.get(at) {
            for (_, to) in TRANSITIONS.iter().filter(|(f, _)| *f == from) {
                if !reached.contains(to) {
                    reached.push(*to);
                }
            }
            at += 1;
        }
        assert_eq!(reached.len(), Phase::ALL.len());
        for (i, pair) in TRANSITIONS.iter().enumerate() {
            assert_ne!(pair.0, pair.1);
            assert!(!TRANSITIONS[i + 1..].contains(pair), "{pair:?}");
        }
    }

    #[test]
    fn a_failed_refresh_of_a_valid_value_and_a_rollback_return_to_active() {
        for from in [
            Phase::Refreshing,
            Phase::Rotating,
            Phase::GracePeriod,
            Phase::RotationScheduled,
            Phase::Failed,
        ] {
            assert_eq!(from.become_phase(Phase::Active), Ok(Phase::Active));
        }
        let error = Phase::Revoked.become_phase(Phase::Active).unwrap_err();
        assert!(error.to_string().contains("store a new credential"), "{error}");
    }
}
