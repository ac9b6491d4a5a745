//! `/api/v1/account/password/…`: changing a password, asking for a link to set another one, using it.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, StatusCode};

use super::account::known;
use super::error::{MISMATCH, Refused, weakness};
use super::fields::Form;
use super::token::{Member, anybody, member};
use crate::guards::Class;
use crate::http::App;
use crate::passwords::Password;
use crate::passwords::rules::OwnData;
use crate::registry::{Asked, Contact, NewPassword, Refusal, ResetProof};

/// Both new passwords, as far as they are there.
struct Pair {
    new: Option<Password>,
    again: Option<Password>,
}

impl Pair {
    fn read(form: &mut Form) -> Self {
        Self {
            new: form.password("new_password"),
            again: form.password("re_new_password"),
        }
    }

    fn differ(&self) -> bool {
        matches!((&self.new, &self.again), (Some(new), Some(again)) if new != again)
    }
}

/// `POST password/`: the key used goes on, every other one ends.
pub(super) async fn change(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<StatusCode, Refused> {
    let Member {
        caller,
        id,
        session,
        account,
    } = member(&app, &headers, &extensions).await?;
    let mut form = Form::read(&app, &headers, body).await?;
    let pair = Pair::read(&mut form);
    let current = form.password("current_password");
    if let Some(new) = &pair.new {
        let own = OwnData {
            username: account.username.as_deref(),
            email: account.email.as_deref(),
            phone: None,
        };
        for weak in app.registry().weaknesses_by(caller.dialect, new, &own) {
            form.refuse("new_password", &weakness(weak));
        }
    }
    // What is wrong with single fields hides what is wrong with both together, and the current password is a field.
    let (Some(new), Some(current), true, false) = (
        pair.new.clone(),
        current.clone(),
        form.is_sound("new_password"),
        pair.differ(),
    ) else {
        if let Some(current) = current
            && !app.registry().is_current_password(id, current).await?
        {
            form.refuse("current_password", "Invalid password.");
        }
        form.finish()?;
        return Err(Refused::together(MISMATCH));
    };
    form.finish()?;
    let asked = Asked::plainly(caller);
    let passwords = NewPassword { current, new };
    app.registry().change_password(&asked, id, session, passwords).await?;
    Ok(StatusCode::OK)
}

/// `POST password/reset/`: its document tells strangers who has an account; a setting stops that.
pub(super) async fn ask(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<StatusCode, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::Message)?;
    let mut form = Form::read(&app, &headers, body).await?;
    let email = form.email(true);
    form.finish()?;
    let Some(email) = email else {
        return Err(Refusal::Internal("an address was neither read nor refused".into()).into());
    };
    let told = app.config().cadasta.password_reset_show_email_not_found;
    if told && !app.registry().has_address(&email).await? {
        return Err(Refused::field("email", "User with given email does not exist."));
    }
    let asked = Asked::plainly(caller);
    app.registry()
        .request_password_reset(&asked, &Contact::Email(email))
        .await?;
    Ok(StatusCode::OK)
}

/// `POST password/reset/confirm/`: one group of mistakes at a time, the link last.
pub(super) async fn confirm(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<StatusCode, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::Secret)?;
    let mut form = Form::read(&app, &headers, body).await?;
    let user = form.uid();
    let token = form.required("token");
    let pair = Pair::read(&mut form);
    known(&app, &mut form, user).await?;
    form.finish()?;
    let differ = pair.differ();
    let (Some(user), Some(token), Some(new)) = (user, token, pair.new) else {
        return Err(Refusal::InvalidToken.into());
    };
    // Whether it is like the owner's own data is told only to whoever holds the link.
    for weak in app.registry().weaknesses_by(caller.dialect, &new, &OwnData::default()) {
        form.refuse("new_password", &weakness(weak));
    }
    form.finish()?;
    if differ {
        return Err(Refused::together(MISMATCH));
    }
    if !app.registry().link_is_of(user, &token).await? {
        return Err(Refusal::InvalidToken.into());
    }
    let asked = Asked::plainly(caller);
    let proof = ResetProof::Link(token.to_string());
    match app.registry().reset_password(&asked, &proof, new).await {
        Ok(_) => Ok(StatusCode::OK),
        Err(Refusal::Conflict(_) | Refusal::NotFound) => Err(Refusal::InvalidToken.into()),
        Err(other) => Err(other.into()),
    }
}
