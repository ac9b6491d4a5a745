//! Paths and parameters of reads.

use super::case::{By, Case, Scene, case};
use crate::harness::encoded;

pub fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = parameters();
    cases.extend(paths(scene));
    cases
}

fn parameters() -> Vec<Case> {
    let get = |path: &str| case(format!("GET {path}"), "GET", path).by(By::Admin);
    let id = "0197a1b2-0000-7000-8000-000000000001";
    let mut cases = vec![
        get(
            "/v1/users?limit=0&sort=age&status=gone&verified=maybe&role=god&country=XYZ&domain=a..b&cursor=x&q=&page=2",
        )
        .is(
            400,
            "invalid",
            &[
                "/limit",
                "/sort",
                "/status",
                "/verified",
                "/role",
                "/country",
                "/domain",
                "/cursor",
                "/q",
                "/page",
            ],
        ),
        get("/v1/users?limit=1&limit=2").is(400, "invalid", &["/limit"]),
        get(&format!("/v1/users?q={}", "x".repeat(129))).is(400, "invalid", &["/q"]),
        get("/v1/users?q=a%00b").is(400, "invalid", &["/q"]),
        get("/v1/users?q=a%0Ab").is(400, "invalid", &["/q"]),
        get("/v1/domains?standing=gone&limit=-1&after=x").is(400, "invalid", &["/standing", "/limit", "/after"]),
        get("/v1/domains/check").is(400, "invalid", &["/address"]),
        get("/v1/domains/check?address=").is(400, "invalid", &["/address"]),
        get("/v1/domains/check?address=nobody").is(400, "invalid", &["/address"]),
        get("/v1/domains/check?address=a%00@farm.example").is(400, "invalid", &["/address"]),
        get("/v1/domains/check?address=a@farm.example&address=b@farm.example").is(400, "invalid", &["/address"]),
        get("/v1/domains/check?address=nobody&x=1").is(400, "invalid", &["/address", "/x"]),
        get("/v1/me?fields=id").is(400, "invalid", &["/fields"]),
        get("/v1/sessions?limit=1").is(400, "invalid", &["/limit"]),
        get("/v1/domains/farm.example?x=1").is(400, "invalid", &["/x"]),
        get("/v1/users?a%2Fb=1&c~d=2").is(400, "invalid", &["/a~1b", "/c~0d"]),
    ];
    for limit in [
        "0",
        "201",
        "-1",
        "1.5",
        "1e2",
        "abc",
        "",
        "%20",
        "99999999999999999999",
        "0x10",
    ] {
        for list in ["/v1/users", "/v1/domains"] {
            cases.push(get(&format!("{list}?limit={limit}")).is(400, "invalid", &["/limit"]));
        }
    }
    for after in ["-1", "abc", "", "99999999999999999999"] {
        cases.push(get(&format!("/v1/users/{id}/history?after={after}")).is(400, "invalid", &["/after"]));
        cases.push(get(&format!("/v1/domains/farm.example/history?after={after}")).is(400, "invalid", &["/after"]));
    }
    let cursor = |text: &str| encoded(text.as_bytes());
    for (sort, wrong) in [
        ("created_at", "nonsense!".to_owned()),
        ("created_at", String::new()),
        ("created_at", cursor("[]")),
        ("created_at", cursor(&format!(r#"["username","ada","{id}"]"#))),
        ("created_at", cursor(&format!(r#"["created_at","ada","{id}"]"#))),
        ("created_at", cursor(r#"["created_at","1","ada"]"#)),
        ("username", cursor(&format!(r#"["username","a\u0000b","{id}"]"#))),
        ("username", encoded(&[0xff, 0xfe])),
    ] {
        cases.push(get(&format!("/v1/users?sort={sort}&cursor={wrong}")).is(400, "invalid", &["/cursor"]));
    }
    for wrong in [
        cursor("a\0b"),
        encoded(&[0xff, 0xfe]),
        "!".into(),
        cursor("not a domain"),
        String::new(),
    ] {
        cases.push(get(&format!("/v1/domains?cursor={wrong}")).is(400, "invalid", &["/cursor"]));
    }
    cases
}

fn paths(scene: &Scene) -> Vec<Case> {
    let get = |path: &str| case(format!("GET {path}"), "GET", path).by(By::Admin);
    let missing = "0197a1b2-0000-7000-8000-000000000001";
    let mut cases = Vec::new();
    for id in [
        missing,
        "nonsense",
        "1",
        "%00",
        "%ff",
        "%F0%28%8C%28",
        "..%2Fme",
        "0197a1b2",
        "me",
        "*",
    ] {
        cases.push(get(&format!("/v1/users/{id}")).is(404, "not-found", &[]));
        cases.push(get(&format!("/v1/users/{id}/history")).is(404, "not-found", &[]));
        // Not even the end of a history that nobody has.
        cases.push(get(&format!("/v1/users/{id}/history?after=1")).is(404, "not-found", &[]));
    }
    for name in [
        "unknown.example",
        "%00",
        "%ff",
        "a..b",
        "%20",
        "192.0.2.1",
        "xn--a.example",
    ] {
        cases.push(get(&format!("/v1/domains/{name}")).is(404, "not-found", &[]));
        cases.push(get(&format!("/v1/domains/{name}/history")).is(404, "not-found", &[]));
        cases.push(get(&format!("/v1/domains/{name}/history?after=1")).is(404, "not-found", &[]));
    }
    let other = &scene.other.user;
    cases.extend([
        get(&format!("/v1/users/{other}"))
            .by(By::User)
            .is(404, "not-found", &[]),
        get(&format!("/v1/users/{other}/history"))
            .by(By::User)
            .is(404, "not-found", &[]),
        case(
            "GET /v1/users/{missing} as a user",
            "GET",
            format!("/v1/users/{missing}"),
        )
        .by(By::User)
        .is(404, "not-found", &[]),
        case("GET /v1/users as a user", "GET", "/v1/users")
            .by(By::User)
            .is(403, "forbidden", &[]),
        case("GET /v1/domains as nobody", "GET", "/v1/domains").is(401, "unauthenticated", &[]),
        get("/problems/nonsense").is(404, "not-found", &[]),
        get("/problems/%ff").is(404, "not-found", &[]),
        get("/problems/%3Cscript%3E").is(404, "not-found", &[]),
    ]);
    cases
}
