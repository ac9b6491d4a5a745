//! Domains and their authority tokens (contract, sections 2.5, 3.6, 3.7 and 3.8).

use aggregates::values::{DomainName, Email};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::form::{Form, Unreadable};
use super::visit::{Visit, answer, told_twice};
use super::words;
use crate::http::App;
use crate::http::body::{self, BodyError, Limits};
use crate::http::caller;
use crate::http::problem::{Problem, Slug};
use crate::registry::{Asked, Authority, Authorized, Caller, Refusal, SharedWant, Who};

/// Most tokens of one request.
const MOST_TOKENS: usize = 10_000;

#[derive(Deserialize)]
pub(super) struct DomainQuery {
    #[serde(default)]
    domain: String,
}

/// `GET /authority-token/?domain=…`: between peers a domain's token is no secret.
pub(super) async fn authority_token(visit: Visit, query: Result<Query<DomainQuery>, QueryRejection>) -> Response {
    let unknown = || told_twice(StatusCode::BAD_REQUEST, words::NO_SUCH_DOMAIN);
    let typed = match &query {
        Ok(Query(query)) => query.domain.trim(),
        Err(_) => return unknown(),
    };
    let Ok(domain) = DomainName::parse(typed) else {
        return unknown();
    };
    if !visit.trusted() {
        // Elsewhere only whoever has an address of the domain may ask.
        match visit.visitor(SharedWant::Access).await {
            Ok(visitor) if visitor.account.is_of_domain(domain.as_str()) => {}
            Ok(_) => return told_twice(StatusCode::UNAUTHORIZED, words::NEED_LOGIN),
            Err(why) => return visit.turned_away(why),
        }
    }
    match visit.app.registry().short_authority(&domain).await {
        Ok(Authority::Token(token)) => {
            let text = format!("Authority token fetched successfully for domain: {typed}");
            let body = json!({
                "Message": text,
                "message": text,
                "Authority Token": token.as_str(),
                "authority_token": token.as_str(),
            });
            answer(StatusCode::OK, body)
        }
        Ok(Authority::None) => told_twice(StatusCode::NOT_FOUND, words::NO_TOKEN),
        Ok(Authority::Unknown) => unknown(),
        Err(refusal) => visit.failed(refusal, words::NO_TOKEN),
    }
}

/// `GET /domains`: all of them for peers; for others those that are authorized and not blocked.
pub(super) async fn list(visit: Visit) -> Response {
    let names = match visit.app.registry().peer_domains(visit.trusted()).await {
        Ok(names) => names,
        Err(refusal) => return visit.failed(refusal, "Fetching Domains Error"),
    };
    let body = json!({ "Message": words::ALL_DOMAINS, "message": words::ALL_DOMAINS, "Domains": names });
    answer(StatusCode::OK, body)
}

/// Who may administer domains: an administrator of the canonical API, by its token or key. A token of this dialect is
/// made with a secret that peers have.
async fn administrator(visit: &Visit) -> Result<Caller, Response> {
    let header = visit.headers.get(axum::http::header::AUTHORIZATION);
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let who = match caller::bearer(&visit.app, text).await {
        Ok((who, account)) => match visit.counts(account.id) {
            Ok(()) => who,
            Err(refusal) => return Err(visit.failed(refusal, words::NEED_LOGIN)),
        },
        Err(problem) if problem.slug() == Slug::Unavailable => return Err(problem.into_response()),
        Err(_) => Who::Anonymous,
    };
    let caller = Caller {
        who,
        ..visit.caller.clone()
    };
    if caller.has(aggregates::values::Role::Admin) {
        Ok(caller)
    } else {
        Err(told_twice(StatusCode::UNAUTHORIZED, words::NEED_LOGIN))
    }
}

