//! The reads of the canonical API.

use aggregates::values::{Country, DomainName, Email, Role, StandingKind};
use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use projections::{MOST_ASKED, Status, UserRow, words_asked};
use uuid::Uuid;

use super::past::user_at;
use super::problem;
use super::reply::set;
use super::wire::{DomainBody, Page, UserBody, VerdictBody};
use crate::http::App;
use crate::http::caller::SignedInUser;
use crate::http::problem::{FieldError, Problem, Slug};
use crate::http::query::{Parameters, Segment};
use crate::store::{DomainFilter, UserFilter, UserSort};

/// Largest page, and the usual one (contract, section 4).
pub(super) const MOST: i64 = 200;
pub(super) const USUAL: i64 = 50;
/// Longest search text, characters.
const SEARCH: usize = 128;

pub(super) fn user_reply(body: UserBody) -> Response {
    let version = body.version();
    let mut response = Json(body).into_response();
    set(&mut response, ETAG, &format!("\"{version}\""));
    response
}

/// Answered from the row the guard has read: one indexed select per request.
pub(super) async fn me(
    SignedInUser { account, .. }: SignedInUser,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish()?;
    Ok(user_reply(account.into()))
}

/// The user a path names, if the caller may see them: oneself, or anybody for administrators and auditors.
pub(super) fn visible(caller: &SignedInUser, id: &str) -> Result<Uuid, Problem> {
    let not_found = || Problem::new(Slug::NotFound);
    let id = Uuid::parse_str(id).map_err(|_| not_found())?;
    let reads_all = caller.caller.has(Role::Admin) || caller.caller.has(Role::Auditor);
    if id == caller.id || reads_all {
        Ok(id)
    } else {
        Err(not_found())
    }
}

pub(super) async fn user(
    State(app): State<App>,
    caller: SignedInUser,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let seen = visible(&caller, &id)?;
    if let Some(past) = user_at(&app, caller, &id, parameters).await? {
        return Ok(past);
    }
    Ok(user_reply(app.registry().user(seen).await.map_err(problem)?.into()))
}

/// Where a page of users ended: the sort key of its last user and that user's id, bound to the order.
fn cursor(sort: &str, row: &UserRow) -> String {
    let key = if sort.ends_with("username") {
        projections::sorted_username(row)
    } else {
        row.created_at.as_micros().to_string()
    };
    URL_SAFE_NO_PAD.encode(serde_json::json!([sort, key, row.id]).to_string())
}

fn read_cursor(sort: &str, text: &str) -> Result<(String, Uuid), &'static str> {
    let wrong = "is not a cursor of this list";
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong)?;
    let (of, key, id): (String, String, Uuid) = serde_json::from_slice(&bytes).map_err(|_| wrong)?;
    // A cursor is only text to a client: it may have made one itself.
    let readable = if of.ends_with("username") {
        !key.chars().any(char::is_control)
    } else {
        key.parse::<i64>().is_ok()
    };
    if of == sort && readable {
        Ok((key, id))
    } else {
        Err(wrong)
    }
}

/// A search text: of bounded length, without control characters.
fn search(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() || text.chars().count() > SEARCH || text.chars().any(char::is_control) {
        return Err("must be 1 to 128 characters without control characters, not all of them spaces");
    }
    Ok(text.to_owned())
}

/// A search text of so many words that each can be looked for.
fn search_words(text: &str) -> Result<String, String> {
    let text = search(text)?;
    if words_asked(&text).len() > MOST_ASKED {
        return Err(format!("must be at most {MOST_ASKED} different words"));
    }
    Ok(text)
}

pub(super) async fn users(
    State(app): State<App>,
    mut parameters: Parameters,
) -> Result<Json<Page<UserBody, String>>, Problem> {
    let filter = UserFilter {
        q: parameters.optional("q", search_words),
        status: parameters.optional("status", |text| {
            Status::parse(text).ok_or("must be one of pending, active, locked, deactivated")
        }),
        domain: parameters.optional("domain", |text| {
            DomainName::parse(text).map(|name| name.as_str().to_owned())
        }),
        verified: parameters.optional("verified", |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false"),
        }),
        role: parameters.optional("role", Role::parse),
        country: parameters.optional("country", |text| {
            Country::parse(text).map(|country| country.as_str().to_owned())
        }),
    };
    let sort = parameters
        .optional("sort", |text| match text {
            "created_at" | "-created_at" | "username" | "-username" => Ok(text.to_owned()),
            _ => Err("must be one of created_at, -created_at, username, -username"),
        })
        .unwrap_or_else(|| "created_at".to_owned());
    let order = match sort.as_str() {
        "-created_at" => UserSort::CreatedAt { descending: true },
        "username" => UserSort::Username { descending: false },
        "-username" => UserSort::Username { descending: true },
        _ => UserSort::CreatedAt { descending: false },
    };
    let after = parameters.optional("cursor", |text| read_cursor(&sort, text));
    let limit = parameters.limit(MOST, USUAL);
    parameters.finish()?;
    let after = after.as_ref().map(|(key, id)| (key.as_str(), *id));
    let mut rows = app
        .registry()
        .users(&filter, order, after, limit + 1)
        .await
        .map_err(problem)?;
    let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more).map(|row| cursor(&sort, row));
    Ok(Json(Page {
        items: rows.into_iter().map(UserBody::from).collect(),
        next,
    }))
}

pub(super) async fn domains(
    State(app): State<App>,
    mut parameters: Parameters,
) -> Result<Json<Page<DomainBody, String>>, Problem> {
    let filter = DomainFilter {
        q: parameters.optional("q", search).map(|q| q.to_lowercase()),
        standing: parameters.optional("standing", StandingKind::parse),
    };
    let after = parameters.optional("cursor", |text| {
        let name = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| DomainName::parse(&text).ok());
        name.ok_or("is not a cursor of this list")
    });
    let limit = parameters.limit(MOST, USUAL);
    parameters.finish()?;
    let mut views = app
        .registry()
        .domains(&filter, after.as_ref().map(DomainName::as_str), limit + 1)
        .await
        .map_err(problem)?;
    let more = i64::try_from(views.len()).unwrap_or(i64::MAX) > limit;
    views.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = views
        .last()
        .filter(|_| more)
        .map(|view| URL_SAFE_NO_PAD.encode(&view.row.name));
    Ok(Json(Page {
        items: views.into_iter().map(DomainBody::from).collect(),
        next,
    }))
}

/// A domain a path names; what is no domain name is no domain.
pub(super) fn domain_name(text: &str) -> Result<DomainName, Problem> {
    DomainName::parse(text).map_err(|_| Problem::new(Slug::NotFound))
}

pub(super) async fn domain(
    State(app): State<App>,
    Segment(name): Segment,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.finish()?;
    let view = app.registry().domain(&domain_name(&name)?).await.map_err(problem)?;
    let version = view.row.version;
    let mut response = Json(DomainBody::from(view)).into_response();
    set(&mut response, ETAG, &format!("\"{version}\""));
    Ok(response)
}

/// Whether an address may register now, and the rule that says so.
pub(super) async fn check_address(
    State(app): State<App>,
    mut parameters: Parameters,
) -> Result<Json<VerdictBody>, Problem> {
    let address = parameters.optional("address", Email::parse);
    parameters.finish()?;
    let Some(address) = address else {
        return Err(Problem::invalid(vec![FieldError::new(
            "/address",
            "required",
            "is needed",
        )]));
    };
    let verdict = app.registry().check_address(&address).await.map_err(problem)?;
    Ok(Json(verdict.into()))
}
