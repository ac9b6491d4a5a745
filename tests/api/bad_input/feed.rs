//! Cursors, choices and readers of the feed.

use super::case::{By, Case, Scene, case};

pub fn cases(_: &Scene) -> Vec<Case> {
    let get = |path: &str| case(format!("GET {path}"), "GET", path).by(By::Admin);
    let mut cases = vec![
        get("/v1/events?after=-1&types=&limit=0&wait=31&page=2").is(
            400,
            "invalid",
            &["/after", "/types", "/limit", "/wait", "/page"],
        ),
        get("/v1/events/stream?after=-1&types=nonsense&wait=1").is(400, "invalid", &["/after", "/types", "/wait"]),
        get("/v1/events?after=1&after=2").is(400, "invalid", &["/after"]),
        get("/v1/events/stream?types=user.*&types=domain.*").is(400, "invalid", &["/types"]),
        get("/v1/events/1?wait=1").is(400, "invalid", &["/wait"]),
        case("GET /v1/events as a user", "GET", "/v1/events?wait=30")
            .by(By::User)
            .is(403, "forbidden", &[]),
        case("GET /v1/events/stream as a user", "GET", "/v1/events/stream")
            .by(By::User)
            .is(403, "forbidden", &[]),
        case("GET /v1/events/stream as nobody", "GET", "/v1/events/stream").is(401, "unauthenticated", &[]),
        get("/v1/events/stream")
            .with("last-event-id", "1")
            .with("last-event-id", "2")
            .is(400, "invalid", &["/Last-Event-ID"]),
        case("a schema nobody published", "GET", "/schemas/user.gone/1").is(404, "not-found", &[]),
        case("a version nobody published", "GET", "/schemas/user.locked/2").is(404, "not-found", &[]),
        case("a schema of no text", "GET", "/schemas/%ff/1").is(404, "not-found", &[]),
    ];
    for list in ["/v1/events", "/v1/events/stream"] {
        for after in ["-1", "abc", "", "1.0", "9223372036854775808", "%20", "0x1", "null"] {
            cases.push(get(&format!("{list}?after={after}")).is(400, "invalid", &["/after"]));
        }
        // One that no event could match would be an endless wait.
        for types in [
            "",
            ",",
            "user",
            "user.",
            "users.*",
            "user.gone",
            "User.*",
            "user.*,,domain.*",
            "user.*,nonsense",
            "*.*",
            "user.registered%20",
        ] {
            cases.push(get(&format!("{list}?types={types}")).is(400, "invalid", &["/types"]));
        }
    }
    for wait in ["-1", "31", "abc", "", "1.5", "99999999999999999999"] {
        cases.push(get(&format!("/v1/events?wait={wait}")).is(400, "invalid", &["/wait"]));
    }
    for limit in ["0", "1001", "-1", "abc", "", "1e2"] {
        cases.push(get(&format!("/v1/events?limit={limit}")).is(400, "invalid", &["/limit"]));
    }
    for position in [
        "0",
        "-1",
        "abc",
        "1.0",
        "999999999",
        "9223372036854775808",
        "%00",
        "%ff",
    ] {
        cases.push(get(&format!("/v1/events/{position}")).is(404, "not-found", &[]));
    }
    for id in ["", "abc", "-1", "1.5", "1, 2", "9223372036854775808", "\u{ff}", "null"] {
        cases.push(
            case(format!("Last-Event-ID {id:?}"), "GET", "/v1/events/stream?after=3")
                .by(By::Admin)
                .with("last-event-id", id)
                .is(400, "invalid", &["/Last-Event-ID"]),
        );
    }
    cases
}
