//! What is counted of an account: where it stands, its country and the domain of its address. Nothing else of it.

use aggregates::user::UserEvent;

use crate::{Recorded, Status, UserRow};

/// One account, as far as it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedUser {
    /// Where it stands.
    pub status: Status,
    /// Whether it was in use before it was locked or deactivated.
    pub activated: bool,
    /// The country of its position.
    pub country: Option<String>,
    /// The domain of its address.
    pub domain: Option<String>,
}

impl CountedUser {
    /// The account after an event of its stream: the rules are those of its row.
    #[must_use]
    pub fn fold(user: Option<Self>, at: &Recorded<'_, UserEvent>) -> Option<Self> {
        let row = match user {
            None => None,
            Some(user) => {
                let mut row = UserRow::begin(at)?;
                row.status = user.status;
                row.activated = user.activated;
                row.country = user.country;
                row.email_domain = user.domain;
                Some(row)
            }
        };
        UserRow::fold(row, at).map(|row| Self::of(&row))
    }

    /// What is counted of a row.
    #[must_use]
    pub fn of(row: &UserRow) -> Self {
        Self {
            status: row.status,
            activated: row.activated,
            country: row.country.clone(),
            domain: row.email_domain.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{USER, order, recorded, story};

    proptest! {
        /// Whatever happens to somebody, counting them and folding their row come to the same.
        #[test]
        fn what_is_counted_is_what_the_row_says(orders in prop::collection::vec((any::<u8>(), any::<u8>()), 0..40)) {
            let (_, events) = story(orders.into_iter().map(|(kind, pick)| order(kind, pick)));
            let (mut row, mut counted) = (None, None);
            for (position, event) in (1..).zip(&events) {
                let at = recorded(USER, event, position);
                row = UserRow::fold(row, &at);
                counted = CountedUser::fold(counted, &at);
                prop_assert_eq!(&counted, &row.as_ref().map(CountedUser::of));
            }
        }
    }
}
