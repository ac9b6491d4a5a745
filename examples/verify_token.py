"""Verifies an access token of the registry with nothing but its public keys.

    python3 verify_token.py https://registry.example < token

Needs PyJWT with its crypto extra: pip install "pyjwt[crypto]". Prints the claims, or says why the token is not good
and exits with 1.
"""

import json
import sys

import jwt

ISSUER = "user-registry"  # the setting tokens.issuer
AUDIENCE = "user-registry"
LEEWAY = 30  # seconds by which clocks may differ


class NotGood(Exception):
    """The token proves nothing."""


def verify(token: str, keys: jwt.PyJWKClient) -> dict:
    """The claims of a token that is good now."""
    try:
        # The key is taken by its id from the JWKS, never from the token.
        key = keys.get_signing_key_from_jwt(token)
        decoded = jwt.decode_complete(
            token,
            key.key,
            algorithms=["EdDSA"],  # never what the token itself names
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=LEEWAY,
            options={"require": ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]},
        )
    except jwt.PyJWTError as problem:
        raise NotGood(str(problem)) from problem
    # An ID token or a mail link signed with the same key would be no access token.
    if decoded["header"].get("typ") != "at+jwt":
        raise NotGood("this is no access token")
    return decoded["payload"]


if __name__ == "__main__":
    # One client for the whole program: it keeps the keys and fetches them again when a new one appears.
    jwks = jwt.PyJWKClient(f"{sys.argv[1]}/.well-known/jwks.json")
    try:
        print(json.dumps(verify(sys.stdin.read().strip(), jwks)))
    except NotGood as problem:
        sys.exit(f"not good: {problem}")
