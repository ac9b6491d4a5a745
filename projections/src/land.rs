//! The land inside a boundary, and the squares of longitudes and latitudes that some of it lies in.
//!
//! The edges of a boundary are straight lines on a map of longitudes and latitudes, as `GeoJSON` says. One that would
//! go more than half around the globe goes the shorter way, over the antimeridian; one from -180° to 180° is a whole
//! parallel. A ring that goes around a pole holds that pole.

use serde_json::Value;

/// Squares are that many times halved: some metres wide.
const DEPTH: u32 = 23;
/// A boundary of more squares is put into larger ones.
const MOST_SQUARES: usize = 64;

type Point = (f64, f64);

/// Longitudes that go on beyond 180°, latitudes; ends where it begins.
#[derive(Debug, Clone, PartialEq)]
struct Ring(Vec<Point>);

/// Polygons, each an outer ring and its holes.
#[derive(Debug, Clone, PartialEq)]
pub struct Land(Vec<Vec<Ring>>);

impl Land {
    /// Reads the text of a boundary. None: it is none.
    #[must_use]
    pub fn parse(boundary: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(boundary).ok()?;
        let coordinates = value.get("coordinates")?;
        let polygons = match value.get("type")?.as_str()? {
            "Polygon" => vec![polygon(coordinates)?],
            "MultiPolygon" => coordinates.as_array()?.iter().map(polygon).collect::<Option<_>>()?,
            _ => return None,
        };
        Some(Self(polygons))
    }

    /// Whether a place is inside or on the border.
    #[must_use]
    pub fn holds(&self, latitude: f64, longitude: f64) -> bool {
        self.0.iter().any(|rings| match rings.as_slice() {
            [] => false,
            [outer, holes @ ..] => {
                outer.holds(latitude, longitude)
                    && !holes
                        .iter()
                        .any(|hole| hole.holds(latitude, longitude) && !hole.borders(latitude, longitude))
            }
        })
    }

    /// The squares some of it lies in, as numbers below 0.
    #[must_use]
    pub fn squares(&self) -> Vec<i64> {
        for coarser in 0..=DEPTH {
            let mut squares: Vec<i64> = self
                .0
                .iter()
                .filter_map(|rings| rings.first())
                .flat_map(|outer| outer.squares(DEPTH - coarser))
                .collect();
            squares.sort_unstable();
            squares.dedup();
            if squares.len() <= MOST_SQUARES {
                return squares;
            }
        }
        Vec::new()
    }
}

/// The squares of every size that a place lies in.
#[must_use]
pub fn squares_at(latitude: f64, longitude: f64) -> Vec<i64> {
    (0..=DEPTH)
        .map(|depth| square(depth, column(longitude, depth), row(latitude, depth)))
        .collect()
}

fn polygon(value: &Value) -> Option<Vec<Ring>> {
    value.as_array()?.iter().map(ring).collect()
}

fn ring(value: &Value) -> Option<Ring> {
    let mut points: Vec<Point> = Vec::new();
    // What stands in the boundary: -180° and 180° are told apart there, and only there.
    let mut before = None;
    for position in value.as_array()? {
        let stands = position.get(0)?.as_f64()?;
        let latitude = position.get(1)?.as_f64()?;
        let longitude = match (before, points.last()) {
            (Some(before), Some((last, _))) => last + shorter_way(stands - before),
            _ => stands,
        };
        before = Some(stands);
        points.push((longitude, latitude));
    }
    let (first, last) = (*points.first()?, *points.last()?);
    if (last.0 - first.0).abs() > 180.0 {
        // It went around the globe: it closes over the pole on its side.
        #[expect(clippy::cast_precision_loss, reason = "a boundary has at most 10,000 positions")]
        let middle = points.iter().map(|(_, latitude)| latitude).sum::<f64>() / points.len() as f64;
        let pole = if middle < 0.0 { -91.0 } else { 91.0 };
        points.extend([(last.0, pole), (first.0, pole), first]);
    }
    Some(Ring(points))
}

/// Degrees east from one longitude to another. Exactly once around is meant as it is.
fn shorter_way(east: f64) -> f64 {
    if east.abs() >= 360.0 || east.abs() <= 180.0 {
        east
    } else {
        east - 360.0 * east.signum()
    }
}

impl Ring {
    /// Inside or on the border. A ring may stand one turn to either side of where the place is looked for.
    fn holds(&self, latitude: f64, longitude: f64) -> bool {
        if latitude.abs() >= 90.0 && self.0.iter().any(|(_, of)| *of * latitude.signum() >= 90.0) {
            // All longitudes meet there.
            return true;
        }
        self.turns(longitude).any(|longitude| self.winds(latitude, longitude)) || self.borders(latitude, longitude)
    }

    /// On the border.
    fn borders(&self, latitude: f64, longitude: f64) -> bool {
        self.turns(longitude).any(|longitude| {
            self.edges().any(|((ax, ay), (bx, by))| {
                let across = (bx - ax) * (latitude - ay) - (by - ay) * (longitude - ax);
                across == 0.0
                    && (ax.min(bx)..=ax.max(bx)).contains(&longitude)
                    && (ay.min(by)..=ay.max(by)).contains(&latitude)
            })
        })
    }

