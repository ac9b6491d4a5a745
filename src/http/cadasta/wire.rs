//! What this dialect sends, members in the order of its document.

use projections::UserRow;
use serde::Serialize;

/// What a registration answers.
#[derive(Serialize)]
pub(super) struct RegisteredBody<'a> {
    username: &'a str,
    full_name: &'a str,
    email: &'a str,
    email_verified: bool,
}

/// One's own account.
#[derive(Serialize)]
pub(super) struct AccountBody<'a> {
    username: &'a str,
    full_name: &'a str,
    email: &'a str,
    email_verified: bool,
    last_login: Option<String>,
}

/// An account as a superuser sees it. The registry has no organisations, but clients look for them.
#[derive(Serialize)]
pub(super) struct PersonBody<'a> {
    username: &'a str,
    full_name: &'a str,
    email: &'a str,
    organizations: [(); 0],
    last_login: Option<String>,
    is_active: bool,
}

/// A page of them.
#[derive(Serialize)]
pub(super) struct PageBody<'a> {
    pub count: i64,
    pub next: Option<String>,
    pub previous: Option<String>,
    pub results: Vec<PersonBody<'a>>,
}

/// The key of a log-in.
#[derive(Serialize)]
pub(super) struct KeyBody<'a> {
    pub auth_token: &'a str,
}

/// What is shown of a text, which may be absent.
pub(super) fn text(text: Option<&String>) -> &str {
    text.map_or("", String::as_str)
}

impl<'a> From<&'a UserRow> for RegisteredBody<'a> {
    fn from(row: &'a UserRow) -> Self {
        Self {
            username: text(row.username.as_ref()),
            full_name: text(row.full_name.as_ref()),
            email: text(row.email.as_ref()),
            email_verified: row.email_verified,
        }
    }
}

impl<'a> From<&'a UserRow> for AccountBody<'a> {
    fn from(row: &'a UserRow) -> Self {
        Self {
            username: text(row.username.as_ref()),
            full_name: text(row.full_name.as_ref()),
            email: text(row.email.as_ref()),
            email_verified: row.email_verified,
            last_login: row.last_login.map(|at| at.to_string()),
        }
    }
}

impl<'a> From<&'a UserRow> for PersonBody<'a> {
    fn from(row: &'a UserRow) -> Self {
        Self {
            username: text(row.username.as_ref()),
            full_name: text(row.full_name.as_ref()),
            email: text(row.email.as_ref()),
            organizations: [],
            last_login: row.last_login.map(|at| at.to_string()),
            is_active: row.is_in_use(),
        }
    }
}
