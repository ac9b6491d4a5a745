"""What tests/python runs: the example of /docs/tokens with good and bad tokens."""

import base64
import http.server
import json
import pathlib
import sys
import threading
import time
import urllib.error
import urllib.request

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

EXAMPLE = pathlib.Path(__file__).parent.parent / "examples" / "verify_token.py"
sys.path.insert(0, str(EXAMPLE.parent))
import verify_token  # noqa: E402

URL = sys.argv[1]
PASSWORD = "seven green goats on a hill"
checked = 0


def post(path, body):
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def good(what, token, keys):
    global checked
    checked += 1
    try:
        return verify_token.verify(token, keys)
    except verify_token.NotGood as problem:
        sys.exit(f"FAILED: {what} is refused: {problem}")


def bad(what, token, keys):
    global checked
    checked += 1
    try:
        verify_token.verify(token, keys)
    except verify_token.NotGood as problem:
        print(f"refused: {what}: {problem}")
        return
    sys.exit(f"FAILED: {what} passes")


# The service's own token, with the service's own keys.
account = post("/v1/commands/register-user", {"username": "ada", "password": PASSWORD})
session = post("/v1/sessions", {"identifier": "ada", "password": PASSWORD})
token = session["access_token"]
service = jwt.PyJWKClient(URL + "/.well-known/jwks.json")
claims = good("a token of the service", token, service)
assert claims["sub"] == account["id"] == session["user_id"], claims
assert claims["sid"] == session["session_id"], claims
assert claims["roles"] == ["user"], claims
assert claims["exp"] - claims["iat"] == session["expires_in"], claims

head, body, signature = token.split(".")


def encoded(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


kid = jwt.get_unverified_header(token)["kid"]
public = service.get_signing_key(kid).key.public_bytes(Encoding.Raw, PublicFormat.Raw)
more = {**claims, "roles": ["admin"]}
bad("one with other claims", f"{head}.{encoded(more)}.{signature}", service)
bad("one with another signature", f"{head}.{body}.{encoded(bytes(64))}", service)
bad("one without a signature", f"{encoded({'alg': 'none', 'typ': 'at+jwt', 'kid': kid})}.{body}.", service)
header = {"typ": "at+jwt", "kid": kid}
bad("one signed with the public key", jwt.encode(more, encoded(public), "HS256", header), service)
other = Ed25519PrivateKey.generate()
bad("one of another key under the same id", jwt.encode(claims, other, "EdDSA", header), service)
bad("one of a key nobody published", jwt.encode(claims, other, "EdDSA", {**header, "kid": "other"}), service)
bad("a refresh token", session["refresh_token"], service)
bad("an empty one", "", service)

# What only the holder of the key could make wrong: with keys of our own, published as the service publishes its.
jwk = {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "ours"}
jwk["x"] = encoded(other.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


class Jwks(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = json.dumps({"keys": [jwk]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Jwks)
threading.Thread(target=server.serve_forever, daemon=True).start()
ours = jwt.PyJWKClient(f"http://127.0.0.1:{server.server_port}/")
now = int(time.time())
fresh = {**claims, "iat": now, "exp": now + 600}


def made(header=None, **changes):
    content = {name: value for name, value in {**fresh, **changes}.items() if value is not None}
    return jwt.encode(content, other, "EdDSA", {"typ": "at+jwt", "kid": "ours", **(header or {})})


good("one of our own making", made(), ours)
bad("one of another issuer", made(iss="somebody"), ours)
bad("one for another service", made(aud="somebody"), ours)
bad("one that has expired", made(iat=now - 700, exp=now - 100), ours)
bad("one of the future", made(iat=now + 300, exp=now + 900), ours)
for name in ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]:
    bad(f"one without {name}", made(**{name: None}), ours)
bad("one that is no access token", made(header={"typ": "JWT"}), ours)
server.shutdown()
print(f"{checked} checked, 0 failed")