    fn turns(&self, longitude: f64) -> impl Iterator<Item = f64> {
        let (west, east) = self.reach();
        (-2_i8..=2)
            .map(move |turn| longitude + 360.0 * f64::from(turn))
            .filter(move |longitude| (west..=east).contains(longitude))
    }

    fn edges(&self) -> impl Iterator<Item = (Point, Point)> {
        self.0.iter().copied().zip(self.0.iter().skip(1).copied())
    }

    /// Whether a line to the east meets the ring an odd number of times.
    fn winds(&self, latitude: f64, longitude: f64) -> bool {
        let crossed = self.edges().filter(|((ax, ay), (bx, by))| {
            (*ay > latitude) != (*by > latitude) && longitude < (bx - ax) * (latitude - ay) / (by - ay) + ax
        });
        crossed.count() % 2 == 1
    }

    /// From west to east.
    fn reach(&self) -> (f64, f64) {
        let longitudes = self.0.iter().map(|(longitude, _)| *longitude);
        longitudes.fold((f64::INFINITY, f64::NEG_INFINITY), |(west, east), longitude| {
            (west.min(longitude), east.max(longitude))
        })
    }

    /// At most six squares no smaller than the ring, and no deeper than `deepest`.
    fn squares(&self, deepest: u32) -> Vec<i64> {
        let (west, east) = self.reach();
        let latitudes = self.0.iter().map(|(_, latitude)| latitude.clamp(-90.0, 90.0));
        let (south, north) = latitudes.fold((90.0_f64, -90.0_f64), |(south, north), latitude| {
            (south.min(latitude), north.max(latitude))
        });
        let touches_pole = south <= -90.0 || north >= 90.0;
        let mut depth = deepest;
        while depth > 0 && (side(depth) < east - west || side(depth) / 2.0 < north - south) {
            depth -= 1;
        }
        // A pole has every longitude.
        let columns: Vec<u32> = if touches_pole || east - west >= 360.0 {
            depth = depth.min(1);
            (0..1 << depth).collect()
        } else {
            let middle = west + (east - west) / 2.0;
            vec![column(west, depth), column(middle, depth), column(east, depth)]
        };
        let rows = row(south, depth)..=row(north, depth);
        rows.flat_map(|row| columns.iter().map(move |column| square(depth, *column, row)))
            .collect()
    }
}

