//! The table of API keys. The key itself is not here: its hash is a secret, kept elsewhere.

use aggregates::user::UserEvent;
use aggregates::values::{Role, Timestamp};
use uuid::Uuid;

use crate::Recorded;

/// One API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// The key's id, which is the id of the event that issued it.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// What its owner calls it.
    pub name: Option<String>,
    /// What it may do.
    pub roles: Vec<Role>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl ApiKeyRow {
    /// The row of one key after an event of its owner's stream. With the owner goes the key; events
    /// about another key leave the row as it is.
    #[must_use]
    pub fn fold(row: Option<Self>, at: &Recorded<'_, UserEvent>) -> Option<Self> {
        match (at.event, row) {
            (
                UserEvent::ApiKeyIssued {
                    key_id,
                    name,
                    roles,
                    expires_at,
                    ..
                },
                None,
            ) => Some(Self {
                id: *key_id,
                user_id: at.stream_id()?,
                name: name.known().map(|name| name.as_str().to_owned()),
                roles: roles.clone(),
                created_at: at.at,
                expires_at: *expires_at,
                revoked: false,
            }),
            (UserEvent::ApiKeyRevoked { key_id }, Some(row)) if *key_id == row.id => {
                Some(Self { revoked: true, ..row })
            }
            (UserEvent::Erased {} | UserEvent::Expired {}, _) => None,
            (_, row) => row,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use aggregates::event::Personal;
    use aggregates::values::ApiKeyName;

    use super::*;
    use crate::fixtures::{USER, at, id, recorded};

    fn issued(key: u128) -> UserEvent {
        UserEvent::ApiKeyIssued {
            key_id: id(key),
            name: ApiKeyName::parse("field app").unwrap().into(),
            roles: vec![Role::User],
            expires_at: None,
            paired: None,
            mailed: false,
        }
    }

    fn row() -> Option<ApiKeyRow> {
        ApiKeyRow::fold(None, &recorded(USER, &issued(7), 5))
    }

    #[test]
    fn a_key_has_a_row_from_the_event_that_issued_it() {
        let row = row().unwrap();
        assert_eq!(
            (row.id, row.user_id.to_string().as_str(), row.created_at),
            (id(7), USER, at(5_000_000))
        );
        assert_eq!((row.name.as_deref(), row.revoked), (Some("field app"), false));
    }

    #[test]
    fn a_revoked_key_keeps_its_row() {
        let revoked = ApiKeyRow::fold(row(), &recorded(USER, &UserEvent::ApiKeyRevoked { key_id: id(7) }, 6));
        assert!(revoked.unwrap().revoked);
    }

    #[test]
    fn events_about_another_key_or_none_leave_it_as_it_is() {
        for event in [
            UserEvent::ApiKeyRevoked { key_id: id(8) },
            issued(8),
            UserEvent::RoleGranted { role: Role::Admin },
        ] {
            assert_eq!(ApiKeyRow::fold(row(), &recorded(USER, &event, 6)), row());
        }
        assert_eq!(
            ApiKeyRow::fold(None, &recorded(USER, &UserEvent::ApiKeyRevoked { key_id: id(7) }, 6)),
            None
        );
    }

    #[test]
    fn with_the_owner_goes_the_key() {
        for event in [UserEvent::Erased {}, UserEvent::Expired {}] {
            assert_eq!(ApiKeyRow::fold(row(), &recorded(USER, &event, 6)), None);
        }
    }

    #[test]
    fn a_name_that_was_erased_is_left_empty() {
        let nameless = UserEvent::ApiKeyIssued {
            key_id: id(7),
            name: Personal::unknown(),
            roles: vec![],
            expires_at: None,
            paired: None,
            mailed: false,
        };
        assert_eq!(ApiKeyRow::fold(None, &recorded(USER, &nameless, 5)).unwrap().name, None);
    }
}
