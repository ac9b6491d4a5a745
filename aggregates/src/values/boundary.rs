//! The outline of a piece of land.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How many positions an outline may have in all.
const MOST_POSITIONS: usize = 10_000;

/// Why a JSON value is no outline. Its numbers are never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BoundaryError {
    /// It is something else.
    #[error("a boundary is a GeoJSON Polygon or MultiPolygon")]
    Kind,
    /// It has no polygon, or a polygon has no ring.
    #[error("a boundary has at least one polygon, and a polygon at least one ring")]
    Empty,
    /// A ring is too short.
    #[error("a ring of a boundary has at least four positions")]
    ShortRing,
    /// A ring does not end where it began.
    #[error("a ring of a boundary ends at the position where it begins")]
    OpenRing,
    /// A position is not two or three numbers on the globe.
    #[error("a position is a longitude and a latitude in degrees, with an optional height")]
    Position,
    /// There are too many positions.
    #[error("a boundary has at most 10000 positions")]
    TooLarge,
}

/// A `GeoJSON` Polygon or `MultiPolygon` with closed rings on the globe.
///
/// Of the JSON, `type` and `coordinates` are kept as they came. Other members are dropped: `GeoJSON`
/// gives them no meaning, and nothing would bound what they hold.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Boundary(Value);

impl Boundary {
    /// Checks an outline.
    pub fn parse(value: &Value) -> Result<Self, BoundaryError> {
        let kind = value.get("type").and_then(Value::as_str).ok_or(BoundaryError::Kind)?;
        let coordinates = value.get("coordinates").ok_or(BoundaryError::Kind)?;
        let mut positions = 0;
        match kind {
            "Polygon" => check_polygon(coordinates, &mut positions)?,
            "MultiPolygon" => {
                for polygon in items(coordinates)? {
                    check_polygon(polygon, &mut positions)?;
                }
            }
            _ => return Err(BoundaryError::Kind),
        }
        Ok(Self(json!({ "type": kind, "coordinates": coordinates })))
    }

    /// The outline as JSON.
    #[must_use]
    pub const fn as_json(&self) -> &Value {
        &self.0
    }
}

/// The members of an array that is not empty.
fn items(value: &Value) -> Result<&[Value], BoundaryError> {
    match value.as_array().ok_or(BoundaryError::Kind)?.as_slice() {
        [] => Err(BoundaryError::Empty),
        items => Ok(items),
    }
}

fn check_polygon(polygon: &Value, positions: &mut usize) -> Result<(), BoundaryError> {
    for ring in items(polygon)? {
        let ring = ring.as_array().ok_or(BoundaryError::Kind)?.as_slice();
        *positions += ring.len();
        if *positions > MOST_POSITIONS {
            return Err(BoundaryError::TooLarge);
        }
        let ([first, .., last], 4..) = (ring, ring.len()) else {
            return Err(BoundaryError::ShortRing);
        };
        if !ring.iter().all(is_position) {
            return Err(BoundaryError::Position);
        }
        if numbers(first) != numbers(last) {
            return Err(BoundaryError::OpenRing);
        }
    }
    Ok(())
}

/// Compared as numbers: `1` and `1.0` are the same place.
fn numbers(position: &Value) -> Vec<Option<f64>> {
    position.as_array().into_iter().flatten().map(Value::as_f64).collect()
}

fn is_position(position: &Value) -> bool {
    match numbers(position).as_slice() {
        [Some(longitude), Some(latitude)] | [Some(longitude), Some(latitude), Some(_)] => {
            (-180.0..=180.0).contains(longitude) && (-90.0..=90.0).contains(latitude)
        }
        _ => false,
    }
}

impl TryFrom<Value> for Boundary {
    type Error = BoundaryError;

    fn try_from(value: Value) -> Result<Self, BoundaryError> {
        Self::parse(&value)
    }
}

impl From<Boundary> for Value {
    fn from(boundary: Boundary) -> Self {
        boundary.0
    }
}

