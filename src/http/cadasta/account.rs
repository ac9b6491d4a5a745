//! `/api/v1/account/…`: logging in and out, registering, one's own account, activating.

use aggregates::values::{Email, FullName, Username};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use projections::{NameKind, Status, UserRow};
use serde_json::json;
use uuid::Uuid;

use super::error::{Refused, TAKEN_EMAIL, TAKEN_USERNAME, weakness};
use super::fields::Form;
use super::token::{Member, anybody, member};
use super::wire::{AccountBody, KeyBody, RegisteredBody, text};
use crate::guards::Class;
use crate::http::App;
use crate::http::body::Given;
use crate::passwords::Password;
use crate::passwords::rules::OwnData;
use crate::registry::{AccountChange, Asked, Caller, Denial, Identifier, Refusal, Registration};

/// `POST login/`: a key of its own for each log-in.
pub(super) async fn login(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::SignIn)?;
    let mut form = Form::read(&app, &headers, body).await?;
    let username = form.optional("username", false);
    let password = form.optional("password", true);
    form.finish()?;
    let wrong = || Refused::from(Refusal::InvalidCredentials);
    // Both are optional in the original; without one of them nobody is found.
    let (Some(username), Some(password)) = (username, password) else {
        return Err(wrong());
    };
    let password = Password::parse(&password).map_err(|_| wrong())?;
    let signed_in = app
        .registry()
        .sign_in_keyed(&caller, &Identifier::parse(&username), password)
        .await;
    if let Err(Refusal::Denied(Denial::NotActive {
        user,
        status: Status::Pending,
    })) = &signed_in
    {
        remind(&app, &caller, *user).await;
    }
    let keyed = signed_in?;
    let body = KeyBody {
        auth_token: &keyed.token,
    };
    Ok(Json(body).into_response())
}

/// The password was right: whoever waits for the mail gets it again.
async fn remind(app: &App, caller: &Caller, user: Uuid) {
    let asked = Asked::plainly(caller.clone());
    if let Err(problem) = app.registry().remind_to_verify(&asked, user).await {
        tracing::warn!(%problem, "a reminder could not be asked for");
    }
}

/// `POST logout/`: "Requests cannot be signed with any token obtained previously."
pub(super) async fn logout(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<StatusCode, Refused> {
    let Member {
        caller, id, session, ..
    } = member(&app, &headers, &extensions).await?;
    let asked = Asked::plainly(caller);
    app.registry().end_all_sessions(&asked, id, session).await?;
    Ok(StatusCode::OK)
}

/// `POST register/`: it does not log in, and what a client says of itself being verified is not heard.
pub(super) async fn register(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::Register)?;
    let mut form = Form::read(&app, &headers, body).await?;
    let (username, username_text) = form.username(true);
    let full_name = form.full_name().value();
    let email = form.email(true);
    let password = form.password("password");
    if let Some(password) = &password {
        let own = OwnData {
            username: username_text.as_ref().map(|text| text.as_str()),
            email: email.as_ref().map(Email::as_str),
            phone: None,
        };
        for weak in app.registry().weaknesses_by(caller.dialect, password, &own) {
            form.refuse("password", &weakness(weak));
        }
    }
    let registration = Registration {
        username,
        email,
        full_name,
        ..Registration::default()
    };
    refuse_taken(&app, &mut form, &registration, None).await?;
    form.finish()?;
    let Some(password) = password else {
        return Err(Refusal::Internal("a password was neither read nor refused".into()).into());
    };
    let asked = Asked::plainly(caller);
    let receipt = match app.registry().register(&asked, &registration, password).await {
        Ok(receipt) => receipt,
        Err(Refusal::Taken(kind)) => {
            // Somebody was quicker.
            refuse_taken(&app, &mut form, &registration, None).await?;
            form.finish()?;
            return Err(Refusal::Taken(kind).into());
        }
        Err(other) => return Err(other.into()),
    };
    let id = Uuid::parse_str(&receipt.id).map_err(|problem| Refusal::Internal(problem.to_string()))?;
    let row = app.registry().user(id).await?;
    Ok((StatusCode::CREATED, Json(RegisteredBody::from(&row))).into_response())
}

