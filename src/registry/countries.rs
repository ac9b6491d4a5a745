//! Which country a place lies in. The borders are those of OpenStreetMap contributors (ODbL).

use std::sync::OnceLock;

use aggregates::values::{Coordinates, Country};
use country_boundaries::{BOUNDARIES_ODBL_360X180, CountryBoundaries, LatLon};

/// The country of a place; none at sea. The borders are read on first use.
#[must_use]
pub fn country_at(place: &Coordinates) -> Option<Country> {
    static BORDERS: OnceLock<Option<CountryBoundaries>> = OnceLock::new();
    let borders = BORDERS
        .get_or_init(|| CountryBoundaries::from_reader(BOUNDARIES_ODBL_360X180).ok())
        .as_ref()?;
    let place = LatLon::new(place.latitude(), place.longitude()).ok()?;
    // Subdivisions such as `US-TX` stand beside their country: the two-letter id is the country's.
    borders.ids(place).into_iter().find_map(|id| Country::parse(id).ok())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;

    #[test]
    fn a_place_on_land_has_a_country_and_the_sea_has_none() {
        let at = |latitude, longitude| country_at(&Coordinates::new(latitude, longitude).unwrap());
        assert_eq!(at(1.3521, 103.8198).unwrap().as_str(), "SG");
        assert_eq!(at(31.0, -100.0).unwrap().as_str(), "US");
        assert!(at(-45.0, -120.0).is_none());
    }
}
