//! Why an order to a user is refused.

use crate::values::Rule;

/// A state of affairs that stands against an order. Nothing is recorded when one of these is answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// There is no such account, or it was never verified and is gone.
    #[error("there is no such account")]
    Unknown,
    /// The account exists already.
    #[error("the account exists already")]
    AlreadyExists,
    /// The person was erased.
    #[error("the account was erased")]
    Erased,
    /// The account is out of use.
    #[error("the account is deactivated")]
    NotActive,
    /// The account is locked.
    #[error("the account is locked")]
    Locked,
    /// Neither a username nor an address, a number or a device would be left to sign in with.
    #[error("an account needs a username, an e-mail address, a phone number or a device")]
    NothingToSignInWith,
    /// The address's domain may not register.
    #[error("addresses of this domain are not admitted")]
    DomainBlocked {
        /// The rule that refused it.
        rule: Rule,
    },
    /// This very address may not register.
    #[error("this address is not admitted")]
    AddressBlocked {
        /// The rule that refused it.
        rule: Rule,
    },
    /// The account has no address.
    #[error("the account has no e-mail address")]
    NoEmail,
    /// The account has no number.
    #[error("the account has no phone number")]
    NoPhone,
    /// The link or code is wrong, used, void or too old. Which of these is not told apart, so that
    /// nobody learns by guessing.
    #[error("the link or code is not valid")]
    NoOpenRequest,
    /// The registration still has time, or was verified.
    #[error("the registration has not expired")]
    NotExpired,
    /// Everybody has the role `user`.
    #[error("the role `user` cannot be taken away")]
    RoleOfEveryone,
    /// An API key may never do more than its owner.
    #[error("an API key cannot have a role that its owner does not have")]
    TooManyRoles,
    /// More API keys than one account may have at a time.
    #[error("the account has as many API keys as it may have")]
    TooManyKeys,
    /// The API key would have expired before it was made.
    #[error("the API key would already have expired")]
    ExpiryInThePast,
    /// The account has no such API key.
    #[error("there is no such API key")]
    KeyUnknown,
}
