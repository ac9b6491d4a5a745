//! Looks for values in whatever form they may be written down: as they are, in base64, in hexadecimal digits, as parts of
//! URLs.

use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Two digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// Every way in which a value may be written down.
fn forms(value: &str) -> BTreeSet<String> {
    let bytes = value.as_bytes();
    let mut forms = BTreeSet::from([value.to_owned(), value.to_lowercase()]);
    for start in 0..3_usize.min(bytes.len()) {
        // Of what stands before and after it in a longer text, the first and last digits know.
        let whole = &bytes[start..];
        let whole = &whole[..whole.len() / 3 * 3];
        if whole.len() >= 9 {
            forms.insert(STANDARD_NO_PAD.encode(whole));
            forms.insert(URL_SAFE_NO_PAD.encode(whole));
        }
    }
    forms.extend([hex(bytes), hex(bytes).to_uppercase()]);
    for upper in [true, false] {
        let escaped = |byte: &u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(*byte).to_string(),
            _ if upper => format!("%{byte:02X}"),
            _ => format!("%{byte:02x}"),
        };
        let text: String = bytes.iter().map(escaped).collect();
        forms.extend([text.replace("%20", "+"), text]);
    }
    if let Some(digits) = value.strip_prefix('+') {
        forms.insert(digits.to_owned());
    }
    forms
}

/// Looks for all forms of many values in one walk through a text.
pub struct Search {
    forms: AhoCorasick,
    /// Which value each form is one of.
    values: Vec<String>,
}

impl Search {
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let (forms, values): (Vec<String>, Vec<String>) = values
            .into_iter()
            .flat_map(|value| forms(value).into_iter().map(|form| (form, value.to_owned())))
            .unzip();
        Self {
            forms: AhoCorasick::new(forms).unwrap(),
            values,
        }
    }

    /// The values that are there, each with what stands around it.
    pub fn found(&self, text: &[u8]) -> BTreeMap<&str, String> {
        let mut found = BTreeMap::new();
        for place in self.forms.find_overlapping_iter(text) {
            let value = self.values[place.pattern().as_usize()].as_str();
            found.entry(value).or_insert_with(|| around(text, place.start()));
        }
        found
    }
}

/// What stands around a place, to see where it comes from.
pub fn around(text: &[u8], at: usize) -> String {
    String::from_utf8_lossy(&text[at.saturating_sub(200)..text.len().min(at + 200)]).into_owned()
}
