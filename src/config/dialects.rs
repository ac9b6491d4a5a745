//! The switches of the dialects, under the names their contracts give them.

use serde::{Deserialize, Serialize};

use super::{Network, Secret};

/// Section `agstack`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of a contract, each with a fixed name"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agstack {
    /// Whether the dialect is mounted. Default true.
    pub enabled: bool,
    /// The HS256 secret shared with its peers; without one a key file is made. Default none.
    pub shared_secret: Option<Secret>,
    /// Whether a device id alone signs in. Default false.
    pub bare_device_id: bool,
    /// Callers who need no credential for the peer routes. Default loopback and private ranges.
    pub trusted_clients: Vec<Network>,
    /// Whether those callers may also authorize domains. Default false.
    pub trusted_clients_may_authorize: bool,
    /// Whether unknown user and wrong password are one answer. Default false.
    pub uniform_login_errors: bool,
    /// A path such as `/agstack` under which the dialect is mounted a second time. Default none.
    pub prefix: String,
    /// A host name such as `ur.example`, or a beginning of names such as `ur.*`: with it the dialect answers at the root
    /// to this name only. Default none.
    pub host: String,
    /// The address of the asset registry's pages, where `/asset-registry-home` leads. Default none.
    pub asset_registry_url: Option<String>,
    /// Whether the tokens of a login with a body are pushed there, and told of again at the logout. Default false.
    pub push_tokens: bool,
    /// How long a client secret works, with its API key, in days, 1 to 3,650; those made before keep what they were made
    /// with. Default none: until another pair is made.
    pub client_secret_days: Option<u32>,
}

impl Default for Agstack {
    fn default() -> Self {
        Self {
            enabled: true,
            shared_secret: None,
            bare_device_id: false,
            trusted_clients: Network::loopback().into_iter().chain(Network::private()).collect(),
            trusted_clients_may_authorize: false,
            uniform_login_errors: false,
            prefix: String::new(),
            host: String::new(),
            asset_registry_url: None,
            push_tokens: false,
            client_secret_days: None,
        }
    }
}

impl Agstack {
    /// What the links of its mails begin with, given the address of the service.
    #[must_use]
    pub fn link_base(&self, public_url: &str) -> String {
        let public_url = public_url.trim_end_matches('/');
        if self.host.is_empty() {
            public_url.to_owned()
        } else if !self.prefix.is_empty() {
            format!("{public_url}{}", self.prefix)
        } else if self.host.ends_with('*') {
            public_url.to_owned()
        } else {
            let scheme = public_url.split_once("://").map_or("http", |(scheme, _)| scheme);
            let port = public_url
                .rsplit_once(':')
                .map(|(_, port)| port)
                .filter(|port| port.parse::<u16>().is_ok());
            match port {
                Some(port) if !self.host.contains(':') => format!("{scheme}://{}:{port}", self.host),
                _ => format!("{scheme}://{}", self.host),
            }
        }
    }
}

/// Section `cadasta`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cadasta {
    /// Whether the dialect is mounted. Default true.
    pub enabled: bool,
    /// Status of `GET /account/`, 200 or 201. Default 201, as its document says.
    pub account_read_status: u16,
    /// Status of `PATCH /account/`, 200 or 201. Default 201, as its document says.
    pub account_update_status: u16,
    /// Whether a reset for an unknown address is told so. Default true, as its document says.
    pub password_reset_show_email_not_found: bool,
    /// How long a link to set a new password works, in hours, 1 to 24. Default 1.
    pub password_reset_hours: u32,
    /// What the links of its mails begin with; without it `public_url`, whose pages are our own. Default none.
    pub link_url: Option<String>,
}

impl Default for Cadasta {
    fn default() -> Self {
        Self {
            enabled: true,
            account_read_status: 201,
            account_update_status: 201,
            password_reset_show_email_not_found: true,
            password_reset_hours: 1,
            link_url: None,
        }
    }
}

/// Section `xhoppe`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of a contract, each with a fixed name"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Xhoppe {
    /// Whether the dialect is mounted. Default true.
    pub enabled: bool,
    /// Whether a code alone, without its number, is accepted. Default true.
    pub bare_code: bool,
    /// The country code of numbers written without one; empty means none. Default empty.
    pub default_country_code: String,
    /// Whether common passwords are refused here too. Default false.
    pub reject_common_passwords: bool,
    /// Whether `POST /api/v1/users/change_password_by_sms` recovers a password too. Default false.
    pub change_password_by_sms: bool,
    /// For how many hours after the SIM of a number was changed, as the SMS gateway tells, no code sent to it sets a
    /// password, through whichever API, 0 to 8,760. Default 0: what the gateway tells is not read.
    pub recovery_delay_after_sim_change: u32,
}

impl Default for Xhoppe {
    fn default() -> Self {
        Self {
            enabled: true,
            bare_code: true,
            default_country_code: String::new(),
            reject_common_passwords: false,
            change_password_by_sms: false,
            recovery_delay_after_sim_change: 0,
        }
    }
}

/// Section `taxi`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Taxi {
    /// Whether the dialect is mounted. Default true.
    pub enabled: bool,
    /// Whether registering sends a verification mail. Default false.
    pub send_verification: bool,
}

impl Default for Taxi {
    fn default() -> Self {
        Self {
            enabled: true,
            send_verification: false,
        }
    }
}
