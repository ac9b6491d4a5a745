//! The text of every message, in one place: from what is to be said to its words.
//!
//! Nothing here looks anything up or sends anything, and nothing a client sent (a name, a user agent) is ever repeated:
//! a message of ours must not carry somebody else's words.

use aggregates::values::{LockReason, Timestamp};

/// A mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letter {
    /// The link that verifies the address of an account.
    VerifyEmail {
        /// The whole link.
        link: String,
        /// Until when it works.
        until: Timestamp,
    },
    /// The link that confirms a new address, to that address.
    ChangeEmail {
        /// The whole link.
        link: String,
        /// Until when it works.
        until: Timestamp,
    },
    /// The link that sets a new password.
    ResetPassword {
        /// The whole link.
        link: String,
        /// Until when it works.
        until: Timestamp,
    },
    /// That something has happened to the account.
    Notice {
        /// What.
        what: Notice,
        /// When it happened.
        at: Timestamp,
    },
}

/// What the owner of an account is told of (SECURITY-REQUIREMENTS, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Another address was asked for; to the address so far.
    EmailChangeAsked,
    /// Another address was confirmed; to the address before.
    EmailChanged,
    /// The number was changed.
    PhoneChanged,
    /// The password was changed.
    PasswordChanged,
    /// A new password was set by a link or a code.
    PasswordReset,
    /// Somebody signed in from where nobody has lately.
    NewDevice,
    /// Somebody signed in after many who failed.
    SignedInAfterFailures,
    /// A refresh token was used that was spent.
    TokenReused,
    /// The account was locked.
    Locked(LockReason),
    /// The account was erased.
    Erased,
}

/// What a mail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// Its subject.
    pub subject: &'static str,
    /// Its text, in lines that end with `\n`.
    pub text: String,
}

impl Letter {
    /// What it is for, as contracts/canonical.md (section 7) calls it.
    #[must_use]
    pub const fn purpose(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } => "verify-email",
            Self::ChangeEmail { .. } => "change-email",
            Self::ResetPassword { .. } => "reset-password",
            Self::Notice { .. } => "notice",
        }
    }

    /// Puts it into words.
    #[must_use]
    pub fn words(&self) -> Words {
        let (subject, text) = match self {
            Self::VerifyEmail { link, until } => (
                "Please confirm your e-mail address",
                format!(
                    "somebody, probably you, registered this address. Open this link to confirm it:\n\n{link}\n\nIt \
                     works once, until {}. If it was not you, ignore this mail: the account expires by itself.",
                    minute(*until)
                ),
            ),
            Self::ChangeEmail { link, until } => (
                "Please confirm your new e-mail address",
                format!(
                    "open this link to use this address for your account from now on:\n\n{link}\n\nIt works once, \
                     until {}.",
                    minute(*until)
                ),
            ),
            Self::ResetPassword { link, until } => (
                "Reset your password",
                format!(
                    "open this link to set a new password:\n\n{link}\n\nIt works once, until {}. If you did not ask \
                     for it, ignore this mail: nothing has changed.",
                    minute(*until)
                ),
            ),
            Self::Notice { what, at } => what.words(&minute(*at)),
        };
        Words {
            subject,
            text: format!("Hello,\n\n{text}\n"),
        }
    }
}

impl Notice {
    fn words(self, at: &str) -> (&'static str, String) {
        const RESET: &str = "If it was not you, reset your password at once.";
        match self {
            Self::EmailChangeAsked => (
                "A new e-mail address was asked for",
                format!(
                    "somebody asked at {at} to use another address for your account. This one stays in use until the \
                     new one is confirmed. If it was not you, change your password."
                ),
            ),
            Self::EmailChanged => (
                "Your e-mail address was changed",
                format!(
                    "since {at} your account uses another address, and this one no longer. If it was not you, tell an \
                     administrator."
                ),
            ),
            Self::PhoneChanged => (
                "Your phone number was changed",
                format!("the phone number of your account was changed at {at}. {RESET}"),
            ),
            Self::PasswordChanged => (
                "Your password was changed",
                format!("the password of your account was changed at {at}. {RESET}"),
            ),
            Self::PasswordReset => (
                "A new password was set",
                format!(
                    "a new password was set for your account at {at}, by a link or a code that was sent to you. All \
                     sessions have ended. {RESET}"
                ),
            ),
            Self::NewDevice => (
                "A sign-in from a new device",
                format!(
                    "somebody signed in to your account at {at}, from a program or a network that it was not used from \
                     lately. {RESET}"
                ),
            ),
            Self::SignedInAfterFailures => (
                "A sign-in after several that failed",
                format!("somebody signed in to your account at {at}, after several who gave a wrong password. {RESET}"),
            ),
            Self::TokenReused => (
                "A session was ended for your safety",
                format!(
                    "a part of a session of your account was used twice at {at}, as if somebody had a copy of it. That \
                     session has ended; sign in again. If you did nothing unusual, change your password."
                ),
            ),
            Self::Locked(reason) => (
                "Your account was locked",
                format!(
                    "your account was locked at {at} {}, and all its sessions have ended.",
                    match reason {
                        LockReason::Admin => "by an administrator",
                        LockReason::Attempts => "after too many attempts to sign in",
                    }
                ),
            ),
            Self::Erased => (
                "Your account was erased",
                format!(
                    "your account was erased at {at}. What was personal in it can no longer be read by anybody. This is \
                     the last message to this address; with it the address is forgotten too."
                ),
            ),
        }
    }
}

