//! Closed sets of words: written in snake case in events, in SQL columns and on the wire.

use crate::event::facts;

/// A word that is none of its set. The word itself is not repeated: it may have come from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no {0}")]
pub struct WordError(&'static str);

/// Makes an enum whose every form (serde, `as_str`, `FromStr`) is the same word.
macro_rules! words {
    ($( $(#[$meta:meta])* $name:ident, $what:literal { $( $(#[$vmeta:meta])* $variant:ident = $word:literal, )+ } )+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $( $(#[$vmeta])* #[serde(rename = $word)] $variant, )+
        }

        impl $name {
            /// Every word of the set, in the order it is declared.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The member the word stands for; only the exact spelling counts.
            pub fn parse(word: &str) -> Result<Self, WordError> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(WordError($what)),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = WordError;

            fn from_str(word: &str) -> Result<Self, WordError> {
                Self::parse(word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        facts!($name);
    )+};
}

words! {
    /// Which API an account or a request belongs to.
    Dialect, "dialect" {
        /// Our own, version 1.
        Canonical = "canonical",
        /// The `AgStack` user registry.
        Agstack = "agstack",
        /// The Cadasta platform's accounts.
        Cadasta = "cadasta",
        /// Xhoppe: a phone number and an SMS code.
        Xhoppe = "xhoppe",
        /// The taxi app's customers.
        Taxi = "taxi",
    }

    /// What an account may do. The order is the order they are shown in.
    Role, "role" {
        /// Everybody.
        User = "user",
        /// Reads histories, the log and its proofs.
        Auditor = "auditor",
        /// Reads the feed.
        Subscriber = "subscriber",
        /// Everything.
        Admin = "admin",
    }

    /// Where an account stands.
    AccountStatus, "status" {
        /// Nothing is verified yet.
        Pending = "pending",
        /// In use.
        Active = "active",
        /// Locked by an administrator or by too many attempts.
        Locked = "locked",
        /// Taken out of use.
        Deactivated = "deactivated",
        /// The person was erased, or the registration has expired. For ever.
        Erased = "erased",
    }

    /// The way a message takes.
    Channel, "channel" {
        /// By mail, with a link.
        Mail = "mail",
        /// By SMS, with a code.
        Sms = "sms",
    }

    /// Who locked an account.
    LockReason, "lock reason" {
        /// An administrator.
        Admin = "admin",
        /// The throttle, after too many failed attempts.
        Attempts = "attempts",
    }

    /// Why a session ended.
    EndReason, "end reason" {
        /// Its owner signed out.
        Logout = "logout",
        /// Its owner signed out everywhere.
        All = "all",
        /// A spent refresh token was used.
        Reuse = "reuse",
        /// An administrator ended it.
        Admin = "admin",
        /// Its time was over.
        Expired = "expired",
    }

    /// How a person proved who they are when a session began.
    SessionMethod, "session method" {
        /// By password.
        Password = "password",
        /// By verifying an address or a number.
        Verification = "verification",
        /// By setting a new password with a link or a code.
        Recovery = "recovery",
        /// By a device's secret.
        Device = "device",
    }

    /// A part of the profile.
    ProfileField, "profile field" {
        /// The name of the person.
        FullName = "full_name",
        /// Whether others may find the account by its place.
        Discoverable = "discoverable",
        /// Where the person is.
        Position = "position",
        /// A place identifier.
        GeoId = "geo_id",
        /// The outline of the person's land.
        Boundary = "boundary",
        /// The language to write in.
        Locale = "locale",
    }

    /// Where a domain stands. Exactly one of these at any time; the newest event decides.
    StandingKind, "standing" {
        /// Its addresses may register.
        Allowed = "allowed",
        /// They may not.
        Blocked = "blocked",
        /// It is merely known; no rule.
        Observed = "observed",
    }

    /// What holds for a domain without a rule (setting `domains.default`).
    DefaultRule, "default rule" {
        /// Its addresses may register.
        Allow = "allow",
        /// They may not.
        Block = "block",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself_and_serde_writes_the_same_word() {
        for field in ProfileField::ALL {
            assert_eq!(ProfileField::parse(field.as_str()), Ok(*field));
            assert_eq!(serde_json::to_value(field).unwrap(), field.as_str());
        }
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(*role));
            assert_eq!(serde_json::from_value::<Role>(role.as_str().into()).unwrap(), *role);
        }
    }

    #[test]
    fn another_spelling_is_no_word_and_the_error_does_not_repeat_it() {
        let error = Role::parse("Admin").unwrap_err();
        assert_eq!(error.to_string(), "this is no role");
    }
}
