//! An e-mail address.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::text::is_unfit;
use super::{DomainName, DomainNameError};

/// Why a text is no address. The text itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// There is no `@`, or nothing before it.
    #[error("an e-mail address is a name, an @ and a domain")]
    Form,
    /// It is too long for any mail server.
    #[error("an e-mail address has at most 254 bytes, at most 64 of them before the @")]
    TooLong,
    /// The part before the `@` holds something it may not, or is quoted.
    #[error("the part before the @ holds only letters, digits, single dots and !#$%&'*+-/=?^_`{{|}}~")]
    LocalPart,
    /// The part after the last `@` is no domain.
    #[error(transparent)]
    Domain(#[from] DomainNameError),
    /// The domain is a single label.
    #[error("the domain of an e-mail address has a dot")]
    Dotless,
}

/// An address in two forms: the one mail goes to, and the one that must be unique.
///
/// Mail goes to the address as its owner typed it, never to a folded form that might be somebody
/// else's mailbox. Uniqueness, look-up and block lists use the canonical form only, so a mailbox
/// typed in another case or another Unicode spelling is the same account.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email {
    text: String,
    canonical: String,
    /// Where the `@` stands in `text`.
    at: usize,
}

impl Email {
    /// Reads an address. The domain is the part after the last `@`.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let (local, domain) = text.trim_matches(' ').rsplit_once('@').ok_or(EmailError::Form)?;
        if local.is_empty() {
            return Err(EmailError::Form);
        }
        check_local_part(local)?;
        let canonical_local = canonical_local_part(local);
        // Folding may not make an address of something else: a wide `@` would become a plain one.
        check_local_part(&canonical_local)?;

        let domain = DomainName::exact(domain)?;
        if !domain.as_str().contains('.') {
            return Err(EmailError::Dotless);
        }
        if local.len() + 1 + domain.as_str().len() > 254 {
            return Err(EmailError::TooLong);
        }
        Ok(Self {
            text: format!("{local}@{domain}"),
            canonical: format!("{canonical_local}@{domain}"),
            at: local.len(),
        })
    }

    /// The address as typed, its domain as lower-case A-labels. Mail goes here.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form that is unique.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The domain, as lower-case A-labels.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// The domain as a value of its own.
    #[must_use]
    pub fn domain_name(&self) -> DomainName {
        DomainName::of_address(self.domain())
    }

    /// What stands before the `@`, as typed.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.text[..self.at]
    }
}

fn check_local_part(local: &str) -> Result<(), EmailError> {
    if local.len() > 64 {
        return Err(EmailError::TooLong);
    }
    let fits = |c: char| match c {
        '.' => true,
        // Without the quotation mark: quoted local parts would be allowed by RFC 5321, but software
        // reads them in different ways, and the domain would no longer simply follow the last `@`.
        c if c.is_ascii() => c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c),
        // Joiners are invisible between most letters, so a mailbox could be made to look like another.
        '\u{200C}' | '\u{200D}' => false,
        c => !c.is_whitespace() && !is_unfit(c),
    };
    // An empty piece is a dot at an end, or two in a row.
    if local.split('.').any(str::is_empty) || !local.chars().all(fits) {
        return Err(EmailError::LocalPart);
    }
    Ok(())
}

/// Compatibility characters unified (NFKC), letters lower-cased. Repeated until nothing changes:
/// lower-casing can leave something to compose and the other way round.
fn canonical_local_part(local: &str) -> String {
    if local.is_ascii() {
        return local.to_ascii_lowercase();
    }
    let mut form = local.to_owned();
    for _ in 0..4 {
        let next: String = form.nfkc().flat_map(char::to_lowercase).nfkc().collect();
        if next == form {
            break;
        }
        form = next;
    }
    form
}

/// Equal addresses are those written the same; two spellings of one mailbox share `canonical`.
impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Email {}

impl std::hash::Hash for Email {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(..)")
    }
}

impl FromStr for Email {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Email {
    type Error = EmailError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.text
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn email(text: &str) -> Email {
        Email::parse(text).unwrap()
    }

    #[test]
    fn an_address_keeps_what_was_typed_before_the_at_sign() {
        let ada = email("  Ada.Lovelace+farm@Farm.EXAMPLE ");
        assert_eq!(ada.as_str(), "Ada.Lovelace+farm@farm.example");
        assert_eq!(ada.local_part(), "Ada.Lovelace+farm");
        assert_eq!(ada.domain(), "farm.example");
        assert_eq!(Ok(ada.domain_name()), DomainName::parse("farm.example"));
        assert_eq!(ada.canonical(), "ada.lovelace+farm@farm.example");
    }

