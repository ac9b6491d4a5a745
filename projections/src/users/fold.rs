//! What an event makes of an account's row. The rules are those of the aggregate: a proof below holds
//! the two together.

use aggregates::session::SessionEvent;
use aggregates::user::UserEvent;
use aggregates::values::{
    Boundary, Coordinates, Country, Dialect, Email, FullName, GeoId, Locale, Phone, ProfileField, Username,
};
use uuid::Uuid;

use super::{Status, UserRow};
use crate::Recorded;

impl UserRow {
    /// The row after an event of the user's stream; none once the person is erased or the registration
    /// has expired. A personal field that is unknown by now is left empty.
    #[must_use]
    pub fn fold(row: Option<Self>, at: &Recorded<'_, UserEvent>) -> Option<Self> {
        let mut row = match at.event {
            UserEvent::Registered { .. } | UserEvent::Imported { .. } => Self::begin(at)?,
            UserEvent::Erased {} | UserEvent::Expired {} => return None,
            _ => row?,
        };
        row.version = at.sequence;
        row.log_position = at.position;
        row.updated_at = at.at;
        row.fold_names(at.event);
        row.fold_profile(at.event);
        row.fold_access(at.event, at.position);
        Some(row)
    }

    /// The row after an event of one of the user's sessions. It is no event of the user's stream, so
    /// `version`, `log_position` and `updated_at` stay.
    #[must_use]
    pub fn fold_session(row: Option<Self>, at: &Recorded<'_, SessionEvent>) -> Option<Self> {
        let mut row = row?;
        match at.event {
            SessionEvent::Started { .. } => row.last_login = Some(at.at),
            SessionEvent::Ended { all: true, .. } => row.end_sessions(at.position, None),
            SessionEvent::Ended { all: false, .. }
            | SessionEvent::Refreshed { .. }
            | SessionEvent::ReuseDetected { .. }
            | SessionEvent::Failed { .. } => {}
        }
        Some(row)
    }

    /// An account as it begins, still without what the event says of it.
    pub(crate) fn begin(at: &Recorded<'_, UserEvent>) -> Option<Self> {
        Some(Self {
            id: at.stream_id()?,
            version: 0,
            log_position: 0,
            created_position: at.position,
            dialect: Dialect::Canonical,
            status: Status::Pending,
            activated: false,
            username: None,
            username_canonical: None,
            email: None,
            email_canonical: None,
            email_domain: None,
            email_verified: false,
            pending_email_canonical: None,
            pending_email_expires: None,
            phone: None,
            phone_registered: None,
            phone_verified: false,
            devices: Vec::new(),
            full_name: None,
            roles: Vec::new(),
            discoverable: false,
            latitude: None,
            longitude: None,
            country: None,
            geo_id: None,
            boundary: None,
            locale: None,
            credential_version: 0,
            expires_at: None,
            created_at: at.at,
            updated_at: at.at,
            last_login: None,
            session_epoch: 0,
            kept_session: None,
        })
    }

    /// The names to sign in with and what is verified of them.
    fn fold_names(&mut self, event: &UserEvent) {
        match event {
            UserEvent::Registered {
                dialect,
                username,
                email,
                phone,
                device,
                email_verified,
                active,
                expires_at,
                ..
            } => {
                self.dialect = *dialect;
                self.take_username(username.known());
                self.take_email(email.known(), *email_verified);
                self.take_phone(phone.known(), false);
                self.devices
                    .extend(device.known().map(|device| device.as_str().to_owned()));
                if *active {
                    self.activate();
                }
                self.expires_at = *expires_at;
            }
            UserEvent::Imported {
                dialect,
                username,
                email,
                phone,
                email_verified,
                phone_verified,
                active,
                created_at,
                ..
            } => {
                self.dialect = *dialect;
                self.take_username(username.known());
                self.take_email(email.known(), *email_verified);
                self.take_phone(phone.known(), *phone_verified);
                if *active {
                    self.activate();
                } else if *email_verified || *phone_verified {
                    // The older system had verified the account and then took it out of use.
                    self.activated = true;
                    self.status = Status::Deactivated;
                }
                self.created_at = created_at.unwrap_or(self.created_at);
            }
            UserEvent::UsernameChanged { username, .. } => self.take_username(username.known()),
            UserEvent::EmailVerified { .. } => {
                self.email_verified = true;
                self.activate();
            }
            UserEvent::PhoneVerified { .. } => {
                self.phone_verified = true;
                self.activate();
            }
            UserEvent::EmailChangeRequested { email, expires_at, .. } => {
                self.pending_email_canonical = email.known().map(|email| email.canonical().to_owned());
                self.pending_email_expires = self.pending_email_canonical.is_some().then_some(*expires_at);
            }
            UserEvent::EmailChanged { email, .. } => {
                self.take_email(email.known(), true);
                self.drop_pending_email();
                self.activate();
            }
            UserEvent::EmailAdded { email } => {
                self.take_email(email.known(), false);
                self.drop_pending_email();
            }
            UserEvent::PhoneChanged { phone, .. } => self.take_phone(phone.known(), false),
            // Whoever knew the old password may have asked for the new address.
            UserEvent::PasswordChanged { .. } | UserEvent::PasswordReset { .. } => self.drop_pending_email(),
            UserEvent::DeviceBound { device } => {
                if let Some(device) = device.known() {
                    self.devices.push(device.as_str().to_owned());
                    self.devices.sort_unstable();
                    self.devices.dedup();
                }
            }
            UserEvent::DeviceUnbound { device } => {
                self.devices
                    .retain(|held| device.known().is_none_or(|device| device.as_str() != held));
            }
            _ => {}
        }
    }

