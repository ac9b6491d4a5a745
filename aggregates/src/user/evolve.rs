//! What a fact makes of an account. Nothing here can refuse: it has already happened.
//!
//! A personal field may be unknown, because the person was erased since: the account is then folded
//! without it.

use super::{HeldKey, OpenCode, OpenLink, OpenReset, Phase, Profile, User, UserEvent};
use crate::values::ProfileField;

impl User {
    /// Takes a fact into account.
    pub fn evolve(&mut self, event: &UserEvent) {
        self.evolve_account(event);
        self.evolve_profile(event);
        self.evolve_links(event);
        self.evolve_password(event);
        self.evolve_access(event);
    }

    /// How the account begins and ends, and its names.
    fn evolve_account(&mut self, event: &UserEvent) {
        match event {
            UserEvent::Registered {
                dialect,
                username,
                email,
                phone,
                device,
                email_verified,
                active,
                credential_version,
                expires_at,
                ..
            } => {
                self.begin(*active);
                self.dialect = Some(*dialect);
                self.username = username.known().cloned();
                self.email = email.known().cloned();
                self.phone = phone.known().cloned();
                self.devices.extend(device.known().cloned());
                self.email_verified = *email_verified;
                self.credential_version = *credential_version;
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
                credential_version,
                ..
            } => {
                self.begin(*active);
                // The older system had verified the account and then took it out of use.
                if !active && (*email_verified || *phone_verified) {
                    self.activated = true;
                    self.phase = Phase::Deactivated;
                }
                self.dialect = Some(*dialect);
                self.username = username.known().cloned();
                self.email = email.known().cloned();
                self.phone = phone.known().cloned();
                self.email_verified = *email_verified;
                self.phone_verified = *phone_verified;
                self.credential_version = *credential_version;
            }
            UserEvent::UsernameChanged { username, .. } => self.username = username.known().cloned(),
            UserEvent::Erased {} => {
                *self = Self {
                    phase: Phase::Erased,
                    ..Self::default()
                }
            }
            UserEvent::Expired {} => {
                *self = Self {
                    phase: Phase::Expired,
                    ..Self::default()
                }
            }
            _ => {}
        }
    }