/// `POST /domains`: gives a domain its authority token.
pub(super) async fn authorize(State(app): State<App>, visit: Visit, request: Request) -> Response {
    let peers = app.config().agstack.trusted_clients_may_authorize && visit.trusted();
    let caller = match administrator(&visit).await {
        Ok(caller) => caller,
        Err(_) if peers => visit.caller.clone(),
        Err(refused) => return refused,
    };
    // Read as JSON whatever its label says: so do the clients write it.
    let (parts, bytes) = request.into_parts();
    let limits = Limits::configured(&app.config().http, false);
    let form = match body::read_bytes(&parts.headers, bytes, limits).await {
        Ok(bytes) => Form::of_json(&bytes),
        Err(BodyError::BrokeOff) => Err(Unreadable::Malformed),
        Err(error) => return Problem::from(error).into_response(),
    };
    let Ok(form) = form else {
        return told_twice(StatusCode::BAD_REQUEST, words::AUTHORIZING_ERROR);
    };
    let Some(typed) = form.text("domain") else {
        return told_twice(StatusCode::BAD_REQUEST, words::DOMAIN_REQUIRED);
    };
    let Ok(domain) = DomainName::parse(typed) else {
        return told_twice(StatusCode::BAD_REQUEST, words::DOMAIN_UNKNOWN);
    };
    match app.registry().authorize_domain(&Asked::plainly(caller), &domain).await {
        Ok(Authorized::Now) => answer(
            StatusCode::OK,
            json!({ "Message": words::AUTHORIZED, "message": words::AUTHORIZED, "Domain": typed }),
        ),
        Ok(Authorized::Already) => told_twice(StatusCode::OK, words::ALREADY_AUTHORIZED),
        Err(Refusal::NotFound) => told_twice(StatusCode::BAD_REQUEST, words::DOMAIN_UNKNOWN),
        Err(refusal) => visit.failed(refusal, words::AUTHORIZING_ERROR),
    }
}

/// `GET /fields-count-by-domain`: which domains these tokens were given to.
pub(super) async fn fields_count(visit: Visit, request: Request) -> Response {
    let failed = |why: &str| {
        let body = json!({ "message": words::TOKENS_ERROR, "Message": words::TOKENS_ERROR, "error": why });
        answer(StatusCode::BAD_REQUEST, body)
    };
    let tokens = match visit.headers.get("authority-tokens").map(|value| value.to_str()) {
        Some(Ok(text)) => text_list(text),
        Some(Err(_)) => None,
        // Some clients send the list in the body alone.
        None => {
            let (parts, bytes) = request.into_parts();
            let limits = Limits::configured(&visit.app.config().http, false);
            match body::read_bytes(&parts.headers, bytes, limits).await {
                Ok(bytes) if bytes.is_empty() => return failed("the header Authority-Tokens is missing"),
                Ok(bytes) => std::str::from_utf8(&bytes).ok().and_then(text_list),
                Err(_) => None,
            }
        }
    };
    let Some(tokens) = tokens else {
        return failed("the header Authority-Tokens is no list of tokens");
    };
    match visit.app.registry().domains_of_short_authorities(&tokens).await {
        Ok(domains) => answer(
            StatusCode::OK,
            json!({
                "Message": words::TOKENS_DICTIONARY,
                "message": words::TOKENS_DICTIONARY,
                "authority_token_dict": domains,
            }),
        ),
        Err(refusal) => visit.failed(refusal, words::TOKENS_ERROR),
    }
}

/// A list of tokens as Python writes it, or as JSON: `['abc', "def"]`. Nothing else, and nothing is evaluated (contract,
/// hole H1).
fn text_list(text: &str) -> Option<Vec<String>> {
    let inside = text.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    if inside.is_empty() {
        return Some(Vec::new());
    }
    let mut tokens = Vec::new();
    // A list may end with a comma.
    for item in inside.strip_suffix(',').unwrap_or(inside).split(',') {
        let item = item.trim();
        let quote = item.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let token = item.strip_prefix(quote)?.strip_suffix(quote)?;
        let fits = (1..=64).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !fits || tokens.len() == MOST_TOKENS {
            return None;
        }
        tokens.push(token.to_owned());
    }
    Some(tokens)
}

