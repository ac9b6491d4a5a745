//! A public event in the forms it is sent in, made once for all readers.

use std::io::Write as _;
use std::ops::Range;

use axum::body::Bytes;

use crate::public::CloudEvent;

/// A public event, ready to be sent.
#[derive(Debug)]
pub struct Ready {
    /// Number in the log.
    pub position: i64,
    /// What happened.
    pub kind: &'static str,
    /// Whom it is about.
    pub subject: Box<str>,
    frame: Bytes,
    json: Range<usize>,
}

impl Ready {
    pub(super) fn new(event: &CloudEvent) -> Self {
        let mut frame = Vec::with_capacity(512);
        // Writing into memory cannot fail.
        let _ = write!(frame, "id: {}\nevent: {}\ndata: ", event.position, event.kind);
        let from = frame.len();
        // One line: JSON has no line break of its own.
        let _ = serde_json::to_writer(&mut frame, event);
        let json = from..frame.len();
        frame.extend_from_slice(b"\n\n");
        Self {
            position: event.position,
            kind: event.kind,
            subject: event.subject.as_str().into(),
            frame: frame.into(),
            json,
        }
    }

    /// As an event of a stream: its position as `id`, its type as `event`, the document as `data`.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        self.frame.clone()
    }

    /// The document.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        self.frame.get(self.json.clone()).unwrap_or_default()
    }

    /// How much memory it takes, about.
    pub(super) fn weight(&self) -> usize {
        self.frame.len() + self.subject.len() + 128
    }
}
