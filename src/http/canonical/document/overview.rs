//! Who can be found near a place, and what administrators see of the whole.

use projections::globe::FARTHEST_KM;
use serde_json::{Value, json};

use crate::http::canonical::discover::NearBody;
use crate::http::canonical::overview::{FollowerBody, StatisticsBody};
use crate::http::document::{Listed, Operation};
use crate::http::problem::Slug;

fn number(least: f64, most: f64) -> Value {
    json!({ "type": "number", "minimum": least, "maximum": most })
}

fn day() -> Value {
    json!({ "type": "string", "format": "date" })
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/discover", "People", "Who can be found near a place")
            .text("Those who are discoverable and active, and whose position lies in the circle or whose land holds its middle. Nearest first.")
            .needed("latitude", "Degrees, WGS 84.", number(-90.0, 90.0), 1.3521)
            .needed("longitude", "Degrees, WGS 84.", number(-180.0, 180.0), 103.8198)
            .needed("radius_km", "Along the globe.", number(0.0, FARTHEST_KM.ceil()), 25)
            .paged()
            .answers::<Listed<NearBody, String>>(200, "A page of them, nearest first."),
        Operation::get("/v1/statistics", "Administration", "What there is, and what happened when")
            .query("from", "The first day; without it, that of the last thirty days or twelve months.", day(), "2026-11-01")
            .query("to", "The last day; without it, today.", day(), "2026-11-30")
            .query(
                "by",
                "The length of a period; at most 366 of them.",
                json!({ "type": "string", "enum": ["day", "month"], "default": "day" }),
                "day",
            )
            .answers::<StatisticsBody>(200, "The counts, as far as their follower has come."),
        Operation::get("/v1/followers", "Administration", "What follows the log, and how far behind it is")
            .answers::<Listed<FollowerBody, String>>(200, "All of them.")
            .refused(&[Slug::Invalid]),
    ]
}