/// Degrees of longitude; it has half as many of latitude.
fn side(depth: u32) -> f64 {
    360.0 / f64::from(1_u32 << depth)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
fn column(longitude: f64, depth: u32) -> u32 {
    let most = f64::from((1_u32 << depth) - 1);
    let east = (longitude + 180.0).rem_euclid(360.0);
    (east / side(depth)).floor().clamp(0.0, most) as u32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
fn row(latitude: f64, depth: u32) -> u32 {
    let most = f64::from((1_u32 << depth) - 1);
    ((latitude + 90.0) / (side(depth) / 2.0)).floor().clamp(0.0, most) as u32
}

/// A number for a square of a size: a leading one, then the bits of column and row in turns.
fn square(depth: u32, column: u32, row: u32) -> i64 {
    let mut number = 1_i64;
    for bit in (0..depth).rev() {
        number = (number << 2) | (i64::from((column >> bit) & 1) << 1) | i64::from((row >> bit) & 1);
    }
    -number
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn land(rings: &Value) -> Land {
        Land::parse(&json!({ "type": "Polygon", "coordinates": rings }).to_string()).unwrap()
    }

    /// Between -180° and 180°, both included.
    fn wrapped(longitude: f64) -> f64 {
        if (-180.0..=180.0).contains(&longitude) {
            longitude
        } else {
            (longitude + 180.0).rem_euclid(360.0) - 180.0
        }
    }

    #[test]
    fn a_hole_is_not_held_but_its_border_is() {
        let land = land(&json!([
            [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]],
            [[4, 4], [6, 4], [6, 6], [4, 6], [4, 4]]
        ]));
        assert!(land.holds(2.0, 2.0) && land.holds(4.0, 5.0) && land.holds(0.0, 0.0) && land.holds(10.0, 3.0));
        assert!(!land.holds(5.0, 5.0) && !land.holds(10.1, 5.0) && !land.holds(5.0, -1.0));
    }

    #[test]
    fn a_boundary_may_cross_the_antimeridian() {
        // Taveuni: as one ring over it, and cut in two as the standard would rather have it.
        let one = land(&json!([[
            [179.8, -17.0],
            [-179.8, -17.0],
            [-179.8, -16.6],
            [179.8, -16.6],
            [179.8, -17.0]
        ]]));
        let two = Land::parse(
            &json!({ "type": "MultiPolygon", "coordinates": [
                [[[179.8, -17.0], [180.0, -17.0], [180.0, -16.6], [179.8, -16.6], [179.8, -17.0]]],
                [[[-180.0, -17.0], [-179.8, -17.0], [-179.8, -16.6], [-180.0, -16.6], [-180.0, -17.0]]]
            ] })
            .to_string(),
        )
        .unwrap();
        for land in [one, two] {
            for longitude in [179.9, 180.0, -180.0, -179.9] {
                assert!(land.holds(-16.8, longitude), "{longitude}");
                let squares = land.squares();
                let found = squares_at(-16.8, longitude)
                    .iter()
                    .any(|square| squares.contains(square));
                assert!(found, "{longitude}: {squares:?}");
            }
            assert!(!land.holds(-16.8, 0.0) && !land.holds(-16.8, 179.7) && !land.holds(-16.8, -179.7));
        }
    }

    #[test]
    fn a_ring_around_a_pole_holds_it() {
        for pole in [1.0, -1.0] {
            let around = land(&json!([[
                [0, 80.0 * pole],
                [90, 80.0 * pole],
                [180, 80.0 * pole],
                [-90, 80.0 * pole],
                [0, 80.0 * pole]
            ]]));
            let map = land(&json!([[
                [-180, 80.0 * pole],
                [180, 80.0 * pole],
                [180, 90.0 * pole],
                [-180, 90.0 * pole],
                [-180, 80.0 * pole]
            ]]));
            for land in [around, map] {
                for (latitude, longitude) in [(90.0, 0.0), (90.0, 77.0), (85.0, -135.0), (80.5, 179.9), (89.9, -180.0)]
                {
                    assert!(land.holds(latitude * pole, longitude), "{latitude} {longitude}");
                    let squares = land.squares();
                    assert!(
                        squares_at(latitude * pole, longitude)
                            .iter()
                            .any(|s| squares.contains(s))
                    );
                }
                assert!(!land.holds(79.0 * pole, 0.0) && !land.holds(-85.0 * pole, 0.0));
            }
        }
    }

    #[test]
    fn many_polygons_are_put_into_larger_squares() {
        let field = |n: i32| {
            let (west, south) = (f64::from(n % 40) * 4.0 - 80.0, f64::from(n / 40) * 3.0);
            json!([[
                [west, south],
                [west + 0.01, south],
                [west + 0.01, south + 0.01],
                [west, south + 0.01],
                [west, south]
            ]])
        };
        let fields: Vec<Value> = (0..400).map(field).collect();
        let land = Land::parse(&json!({ "type": "MultiPolygon", "coordinates": fields }).to_string()).unwrap();
        let squares = land.squares();
        assert!((1..=MOST_SQUARES).contains(&squares.len()));
        assert!(land.holds(3.005, -79.995));
        assert!(squares_at(3.005, -79.995).iter().any(|square| squares.contains(square)));
    }

    #[test]
    fn a_field_is_in_a_few_small_squares() {
        let squares = land(&json!([[
            [5.0, 52.0],
            [5.01, 52.0],
            [5.01, 52.01],
            [5.0, 52.01],
            [5.0, 52.0]
        ]]))
        .squares();
        assert!(
            squares.len() <= 6 && squares.iter().all(|square| *square < -(1 << 20)),
            "{squares:?}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// A ring of any shape anywhere, and a place near it: what holds the place has one of its squares.
        #[test]
        fn what_is_held_has_a_square_in_common(
            centre in (-90.0..=90.0f64, -180.0..=180.0f64), size in 0.001..60.0f64,
            corners in prop::collection::vec((-1.0..=1.0f64, -1.0..=1.0f64), 3..12),
            place in (-1.0..=1.0f64, -1.0..=1.0f64), edge in any::<bool>(),
        ) {
            let longitude = if edge { 179.99 } else { centre.1 };
            let at = |(north, east): (f64, f64)| {
                ((centre.0 + north * size).clamp(-90.0, 90.0), wrapped(longitude + east * size))
            };
            let mut ring: Vec<Value> = corners.iter().map(|c| at(*c)).map(|(lat, lon)| json!([lon, lat])).collect();
            ring.push(ring[0].clone());
            let land = land(&json!([ring]));
            let (latitude, longitude) = at(place);
            let squares = land.squares();
            let shared = squares_at(latitude, longitude).iter().any(|square| squares.contains(square));
            prop_assert!(shared || !land.holds(latitude, longitude));
        }

        /// Turned around the globe, a ring holds the same place: the antimeridian is nothing special.
        #[test]
        fn where_on_the_globe_a_ring_lies_makes_no_difference(
            corners in prop::collection::vec((-20i32..=20, -20i32..=20), 3..10), place in (-20i32..=20, -20i32..=20), turn in -360i32..=360
        ) {
            let made = |turn: i32| {
                let mut ring: Vec<Value> = corners
                    .iter()
                    .map(|(lat, lon)| json!([wrapped(f64::from(lon + turn)), f64::from(*lat)]))
                    .collect();
                ring.push(ring[0].clone());
                land(&json!([ring])).holds(f64::from(place.0), wrapped(f64::from(place.1 + turn)))
            };
            prop_assert_eq!(made(0), made(turn));
        }
    }
}