    /// What the person says of themselves.
    fn evolve_profile(&mut self, event: &UserEvent) {
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
                self.profile = Profile {
                    full_name: full_name.known().cloned(),
                    discoverable: *discoverable,
                    position: position.known().copied(),
                    country: country.known().copied(),
                    geo_id: geo_id.known().cloned(),
                    boundary: boundary.known().cloned(),
                    locale: locale.known().cloned(),
                };
            }
            UserEvent::Imported { full_name, .. } => self.profile.full_name = full_name.known().cloned(),
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
                let profile = &mut self.profile;
                for field in fields {
                    match field {
                        ProfileField::FullName => profile.full_name = full_name.known().cloned(),
                        ProfileField::Discoverable => profile.discoverable = discoverable.unwrap_or_default(),
                        ProfileField::Position => {
                            profile.position = position.known().copied();
                            profile.country = country.known().copied();
                        }
                        ProfileField::GeoId => profile.geo_id = geo_id.known().cloned(),
                        ProfileField::Boundary => profile.boundary = boundary.known().cloned(),
                        ProfileField::Locale => profile.locale = locale.known().cloned(),
                    }
                }
            }
            _ => {}
        }
    }

    /// What links and codes prove, and which of them are out.
    fn evolve_links(&mut self, event: &UserEvent) {
        match event {
            UserEvent::EmailVerificationRequested {
                original,
                email,
                issued_at,
                expires_at,
                ..
            } => {
                self.open_email_verification = email.known().map(|email| OpenLink {
                    original: *original,
                    email: email.clone(),
                    issued_at: *issued_at,
                    expires_at: *expires_at,
                });
            }
            UserEvent::EmailVerified { original, email } => {
                self.email_verified = true;
                self.email_doubted = false;
                self.open_email_verification = None;
                self.spent_email_verification = original.zip(email.known().cloned());
                self.activate();
            }
            UserEvent::PhoneVerificationRequested {
                request,
                phone,
                expires_at,
                ..
            } => {
                self.open_phone_verification = phone.known().map(|phone| OpenCode {
                    request: *request,
                    phone: phone.clone(),
                    expires_at: *expires_at,
                });
            }
            UserEvent::PhoneVerified { request, .. } => {
                self.phone_verified = true;
                self.phone_unproved = false;
                self.phone_doubted = false;
                self.open_phone_verification = None;
                if request.is_none() {
                    // A reset has proved the number of an account that waited: its link need not wait any more.
                    self.open_email_verification = None;
                }
                self.activate();
            }
            UserEvent::EmailChangeRequested {
                original,
                email,
                issued_at,
                expires_at,
                ..
            } => {
                self.open_email_change = email.known().map(|email| OpenLink {
                    original: *original,
                    email: email.clone(),
                    issued_at: *issued_at,
                    expires_at: *expires_at,
                });
            }
            UserEvent::EmailChanged { original, email, .. } => {
                self.email = email.known().cloned();
                self.email_verified = true;
                self.email_doubted = false;
                self.forget_email_links();
                self.spent_email_change = original.zip(email.known().cloned());
                self.open_reset = None;
                self.activate();
            }
            UserEvent::EmailAdded { email } => {
                self.email = email.known().cloned();
                self.email_verified = false;
                self.email_doubted = false;
                self.forget_email_links();
            }
            UserEvent::PhoneChanged { phone, .. } => {
                self.phone = phone.known().cloned();
                self.phone_verified = false;
                self.phone_unproved = true;
                self.phone_doubted = false;
                self.open_phone_verification = None;
                // A code on its way to the old number opens nothing any more; a mailed link still does.
                self.open_reset.take_if(|open| open.phone.is_some());
            }
            _ => {}
        }
    }

    /// The password, what may set it, and what a new one voids.
    fn evolve_password(&mut self, event: &UserEvent) {
        match event {
            UserEvent::PasswordResetRequested {
                original,
                channel,
                email,
                phone,
                issued_at,
                expires_at,
                ..
            } => {
                self.open_reset = Some(OpenReset {
                    original: *original,
                    channel: *channel,
                    email: email.known().cloned(),
                    phone: phone.known().cloned(),
                    issued_at: *issued_at,
                    expires_at: *expires_at,
                });
            }
            UserEvent::PasswordChanged { credential_version, .. }
            | UserEvent::PasswordReset { credential_version, .. } => {
                self.credential_version = *credential_version;
                self.open_reset = None;
                // Whoever knew the old password may have asked for them.
                self.open_email_change = None;
                self.open_phone_verification = None;
                // The link of an account that waits stays: it proves no more than the address it was opened with.
                if self.activated {
                    self.open_email_verification = None;
                }
                self.email_doubted = self.email.is_some() && !self.email_verified;
                self.phone_doubted = self.phone.is_some() && !self.phone_verified;
            }
            _ => {}
        }
    }

    /// Links that named another address prove nothing about this one.
    fn forget_email_links(&mut self) {
        self.open_email_change = None;
        self.spent_email_change = None;
        self.open_email_verification = None;
        self.spent_email_verification = None;
    }

    /// Locks, roles, API keys and devices.
    fn evolve_access(&mut self, event: &UserEvent) {
        match event {
            UserEvent::Locked { .. } => self.phase = Phase::Locked,
            UserEvent::Deactivated { .. } => self.phase = Phase::Deactivated,
            UserEvent::Unlocked { .. } | UserEvent::Reactivated { .. } => {
                self.phase = if self.activated { Phase::Active } else { Phase::Pending };
            }
            UserEvent::Activated { .. } => self.activate(),
            UserEvent::RoleGranted { role } => {
                self.roles.insert(*role);
            }
            UserEvent::RoleRevoked { role } => {
                self.roles.remove(role);
            }
            UserEvent::ApiKeyIssued {
                key_id,
                roles,
                expires_at,
                paired,
                ..
            } => {
                let key = HeldKey {
                    roles: roles.clone(),
                    expires_at: *expires_at,
                    revoked: false,
                    paired: paired.is_some(),
                };
                self.api_keys.insert(*key_id, key);
            }
            UserEvent::ApiKeyRevoked { key_id } => {
                if let Some(key) = self.api_keys.get_mut(key_id) {
                    key.revoked = true;
                }
            }
            UserEvent::DeviceBound { device } => self.devices.extend(device.known().cloned()),
            UserEvent::DeviceUnbound { device } => {
                if let Some(device) = device.known() {
                    self.devices.remove(device);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, active: bool) {
        self.activated = active;
        self.phase = if active { Phase::Active } else { Phase::Pending };
    }

    /// Something was verified, or an administrator said that nothing need be. A lock or a deactivation stays.
    fn activate(&mut self) {
        self.activated = true;
        self.expires_at = None;
        if self.phase == Phase::Pending {
            self.phase = Phase::Active;
        }
    }
}
