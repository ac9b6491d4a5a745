//! What those who verify access tokens by themselves must know.

use super::page::whole;
use crate::config::Config;
use crate::http::problem::escaped;
use crate::tokens::{AUDIENCE, CLIENT_ID};

/// The program that `tests` run against the service.
const EXAMPLE: &str = include_str!("../../../examples/verify_token.py");

pub(super) fn html(config: &Config) -> String {
    let issuer = escaped(&config.tokens.issuer);
    let seconds = config.tokens.access_seconds;
    let example = escaped(EXAMPLE);
    let body = format!(
        "<h1>Verifying an access token</h1>\n\
         <p>An access token is a JWT (RFC 9068), signed with Ed25519. Who trusts this service can verify one without \
         asking it, with the public keys of <a href=\"/.well-known/jwks.json\">/.well-known/jwks.json</a>.</p>\n\
         <h2>What must hold</h2>\n<div class=\"table\"><table>\n\
         <tr><th>header <code>alg</code></th><td><code>EdDSA</code>, and nothing else</td></tr>\n\
         <tr><th>header <code>typ</code></th><td><code>at+jwt</code></td></tr>\n\
         <tr><th>header <code>kid</code></th><td>the key of the JWKS; one that is not there may be new: fetch the \
         JWKS again, but not more often than once in a while</td></tr>\n\
         <tr><th><code>iss</code></th><td><code>{issuer}</code></td></tr>\n\
         <tr><th><code>aud</code></th><td><code>{AUDIENCE}</code></td></tr>\n\
         <tr><th><code>exp</code>, <code>iat</code></th><td>whole seconds; a token lives {seconds} seconds; allow \
         clocks 30 seconds at most</td></tr>\n\
         </table></div>\n\
         <h2>What it says</h2>\n<div class=\"table\"><table>\n\
         <tr><th><code>sub</code></th><td>the user's id</td></tr>\n\
         <tr><th><code>sid</code></th><td>the session's id</td></tr>\n\
         <tr><th><code>jti</code></th><td>the token's own id</td></tr>\n\
         <tr><th><code>roles</code></th><td>what the user might do when the token was made</td></tr>\n\
         <tr><th><code>cv</code></th><td>the version of the password the session began with</td></tr>\n\
         <tr><th><code>client_id</code></th><td><code>{CLIENT_ID}</code></td></tr>\n\
         </table></div>\n\
         <p>It holds no name, no address and no number. A token that verifies may belong to a session that has ended \
         since: this service refuses such a token at once, others at its <code>exp</code>. Who cannot wait asks \
         <code>GET /v1/me</code> with it. API keys (<code>urk_…</code>) are no JWTs; only this service can tell.</p>\n\
         <h2>In Python</h2>\n<pre>{example}</pre>\n<p><a href=\"/docs\">The whole API</a></p>\n"
    );
    whole("Verifying an access token", &body)
}