    #[test]
    fn spellings_of_one_mailbox_share_the_canonical_form() {
        let canonical = email("j\u{f6}rg@b\u{fc}cher.example").canonical().to_owned();
        for text in [
            "JO\u{308}RG@BU\u{308}CHER.example",
            "J\u{d6}rg@xn--bcher-kva.EXAMPLE",
            "\u{ff4a}\u{f6}rg@bücher.example",
        ] {
            assert_eq!(email(text).canonical(), canonical, "{text}");
        }
    }

    #[test]
    fn dots_and_tags_are_part_of_the_mailbox() {
        assert_ne!(
            email("a.b@farm.example").canonical(),
            email("ab@farm.example").canonical()
        );
        assert_ne!(
            email("a+b@farm.example").canonical(),
            email("a@farm.example").canonical()
        );
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        for (text, error) in [
            ("", EmailError::Form),
            ("ada", EmailError::Form),
            ("@farm.example", EmailError::Form),
            ("ada@@farm.example", EmailError::LocalPart),
            ("a@b@farm.example", EmailError::LocalPart),
            ("\"a b\"@farm.example", EmailError::LocalPart),
            ("\"ada\"@farm.example", EmailError::LocalPart),
            (".ada@farm.example", EmailError::LocalPart),
            ("a..b@farm.example", EmailError::LocalPart),
            ("a b@farm.example", EmailError::LocalPart),
            ("a\0b@farm.example", EmailError::LocalPart),
            ("a\u{202e}b@farm.example", EmailError::LocalPart),
            ("a\u{200d}b@farm.example", EmailError::LocalPart),
            ("a\u{ff20}b@farm.example", EmailError::LocalPart),
            ("ada@localhost", EmailError::Dotless),
            ("ada@", EmailError::Domain(DomainNameError::Form)),
            ("ada@farm.example.", EmailError::Domain(DomainNameError::Form)),
            ("ada@ farm.example", EmailError::Domain(DomainNameError::Form)),
            ("ada@farm,example", EmailError::Domain(DomainNameError::Form)),
            ("ada@192.0.2.1", EmailError::Domain(DomainNameError::IpAddress)),
            ("ada@[192.0.2.1]", EmailError::Domain(DomainNameError::Form)),
        ] {
            assert_eq!(Email::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn an_address_has_at_most_254_bytes_and_64_before_the_at_sign() {
        let domain = format!("{}.{}.{}.example", "b".repeat(61), "c".repeat(61), "d".repeat(57));
        assert_eq!(domain.len(), 189);
        assert!(Email::parse(&format!("{}@{domain}", "a".repeat(64))).is_ok());
        assert_eq!(
            Email::parse(&format!("{}@x{domain}", "a".repeat(64))),
            Err(EmailError::TooLong)
        );
        assert_eq!(
            Email::parse(&format!("{}@farm.example", "a".repeat(65))),
            Err(EmailError::TooLong)
        );
    }

    #[test]
    fn neither_debug_nor_an_error_prints_the_address() {
        assert_eq!(format!("{:?}", email("ada@farm.example")), "Email(..)");
        assert!(
            !Email::parse("secret@@farm.example")
                .unwrap_err()
                .to_string()
                .contains("secret")
        );
    }

    #[test]
    fn an_address_is_text_in_json() {
        let json = serde_json::to_string(&email("Ada@farm.example")).unwrap();
        assert_eq!(json, "\"Ada@farm.example\"");
        assert_eq!(
            serde_json::from_str::<Email>(&json).unwrap().canonical(),
            "ada@farm.example"
        );
        assert!(serde_json::from_str::<Email>("\"ada\"").is_err());
    }

    proptest! {
        #[test]
        fn an_address_once_taken_is_taken_as_it_is(text in "[\\PC]{1,12}@[a-zA-Zäéß]{1,5}\\.[a-z]{2,4}") {
            if let Ok(email) = Email::parse(&text) {
                let again = Email::parse(email.as_str()).unwrap();
                prop_assert_eq!(again.as_str(), email.as_str());
                prop_assert_eq!(again.canonical(), email.canonical());
            }
        }

        #[test]
        fn the_canonical_form_is_its_own_canonical_form(text in "[a-zA-ZäÖéßİıŁΣſﬁＡ.+]{1,12}@farm\\.example") {
            if let Ok(email) = Email::parse(&text) {
                let again = Email::parse(email.canonical()).unwrap();
                prop_assert_eq!(again.canonical(), email.canonical());
            }
        }
    }
}