/// `PUT /admin/domains/{domain}` with `{"belongs_to": 0 | 1}`: 0 is allowed, 1 is blocked.
pub(super) async fn set_standing(
    State(app): State<App>,
    visit: Visit,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let asked = match administrator(&visit).await {
        Ok(caller) => Asked::plainly(caller),
        Err(refused) => return refused,
    };
    let Some(domain) = name.ok().and_then(|Path(name)| DomainName::parse(&name).ok()) else {
        return told_twice(StatusCode::BAD_REQUEST, words::INVALID_DOMAIN);
    };
    let form = match Form::read(&app.config().http, request).await {
        Ok(form) => form,
        Err(Unreadable::Malformed) => return told_twice(StatusCode::BAD_REQUEST, words::INVALID_STANDING),
        Err(Unreadable::Refused(problem)) => return problem.into_response(),
    };
    let done = match form.text("belongs_to") {
        Some("0") => app.registry().allow_domain(&asked, &domain, true, None).await,
        Some("1") => app.registry().block_domain(&asked, &domain, true, None).await,
        _ => return told_twice(StatusCode::BAD_REQUEST, words::INVALID_STANDING),
    };
    match done {
        Ok(_) => {
            let belongs_to: Value = form.text("belongs_to").and_then(|text| text.parse::<i64>().ok()).into();
            let body = json!({
                "Message": words::DOMAIN_UPDATED,
                "message": words::DOMAIN_UPDATED,
                "domain": domain.as_str(),
                "belongs_to": belongs_to,
            });
            answer(StatusCode::OK, body)
        }
        Err(refusal) => visit.failed(refusal, "Domain Update Error"),
    }
}

/// `PUT /admin/blocked-emails/{email}`.
pub(super) async fn block_address(visit: Visit, email: Result<Path<String>, PathRejection>) -> Response {
    set_address(visit, email, true).await
}

/// `DELETE /admin/blocked-emails/{email}`.
pub(super) async fn unblock_address(visit: Visit, email: Result<Path<String>, PathRejection>) -> Response {
    set_address(visit, email, false).await
}

async fn set_address(visit: Visit, email: Result<Path<String>, PathRejection>, blocked: bool) -> Response {
    let asked = match administrator(&visit).await {
        Ok(caller) => Asked::plainly(caller),
        Err(refused) => return refused,
    };
    let Some(email) = email.ok().and_then(|Path(email)| Email::parse(&email).ok()) else {
        return told_twice(StatusCode::BAD_REQUEST, words::INVALID_EMAIL);
    };
    let registry = visit.app.registry();
    let done = if blocked {
        registry.block_address(&asked, &email, None).await
    } else {
        registry.unblock_address(&asked, &email, None).await
    };
    match done {
        Ok(_) if blocked => told_twice(StatusCode::OK, words::ADDRESS_BLOCKED),
        // What was never blocked is not blocked now.
        Ok(_) | Err(Refusal::NotFound) => told_twice(StatusCode::OK, words::ADDRESS_UNBLOCKED),
        Err(refusal) => visit.failed(refusal, "Blocking Email Error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_of(text: &str) -> Option<Vec<String>> {
        text_list(text)
    }

    #[test]
    fn a_list_is_read_as_python_and_json_write_it() {
        assert_eq!(list_of("[]"), Some(vec![]));
        assert_eq!(list_of("['abc', \"D1\"]"), Some(vec!["abc".into(), "D1".into()]));
        assert_eq!(list_of(" [\"abc\",'d' , ] "), Some(vec!["abc".into(), "d".into()]));
    }

    #[test]
    fn nothing_else_is_a_list() {
        let long = format!("['{}']", "a".repeat(65));
        let many = format!("[{}]", vec!["'a'"; MOST_TOKENS + 1].join(","));
        for text in [
            "",
            "['a'",
            "'a'",
            "[a]",
            "['a\"]",
            "['a','']",
            "['a',,'b']",
            "['a b']",
            "[1]",
            "[['a']]",
            "__import__('os').system('true')",
            "[__import__('os')]",
            "['a'.upper()]",
            "[*['a']]",
            &long,
            &many,
        ] {
            assert_eq!(list_of(text), None, "{text:.30}");
        }
    }
}
