//! Which trace a request belongs to: the header `traceparent` of W3C Trace Context
//! (<https://www.w3.org/TR/trace-context/>, section 3.2).
//!
//! The service takes part in traces of others and begins none: what came with a request goes into its log lines and the
//! metadata of its events, and is passed on with their messages. `tracestate` is not kept: it is the tracing system's
//! own, of any content, and what is written into an event stays for ever.

use std::fmt;

/// The length of a `traceparent` of version 00, bytes.
const LENGTH: usize = 55;

/// A valid `traceparent`, in the form of version 00: `00-` trace id `-` parent id `-` flags, in lower-case hexadecimal
/// digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(String);

impl TraceParent {
    /// Reads the value of the header. None: it is not valid, and the request goes on as if it had none.
    ///
    /// Of a version after 00 the parts that it shares with 00 are taken, and of its flags the one that 00 has (section
    /// 4.3).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() < LENGTH || !bytes.is_ascii() {
            return None;
        }
        let (known, more) = text.split_at(LENGTH);
        let parts: Vec<&str> = known.split('-').collect();
        let [version, trace, parent, flags] = parts.as_slice() else {
            return None;
        };
        let fits = [(version, 2), (trace, 32), (parent, 16), (flags, 2)]
            .into_iter()
            .all(|(part, length)| part.len() == length && part.bytes().all(is_digit));
        let is_some = |part: &str| part.bytes().any(|digit| digit != b'0');
        if !fits || *version == "ff" || !is_some(trace) || !is_some(parent) {
            return None;
        }
        match (*version, more) {
            ("00", "") => Some(Self(known.to_owned())),
            ("00", _) => None,
            (_, more) if more.is_empty() || more.starts_with('-') => {
                let sampled = u8::from_str_radix(flags, 16).ok()? & 1;
                Some(Self(format!("00-{trace}-{parent}-{sampled:02}")))
            }
            _ => None,
        }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Upper-case digits are not valid.
const fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That of the recommendation.
    const KNOWN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(text: &str) -> Option<String> {
        TraceParent::parse(text).map(|parent| parent.to_string())
    }

    #[test]
    fn a_valid_one_is_kept_as_it_is() {
        for flags in ["00", "01", "02", "03", "ff"] {
            let text = KNOWN.replace("-01", &format!("-{flags}"));
            assert_eq!(read(&text).as_deref(), Some(text.as_str()));
        }
    }

    #[test]
    fn an_invalid_one_is_none() {
        let zeros = |count: usize| "0".repeat(count);
        for wrong in [
            String::new(),
            "00".to_owned(),
            KNOWN[..54].to_owned(),
            format!("{KNOWN}0"),
            format!("{KNOWN}-"),
            format!("{KNOWN}-more"),
            format!(" {KNOWN}"),
            KNOWN.to_uppercase(),
            KNOWN.replace('c', "g"),
            KNOWN.replace('-', "_"),
            KNOWN.replacen("00-", "ff-", 1),
            KNOWN.replacen("00-", "0-0", 1),
            KNOWN.replacen("00-0", "000-", 1),
            KNOWN.replace("0af7651916cd43dd8448eb211c80319c", &zeros(32)),
            KNOWN.replace("b7ad6b7169203331", &zeros(16)),
            KNOWN.replace("0af7651916cd", "0af7651916é"),
            KNOWN.replace("-01", "-é"),
            format!("{}é", &KNOWN[..54]),
        ] {
            assert_eq!(read(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn of_a_later_version_what_it_shares_is_taken() {
        let later = KNOWN.replacen("00-", "01-", 1);
        assert_eq!(read(&later).as_deref(), Some(KNOWN));
        assert_eq!(read(&format!("{later}-what.ever")).as_deref(), Some(KNOWN));
        assert_eq!(read(&later.replace("-01", "-ff")).as_deref(), Some(KNOWN));
        assert_eq!(
            read(&KNOWN.replacen("00-", "cc-", 1).replace("-01", "-fe")),
            Some(KNOWN.replace("-01", "-00"))
        );
        assert_eq!(read(&format!("{later}.")), None);
    }
}
