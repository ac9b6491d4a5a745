//! What everyone may know about the owner of a password.

use super::{Weakness, fold, is_mostly};

/// Least digits that count as the phone number: less is a year or a house number.
const PHONE_DIGITS: usize = 7;

/// The owner's own data, as far as it is known when the password is chosen.
#[derive(Clone, Copy, Default)]
pub struct OwnData<'a> {
    /// The username.
    pub username: Option<&'a str>,
    /// The whole e-mail address.
    pub email: Option<&'a str>,
    /// The phone number in any notation.
    pub phone: Option<&'a str>,
}

impl OwnData<'_> {
    /// What stands before the `@` of the address.
    pub(super) fn local_part(&self) -> Option<&str> {
        let (local, _) = self.email?.rsplit_once('@')?;
        Some(local).filter(|local| !local.is_empty())
    }

    pub(super) fn find(&self, folded: &str, found: &mut Vec<Weakness>) {
        let (local, domain) = match self.email.and_then(|email| email.rsplit_once('@')) {
            Some((local, domain)) => (Some(local), Some(domain)),
            None => (None, None),
        };
        let checks = [
            (
                self.username.is_some_and(|name| any_part(folded, name)),
                Weakness::Username,
            ),
            (local.is_some_and(|local| any_part(folded, local)), Weakness::Email),
            (domain.is_some_and(|domain| any_label(folded, domain)), Weakness::Domain),
            (
                self.phone.is_some_and(|phone| has_phone(folded, phone)),
                Weakness::Phone,
            ),
        ];
        found.extend(checks.into_iter().filter(|(is, _)| *is).map(|(_, weakness)| weakness));
    }
}

/// The whole name, or one of the parts between its separators.
fn any_part(folded: &str, name: &str) -> bool {
    let name = fold(name);
    let mut parts = name.split(|c: char| !c.is_alphanumeric());
    is_mostly(folded, &name) || parts.any(|part| is_mostly(folded, part))
}

/// The whole domain, or one of its labels but the last, which is everyone's.
fn any_label(folded: &str, domain: &str) -> bool {
    let domain = fold(domain);
    let labels = domain.rsplit('.').skip(1);
    is_mostly(folded, &domain) || labels.into_iter().any(|label| is_mostly(folded, label))
}

/// The number with or without its country code, however its digits are grouped.
fn has_phone(folded: &str, phone: &str) -> bool {
    let digits = digits_of(phone);
    let grouping = |c: char| matches!(c, ' ' | '-' | '.' | '/' | '(' | ')' | '+');
    let text = zeroize::Zeroizing::new(folded.replace(grouping, ""));
    let last = digits.len().saturating_sub(PHONE_DIGITS);
    digits.len() >= PHONE_DIGITS && (0..=last).any(|from| is_mostly(&text, &digits[from..]))
}

fn digits_of(phone: &str) -> zeroize::Zeroizing<String> {
    zeroize::Zeroizing::new(phone.chars().filter(char::is_ascii_digit).collect())
}

impl std::fmt::Debug for OwnData<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnData")
    }
}
