//! Who calls a dialect whose tokens are opaque. Each reads its own header and words its own refusal.

use aggregates::values::Dialect;
use axum::http::{Extensions, HeaderMap};
use projections::UserRow;
use uuid::Uuid;

use super::App;
use super::caller::{client_address, stranger};
use super::limited::Heard;
use crate::guards::Class;
use crate::registry::{Bearer, Caller};

/// Too many requests; again in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Throttled(pub u32);

/// Somebody who is signed in with a token.
pub(super) struct Member {
    pub caller: Caller,
    pub id: Uuid,
    pub session: Uuid,
    pub account: UserRow,
}

impl Member {
    /// Whom a live token says, counted under their own rate.
    pub fn of(app: &App, extensions: &Extensions, mut caller: Caller, bearer: Bearer) -> Result<Self, Throttled> {
        if let Some(seconds) = Heard::of(extensions).told().wait_of_account(app, bearer.account.id) {
            return Err(Throttled(seconds));
        }
        caller.who = bearer.who();
        Ok(Self {
            caller,
            id: bearer.account.id,
            session: bearer.session,
            account: bearer.account,
        })
    }
}

/// Anybody, counted under the rate of what they ask for.
pub(super) fn anybody(
    app: &App,
    dialect: Dialect,
    headers: &HeaderMap,
    extensions: &Extensions,
    class: Class,
) -> Result<Caller, Throttled> {
    let address = client_address(app, headers, extensions);
    match Heard::of(extensions).told().wait_of(app, class, address) {
        Some(seconds) => Err(Throttled(seconds)),
        None => Ok(stranger(dialect, headers, extensions, address)),
    }
}
