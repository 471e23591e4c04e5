//! Sets of permissions.

use std::fmt;

use nebula_credential_core::Permission;

/// A set of permissions. Shown, and read, as their names joined by `+`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Permissions(u8);

impl Permissions {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// All of them.
    pub const ALL: Self = Self(u8::MAX);

    /// Only this one.
    pub const fn only(permission: Permission) -> Self {
        Self(1 << permission as u8)
    }

    /// Whether `permission` is among them.
    pub const fn contains(self, permission: Permission) -> bool {
        self.intersects(Self::only(permission))
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether any is in both.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Those in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What having these comes to: [`Permission::Admin`] is everything.
    #[must_use]
    pub const fn implied(self) -> Self {
        if self.contains(Permission::Admin) {
            Self::ALL
        } else {
            self
        }
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL
            .into_iter()
            .filter(move |permission| self.contains(*permission))
    }

    /// The permission of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let permission = Permission::ALL
            .into_iter()
            .find(|permission| permission.as_str() == name)?;
        Some(Self::only(permission))
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.split('+')
            .map(Self::named)
            .try_fold(Self::NONE, |all, one| Some(all.union(one?)))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions
            .into_iter()
            .fold(Self::NONE, |all, one| all.union(Self::only(one)))
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, permission) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("+")?;
            }
            f.write_str(permission.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permissions({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_read_as_it_is_written() {
        for bits in 1..=u8::MAX {
            let set = Permissions(bits);
            assert_eq!(Permissions::parse(&set.to_string()), Some(set));
            assert_eq!(set.iter().collect::<Permissions>(), set);
        }
        for text in ["", "read+", "Read", "read,use", "write-"] {
            assert_eq!(Permissions::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_admin_implies_others() {
        for permission in Permission::ALL {
            let implied = Permissions::only(permission).implied();
            assert_eq!(implied == Permissions::ALL, permission == Permission::Admin);
        }
    }
}
