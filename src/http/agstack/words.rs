//! What the dialect says, letter by letter as its contract has it.

pub(super) const NEED_LOGIN: &str = "Need to Login.";
pub(super) const SIGNED_UP: &str = "A confirmation email has been sent via email.";
pub(super) const NOT_ALLOWED: &str = "You are not allowed to register.";
pub(super) const EXISTS: &str = "User already exists. Please log in";
pub(super) const INVALID_FORM: &str = "Form validation failed";
pub(super) const SIGNUP_ERROR: &str = "Signup Error";
pub(super) const DEVICE_CREATED: &str = "User created successfully";
pub(super) const DEVICE_EXISTS: &str = "User already exists with this device ID";
pub(super) const INVALID_DEVICE: &str = "Invalid Device ID";
pub(super) const UNKNOWN_USER: &str = "User does not exist";
pub(super) const WRONG_PASSWORD: &str = "Wrong password";
pub(super) const MISSING_CREDENTIALS: &str = "Invalid request or missing credentials";
pub(super) const TOO_MANY: &str = "Too many attempts. Please try again later.";
pub(super) const PHONE_UPDATED: &str = "Phone number updated";
pub(super) const DISCOVERABLE_UPDATED: &str = "Discoverable field updated";
pub(super) const NOTHING_UPDATED: &str = "Nothing to be updated";
pub(super) const NOT_HERE: &str = "This field can not be updated here.";
pub(super) const UPDATE_ERROR: &str = "Update User Error";
pub(super) const LOGGED_OUT: &str = "Successfully logged out";
pub(super) const LOGOUT_ERROR: &str = "User Registry Logout Error";
pub(super) const ACTIVATED: &str = "You have activated your account. API Keys are shared via email. Thanks!";
pub(super) const ALREADY_ACTIVE: &str = "Account already activated.";
pub(super) const INVALID_ACTIVATION: &str = "Invalid activation link!";
pub(super) const INVALID_LINK: &str = "The confirmation link is invalid or has expired.";
pub(super) const RESENT: &str = "A new confirmation email has been sent.";
pub(super) const ALREADY_IN: &str = "Already logged in";
pub(super) const RESET_SENT: &str = "A link to reset your password has been sent to your email!";
pub(super) const PASSWORD_UPDATED: &str = "Password updated succesfully!";
pub(super) const SAME_PASSWORD: &str =
    "We're sorry, but the new password you entered is the same as your previous password.";
pub(super) const STRONG_PASSWORD: &str = "Please follow the guidelines for a strong password";
pub(super) const NO_MATCH: &str = "Passwords don't match!";
pub(super) const VALID_PHONE: &str = "Please provide a valid phone number (e.g. 921234567890)";
pub(super) const PHONE_TAKEN: &str = "This phone number belongs to another account.";
pub(super) const REQUIRED: &str = "This field is required.";
pub(super) const INVALID_EMAIL: &str = "Invalid email address.";
pub(super) const INVALID_PLACE: &str = "Not a valid decimal value.";
pub(super) const ALL_DOMAINS: &str = "All domains";
pub(super) const NO_TOKEN: &str = "Authority token not found";
pub(super) const NO_SUCH_DOMAIN: &str = "Authority token not found.";
pub(super) const AUTHORIZED: &str = "Domain Authorized";
pub(super) const ALREADY_AUTHORIZED: &str = "Domain already authorized.";
pub(super) const DOMAIN_REQUIRED: &str = "Domain is required.";
pub(super) const DOMAIN_UNKNOWN: &str = "Domain not found.";
pub(super) const AUTHORIZING_ERROR: &str = "Authorizing Domain Error";
pub(super) const TOKENS_DICTIONARY: &str = "Authority Tokens Dictionary";
pub(super) const TOKENS_ERROR: &str = "Fetching Domains with authority tokens Error";
pub(super) const KEYS_REQUIRED: &str = "API Key and Client Secret are required.";
pub(super) const VERIFY_ERROR: &str = "Verify API Keys Error";
pub(super) const KEYS_GENERATED: &str = "Keys generated successfully";
pub(super) const KEYS_SENT: &str = "API Keys are shared via email. Thanks!";
pub(super) const NO_USER: &str = "User not found!";
pub(super) const KEYS_ERROR: &str = "Generating API Keys Error";
pub(super) const ADMINS_ONLY: &str = "Only administrators may see this page.";
pub(super) const CROSS_SITE: &str = "The form was not sent from this site. Please try again.";
pub(super) const DOMAIN_UPDATED: &str = "Domain updated";
pub(super) const ADDRESS_BLOCKED: &str = "Email blocked";
pub(super) const ADDRESS_UNBLOCKED: &str = "Email unblocked";
pub(super) const INVALID_DOMAIN: &str = "Invalid domain.";
pub(super) const INVALID_STANDING: &str = "belongs_to must be 0 or 1.";

/// What the page after this one may say. A cookie carries the place in this list and never the words.
const FLASHES: [&str; 14] = [
    SIGNED_UP,
    UNKNOWN_USER,
    LOGGED_OUT,
    ACTIVATED,
    ALREADY_ACTIVE,
    INVALID_ACTIVATION,
    INVALID_LINK,
    RESENT,
    ALREADY_IN,
    RESET_SENT,
    PASSWORD_UPDATED,
    SAME_PASSWORD,
    KEYS_SENT,
    TOO_MANY,
];

/// The place of words in that list.
pub(super) fn flash_code(words: &str) -> Option<usize> {
    FLASHES.iter().position(|flash| *flash == words)
}

/// The words at a place of that list.
pub(super) fn flash_words(code: &str) -> Option<&'static str> {
    FLASHES.get(code.parse::<usize>().ok()?).copied()
}
