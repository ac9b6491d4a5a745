//! What every message says, in one place: from what is to be said to its template.
//!
//! Nothing here looks anything up or sends anything, and nothing a client sent (a name, a user agent) is ever repeated:
//! a message of ours must not carry somebody else's words.

use aggregates::values::{LockReason, Timestamp};
use zeroize::Zeroizing;

use super::templates::{Templates, Values, Words};

/// A mail.
#[derive(Clone, PartialEq, Eq)]
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
    /// The link that activates an account, in the words of `AgStack`.
    AgstackActivation {
        /// The whole link.
        link: String,
        /// Until when it works.
        until: Timestamp,
    },
    /// The link that sets a new password, in the words of `AgStack`.
    AgstackReset {
        /// The whole link.
        link: String,
        /// Until when it works.
        until: Timestamp,
    },
    /// The pair of keys that `AgStack` sends to their owner; no other key is ever mailed.
    AgstackKeys {
        /// The key.
        api_key: Zeroizing<String>,
        /// Its secret.
        client_secret: Zeroizing<String>,
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

/// Links and keys open accounts: they are not shown.
impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Letter({})", self.template())
    }
}

impl Letter {
    /// What it is for, as contracts/canonical.md (section 7) calls it.
    #[must_use]
    pub const fn purpose(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } | Self::AgstackActivation { .. } => "verify-email",
            Self::ChangeEmail { .. } => "change-email",
            Self::ResetPassword { .. } | Self::AgstackReset { .. } => "reset-password",
            Self::AgstackKeys { .. } | Self::Notice { .. } => "notice",
        }
    }

    /// The name of its template.
    #[must_use]
    pub const fn template(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } | Self::ChangeEmail { .. } | Self::ResetPassword { .. } => self.purpose(),
            Self::AgstackActivation { .. } => "agstack-activation",
            Self::AgstackReset { .. } => "agstack-reset-password",
            Self::AgstackKeys { .. } => "agstack-api-keys",
            Self::Notice { what, .. } => what.template(),
        }
    }

    /// Puts it into words. None: its template is missing.
    #[must_use]
    pub fn words(&self, templates: &Templates) -> Option<Words> {
        let (link, time) = match self {
            Self::VerifyEmail { link, until }
            | Self::ChangeEmail { link, until }
            | Self::ResetPassword { link, until }
            | Self::AgstackActivation { link, until }
            | Self::AgstackReset { link, until } => (link.as_str(), Some(*until)),
            Self::Notice { at, .. } => ("", Some(*at)),
            Self::AgstackKeys { .. } => ("", None),
        };
        let time = time.map(minute).unwrap_or_default();
        let mut values = Values {
            link,
            until: &time,
            at: &time,
            ..Values::default()
        };
        if let Self::AgstackKeys { api_key, client_secret } = self {
            (values.api_key, values.client_secret) = (api_key, client_secret);
        }
        templates.mail(self.template(), values)
    }
}

impl Notice {
    const fn template(self) -> &'static str {
        match self {
            Self::EmailChangeAsked => "notice-email-change-asked",
            Self::EmailChanged => "notice-email-changed",
            Self::PhoneChanged => "notice-phone-changed",
            Self::PasswordChanged => "notice-password-changed",
            Self::PasswordReset => "notice-password-reset",
            Self::NewDevice => "notice-new-device",
            Self::SignedInAfterFailures => "notice-after-failures",
            Self::TokenReused => "notice-session-ended",
            Self::Locked(LockReason::Admin) => "notice-locked",
            Self::Locked(LockReason::Attempts) => "notice-locked-attempts",
            Self::Erased => "notice-erased",
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
    /// That something has happened to the account: neither a code nor a link.
    Notice(Notice),
}

impl ShortMessage<'_> {
    /// What it is for, as contracts/canonical.md (section 7) calls it.
    #[must_use]
    pub const fn purpose(&self) -> &'static str {
        match self {
            Self::VerifyPhone { .. } => "verify-phone",
            Self::ResetPassword { .. } => "reset-password",
            Self::Notice(_) => "notice",
        }
    }

    /// Puts it into words. Whoever reads it by program looks for digits: there is no other number in it than the code,
    /// and none in a notice. None: its template is missing.
    #[must_use]
    pub fn words(&self, templates: &Templates) -> Option<String> {
        match self {
            Self::VerifyPhone { code } | Self::ResetPassword { code } => templates.message(self.purpose(), code),
            Self::Notice(what) => templates.message(what.template(), ""),
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

    fn templates() -> Templates {
        Templates::load(None).unwrap()
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
            let words = message.words(&templates()).unwrap();
            let runs: Vec<&str> = words
                .split(|c: char| !c.is_ascii_digit())
                .filter(|run| !run.is_empty())
                .collect();
            assert_eq!(runs, ["012345"]);
            assert!(words.is_ascii() && words.len() <= 160, "{words}");
        }
    }

    /// That somebody was erased is told by mail alone.
    #[test]
    fn a_notice_by_sms_holds_no_digit_and_no_link_and_fits_one_message() {
        let mut told = Vec::new();
        for what in NOTICES.into_iter().filter(|what| *what != Notice::Erased) {
            let message = ShortMessage::Notice(what);
            let words = message.words(&templates()).unwrap();
            assert_eq!(message.purpose(), "notice");
            assert!(!words.contains(|c: char| c.is_numeric()), "{words}");
            assert!(
                words.is_ascii() && words.len() <= 160 && !words.contains("://"),
                "{words}"
            );
            assert!(!told.contains(&words), "{words}");
            told.push(words);
        }
        assert_eq!(ShortMessage::Notice(Notice::Erased).words(&templates()), None);
    }

    #[test]
    fn a_notice_says_when_and_holds_no_link() {
        for what in NOTICES {
            let letter = Letter::Notice { what, at: at() };
            let words = letter.words(&templates()).unwrap();
            assert_eq!(letter.purpose(), "notice");
            assert!(words.text.contains("2026-11-20 03:08 UTC"), "{words:?}");
            assert!(words.html.contains("2026-11-20 03:08 UTC"), "{words:?}");
            assert!(!words.text.contains("://") && !words.html.contains("href"), "{words:?}");
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
            Letter::AgstackActivation {
                link: link(),
                until: at(),
            },
            Letter::AgstackReset {
                link: link(),
                until: at(),
            },
        ] {
            let words = letter.words(&templates()).unwrap();
            assert_eq!(
                words.text.lines().filter(|line| **line == link()).count(),
                1,
                "{words:?}"
            );
            assert_eq!(
                words.html.matches(&format!("href=\"{}\"", link())).count(),
                1,
                "{words:?}"
            );
            assert!(words.html.contains("2026-11-20 03:08 UTC"), "{words:?}");
        }
    }

    #[test]
    fn a_pair_of_keys_stands_in_its_mail_line_by_line() {
        let letter = Letter::AgstackKeys {
            api_key: Zeroizing::new("0f".repeat(32)),
            client_secret: Zeroizing::new("a.b.c".to_owned()),
        };
        let words = letter.words(&templates()).unwrap();
        assert_eq!(words.subject, "API Keys");
        let key = format!("API Key: {}", "0f".repeat(32));
        for line in [key.as_str(), "Client Secret: a.b.c"] {
            assert_eq!(words.text.lines().filter(|one| *one == line).count(), 1, "{words:?}");
        }
        assert!(words.html.contains("a.b.c") && !words.text.contains("://"));
        assert_eq!(format!("{letter:?}"), "Letter(agstack-api-keys)");
    }
}
