//! The feed.

use serde_json::{Value, json};

use crate::http::canonical::feed::{LONGEST, MOST, USUAL};
use crate::http::document::{Body, Components, Operation, Shape};
use crate::http::problem::Slug;
use crate::public;

const TAG: &str = "Events";

/// A public event of any kind.
struct CloudEvent;

impl Body for CloudEvent {
    const NAME: &'static str = "CloudEvent";

    fn object(_: &mut Components) -> Value {
        let mut schema = public::envelope(None);
        schema["description"] =
            "A public event: a CloudEvents 1.0 document. What `data` holds is said by the schema at \
            `dataschema`, one for each type; /asyncapi.json has all of them."
                .into();
        schema
    }
}

/// A page of the feed.
struct Page;

impl Body for Page {
    const NAME: &'static str = "FeedPage";

    fn object(named: &mut Components) -> Value {
        let place = |about: &str| json!({ "type": "integer", "format": "int64", "minimum": 0, "description": about });
        json!({
            "type": "object",
            "description": "A page of the feed.",
            "properties": {
                "events": Vec::<CloudEvent>::schema(named),
                "next": place("Where to go on: everything up to here that was wanted has been given."),
                "head": place("Where the log ends."),
            },
            "required": ["events", "next", "head"],
        })
    }
}

fn position() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 0, "default": 0 })
}

fn types() -> Value {
    json!({ "type": "string", "pattern": "^[a-z_.*]+(,[a-z_.*]+)*$" })
}

trait Feed {
    fn after(self) -> Self;
    fn of_types(self) -> Self;
}

impl Feed for Operation {
    fn after(self) -> Self {
        self.query(
            "after",
            "The position after which to begin: `next` of the page before, or the `position` of the last event.",
            position(),
            0,
        )
    }

    fn of_types(self) -> Self {
        self.query(
            "types",
            "Types with commas between them; `user.*` stands for all of `user`, `*` for all. One that no event has is \
             refused. Without it there is an event for every position.",
            types(),
            "user.*,domain.blocked",
        )
    }
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/events", TAG, "What happened, in the order of the log")
            .text(
                "Every event has the position after that of the one before, so a reader can prove that it missed \
                 nothing. With `types`, `next` also passes what was not wanted. After the head there is nothing yet.",
            )
            .after()
            .of_types()
            .query(
                "limit",
                "How many events a page holds at most.",
                json!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL }),
                USUAL,
            )
            .query(
                "wait",
                "How many seconds to wait for an event if there is none yet.",
                json!({ "type": "integer", "minimum": 0, "maximum": LONGEST, "default": 0 }),
                0,
            )
            .answers::<Page>(200, "The events after that position."),
        Operation::get("/v1/events/stream", TAG, "The same as server-sent events")
            .text(
                "`id` is the position, `event` the type, `data` the document. A reader that comes back with \
                 `Last-Event-ID` goes on after it, whatever `after` says. A comment tells the position at least every \
                 ten seconds. The stream ends when its reader may no longer read, and when the service ends.",
            )
            .after()
            .of_types()
            .stream("Events for as long as the connection stands."),
        Operation::get("/v1/events/{position}", TAG, "One event")
            .answers::<CloudEvent>(200, "The event at that position.")
            .refused(&[Slug::Invalid]),
    ]
}
