//! What somebody who is signed in may change of their account without their password: a number nobody signs in with,
//! and whether others may find them.

use aggregates::user::{ProfileChange, User, UserCommand};
use aggregates::values::{Coordinates, Phone};
use uuid::Uuid;

use super::command::Asked;
use super::{Refusal, Registry, country_at};

/// What is to be changed; none: it stays.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// The number.
    pub phone: Option<Phone>,
    /// Whether others may find the account by its place. Without a place nobody can.
    pub discoverable: Option<bool>,
    /// Where the person is.
    pub position: Option<Coordinates>,
}

/// What was changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// The number.
    pub phone: bool,
    /// Whether others may find the account, or where.
    pub discoverable: bool,
}

impl Registry {
    /// Changes them, all at once or none.
    pub async fn change_details(&self, asked: &Asked, user: Uuid, details: &Details) -> Result<Changed, Refusal> {
        let changed = std::sync::Mutex::new(Changed::default());
        let noted = &changed;
        self.command(asked, Some(user), |unit| async move {
            let (before, _) = unit.load_fresh::<User>(&user.to_string()).await?;
            let mut now = Changed::default();
            if let Some(phone) = &details.phone {
                let command = UserCommand::ChangePhone { phone: phone.clone() };
                let executed = self.decide_user(&unit, asked, user, command).await?;
                now.phone = executed.version > executed.loaded;
                if now.phone {
                    // Codes on their way to the number before open nothing any more.
                    let verification = before.open_phone_verification().map(|open| open.request);
                    let reset = before.open_reset().filter(|open| open.phone.is_some());
                    for request in verification.into_iter().chain(reset.map(|open| open.original)) {
                        unit.drop_code(request);
                    }
                }
            }
            let placed = details.position.is_some() || before.profile().position.is_some();
            let change = ProfileChange {
                discoverable: details.discoverable.map(|wanted| wanted && placed),
                position: details.position.map(|position| Some((position, country_at(&position)))),
                ..ProfileChange::default()
            };
            let command = UserCommand::UpdateProfile(Box::new(change));
            let executed = self.decide_user(&unit, asked, user, command).await?;
            now.discoverable = executed.version > executed.loaded;
            *noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
            Ok(())
        })
        .await?;
        Ok(changed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
