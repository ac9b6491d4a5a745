//! Where an account may be found on the globe: one row for its position, a few for its land.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::UserRow;
use crate::globe::Spot;
use crate::land::Land;

/// One part of the globe that an account is in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlaceRow {
    /// Whose.
    pub user_id: Uuid,
    /// 0 or more: the cell of its position. Below 0: a square that some of its land lies in.
    pub cell: i64,
    /// Its position.
    pub spot: Option<Spot>,
}

/// Whether others may find an account by its place: it wants so, and it is in use.
#[must_use]
pub fn is_discoverable(row: &UserRow) -> bool {
    row.discoverable && row.is_in_use()
}

/// The places of an account, by cell. Nobody else may find it: none.
#[must_use]
pub fn places_of(row: &UserRow) -> BTreeMap<i64, PlaceRow> {
    let mut places = BTreeMap::new();
    if !is_discoverable(row) {
        return places;
    }
    let mut place = |cell, spot| {
        let user_id = row.id;
        places.insert(cell, PlaceRow { user_id, cell, spot });
    };
    if let (Some(latitude), Some(longitude)) = (row.latitude, row.longitude) {
        let spot = Spot::at(latitude, longitude);
        place(spot.cell(), Some(spot));
    }
    if let Some(land) = row.boundary.as_deref().and_then(Land::parse) {
        for square in land.squares() {
            place(square, None);
        }
    }
    places
}

/// Whether two states of an account may be found at different places.
#[must_use]
pub fn places_differ(one: &UserRow, other: &UserRow) -> bool {
    let shown = (is_discoverable(one), is_discoverable(other));
    let same = one.latitude == other.latitude && one.longitude == other.longitude && one.boundary == other.boundary;
    shown.0 != shown.1 || (shown.0 && !same)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::Status;
    use crate::fixtures::adas_row;

    fn farmer() -> UserRow {
        UserRow {
            status: Status::Active,
            discoverable: true,
            latitude: Some(52.0),
            longitude: Some(5.0),
            boundary: Some(
                r#"{"type":"Polygon","coordinates":[[[5,52],[5.01,52],[5.01,52.01],[5,52.01],[5,52]]]}"#.to_owned(),
            ),
            ..adas_row()
        }
    }

    #[test]
    fn a_position_is_one_place_and_land_a_few() {
        let places = places_of(&farmer());
        assert_eq!(places.values().filter(|place| place.spot.is_some()).count(), 1);
        assert!((2..=7).contains(&places.len()));
        assert!(
            places
                .iter()
                .all(|(cell, place)| *cell == place.cell && (*cell >= 0) == place.spot.is_some())
        );
    }

    #[test]
    fn whoever_hides_or_is_not_in_use_has_no_place() {
        for status in Status::ALL {
            let row = UserRow {
                status: *status,
                ..farmer()
            };
            assert_eq!(places_of(&row).is_empty(), *status != Status::Active, "{status:?}");
            assert_eq!(places_differ(&row, &farmer()), *status != Status::Active);
        }
        let hidden = UserRow {
            discoverable: false,
            ..farmer()
        };
        assert!(places_of(&hidden).is_empty() && places_differ(&hidden, &farmer()));
        let moved = UserRow {
            latitude: None,
            ..hidden.clone()
        };
        assert!(!places_differ(&hidden, &moved));
    }
}
