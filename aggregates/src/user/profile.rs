//! What a person says of themselves, and the name they sign in with.

use super::{ProfileChange, User, UserEvent};
use crate::values::{ProfileField, Username};

impl User {
    pub(super) fn change_username(&self, username: Username) -> Vec<UserEvent> {
        if self.username.as_ref() == Some(&username) {
            return vec![];
        }
        vec![UserEvent::UsernameChanged {
            username: username.into(),
            previous: self.username.clone().into(),
        }]
    }

    /// Only what differs is recorded; nothing at all when nothing does.
    pub(super) fn update_profile(&self, change: ProfileChange) -> Vec<UserEvent> {
        use ProfileField as F;

        let now = &self.profile;
        // The country belongs to the position: the two change together.
        let here = now.position.map(|position| (position, now.country));
        let mut fields = Vec::new();
        let full_name = differing(&mut fields, F::FullName, change.full_name, &now.full_name).flatten();
        let discoverable = differing(&mut fields, F::Discoverable, change.discoverable, &now.discoverable);
        let place = differing(&mut fields, F::Position, change.position, &here).flatten();
        let geo_id = differing(&mut fields, F::GeoId, change.geo_id, &now.geo_id).flatten();
        let boundary = differing(&mut fields, F::Boundary, change.boundary, &now.boundary).flatten();
        let locale = differing(&mut fields, F::Locale, change.locale, &now.locale).flatten();
        if fields.is_empty() {
            return vec![];
        }
        vec![UserEvent::ProfileUpdated {
            fields,
            full_name: full_name.into(),
            discoverable,
            position: place.map(|(position, _)| position).into(),
            country: place.and_then(|(_, country)| country).into(),
            geo_id: geo_id.into(),
            boundary: boundary.into(),
            locale: locale.into(),
        }]
    }
}

/// What is wanted of a field if it differs from what is; its name then stands among `fields`.
fn differing<T: PartialEq>(
    fields: &mut Vec<ProfileField>,
    field: ProfileField,
    wanted: Option<T>,
    present: &T,
) -> Option<T> {
    let wanted = wanted.filter(|wanted| wanted != present)?;
    fields.push(field);
    Some(wanted)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use crate::user::fixtures::{registered, tim, username, verified_ada};
    use crate::user::{ProfileChange, User, UserCommand, UserEvent};
    use crate::values::{Coordinates, Country, FullName, GeoId, Locale, ProfileField};

    fn update(change: ProfileChange) -> UserCommand {
        UserCommand::UpdateProfile(Box::new(change))
    }

    fn place() -> (Coordinates, Option<Country>) {
        (Coordinates::new(1.3, 103.8).unwrap(), Country::parse("SG").ok())
    }

    fn full() -> ProfileChange {
        ProfileChange {
            full_name: Some(FullName::parse("Tim Smith").ok()),
            discoverable: Some(true),
            position: Some(Some(place())),
            geo_id: Some(GeoId::parse("geo-1").ok()),
            boundary: None,
            locale: Some(Locale::parse("en-SG").ok()),
        }
    }

    fn fields(events: &[UserEvent]) -> Vec<ProfileField> {
        match events {
            [UserEvent::ProfileUpdated { fields, .. }] => fields.clone(),
            _ => unreachable!("{events:?}"),
        }
    }

    fn updated() -> User {
        registered(tim()).then(update(full()))
    }

    #[test]
    fn an_update_names_the_fields_that_changed() {
        use ProfileField as F;
        let events = registered(tim()).events(update(full()));
        assert_eq!(
            fields(&events),
            [F::FullName, F::Discoverable, F::Position, F::GeoId, F::Locale]
        );
        assert_eq!(updated().profile().country, Country::parse("SG").ok());
    }

    #[test]
    fn the_same_values_again_change_nothing() {
        assert_eq!(updated().events(update(full())), []);
        assert_eq!(updated().events(update(ProfileChange::default())), []);
    }

    #[test]
    fn only_what_differs_is_recorded() {
        let events = updated().events(update(ProfileChange {
            discoverable: Some(false),
            ..full()
        }));
        assert_eq!(fields(&events), [ProfileField::Discoverable]);
        assert!(matches!(&events[..], [UserEvent::ProfileUpdated { full_name, .. }] if full_name.is_unknown()));
    }

    #[test]
    fn a_field_can_be_cleared_and_the_rest_stays() {
        let tim = updated().then(update(ProfileChange {
            full_name: Some(None),
            ..ProfileChange::default()
        }));
        assert_eq!(tim.profile().full_name, None);
        assert_eq!(tim.profile().geo_id, GeoId::parse("geo-1").ok());
    }

    #[test]
    fn the_country_goes_with_the_position() {
        let tim = updated().then(update(ProfileChange {
            position: Some(None),
            ..ProfileChange::default()
        }));
        assert_eq!((tim.profile().position, tim.profile().country), (None, None));
    }

    #[test]
    fn a_username_is_changed_and_the_one_before_is_named() {
        let events = verified_ada().events(UserCommand::ChangeUsername {
            username: username("countess"),
        });
        let changed = UserEvent::UsernameChanged {
            username: username("countess").into(),
            previous: username("ada").into(),
        };
        assert_eq!(events, [changed]);
    }

    #[test]
    fn the_same_username_changes_nothing_but_another_case_does() {
        let same = UserCommand::ChangeUsername {
            username: username("ada"),
        };
        assert_eq!(verified_ada().events(same), []);
        let other_case = UserCommand::ChangeUsername {
            username: username("Ada"),
        };
        assert_eq!(verified_ada().events(other_case).len(), 1);
    }
}
