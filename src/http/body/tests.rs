use axum::body::Bytes;
use axum::http::HeaderValue;
use futures::stream;

use super::*;

const JSON: &str = "application/json";

async fn read_as(types: &[&'static str], body: impl Into<Body>) -> Result<Tree, BodyError> {
    let mut headers = HeaderMap::new();
    for media_type in types {
        headers.append(CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    read_parts(&headers, body.into(), Limits::FIELDS).await
}

#[tokio::test]
async fn json_in_utf_8_is_read_under_any_of_its_names() {
    for media_type in [
        JSON,
        "Application/JSON; Charset=\"UTF-8\"",
        "application/merge-patch+json",
        "application/json;charset=utf8;v=1",
    ] {
        assert!(read_as(&[media_type], "{}").await.is_ok(), "{media_type}");
    }
}

#[tokio::test]
async fn any_other_type_is_unsupported() {
    for types in [
        &[][..],
        &["text/plain"],
        &["text/json"],
        &["application/+json"],
        &["application/jsonp"],
        &["application/json; charset=latin1"],
        &[JSON, JSON],
    ] {
        let answer = read_as(types, "{}").await;
        assert_eq!(answer, Err(BodyError::UnsupportedMediaType), "{types:?}");
    }
}

#[tokio::test]
async fn a_dialect_may_take_a_body_without_a_type() {
    let limits = Limits::FIELDS.untyped();
    assert!(read_parts(&HeaderMap::new(), "{}".into(), limits).await.is_ok());
}

#[tokio::test]
async fn a_compressed_body_is_unsupported() {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let answer = read_parts(&headers, "{}".into(), Limits::FIELDS).await;
    assert_eq!(answer, Err(BodyError::UnsupportedMediaType));
}

#[tokio::test]
async fn a_large_body_is_refused_whether_announced_or_not() {
    let large = vec![b' '; Limits::FIELDS.bytes + 1];
    let too_large = Err(BodyError::TooLarge(Limits::FIELDS.bytes));
    assert_eq!(read_as(&[JSON], large.clone()).await, too_large);
    let chunks = stream::iter(
        large
            .chunks(100)
            .map(|c| Ok::<_, std::io::Error>(c.to_vec()))
            .collect::<Vec<_>>(),
    );
    assert_eq!(read_as(&[JSON], Body::from_stream(chunks)).await, too_large);
}

#[tokio::test]
async fn an_announced_size_is_refused_before_reading() {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("99999999999999999999"));
    let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    // Larger than any number we could hold: still only a question of size.
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("18446744073709551615"));
    let answer = read_parts(&headers, never, Limits::BOUNDARY).await;
    assert_eq!(answer, Err(BodyError::TooLarge(1 << 20)));
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read() {
    let mut body = vec![b' '; Limits::FIELDS.bytes - 2];
    body.extend_from_slice(b"{}");
    assert!(read_as(&[JSON], body).await.is_ok());
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let limits = Limits {
        time: Duration::from_millis(1),
        ..Limits::FIELDS.untyped()
    };
    let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = read_parts(&HeaderMap::new(), never, limits).await;
    assert_eq!(answer, Err(BodyError::TooSlow));
}

#[test]
fn the_built_in_limits_are_the_configured_defaults() {
    let config = crate::config::Http::default();
    assert_eq!(Limits::configured(&config, false), Limits::FIELDS);
    assert_eq!(Limits::configured(&config, true), Limits::BOUNDARY);
}

#[test]
fn errors_become_problems_that_point() {
    let fault = Fault::Duplicate { pointer: "/a".into() };
    let problem = Problem::from(BodyError::Malformed(fault));
    assert_eq!(problem.slug(), Slug::Malformed);
    assert_eq!(problem.errors()[0].pointer, "/a");
    assert_eq!(Problem::from(BodyError::TooLarge(1)).slug(), Slug::TooLarge);
    assert_eq!(Problem::from(BodyError::TooSlow).slug(), Slug::Malformed);
}
