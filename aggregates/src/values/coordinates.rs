//! A point on the globe.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Numbers that are no point. They are never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoordinatesError {
    /// The latitude is out of range.
    #[error("a latitude lies between -90 and 90 degrees")]
    Latitude,
    /// The longitude is out of range.
    #[error("a longitude lies between -180 and 180 degrees")]
    Longitude,
}

/// A point in degrees (WGS 84), with the digits its client sent.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Coordinates {
    latitude: f64,
    longitude: f64,
}

// Both numbers are finite, so a point always equals itself.
impl Eq for Coordinates {}

/// How a point stands in an event.
#[derive(Serialize, Deserialize)]
struct Stored {
    latitude: f64,
    longitude: f64,
}

impl Coordinates {
    /// Checks a point.
    pub fn new(latitude: f64, longitude: f64) -> Result<Self, CoordinatesError> {
        // A range holds no NaN, so this also refuses what is not finite.
        if !(-90.0..=90.0).contains(&latitude) {
            Err(CoordinatesError::Latitude)
        } else if !(-180.0..=180.0).contains(&longitude) {
            Err(CoordinatesError::Longitude)
        } else {
            // Adding zero makes a plain zero of a negative one, which would be written differently.
            Ok(Self {
                latitude: latitude + 0.0,
                longitude: longitude + 0.0,
            })
        }
    }

    /// Degrees north.
    #[must_use]
    pub const fn latitude(&self) -> f64 {
        self.latitude
    }

    /// Degrees east.
    #[must_use]
    pub const fn longitude(&self) -> f64 {
        self.longitude
    }
}

impl TryFrom<Stored> for Coordinates {
    type Error = CoordinatesError;

    fn try_from(stored: Stored) -> Result<Self, CoordinatesError> {
        Self::new(stored.latitude, stored.longitude)
    }
}

impl From<Coordinates> for Stored {
    fn from(point: Coordinates) -> Self {
        Self {
            latitude: point.latitude,
            longitude: point.longitude,
        }
    }
}

impl fmt::Debug for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Coordinates(..)")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_point_lies_on_the_globe() {
        assert!(Coordinates::new(90.0, -180.0).is_ok());
        assert_eq!(Coordinates::new(90.1, 0.0), Err(CoordinatesError::Latitude));
        assert_eq!(Coordinates::new(f64::NAN, 0.0), Err(CoordinatesError::Latitude));
        assert_eq!(Coordinates::new(0.0, 180.1), Err(CoordinatesError::Longitude));
        assert_eq!(
            Coordinates::new(0.0, f64::NEG_INFINITY),
            Err(CoordinatesError::Longitude)
        );
    }

    #[test]
    fn a_negative_zero_is_a_zero() {
        let json = serde_json::to_string(&Coordinates::new(-0.0, -0.0).unwrap()).unwrap();
        assert_eq!(json, r#"{"latitude":0.0,"longitude":0.0}"#);
    }

    #[test]
    fn debug_does_not_print_the_point() {
        assert_eq!(format!("{:?}", Coordinates::new(1.0, 2.0).unwrap()), "Coordinates(..)");
    }

    proptest! {
        #[test]
        fn every_digit_survives_json(latitude in -90.0..=90.0f64, longitude in -180.0..=180.0f64) {
            let point = Coordinates::new(latitude, longitude).unwrap();
            let json = serde_json::to_string(&point).unwrap();
            prop_assert_eq!(serde_json::from_str::<Coordinates>(&json).unwrap(), point);
        }
    }
}
