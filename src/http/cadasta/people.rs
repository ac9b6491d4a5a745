//! `/api/v1/users/…`: the platform's users, for superusers, whose role here is `admin`.

use aggregates::values::{Note, Role};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use projections::UserRow;

use super::account::{own_change, wanted};
use super::error::Refused;
use super::fields::Form;
use super::token::{Member, member};
use super::wire::{PageBody, PersonBody};
use crate::http::App;
use crate::registry::{AccountChange, Administration, Asked, PlatformFilter, PlatformOrder, Refusal};

/// What the original writes as `%..` in an address; a blank becomes `+`.
const QUOTED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PAGE: i64 = 100;
const LARGEST_PAGE: i64 = 1_000;
/// Most terms of one search: each costs a look at every account.
const MOST_TERMS: usize = 16;

async fn superuser(app: &App, headers: &HeaderMap, extensions: &Extensions) -> Result<Member, Refused> {
    let member = member(app, headers, extensions).await?;
    if member.caller.has(Role::Admin) {
        Ok(member)
    } else {
        Err(Refused::forbidden())
    }
}

/// The account that the path names, percent-decoded: any username may stand there.
async fn named(app: &App, uri: &Uri) -> Result<UserRow, Refused> {
    let segment = uri.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let username = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| Refusal::NotFound)?;
    Ok(app.registry().user_named(&username).await?)
}

/// The parameters of an address; of one given twice the last counts.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(uri: &Uri) -> Self {
        let decoded = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let pairs = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decoded(name), decoded(value)))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The same address with another page; without an offset it is the first one.
    fn page(&self, base: &str, limit: i64, offset: Option<i64>) -> String {
        let mut pairs: Vec<(String, String)> = self
            .0
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "limit" | "offset"))
            .cloned()
            .collect();
        pairs.push(("limit".to_owned(), limit.to_string()));
        pairs.extend(offset.map(|offset| ("offset".to_owned(), offset.to_string())));
        pairs.sort();
        let encoded = |text: &str| utf8_percent_encode(text, &QUOTED).to_string().replace("%20", "+");
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        format!("{base}/api/v1/users/?{}", pairs.join("&"))
    }
}

fn filter(query: &Query) -> Result<PlatformFilter, Refused> {
    let number = |name: &str, least: i64| {
        query
            .get(name)
            .and_then(|text| text.trim().parse::<i64>().ok())
            .filter(|number| *number >= least)
    };
    let active = match query.get("is_active").map(str::to_ascii_lowercase).as_deref() {
        Some("true" | "1") => Some(true),
        Some("false" | "0") => Some(false),
        _ => None,
    };
    let mut terms: Vec<String> = query
        .get("search")
        .unwrap_or_default()
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|term| !term.is_empty())
        .map(str::to_lowercase)
        .collect();
    terms.sort_unstable();
    terms.dedup();
    // "every term must occur": none is left out.
    if terms.len() > MOST_TERMS {
        return Err(Refused::field("search", "Ensure this field has no more than 16 terms."));
    }
    let order = query.get("ordering").unwrap_or_default().split(',').filter_map(|term| {
        let term = term.trim();
        let (name, descending) = term.strip_prefix('-').map_or((term, false), |name| (name, true));
        match name {
            "username" => Some((PlatformOrder::Username, descending)),
            "full_name" => Some((PlatformOrder::FullName, descending)),
            _ => None,
        }
    });
    Ok(PlatformFilter {
        active,
        terms,
        order: order.take(4).collect(),
        limit: number("limit", 1).unwrap_or(PAGE).min(LARGEST_PAGE),
        offset: number("offset", 0).unwrap_or(0),
    })
}

