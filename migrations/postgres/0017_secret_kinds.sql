-- What 0002 says of the kinds of secrets was written before there were three of them.

COMMENT ON COLUMN secrets.kind IS
    'refresh, api_key, opaque, device, authority, short_authority, paired_key or client_secret.';
COMMENT ON COLUMN secrets.owner IS
    'The session, key or domain it opens; of short_authority short: and the domain, so that it outlives the token.';
