//! Points on the globe as points in space: there is no antimeridian there, and a pole is a point like any other.
//!
//! Two points are as far apart as the chord between them says: the longer the chord, the longer the way over ground.
//! Its square needs no more than multiplication, so that a database reckons it to the last bit as we do.

use std::f64::consts::PI;

/// Mean radius of the Earth, kilometres (IUGG).
pub const EARTH_KM: f64 = 6_371.008_8;
/// No two places are farther apart.
pub const FARTHEST_KM: f64 = PI * EARTH_KM;
/// A little more than the square of the longest chord.
const EVERYWHERE: f64 = 4.000_001;
/// Cells are that many times halved cubes: about 12 metres wide.
const DEPTH: u32 = 20;

/// A point on the unit sphere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    /// Towards 0° north 0° east.
    pub x: f64,
    /// Towards 0° north 90° east.
    pub y: f64,
    /// Towards the north pole.
    pub z: f64,
}

impl Spot {
    /// The point at these degrees.
    #[must_use]
    pub fn at(latitude: f64, longitude: f64) -> Self {
        let (latitude, longitude) = (latitude.to_radians(), longitude.to_radians());
        Self {
            x: steady(latitude.cos() * longitude.cos()),
            y: steady(latitude.cos() * longitude.sin()),
            z: steady(latitude.sin()),
        }
    }

    /// The square of the chord to another point. In this very order the store reckons it too.
    #[must_use]
    pub fn apart(self, other: Self) -> f64 {
        let (x, y, z) = (self.x - other.x, self.y - other.y, self.z - other.z);
        x * x + y * y + z * z
    }

    /// The smallest cell it lies in: the bits of its three coordinates in turns, so that a larger cell is a range.
    #[must_use]
    pub fn cell(self) -> i64 {
        interleaved([index(self.x, DEPTH), index(self.y, DEPTH), index(self.z, DEPTH)])
    }
}

/// To less than a micrometre: the last digits of a sine differ between machines, and the rows of one must be those of
/// another.
fn steady(at: f64) -> f64 {
    const GRAINS: f64 = 17_592_186_044_416.0;
    (at * GRAINS).round() / GRAINS + 0.0
}

/// Kilometres over ground for the square of a chord.
#[must_use]
pub fn kilometres(apart: f64) -> f64 {
    2.0 * EARTH_KM * (apart.max(0.0).sqrt() / 2.0).min(1.0).asin()
}

/// The square of the chord for kilometres over ground. Half around the globe is everything, whatever rounding does.
#[must_use]
pub fn chord_squared(kilometres: f64) -> f64 {
    if kilometres >= FARTHEST_KM {
        return EVERYWHERE;
    }
    let chord = 2.0 * (kilometres.clamp(0.0, FARTHEST_KM) / (2.0 * EARTH_KM)).sin();
    chord * chord
}

/// Ranges of cells, the end excluded, that hold every point with at most this square of a chord to `centre`.
///
/// At most 27: cells no narrower than the chord.
#[must_use]
pub fn cover(centre: Spot, apart: f64) -> Vec<(i64, i64)> {
    // A little more, for what rounding takes.
    let chord = apart.max(0.0).sqrt() * (1.0 + 1e-9) + 1e-12;
    let mut depth = 0;
    while depth < DEPTH && width(depth + 1) >= chord {
        depth += 1;
    }
    let axis = |at: f64| index(at - chord, depth)..=index(at + chord, depth);
    let mut ranges = Vec::new();
    for x in axis(centre.x) {
        for y in axis(centre.y) {
            for z in axis(centre.z) {
                if reaches([x, y, z], depth, centre, chord) {
                    let shift = 3 * (DEPTH - depth);
                    let first = interleaved([x, y, z]) << shift;
                    ranges.push((first, first + (1_i64 << shift)));
                }
            }
        }
    }
    joined(ranges)
}

/// Neighbours become one.
fn joined(mut ranges: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::with_capacity(ranges.len());
    for (first, end) in ranges {
        match joined.last_mut() {
            Some(last) if last.1 == first => last.1 = end,
            _ => joined.push((first, end)),
        }
    }
    joined
}

/// The width of a cell of that depth.
fn width(depth: u32) -> f64 {
    2.0 / f64::from(1_u32 << depth)
}

/// Which cell of that depth a coordinate falls into, along its axis.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what lies between 0 and 2 to the 20th fits"
)]
fn index(at: f64, depth: u32) -> u32 {
    let cells = 1_u32 << depth;
    ((at + 1.0) / width(depth)).floor().clamp(0.0, f64::from(cells - 1)) as u32
}

/// Whether a cell meets both the ball around `centre` and the sphere.
fn reaches(cell: [u32; 3], depth: u32, centre: Spot, chord: f64) -> bool {
    let width = width(depth);
    let (mut to_centre, mut nearest, mut farthest) = (0.0, 0.0, 0.0);
    for (index, at) in cell.into_iter().zip([centre.x, centre.y, centre.z]) {
        let low = f64::from(index) * width - 1.0;
        let high = low + width;
        let gap = (low - at).max(at - high).max(0.0);
        to_centre += gap * gap;
        let inner = low.max(-high).max(0.0);
        nearest += inner * inner;
        let outer = low.abs().max(high.abs());
        farthest += outer * outer;
    }
    const SLACK: f64 = 1e-9;
    to_centre <= chord * chord + SLACK * chord && nearest <= 1.0 + SLACK && farthest >= 1.0 - SLACK
}