    /// What the person says of themselves.
    fn fold_profile(&mut self, event: &UserEvent) {
        match event {
            UserEvent::Registered {
                full_name,
                discoverable,
                position,
                country,
                geo_id,
                boundary,
                locale,
                ..
            } => {
                self.take_full_name(full_name.known());
                self.discoverable = *discoverable;
                self.take_position(position.known(), country.known());
                self.take_geo_id(geo_id.known());
                self.take_boundary(boundary.known());
                self.take_locale(locale.known());
            }
            UserEvent::Imported { full_name, .. } => self.take_full_name(full_name.known()),
            UserEvent::ProfileUpdated {
                fields,
                full_name,
                discoverable,
                position,
                country,
                geo_id,
                boundary,
                locale,
            } => {
                for field in fields {
                    match field {
                        ProfileField::FullName => self.take_full_name(full_name.known()),
                        ProfileField::Discoverable => self.discoverable = discoverable.unwrap_or_default(),
                        ProfileField::Position => self.take_position(position.known(), country.known()),
                        ProfileField::GeoId => self.take_geo_id(geo_id.known()),
                        ProfileField::Boundary => self.take_boundary(boundary.known()),
                        ProfileField::Locale => self.take_locale(locale.known()),
                    }
                }
            }
            _ => {}
        }
    }

    /// Credentials, locks, roles, and the sessions that end with a change of these.
    fn fold_access(&mut self, event: &UserEvent, position: i64) {
        match event {
            UserEvent::Registered { credential_version, .. } | UserEvent::Imported { credential_version, .. } => {
                self.credential_version = i64::from(*credential_version);
            }
            UserEvent::PasswordChanged {
                credential_version,
                kept_session,
            } => {
                self.credential_version = i64::from(*credential_version);
                self.end_sessions(position, *kept_session);
            }
            UserEvent::PasswordReset { credential_version, .. } => {
                self.credential_version = i64::from(*credential_version);
                self.end_sessions(position, None);
            }
            UserEvent::Locked { .. } => {
                self.status = Status::Locked;
                self.end_sessions(position, None);
            }
            UserEvent::Deactivated { .. } => {
                self.status = Status::Deactivated;
                self.end_sessions(position, None);
            }
            UserEvent::Unlocked { .. } | UserEvent::Reactivated { .. } => {
                self.status = if self.activated {
                    Status::Active
                } else {
                    Status::Pending
                };
            }
            UserEvent::Activated { .. } => self.activate(),
            UserEvent::RoleGranted { role } => {
                self.roles.push(*role);
                self.roles.sort_unstable();
                self.roles.dedup();
            }
            UserEvent::RoleRevoked { role } => self.roles.retain(|held| held != role),
            _ => {}
        }
    }

    /// Something was verified, or an administrator said that nothing need be. A lock or a deactivation stays.
    fn activate(&mut self) {
        self.activated = true;
        self.expires_at = None;
        if self.status == Status::Pending {
            self.status = Status::Active;
        }
    }

    const fn end_sessions(&mut self, position: i64, kept: Option<Uuid>) {
        self.session_epoch = position;
        self.kept_session = kept;
    }

    fn take_username(&mut self, username: Option<&Username>) {
        self.username = username.map(|username| username.as_str().to_owned());
        self.username_canonical = username.map(|username| username.canonical().to_owned());
    }

    fn take_email(&mut self, email: Option<&Email>, verified: bool) {
        self.email = email.map(|email| email.as_str().to_owned());
        self.email_canonical = email.map(|email| email.canonical().to_owned());
        self.email_domain = email.map(|email| email.domain().to_owned());
        self.email_verified = verified;
    }

    fn drop_pending_email(&mut self) {
        self.pending_email_canonical = None;
        self.pending_email_expires = None;
    }

    fn take_phone(&mut self, phone: Option<&Phone>, verified: bool) {
        self.phone = phone.map(|phone| phone.msisdn().to_owned());
        self.phone_registered = phone.map(|phone| phone.registered().to_owned());
        self.phone_verified = verified;
    }

    fn take_full_name(&mut self, full_name: Option<&FullName>) {
        self.full_name = full_name.map(|name| name.as_str().to_owned());
    }

    fn take_position(&mut self, position: Option<&Coordinates>, country: Option<&Country>) {
        self.latitude = position.map(Coordinates::latitude);
        self.longitude = position.map(Coordinates::longitude);
        self.country = country.map(|country| country.as_str().to_owned());
    }

    fn take_geo_id(&mut self, geo_id: Option<&GeoId>) {
        self.geo_id = geo_id.map(|geo_id| geo_id.as_str().to_owned());
    }

    fn take_boundary(&mut self, boundary: Option<&Boundary>) {
        self.boundary = boundary.map(ToString::to_string);
    }

    fn take_locale(&mut self, locale: Option<&Locale>) {
        self.locale = locale.map(|locale| locale.as_str().to_owned());
    }
}

#[cfg(test)]
mod tests;
