//! `POST /v1/commands/{command}`.

use aggregates::user::ProfileChange;
use aggregates::values::{Boundary, Coordinates, DomainName, Email, FullName, GeoId, Locale, Note, Phone, Username};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::problem;
use super::reply::{asked, receipt};
use crate::http::App;
use crate::http::body::{self, Fields, Given, Limits, json as kinds};
use crate::http::caller::{Known, Person, SignedInUser};
use crate::http::problem::{FieldError, Problem, Slug};
use crate::passwords::Password;
use crate::passwords::rules::OwnData;
use crate::registry::{Asked, Caller, NewPassword, Registration, country_at};

/// A command's body with its conditions.
pub(super) struct Command {
    pub asked: Asked,
    pub fields: Fields,
}

/// Reads a command: the body as fields, the headers as conditions.
pub(super) async fn read(
    app: &App,
    caller: Caller,
    headers: &HeaderMap,
    body: Body,
    name: &str,
    boundary: bool,
) -> Result<Command, Problem> {
    let limits = Limits::configured(&app.config().http, boundary);
    let tree = body::read_parts(headers, body, limits).await?;
    let asked = asked(app, caller, headers, name, &tree)?;
    Ok(Command {
        asked,
        fields: Fields::of(tree),
    })
}

pub(super) fn password(fields: &mut Fields, name: &'static str) -> Option<Password> {
    fields.required(name, |text| {
        Password::parse(text).map_err(|error| body::Refusal::new(error.code(), error.to_string()))
    })
}

/// `{"latitude":…,"longitude":…}`, degrees, WGS 84.
fn position(fields: &mut Fields) -> Given<Coordinates> {
    // Each number is checked by itself, so that both are told of at once.
    let in_place = |latitude, longitude| {
        Coordinates::new(latitude, longitude)
            .map(|_| ())
            .map_err(body::Refusal::from)
    };
    fields.nested("position", |inner| {
        let latitude = inner.required_as("latitude", |value| {
            let number = kinds::number(value)?;
            in_place(number, 0.0).map(|()| number)
        });
        let longitude = inner.required_as("longitude", |value| {
            let number = kinds::number(value)?;
            in_place(0.0, number).map(|()| number)
        });
        Coordinates::new(latitude?, longitude?).ok()
    })
}

fn boundary_of(value: &Value) -> Result<Boundary, body::Refusal> {
    Boundary::parse(value).map_err(Into::into)
}

pub(super) async fn register_user(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "register-user", true).await?;
    if !["username", "email", "phone"].iter().any(|name| fields.has(name)) {
        fields.refuse_whole("required", "one of email, username and phone is needed");
    }
    let username = fields.optional("username", Username::parse);
    let email = fields.optional("email", Email::parse);
    let phone = fields.optional("phone", Phone::parse_e164);
    let full_name = fields.optional("full_name", FullName::parse);
    let discoverable = fields.optional_as("discoverable", kinds::boolean).unwrap_or(false);
    let position = position(&mut fields);
    if matches!(position, Given::Null) {
        fields.refuse("position", "null", "must not be null");
    }
    let position = position.value();
    let geo_id = fields.optional("geo_id", GeoId::parse);
    let boundary = fields.optional_as("boundary", |value| boundary_of(&value));
    let locale = fields.optional("locale", Locale::parse);
    let password = password(&mut fields, "password");
    if let Some(password) = &password {
        let own = OwnData {
            username: username.as_ref().map(Username::as_str),
            email: email.as_ref().map(Email::as_str),
            phone: phone.as_ref().map(Phone::msisdn),
        };
        for weakness in app.registry().weaknesses_for(password, &own) {
            fields.refuse("password", weakness.code(), &weakness.to_string());
        }
    }
    let (registration, password) = fields.finish(|| {
        let registration = Registration {
            username,
            email,
            phone,
            full_name,
            discoverable,
            position,
            geo_id,
            boundary,
            locale,
            ..Registration::default()
        };
        Some((registration, password?))
    })?;
    if app.config().registration.strict {
        let done = app.registry().register_alike(&asked, &registration, password).await;
        return done.map(|done| receipt(&done, "/v1/users")).map_err(problem);
    }
    let done = app
        .registry()
        .register(&asked, &registration, password)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/users"))
}

