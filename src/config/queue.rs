//! A queue that is declared for a subscriber: `billing user.* domain.blocked`.

use std::str::FromStr;

/// Names are short strings to the protocol.
const LONGEST: usize = 255;

/// What keeps a queue's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueKind {
    /// Replicated; what is declared unless told otherwise.
    Quorum,
    /// On one node.
    Classic,
    /// A log that may be read again and again.
    Stream,
}

impl QueueKind {
    /// As in `x-queue-type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
            Self::Stream => "stream",
        }
    }
}

/// A queue and what it is bound for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// What keeps its messages.
    pub kind: QueueKind,
    /// Binding keys of a topic exchange.
    pub patterns: Vec<String>,
}

/// The text names no queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a queue and what it is bound for, such as `billing user.* domain.blocked`")]
pub struct InvalidQueue;

impl FromStr for Queue {
    type Err = InvalidQueue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_whitespace();
        let name = words.next().ok_or(InvalidQueue)?;
        let patterns: Vec<String> = words.map(str::to_owned).collect();
        let (name, kind) = match name.rsplit_once(':') {
            Some((name, "quorum")) => (name, QueueKind::Quorum),
            Some((name, "classic")) => (name, QueueKind::Classic),
            Some((name, "stream")) => (name, QueueKind::Stream),
            _ => (name, QueueKind::Quorum),
        };
        // The broker keeps names of this kind to itself.
        let named = (1..=LONGEST).contains(&name.len()) && !name.starts_with("amq.");
        let plain = |word: &String| {
            let part = |part: &str| matches!(part, "*" | "#") || is_word(part);
            word.len() <= LONGEST && word.split('.').all(part)
        };
        if !named || patterns.is_empty() || !patterns.iter().all(plain) {
            return Err(InvalidQueue);
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            patterns,
        })
    }
}

/// A word of an event type.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_a_name_and_its_patterns() {
        let queue: Queue = "billing user.*  domain.blocked".parse().unwrap();
        assert_eq!((queue.name.as_str(), queue.kind), ("billing", QueueKind::Quorum));
        assert_eq!(queue.patterns, ["user.*", "domain.blocked"]);
        let queue: Queue = "a:b:stream #".parse().unwrap();
        assert_eq!((queue.name.as_str(), queue.kind), ("a:b", QueueKind::Stream));
        assert_eq!("x:classic #".parse::<Queue>().unwrap().kind, QueueKind::Classic);
    }

    #[test]
    fn what_no_event_can_match_is_a_slip() {
        for text in [
            "",
            "billing",
            "amq.gen user.*",
            ":stream #",
            "b user.*.",
            "b User.*",
            "b user.%",
        ] {
            assert_eq!(text.parse::<Queue>(), Err(InvalidQueue), "{text}");
        }
    }
}
