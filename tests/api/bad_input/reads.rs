//! Paths and parameters of reads.

use super::case::{By, Case, Scene, case};
use crate::harness::encoded;

pub fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = parameters();
    cases.extend(overview());
    cases.extend(paths(scene));
    cases.extend(past(scene));
    cases
}

/// Moments, filters and proofs.
fn past(scene: &Scene) -> Vec<Case> {
    let get = |path: String| case(format!("GET {path}"), "GET", path).by(By::Admin);
    let user = format!("/v1/users/{}", scene.user.user);
    let mut cases = Vec::new();
    for moment in [
        "",
        "-1",
        "1.5",
        "yesterday",
        "99999999999999999999",
        "9999999",
        "2026-13-01T00:00:00Z",
        "2026-11-21",
        "2999-01-01T00:00:00Z",
        "1%002",
    ] {
        cases.push(get(format!("{user}?at={moment}")).is(400, "invalid", &["/at"]));
        cases.push(get(format!("{user}/diff?from={moment}&to=1")).is(400, "invalid", &["/from"]));
        cases.push(get(format!("{user}/diff?from=1&to={moment}")).is(400, "invalid", &["/to"]));
    }
    cases.extend([
        get(format!("{user}?at=1&at=2")).is(400, "invalid", &["/at"]),
        get(format!("{user}?at=0")).is(404, "not-found", &[]),
        get(format!("{user}?at=1970-01-01T00:00:00Z")).is(404, "not-found", &[]),
        get(format!("{user}/diff")).is(400, "invalid", &["/from", "/to"]),
        get(format!("{user}/diff?from=2&to=1&by=me")).is(400, "invalid", &["/to", "/by"]),
        get(format!("{user}/diff?from=0&to=0")).is(404, "not-found", &[]),
        get(format!("{user}/history?types=user.gone&from=x&to=y")).is(400, "invalid", &["/types", "/from", "/to"]),
        get(format!("{user}/history?types=")).is(400, "invalid", &["/types"]),
        get(format!("{user}/history?types=*")).is(400, "invalid", &["/types"]),
        get(format!("{user}/history?types=user.locked,,")).is(400, "invalid", &["/types"]),
        get(format!("{user}/history/bundle?from=x&limit=1")).is(400, "invalid", &["/from", "/limit"]),
        get("/v1/log/proof/inclusion".into()).is(400, "invalid", &["/position"]),
        get("/v1/log/proof/inclusion?position=0".into()).is(400, "invalid", &["/position"]),
        get("/v1/log/proof/inclusion?position=9999999".into()).is(400, "invalid", &["/position"]),
        get("/v1/log/proof/inclusion?position=1&size=9999999".into()).is(400, "invalid", &["/size"]),
        get("/v1/log/proof/inclusion?position=x&size=x&of=1".into()).is(400, "invalid", &["/position", "/size", "/of"]),
        get("/v1/log/proof/consistency".into()).is(400, "invalid", &["/from"]),
        get("/v1/log/proof/consistency?from=-1&to=99999999999999999999".into()).is(400, "invalid", &["/from", "/to"]),
        get("/v1/log/proof/consistency?from=9999999".into()).is(400, "invalid", &["/from"]),
    ]);
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

/// Discovery, statistics and followers.
fn overview() -> Vec<Case> {
    let get = |path: String| case(format!("GET {path}"), "GET", path).by(By::Admin);
    let circle = "latitude=10&longitude=20&radius_km=5";
    let here = (10f64.to_bits(), 20f64.to_bits());
    let id = "0197a1b2-0000-7000-8000-000000000001";
    let mut cases = vec![
        get("/v1/discover".into()).is(400, "invalid", &["/latitude", "/longitude", "/radius_km"]),
        get("/v1/discover?latitude=1&longitude=2".into()).is(400, "invalid", &["/radius_km"]),
        get(format!("/v1/discover?{circle}&latitude=1")).is(400, "invalid", &["/latitude"]),
        get(format!("/v1/discover?{circle}&unit=mi&offset=3")).is(400, "invalid", &["/unit", "/offset"]),
        case("GET /v1/discover as nobody", "GET", format!("/v1/discover?{circle}")).is(401, "unauthenticated", &[]),
        get("/v1/statistics?by=year&from=yesterday&to=x&limit=1".into()).is(
            400,
            "invalid",
            &["/by", "/from", "/to", "/limit"],
        ),
        get("/v1/statistics?from=2026-03-02&to=2026-03-01".into()).is(400, "invalid", &["/to"]),
        get("/v1/statistics?from=2020-01-01&to=2021-01-01".into()).is(400, "invalid", &["/from"]),
        get("/v1/statistics?by=month&from=1970-01-01&to=9999-12-31".into()).is(400, "invalid", &["/from"]),
        case("GET /v1/statistics as a user", "GET", "/v1/statistics")
            .by(By::User)
            .is(403, "forbidden", &[]),
        get("/v1/followers?limit=1".into()).is(400, "invalid", &["/limit"]),
        case("GET /v1/followers as a user", "GET", "/v1/followers")
            .by(By::User)
            .is(403, "forbidden", &[]),
    ];
    for (name, most) in [("latitude", "90.1"), ("longitude", "-180.1"), ("radius_km", "20017")] {
        for wrong in [
            "", "abc", "NaN", "inf", "-inf", "1e999", "0x1", "1,5", "%20", "1%00", most,
        ] {
            let query = circle
                .split('&')
                .map(|pair| match pair.split_once('=') {
                    Some((key, _)) if key == name => format!("{name}={wrong}"),
                    _ => pair.to_owned(),
                })
                .collect::<Vec<_>>()
                .join("&");
            cases.push(get(format!("/v1/discover?{query}")).is(400, "invalid", &[&format!("/{name}")]));
        }
    }
    cases.push(get(format!("/v1/discover?{}", circle.replace("=5", "=-1"))).is(400, "invalid", &["/radius_km"]));
    for limit in ["0", "201", "-1", "1.5", ""] {
        cases.push(get(format!("/v1/discover?{circle}&limit={limit}")).is(400, "invalid", &["/limit"]));
    }
    let cursor = |text: String| encoded(text.as_bytes());
    for wrong in [
        "nonsense!".to_owned(),
        String::new(),
        cursor("[]".to_owned()),
        cursor(format!(r#"[1,2,3,4,"{id}"]"#)),
        cursor(format!(r#"[{},{},0,{},"{id}"]"#, here.0, here.1, f64::NAN.to_bits())),
        cursor(format!(r#"[{},{},0,-1,"{id}"]"#, here.0, here.1)),
    ] {
        cases.push(get(format!("/v1/discover?{circle}&cursor={wrong}")).is(400, "invalid", &["/cursor"]));
    }
    for day in [
        "",
        "2026-02-29",
        "2026-2-1",
        "2026-13-01",
        "20260101",
        "2026-01-01T00:00:00Z",
        "1969-12-31",
        "-2026-01-01",
    ] {
        cases.push(get(format!("/v1/statistics?from={day}")).is(400, "invalid", &["/from"]));
        cases.push(get(format!("/v1/statistics?to={day}")).is(400, "invalid", &["/to"]));
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
