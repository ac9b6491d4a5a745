//! An account's past: as it was, what changed, what happened, and all of it to take away.

use std::collections::BTreeMap;
use std::time::Duration;

use aggregates::values::Timestamp;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::problem;
use super::reads::{MOST, USUAL, domain_name, visible};
use super::wire::{ActorBody, EventBody, Page, UserBody};
use crate::http::App;
use crate::http::caller::SignedInUser;
use crate::http::document::shape;
use crate::http::problem::Problem;
use crate::http::query::{Parameters, Segment};
use crate::registry::{Asked, HistoryPage};
use crate::store::{EventFilter, OpenedEvent, Until, event_kinds};

/// How long a bundle waits for the head that covers the account's newest event: less than a read may take.
const PATIENCE: Duration = Duration::from_millis(2_300);

/// The last event that made an account what it was.
#[derive(Serialize)]
pub(super) struct AsOf {
    position: i64,
    time: Timestamp,
    event_id: Uuid,
}

/// A field of an account that is not what it was.
#[derive(Serialize)]
pub(super) struct ChangeBody {
    field: String,
    from: Value,
    to: Value,
    event_id: Uuid,
    position: i64,
    actor: ActorBody,
}

shape! {
    /// The last event that made an account what it was.
    AsOf as "AsOf" {
        position: i64,
        time: Timestamp,
        event_id: Uuid,
    }

    /// A field of an account that is not what it was.
    ChangeBody as "Change" {
        field: String,
        from: Value,
        to: Value,
        /// The last event that changed it.
        event_id: Uuid,
        position: i64,
        actor: ActorBody,
    }
}

impl From<&OpenedEvent> for AsOf {
    fn from(event: &OpenedEvent) -> Self {
        Self {
            position: event.record.position,
            time: event.record.recorded_at,
            event_id: event.record.event_id,
        }
    }
}

/// A log position or a time.
pub(super) fn moment(text: &str) -> Result<Until, &'static str> {
    let wrong = "must be a log position such as 42, or a time such as 2026-11-21T09:30:00Z";
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Until::Position).map_err(|_| wrong);
    }
    Timestamp::parse(text).map(Until::Time).map_err(|_| wrong)
}

/// A moment that the log has come to.
async fn past_moment(
    app: &App,
    parameters: &mut Parameters,
    name: &str,
    needed: bool,
) -> Result<Option<Until>, Problem> {
    let at = if needed {
        parameters.needed(name, moment)
    } else {
        parameters.optional(name, moment)
    };
    if let Some(at) = at
        && app.registry().is_ahead(at).await.map_err(problem)?
    {
        parameters.wrong(name, "lies after the end of the log");
        return Ok(None);
    }
    Ok(at)
}

/// The account as it was at a moment; without one, none.
pub(super) async fn user_at(
    app: &App,
    caller: SignedInUser,
    id: &str,
    mut parameters: Parameters,
) -> Result<Option<Response>, Problem> {
    let at = past_moment(app, &mut parameters, "at", false).await?;
    parameters.finish()?;
    let Some(at) = at else { return Ok(None) };
    let id = visible(&caller, id)?;
    let asked = Asked::plainly(caller.caller);
    let past = app.registry().user_at(&asked, id, at).await.map_err(problem)?;
    let as_of = AsOf::from(&past.last);
    Ok(Some(super::reads::user_reply(
        UserBody::from(past.row).shown_as_of(as_of),
    )))
}

/// The fields of an account as they are shown; none of them when there is no account.
fn fields(row: Option<&projections::UserRow>) -> Map<String, Value> {
    match row.map(|row| serde_json::to_value(UserBody::from(row.clone()))) {
        Some(Ok(Value::Object(fields))) => fields,
        _ => Map::new(),
    }
}

/// What changed from one account to the next, by field.
struct Changes {
    from: Until,
    before: Map<String, Value>,
    now: Map<String, Value>,
    by: BTreeMap<String, (Uuid, i64, ActorBody)>,
}

impl Changes {
    fn see(&mut self, event: &OpenedEvent, row: Option<&projections::UserRow>) {
        let next = fields(row);
        if self.from.admits(&event.record) {
            self.before.clone_from(&next);
        } else {
            for name in next.keys().chain(self.now.keys()) {
                if next.get(name).unwrap_or(&Value::Null) != self.now.get(name).unwrap_or(&Value::Null) {
                    let by = (event.record.event_id, event.record.position, ActorBody::of(event));
                    self.by.insert(name.clone(), by);
                }
            }
        }
        self.now = next;
    }

    fn into_items(mut self) -> Vec<ChangeBody> {
        let mut items = Vec::new();
        for (field, (event_id, position, actor)) in self.by {
            let (from, to) = (
                self.before.remove(&field).unwrap_or_default(),
                self.now.remove(&field).unwrap_or_default(),
            );
            // One that is again what it was has not changed.
            if from != to {
                items.push(ChangeBody {
                    field,
                    from,
                    to,
                    event_id,
                    position,
                    actor,
                });
            }
        }
        items
    }
}