/// Compact `GeoJSON` text, as the read model keeps it.
impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Boundary(..)")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn square() -> Value {
        json!([[4.0, 52.0], [4.1, 52.0], [4.1, 52.1], [4.0, 52.1], [4, 52]])
    }

    fn polygon(rings: &Value) -> Result<Boundary, BoundaryError> {
        Boundary::parse(&json!({ "type": "Polygon", "coordinates": rings }))
    }

    #[test]
    fn a_polygon_and_several_polygons_are_outlines() {
        assert!(polygon(&json!([square()])).is_ok());
        assert!(polygon(&json!([square(), square()])).is_ok());
        let many = json!({ "type": "MultiPolygon", "coordinates": [[square()], [square()]] });
        assert_eq!(Boundary::parse(&many).unwrap().as_json(), &many);
    }

    #[test]
    fn other_members_are_dropped() {
        let value = json!({ "type": "Polygon", "coordinates": [square()], "bbox": [4, 52, 4.1, 52.1], "x": {"y": 1} });
        let kept = json!({ "type": "Polygon", "coordinates": [square()] });
        assert_eq!(Boundary::parse(&value).unwrap().as_json(), &kept);
    }

    #[test]
    fn anything_else_is_no_outline() {
        for value in [
            json!(null),
            json!("Polygon"),
            json!([]),
            json!({ "type": "Point", "coordinates": [4, 52] }),
            json!({ "type": "Polygon" }),
            json!({ "type": "Polygon", "coordinates": 4 }),
            json!({ "type": ["Polygon"], "coordinates": [square()] }),
            json!({ "type": "MultiPolygon", "coordinates": [4] }),
        ] {
            assert_eq!(Boundary::parse(&value), Err(BoundaryError::Kind), "{value}");
        }
    }

    #[test]
    fn an_outline_is_not_empty() {
        assert_eq!(polygon(&json!([])), Err(BoundaryError::Empty));
        assert_eq!(
            Boundary::parse(&json!({ "type": "MultiPolygon", "coordinates": [[]] })),
            Err(BoundaryError::Empty)
        );
    }

    #[test]
    fn a_ring_is_closed_and_has_four_positions() {
        assert_eq!(
            polygon(&json!([[[4, 52], [4, 53], [4, 52]]])),
            Err(BoundaryError::ShortRing)
        );
        assert_eq!(polygon(&json!([[]])), Err(BoundaryError::ShortRing));
        assert_eq!(
            polygon(&json!([[[4, 52], [4, 53], [5, 53], [5, 52]]])),
            Err(BoundaryError::OpenRing)
        );
    }

    #[test]
    fn a_position_is_a_point_on_the_globe() {
        for bad in [
            json!([181, 0]),
            json!([0, 91]),
            json!([0]),
            json!([0, 0, 0, 0]),
            json!(["0", "0"]),
            json!(null),
        ] {
            assert_eq!(
                polygon(&json!([[bad, [4, 53], [5, 53], bad]])),
                Err(BoundaryError::Position),
                "{bad}"
            );
        }
        assert!(polygon(&json!([[[4, 52, 10], [4, 53, 10], [5, 53, 10], [4, 52, 10]]])).is_ok());
    }

    #[test]
    fn an_outline_has_at_most_ten_thousand_positions() {
        let ring = |n: usize| {
            Value::Array(
                (0..n)
                    .map(|i| json!([0, if i + 1 == n { 0 } else { i % 90 }]))
                    .collect(),
            )
        };
        assert!(polygon(&json!([ring(10_000)])).is_ok());
        assert_eq!(
            polygon(&json!([ring(5_000), ring(5_001)])),
            Err(BoundaryError::TooLarge)
        );
    }

    #[test]
    fn debug_does_not_print_the_outline_and_display_is_its_json() {
        let outline = polygon(&json!([square()])).unwrap();
        assert_eq!(format!("{outline:?}"), "Boundary(..)");
        assert_eq!(serde_json::from_str::<Boundary>(&outline.to_string()).unwrap(), outline);
    }
}
