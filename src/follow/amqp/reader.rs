//! Reads the log ahead of what is published, so that neither waits for the other.

use serde::Deserialize;
use tokio::sync::mpsc;

use super::Content;
use super::message::Message;
use super::personal;
use crate::config::AmqpMode;
use crate::public::{Public, concerns};
use crate::store::deadline::{ANSWER, within};
use crate::store::{EventRecord, Piece, Store, StoreError};

/// How many events are read at a time.
const PAGE: i64 = 250;
/// How many pages may wait to be published.
const AHEAD: usize = 2;

/// What a reader has found.
#[derive(Debug)]
pub(super) enum Found {
    /// Events in order, each with its message if it has one.
    Page(Vec<(i64, Option<Message>)>),
    /// There is nothing more for now.
    Quiet,
    /// An event that nothing can be made of, or that is missing.
    Broken(i64, String),
    /// The store does not answer.
    Trouble(StoreError),
}

/// Reads on in a task of its own, which ends when nobody listens.
pub(super) fn read(
    store: Store,
    content: Content,
    mode: AmqpMode,
    after: i64,
    until: Option<i64>,
) -> mpsc::Receiver<Found> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let reader = Reader {
        store,
        content,
        mode,
        until,
    };
    tokio::spawn(async move { reader.run(after, &sender).await });
    receiver
}

struct Reader {
    store: Store,
    content: Content,
    mode: AmqpMode,
    until: Option<i64>,
}

impl Reader {
    async fn run(&self, mut after: i64, sender: &mpsc::Sender<Found>) {
        let mut head = self.store.watch_head();
        loop {
            head.borrow_and_update();
            let most = self.until.map_or(PAGE, |until| PAGE.min(until - after));
            if most <= 0 {
                // Nothing is left; whoever listens has seen that.
                return;
            }
            let piece = match self.store.piece_after(after, most).await {
                Ok(piece) => piece,
                Err(problem) => {
                    let _ = sender.send(Found::Trouble(problem)).await;
                    return;
                }
            };
            if piece.events.is_empty() && piece.gap.is_none() {
                if sender.send(Found::Quiet).await.is_err() {
                    return;
                }
                tokio::select! {
                    changed = head.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
                continue;
            }
            after = piece.events.last().map_or(after, |record| record.position);
            let (page, end) = self.page(piece).await;
            if !page.is_empty() && sender.send(Found::Page(page)).await.is_err() {
                return;
            }
            if let Some(end) = end {
                let _ = sender.send(end).await;
                return;
            }
        }
    }

    /// What is to be published of these, as far as they make sense.
    async fn page(&self, piece: Piece) -> (Vec<(i64, Option<Message>)>, Option<Found>) {
        let mut page = Vec::with_capacity(piece.events.len());
        for record in piece.events {
            let position = record.position;
            match self.message(record).await {
                Ok(message) => page.push((position, message)),
                Err(problem @ StoreError::Unavailable(_)) => return (page, Some(Found::Trouble(problem))),
                Err(problem) => return (page, Some(Found::Broken(position, problem.to_string()))),
            }
        }
        let broken = |gap| Found::Broken(gap, Piece::problem(gap).to_string());
        (page, piece.gap.map(broken))
    }

    async fn message(&self, record: EventRecord) -> Result<Option<Message>, StoreError> {
        let parent = parent(&record.metadata);
        match &self.content {
            Content::Public(public) => {
                let event = public.event(&record)?;
                Ok(Some(Message::public(&event, parent.as_deref(), self.mode)))
            }
            Content::Personal(public) => self.personal(public, record, parent.as_deref()).await,
        }
    }

    async fn personal(
        &self,
        public: &Public,
        record: EventRecord,
        parent: Option<&str>,
    ) -> Result<Option<Message>, StoreError> {
        if !concerns(&record.event_type) {
            return Ok(None);
        }
        let event = public.event(&record)?;
        let opened = within(ANSWER, self.store.open_events(vec![record])).await?;
        let person = opened.first().and_then(personal::of);
        Ok(person.map(|person| Message::personal(&event, &person, parent, self.mode)))
    }
}

/// The trace an event belongs to (W3C `traceparent`), if its metadata has one.
fn parent(metadata: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Traced {
        traceparent: Option<String>,
    }
    // Most have none, and then there is nothing to read.
    if !metadata.contains("\"traceparent\"") {
        return None;
    }
    let traced: Traced = serde_json::from_str(metadata).ok()?;
    traced.traceparent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_found_where_there_is_one() {
        assert_eq!(parent(r#"{"actor":"self"}"#), None);
        assert_eq!(
            parent(r#"{"actor":"self","traceparent":"00-a-b-01"}"#).as_deref(),
            Some("00-a-b-01")
        );
    }
}
