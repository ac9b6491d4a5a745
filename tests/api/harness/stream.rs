//! Server-sent events as a client reads them: by the rules of the HTML standard, as far as the service uses them.

use std::time::Duration;

/// A stream that is open.
pub struct Stream {
    response: reqwest::Response,
    unread: Vec<u8>,
}

/// What a stream brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Event { id: i64, kind: String, data: String },
    Comment(String),
}

impl Stream {
    pub fn new(response: reqwest::Response) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            unread: Vec::new(),
        }
    }

    /// The next piece; none when the stream has ended or was cut.
    pub async fn next(&mut self) -> Option<Piece> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Some(piece(std::str::from_utf8(&block).unwrap().trim_end()));
            }
            let chunk = self.response.chunk().await.ok().flatten()?;
            self.unread.extend_from_slice(&chunk);
        }
    }

    /// The next piece that must come.
    pub async fn must(&mut self) -> Piece {
        tokio::time::timeout(super::LONG, self.next())
            .await
            .unwrap_or_else(|_| panic!("waited in vain for the stream"))
            .unwrap_or_else(|| panic!("the stream ended"))
    }

    /// The next event, whatever comments come before it: its position and its document.
    pub async fn event(&mut self) -> (i64, serde_json::Value) {
        loop {
            if let Piece::Event { id, kind, data } = self.must().await {
                let document: serde_json::Value = super::client::parse(&data);
                assert_eq!(document["position"], id);
                assert_eq!(document["type"], kind);
                return (id, document);
            }
        }
    }

    /// Whether nothing comes for a while but comments.
    pub async fn is_silent(&mut self, length: Duration) -> bool {
        let listening = async {
            loop {
                match self.next().await {
                    Some(Piece::Comment(_)) => {}
                    other => return other,
                }
            }
        };
        tokio::time::timeout(length, listening).await.is_err()
    }

    /// Reads on until the stream ends; the events that still came.
    pub async fn rest(mut self) -> Vec<i64> {
        let reading = async {
            let mut events = Vec::new();
            while let Some(piece) = self.next().await {
                if let Piece::Event { id, .. } = piece {
                    events.push(id);
                }
            }
            events
        };
        tokio::time::timeout(super::LONG, reading)
            .await
            .unwrap_or_else(|_| panic!("the stream does not end"))
    }
}

fn piece(block: &str) -> Piece {
    if let Some(comment) = block.strip_prefix(':') {
        return Piece::Comment(comment.trim().to_owned());
    }
    let field = |name: &str| {
        let mut lines = block.lines().filter_map(|line| line.strip_prefix(name));
        let value = lines.next().unwrap_or_else(|| panic!("no {name} in {block:?}"));
        assert!(lines.next().is_none(), "{name} twice in {block:?}");
        value.to_owned()
    };
    assert_eq!(block.lines().count(), 3, "{block:?}");
    Piece::Event {
        id: field("id: ").parse().unwrap(),
        kind: field("event: "),
        data: field("data: "),
    }
}