/// To the public always the same answer: nobody learns here which addresses are known.
pub(super) async fn request_email_verification(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let command = read(&app, caller, &headers, body, "request-email-verification", false).await?;
    let Command { asked, mut fields } = command;
    let email = fields.required("email", Email::parse);
    let email = fields.finish(|| email)?;
    match app
        .registry()
        .request_email_verification(&asked, &email)
        .await
        .map_err(problem)?
    {
        Some(done) => Ok(receipt(&done, "/v1/users")),
        None => Ok((StatusCode::ACCEPTED, Json(json!({}))).into_response()),
    }
}

pub(super) async fn verify_email(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "verify-email", false).await?;
    let token = fields.required("token", |text| Ok::<_, body::Refusal>(text.to_owned()));
    let token = fields.finish(|| token)?;
    let done = app.registry().verify_email(&asked, &token).await.map_err(problem)?;
    Ok(receipt(&done, "/v1/users"))
}

pub(super) async fn change_password(
    State(app): State<App>,
    Person {
        caller,
        id,
        session,
        account,
    }: Person,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "change-password", false).await?;
    let current = password(&mut fields, "current_password");
    let new = password(&mut fields, "new_password");
    if let Some(new) = &new {
        for weakness in app.registry().weaknesses(new, &account) {
            fields.refuse("new_password", weakness.code(), &weakness.to_string());
        }
    }
    let passwords = fields.finish(|| {
        Some(NewPassword {
            current: current?,
            new: new?,
        })
    })?;
    let done = app
        .registry()
        .change_password(&asked, id, session, passwords)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/users"))
}

pub(super) async fn update_profile(
    State(app): State<App>,
    SignedInUser { caller, id, .. }: SignedInUser,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let admin = caller.has(aggregates::values::Role::Admin);
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "update-profile", true).await?;
    let user = fields
        .optional("user_id", |text| Uuid::parse_str(text).map_err(|_| "is not a UUID"))
        .unwrap_or(id);
    let position = position(&mut fields);
    let change = ProfileChange {
        full_name: fields.nullable("full_name", FullName::parse).into_option(),
        discoverable: fields.optional_as("discoverable", kinds::boolean),
        position: position
            .into_option()
            .map(|place| place.map(|place| (place, country_at(&place)))),
        geo_id: fields.nullable("geo_id", GeoId::parse).into_option(),
        boundary: fields
            .nullable_as("boundary", |value| boundary_of(&value))
            .into_option(),
        locale: fields.nullable("locale", Locale::parse).into_option(),
    };
    if change == ProfileChange::default() && fields.is_sound() {
        // An unknown member is the likelier mistake, so `finish` tells of it first.
        fields.finish(|| Some(()))?;
        return Err(Problem::invalid(vec![FieldError::new(
            "",
            "required",
            "at least one field is needed",
        )]));
    }
    let change = fields.finish(|| Some(change))?;
    if user != id && !admin {
        return Err(Problem::new(Slug::NotFound));
    }
    let done = app
        .registry()
        .update_profile(&asked, user, &change)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/users"))
}

/// What the three domain commands have in common.
struct DomainFields {
    asked: Asked,
    domain: DomainName,
    include_subdomains: bool,
    reason: Option<Note>,
}

async fn read_domain(
    app: &App,
    caller: Caller,
    headers: &HeaderMap,
    body: Body,
    name: &str,
) -> Result<DomainFields, Problem> {
    let Command { asked, mut fields } = read(app, caller, headers, body, name, false).await?;
    let domain = fields.required("domain", DomainName::parse);
    let include_subdomains = fields.optional_as("include_subdomains", kinds::boolean).unwrap_or(true);
    let reason = fields.optional("reason", Note::parse);
    fields
        .finish(|| Some((domain?, reason)))
        .map(|(domain, reason)| DomainFields {
            asked,
            domain,
            include_subdomains,
            reason,
        })
        .map_err(Into::into)
}

pub(super) async fn allow_domain(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let DomainFields {
        asked,
        domain,
        include_subdomains,
        reason,
    } = read_domain(&app, caller, &headers, body, "allow-domain").await?;
    let done = app
        .registry()
        .allow_domain(&asked, &domain, include_subdomains, reason)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/domains"))
}

pub(super) async fn block_domain(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let DomainFields {
        asked,
        domain,
        include_subdomains,
        reason,
    } = read_domain(&app, caller, &headers, body, "block-domain").await?;
    let done = app
        .registry()
        .block_domain(&asked, &domain, include_subdomains, reason)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/domains"))
}

pub(super) async fn unblock_domain(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let DomainFields {
        asked, domain, reason, ..
    } = read_domain(&app, caller, &headers, body, "unblock-domain").await?;
    let done = app
        .registry()
        .unblock_domain(&asked, &domain, reason)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/domains"))
}