/// Says of every name that others have.
pub(super) async fn refuse_taken(
    app: &App,
    form: &mut Form,
    registration: &Registration,
    owner: Option<Uuid>,
) -> Result<(), Refused> {
    for kind in app.registry().taken_names(registration, owner).await? {
        match kind {
            NameKind::Username => form.refuse("username", TAKEN_USERNAME),
            NameKind::Email => form.refuse("email", TAKEN_EMAIL),
            NameKind::Phone | NameKind::Device => {}
        }
    }
    Ok(())
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::OK)
}

/// `GET`: 201 unless a setting says 200, because its document says 201.
pub(super) async fn read(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Refused> {
    let member = member(&app, &headers, &extensions).await?;
    let status = status(app.config().cadasta.account_read_status);
    Ok((status, Json(AccountBody::from(&member.account))).into_response())
}

/// `PATCH`: what is absent stays.
pub(super) async fn patch(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    let member = member(&app, &headers, &extensions).await?;
    let row = change(&app, &member, &headers, body, false).await?;
    let status = status(app.config().cadasta.account_update_status);
    Ok((status, Json(AccountBody::from(&row))).into_response())
}

/// `PUT`: the username and the address must be there.
pub(super) async fn put(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    let member = member(&app, &headers, &extensions).await?;
    let row = change(&app, &member, &headers, body, true).await?;
    Ok(Json(AccountBody::from(&row)).into_response())
}

async fn change(app: &App, member: &Member, headers: &HeaderMap, body: Body, whole: bool) -> Result<UserRow, Refused> {
    let mut form = Form::read(app, headers, body).await?;
    let change = own_change(app, &mut form, &member.account, whole).await?;
    form.finish()?;
    let asked = Asked::plainly(member.caller.clone());
    app.registry().change_account(&asked, member.id, &change).await?;
    Ok(app.registry().user(member.id).await?)
}

/// What somebody changes of their own account.
pub(super) async fn own_change(
    app: &App,
    form: &mut Form,
    account: &UserRow,
    whole: bool,
) -> Result<AccountChange, Refused> {
    let (username, full_name, email) = wanted(form, account, whole);
    form.last_login(account);
    let username = username.filter(|name| account.username.as_deref() != Some(name.as_str()));
    // The same address in another case is the same address.
    let email = email.filter(|email| account.email_canonical.as_deref() != Some(email.canonical()));
    let names = Registration {
        username: username.clone(),
        email: email.clone(),
        ..Registration::default()
    };
    refuse_taken(app, form, &names, Some(account.id)).await?;
    Ok(AccountChange {
        username,
        full_name: full_name.into_option(),
        email,
    })
}

/// Name to sign in with, name of the person and address, as far as they differ from what the account shows. Of a whole
/// account the first and the last must be there.
pub(super) fn wanted(
    form: &mut Form,
    account: &UserRow,
    whole: bool,
) -> (Option<Username>, Given<FullName>, Option<Email>) {
    let same = form.sent_back("username", text(account.username.as_ref()));
    let (username, _) = if same { (None, None) } else { form.username(whole) };
    form.sent_back("full_name", text(account.full_name.as_ref()));
    let full_name = form.full_name();
    let same = form.sent_back("email", text(account.email.as_ref()));
    let email = if same { None } else { form.email(whole) };
    (username, full_name, email)
}

/// `POST activate/`: the link of a mail, for the account's address or the one it has asked for.
pub(super) async fn activate(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::Secret)?;
    let mut form = Form::read(&app, &headers, body).await?;
    let user = form.uid();
    let token = form.required("token");
    known(&app, &mut form, user).await?;
    form.finish()?;
    let (Some(user), Some(token)) = (user, token) else {
        return Err(Refusal::InvalidToken.into());
    };
    let asked = Asked::plainly(caller);
    let done = app.registry().confirm_address(&asked, user, &token).await;
    match done {
        Ok(receipt) if receipt.events.is_empty() => {
            Err(Refused::detail(StatusCode::FORBIDDEN, "Stale token for given user."))
        }
        Ok(_) => Ok(Json(json!({})).into_response()),
        // A deactivated account uses no link.
        Err(Refusal::Conflict(_) | Refusal::NotFound) => Err(Refusal::InvalidToken.into()),
        Err(other) => Err(other.into()),
    }
}

/// Says so where nobody has the id of a link.
pub(super) async fn known(app: &App, form: &mut Form, user: Option<Uuid>) -> Result<(), Refused> {
    if let Some(user) = user {
        match app.registry().user(user).await {
            Ok(_) => {}
            Err(Refusal::NotFound) => form.nobody(),
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}