/// An SMS.
#[derive(Clone, PartialEq, Eq)]
pub enum ShortMessage<'a> {
    /// The code that verifies the number of an account.
    VerifyPhone {
        /// The code.
        code: &'a str,
    },
    /// The code that sets a new password.
    ResetPassword {
        /// The code.
        code: &'a str,
    },
}

impl ShortMessage<'_> {
    /// What it is for, as contracts/canonical.md (section 7) calls it.
    #[must_use]
    pub const fn purpose(&self) -> &'static str {
        match self {
            Self::VerifyPhone { .. } => "verify-phone",
            Self::ResetPassword { .. } => "reset-password",
        }
    }

    /// Puts it into words. Whoever reads it by program looks for digits: there is no other number in it than the code.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::VerifyPhone { code } => {
                format!(
                    "{code} is your code to confirm this phone number. It works for ten minutes. Tell it to nobody."
                )
            }
            Self::ResetPassword { code } => {
                format!("{code} is your code to set a new password. It works for ten minutes. Tell it to nobody.")
            }
        }
    }
}

/// A time to the minute, as a person reads it.
fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..16)
        .map_or(text.clone(), |minute| format!("{} UTC", minute.replace('T', " ")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        Timestamp::parse("2026-11-20T03:08:47Z").unwrap()
    }

    const NOTICES: [Notice; 11] = [
        Notice::EmailChangeAsked,
        Notice::EmailChanged,
        Notice::PhoneChanged,
        Notice::PasswordChanged,
        Notice::PasswordReset,
        Notice::NewDevice,
        Notice::SignedInAfterFailures,
        Notice::TokenReused,
        Notice::Locked(LockReason::Admin),
        Notice::Locked(LockReason::Attempts),
        Notice::Erased,
    ];

    #[test]
    fn an_sms_holds_one_run_of_digits_and_fits_one_message() {
        for message in [
            ShortMessage::VerifyPhone { code: "012345" },
            ShortMessage::ResetPassword { code: "012345" },
        ] {
            let words = message.words();
            let runs: Vec<&str> = words
                .split(|c: char| !c.is_ascii_digit())
                .filter(|run| !run.is_empty())
                .collect();
            assert_eq!(runs, ["012345"]);
            assert!(words.is_ascii() && words.len() <= 160, "{words}");
        }
    }

    #[test]
    fn a_notice_says_when_and_holds_no_link() {
        for what in NOTICES {
            let letter = Letter::Notice { what, at: at() };
            let words = letter.words();
            assert_eq!(letter.purpose(), "notice");
            assert!(words.text.contains("2026-11-20 03:08 UTC"), "{words:?}");
            assert!(!words.text.contains("://"), "{words:?}");
            assert!(words.text.is_ascii() && words.text.lines().all(|line| line.len() <= 998));
        }
    }

    #[test]
    fn a_link_stands_alone_on_its_line() {
        let link = || "https://registry.example/x?token=abc".to_owned();
        for letter in [
            Letter::VerifyEmail {
                link: link(),
                until: at(),
            },
            Letter::ChangeEmail {
                link: link(),
                until: at(),
            },
            Letter::ResetPassword {
                link: link(),
                until: at(),
            },
        ] {
            let words = letter.words();
            assert_eq!(
                words.text.lines().filter(|line| **line == link()).count(),
                1,
                "{words:?}"
            );
        }
    }
}