/// `GET users/`: a page by offset, because its clients page so.
pub(super) async fn list(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    uri: Uri,
) -> Result<Response, Refused> {
    let member = superuser(&app, &headers, &extensions).await?;
    let query = Query::of(&uri);
    let filter = filter(&query)?;
    let asked = Asked::plainly(member.caller);
    let (count, rows) = app.registry().platform_users(&asked, &filter).await?;
    let base = app.base_url();
    let (limit, offset) = (filter.limit, filter.offset);
    let after = offset.saturating_add(limit);
    let page = PageBody {
        count,
        next: (after < count).then(|| query.page(base, limit, Some(after))),
        previous: (offset > 0).then(|| query.page(base, limit, Some(offset - limit).filter(|offset| *offset > 0))),
        results: rows.iter().map(PersonBody::from).collect(),
    };
    Ok(Json(page).into_response())
}

/// `GET users/{username}/`.
pub(super) async fn read(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    uri: Uri,
) -> Result<Response, Refused> {
    superuser(&app, &headers, &extensions).await?;
    let row = named(&app, &uri).await?;
    Ok(Json(PersonBody::from(&row)).into_response())
}

/// `PATCH users/{username}/`.
pub(super) async fn patch(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    uri: Uri,
    body: Body,
) -> Result<Response, Refused> {
    let member = superuser(&app, &headers, &extensions).await?;
    change(&app, &member, &headers, &uri, body, false).await
}

/// `PUT users/{username}/`: the document writes `PATCH` twice and means this.
pub(super) async fn put(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    uri: Uri,
    body: Body,
) -> Result<Response, Refused> {
    let member = superuser(&app, &headers, &extensions).await?;
    change(&app, &member, &headers, &uri, body, true).await
}

async fn change(
    app: &App,
    member: &Member,
    headers: &HeaderMap,
    uri: &Uri,
    body: Body,
    whole: bool,
) -> Result<Response, Refused> {
    let row = named(app, uri).await?;
    let mut form = Form::read(app, headers, body).await?;
    let named = form.holds("full_name");
    let mut change = if row.id == member.id {
        own_change(app, &mut form, &row, whole).await?
    } else {
        others(&mut form, &row, whole)
    };
    if whole && !named {
        change.full_name = Some(None);
    }
    let active = form.boolean("is_active");
    form.finish()?;
    let asked = Asked::plainly(member.caller.clone());
    let registry = app.registry();
    // First what may be refused. What the account is already is nothing to be done: clients send back what they have
    // read.
    if let Some(active) = active.filter(|active| *active != row.is_in_use()) {
        let note = Note::parse("through the Cadasta API").ok();
        let act = if active {
            Administration::Activate(note)
        } else {
            Administration::Deactivate(note)
        };
        registry.administer(&asked, row.id, &act).await?;
    }
    registry.change_account(&asked, row.id, &change).await?;
    let row = registry.user(row.id).await?;
    Ok(Json(PersonBody::from(&row)).into_response())
}

/// What a superuser changes of somebody else's account: neither its name to sign in with nor its address.
fn others(form: &mut Form, row: &UserRow, whole: bool) -> AccountChange {
    let (username, full_name, email) = wanted(form, row, whole);
    if username.is_some_and(|name| row.username.as_deref() != Some(name.as_str())) {
        form.refuse("username", "Cannot update username");
    }
    if email.is_some_and(|email| row.email_canonical.as_deref() != Some(email.canonical())) {
        form.refuse("email", "Cannot update email");
    }
    form.last_login(row);
    AccountChange {
        full_name: full_name.into_option(),
        ..AccountChange::default()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_hundred_and_a_thousand_at_most() {
        let of = |query: &str| {
            let uri: Uri = format!("/api/v1/users/?{query}").parse().unwrap();
            let filter = filter(&Query::of(&uri)).ok().unwrap();
            (filter.limit, filter.offset)
        };
        for (query, page) in [
            ("", (100, 0)),
            ("limit=1000&offset=7", (1_000, 7)),
            ("limit=1001", (1_000, 0)),
            ("limit=99999999999999999999", (100, 0)),
            ("limit=0&offset=-1", (100, 0)),
            ("limit=+5&offset=x", (5, 0)),
            ("limit=3&limit=4", (4, 0)),
        ] {
            assert_eq!(of(query), page, "{query}");
        }
    }
}