pub(super) async fn user_diff(
    State(app): State<App>,
    caller: SignedInUser,
    Segment(id): Segment,
    mut parameters: Parameters,
) -> Result<Json<Page<ChangeBody, String>>, Problem> {
    let id = visible(&caller, &id)?;
    app.registry().has_history(id).await.map_err(problem)?;
    let from = past_moment(&app, &mut parameters, "from", true).await?;
    let to = past_moment(&app, &mut parameters, "to", true).await?;
    if let (Some(from), Some(to)) = (from, to)
        && app.registry().is_before(to, from).await.map_err(problem)?
    {
        parameters.wrong("to", "must not be before from");
    }
    parameters.finish()?;
    let (Some(from), Some(to)) = (from, to) else {
        return Err(Problem::invalid(Vec::new()));
    };
    let mut changes = Changes {
        from,
        before: Map::new(),
        now: Map::new(),
        by: BTreeMap::new(),
    };
    let asked = Asked::plainly(caller.caller);
    app.registry()
        .user_until(&asked, id, to, |event, row| changes.see(event, row))
        .await
        .map_err(problem)?;
    Ok(Json(Page {
        items: changes.into_items(),
        next: None,
    }))
}

/// Types such as `user.locked` or `user.*`, parted by commas.
fn types(text: &str) -> Result<Vec<&'static str>, String> {
    let mut types = Vec::new();
    for pattern in text.split(',') {
        let kind = pattern.strip_suffix('*').filter(|kind| kind.ends_with('.'));
        let found = event_kinds().map(|known| known.name).filter(|name| match kind {
            Some(kind) => name.starts_with(kind),
            None => *name == pattern,
        });
        let before = types.len();
        types.extend(found);
        if types.len() == before {
            return Err("must be types of events such as user.locked or user.*, parted by commas".to_owned());
        }
    }
    Ok(types)
}

/// The filters of a history.
fn filter(parameters: &mut Parameters) -> EventFilter {
    EventFilter {
        types: parameters.optional("types", types).unwrap_or_default(),
        from: parameters.optional("from", moment),
        to: parameters.optional("to", moment),
    }
}

fn history(page: HistoryPage) -> Json<Page<EventBody, i64>> {
    Json(Page {
        items: page.entries.into_iter().map(EventBody::from).collect(),
        next: page.next,
    })
}

pub(super) async fn user_history(
    State(app): State<App>,
    caller: SignedInUser,
    Segment(id): Segment,
    mut parameters: Parameters,
) -> Result<Json<Page<EventBody, i64>>, Problem> {
    let (after, limit) = (parameters.after(), parameters.limit(MOST, USUAL));
    let filter = filter(&mut parameters);
    parameters.finish()?;
    let id = visible(&caller, &id)?;
    let asked = Asked::plainly(caller.caller);
    let page = app.registry().user_history(&asked, id, after, limit, &filter).await;
    Ok(history(page.map_err(problem)?))
}

pub(super) async fn domain_history(
    State(app): State<App>,
    Segment(name): Segment,
    mut parameters: Parameters,
) -> Result<Json<Page<EventBody, i64>>, Problem> {
    let (after, limit) = (parameters.after(), parameters.limit(MOST, USUAL));
    let filter = filter(&mut parameters);
    parameters.finish()?;
    let name = domain_name(&name)?;
    let page = app
        .registry()
        .domain_history(name.as_str(), after, limit, &filter)
        .await;
    Ok(history(page.map_err(problem)?))
}

/// The file of `audit export`.
pub(super) async fn bundle(
    State(app): State<App>,
    caller: SignedInUser,
    Segment(id): Segment,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let filter = EventFilter {
        types: Vec::new(),
        from: parameters.optional("from", moment),
        to: parameters.optional("to", moment),
    };
    parameters.finish()?;
    let id = visible(&caller, &id)?;
    let asked = Asked::plainly(caller.caller);
    let lines = app
        .registry()
        .bundle(&asked, id, filter, PATIENCE)
        .await
        .map_err(problem)?;
    // What breaks off is told by the missing last line.
    let body = Body::from_stream(lines.map_err(|refusal| {
        tracing::error!(%refusal, "a bundle was broken off");
        std::io::Error::other("broken off")
    }));
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"history-{id}.jsonl\""),
        ),
    ];
    Ok((headers, body).into_response())
}

/// An account as it is shown.
#[must_use]
pub fn user_json(row: projections::UserRow) -> Value {
    serde_json::to_value(UserBody::from(row)).unwrap_or_default()
}

/// An event as it is shown.
#[must_use]
pub fn event_json(entry: crate::registry::HistoryEntry) -> Value {
    serde_json::to_value(EventBody::from(entry)).unwrap_or_default()
}