/// The bits of three numbers in turns.
fn interleaved(of: [u32; 3]) -> i64 {
    let mut all = 0_i64;
    for bit in (0..DEPTH).rev() {
        for number in of {
            all = (all << 1) | i64::from((number >> bit) & 1);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covers(ranges: &[(i64, i64)], cell: i64) -> bool {
        ranges.iter().any(|(first, end)| (*first..*end).contains(&cell))
    }

    /// The haversine formula: another way to the same distance.
    fn haversine(one: (f64, f64), other: (f64, f64)) -> f64 {
        let (lat1, lat2) = (one.0.to_radians(), other.0.to_radians());
        let (dlat, dlon) = (lat2 - lat1, (other.1 - one.1).to_radians());
        let a = (dlat / 2.0).sin().powi(2) + lat1.cos() * lat2.cos() * (dlon / 2.0).sin().powi(2);
        2.0 * EARTH_KM * a.sqrt().min(1.0).asin()
    }

    #[test]
    fn known_distances_are_right() {
        // Paris to Tokyo; two points a degree apart over the antimeridian; over the pole.
        for (one, other, expected) in [
            ((48.8566, 2.3522), (35.6762, 139.6503), 9_712.0),
            ((0.0, 179.5), (0.0, -179.5), 111.2),
            ((89.5, 0.0), (89.5, 180.0), 111.2),
            ((90.0, 0.0), (90.0, 123.0), 0.0),
            ((-90.0, 0.0), (90.0, 0.0), 20_015.1),
        ] {
            let km = kilometres(Spot::at(one.0, one.1).apart(Spot::at(other.0, other.1)));
            assert!((km - expected).abs() < 1.0, "{one:?} {other:?}: {km}");
        }
    }

    #[test]
    fn the_whole_globe_is_covered_when_asked_for() {
        let ranges = cover(Spot::at(10.0, 20.0), chord_squared(FARTHEST_KM));
        for (latitude, longitude) in [(90.0, 0.0), (-90.0, 0.0), (0.0, 180.0), (0.0, -180.0), (-10.0, -160.0)] {
            let other = Spot::at(latitude, longitude);
            assert!(covers(&ranges, other.cell()));
            assert!(Spot::at(10.0, 20.0).apart(other) <= chord_squared(FARTHEST_KM));
        }
    }

    prop_compose! {
        /// A place; often near a pole or the antimeridian.
        fn place()(kind in 0..4, latitude in -90.0..=90.0f64, longitude in -180.0..=180.0f64, near in -0.1..0.1f64) -> (f64, f64) {
            match kind {
                0 => ((90.0 - near.abs()) * near.signum(), longitude),
                1 => (latitude, (180.0 - near.abs()) * near.signum()),
                _ => (latitude, longitude),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn distances_are_those_of_another_formula(one in place(), other in place()) {
            let km = kilometres(Spot::at(one.0, one.1).apart(Spot::at(other.0, other.1)));
            // Near the other end of the globe both formulas lose digits.
            prop_assert!((km - haversine(one, other)).abs() < 0.5, "{km}");
        }

        #[test]
        fn a_cover_holds_everything_within_its_circle(
            centre in place(), scale in 0.0..1.0f64, away in 0.0..=1.0f64, bearing in 0.0..6.3f64
        ) {
            // From metres to half around the globe.
            let radius = FARTHEST_KM * 10f64.powf(-7.0 * scale);
            let (latitude, angle) = (centre.0.to_radians(), radius * away / EARTH_KM);
            let found_latitude = (latitude.sin() * angle.cos() + latitude.cos() * angle.sin() * bearing.cos()).clamp(-1.0, 1.0).asin();
            let east = (bearing.sin() * angle.sin() * latitude.cos()).atan2(angle.cos() - latitude.sin() * found_latitude.sin());
            let other = Spot::at(found_latitude.to_degrees(), centre.1 + east.to_degrees());
            let (centre, limit) = (Spot::at(centre.0, centre.1), chord_squared(radius));
            let ranges = cover(centre, limit);
            prop_assert!(!ranges.is_empty() && ranges.len() <= 27);
            prop_assert!(centre.apart(other) > limit || covers(&ranges, other.cell()));
        }

        #[test]
        fn a_small_circle_is_covered_by_little(centre in place()) {
            let ranges = cover(Spot::at(centre.0, centre.1), chord_squared(10.0));
            let cells: i64 = ranges.iter().map(|(first, end)| end - first).sum();
            // Of 2^60 cells of 12 metres.
            prop_assert!(cells < 1 << 36, "{cells}");
        }

        #[test]
        fn kilometres_and_chords_are_one_anothers_reverse(km in 0.0..20_000.0f64) {
            prop_assert!((kilometres(chord_squared(km)) - km).abs() < 0.01);
        }
    }
}
