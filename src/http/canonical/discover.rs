//! `GET /v1/discover`: who can be found near a place.

use aggregates::values::{Country, GeoId, Username};
use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use projections::globe::{FARTHEST_KM, chord_squared, kilometres};
use serde::Serialize;
use uuid::Uuid;

use super::problem;
use super::reads::{MOST, USUAL};
use super::wire::Page;
use crate::http::App;
use crate::http::document::shape;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::store::{Circle, Near};

/// Somebody as others may see them.
#[derive(Debug, Serialize)]
pub(super) struct NearBody {
    id: Uuid,
    username: Option<String>,
    geo_id: Option<String>,
    country: Option<String>,
    distance_km: f64,
}

shape! {
    /// Somebody who may be found, as others see them.
    NearBody as "Near" {
        id: Uuid,
        username: Option<Username>,
        /// The person's own name for the place.
        geo_id: Option<GeoId>,
        country: Option<Country>,
        /// From the middle of the circle, to the metre; 0 where their land holds it.
        distance_km: f64,
    }
}

impl From<Near> for NearBody {
    fn from(near: Near) -> Self {
        Self {
            id: near.user.id,
            username: near.user.username,
            geo_id: near.user.geo_id,
            country: near.user.country,
            // To the metre.
            distance_km: (kilometres(near.apart) * 1_000.0).round() / 1_000.0,
        }
    }
}

/// A number of a query, within a range. Only what JSON would take too.
fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let plain = text.len() <= 32
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    match text.parse::<f64>() {
        Ok(number) if plain && (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("must be a number from {least} to {most}")),
    }
}

/// Where a page ended, bound to the circle: all numbers by their bits.
type Cursor = (u64, u64, u64, u64, Uuid);

fn cursor(circle: &Circle, (apart, id): (f64, Uuid)) -> String {
    let cursor: Cursor = (
        circle.latitude.to_bits(),
        circle.longitude.to_bits(),
        circle.apart.to_bits(),
        apart.to_bits(),
        id,
    );
    URL_SAFE_NO_PAD.encode(serde_json::json!(cursor).to_string())
}

fn read_cursor(circle: Option<&Circle>, text: &str) -> Result<(f64, Uuid), &'static str> {
    let wrong = "is not a cursor of this list";
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong)?;
    let (latitude, longitude, edge, apart, id): Cursor = serde_json::from_slice(&bytes).map_err(|_| wrong)?;
    let apart = f64::from_bits(apart);
    let of = circle.map(|circle| {
        (
            circle.latitude.to_bits(),
            circle.longitude.to_bits(),
            circle.apart.to_bits(),
        )
    });
    // Where the circle itself is wrong, that is what is said.
    if of.is_some_and(|of| of != (latitude, longitude, edge)) || !(0.0..=5.0).contains(&apart) {
        return Err(wrong);
    }
    Ok((apart, id))
}

pub(super) async fn discover(
    State(app): State<App>,
    mut parameters: Parameters,
) -> Result<Json<Page<NearBody, String>>, Problem> {
    let latitude = parameters.needed("latitude", |text| number(text, -90.0, 90.0));
    let longitude = parameters.needed("longitude", |text| number(text, -180.0, 180.0));
    let radius = parameters.needed("radius_km", |text| number(text, 0.0, FARTHEST_KM.ceil()));
    let circle = match (latitude, longitude, radius) {
        (Some(latitude), Some(longitude), Some(radius)) => Some(Circle {
            // A zero is a zero, whatever its sign.
            latitude: latitude + 0.0,
            longitude: longitude + 0.0,
            apart: chord_squared(radius),
        }),
        _ => None,
    };
    let after = parameters.optional("cursor", |text| read_cursor(circle.as_ref(), text));
    let limit = parameters.limit(MOST, USUAL);
    parameters.finish()?;
    let circle = circle.unwrap_or(Circle {
        latitude: 0.0,
        longitude: 0.0,
        apart: 0.0,
    });
    let page = app.registry().discover(&circle, after, limit).await.map_err(problem)?;
    Ok(Json(Page {
        items: page.found.into_iter().map(NearBody::from).collect(),
        next: page.next.map(|last| cursor(&circle, last)),
    }))
}
