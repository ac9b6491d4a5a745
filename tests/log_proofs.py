"""What tests/proofs runs: the log's head, proofs and bundles, checked by a program that shares no code with the service.

Everything is written from RFC 6962, RFC 8032 and the C2SP documents again, with nothing but Python's own library: the
leaf encoding, the tree, the proofs, Ed25519 and signed notes.
"""

import base64
import hashlib
import json
import sqlite3
import sys
import time
import urllib.request
import uuid

URL, STORE, ADMIN = sys.argv[1], sys.argv[2], sys.argv[3]
BUNDLES = sys.argv[4:]
counts = {}


def count(what, number=1):
    counts[what] = counts.get(what, 0) + number


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# --- RFC 6962, section 2.1, as it is written there: by recursion over the list of leaves.


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def root(leaves):
    if not leaves:
        return sha()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha(b"\x01", root(leaves[:k]), root(leaves[k:]))


def path(m, leaves):
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return path(m, leaves[:k]) + [root(leaves[k:])]
    return path(m - k, leaves[k:]) + [root(leaves[:k])]


def subproof(m, leaves, whole):
    if m == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return subproof(m, leaves[:k], whole) + [root(leaves[k:])]
    return subproof(m - k, leaves[k:], False) + [root(leaves[:k])]


def climb(leaf, index, size, proof):
    """The root that a proof leads to."""
    if size == 1:
        assert not proof
        return leaf
    k = split(size)
    if index < k:
        return sha(b"\x01", climb(leaf, index, k, proof[:-1]), proof[-1])
    return sha(b"\x01", proof[-1], climb(leaf, index - k, size - k, proof[:-1]))


# --- RFC 8032, section 6: verifying Ed25519.

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(a, b):
    x = (a[1] - a[0]) * (b[1] - b[0]) % P
    y = (a[1] + a[0]) * (b[1] + b[0]) % P
    z, t = 2 * a[2] * b[2] % P, 2 * a[3] * b[3] * D % P
    e, f, g, h = y - x, z - t, z + t, y + x
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(s, point):
    out = (0, 1, 1, 0)
    while s:
        if s & 1:
            out = add(out, point)
        point = add(point, point)
        s >>= 1
    return out


def unpack(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - x2) % P == 0
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = unpack((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(key, text, signature):
    r, s = unpack(signature[:32]), int.from_bytes(signature[32:], "little")
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + text).digest(), "little") % Q
    left, right = times(s, BASE), add(r, times(h, unpack(key)))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# --- C2SP signed notes and checkpoints.


def opened(note, vkeys):
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    known = {}
    for vkey in vkeys:
        name, digest, key = vkey.split("+", 2)
        key = base64.b64decode(key)
        assert key[0] == 1 and sha(name.encode(), b"\n", key)[:4].hex() == digest
        known[(name, key[1:].__hash__())] = (name, bytes.fromhex(digest), key[1:])
    good = 0
    for line in signatures.splitlines():
        dash, name, blob = line.split(" ")
        assert dash == "\u2014"
        blob = base64.b64decode(blob)
        for known_name, digest, key in known.values():
            if known_name == name and digest == blob[:4]:
                assert signed(key, text.encode(), blob[4:]), "a signature does not hold"
                good += 1
    assert good, "nobody known signed it"
    return text


def head(note, vkeys):
    origin, size, digest, end = opened(note, vkeys).split("\n")
    assert end == "" and any(vkey.startswith(origin + "+") for vkey in vkeys)
    return int(size), base64.b64decode(digest)


# --- The leaf: version, texts with their lengths, integers of eight bytes, the id's sixteen, behind a zero byte.


def leaf(event):
    def text(value):
        value = value.encode()
        return len(value).to_bytes(8, "big") + value

    def number(value):
        return value.to_bytes(8, "big", signed=True)

    return sha(
        b"\x00\x01",
        text(event["aggregate_type"]),
        text(event["aggregate_id"]),
        number(event["sequence"]),
        text(event["event_type"]),
        text(event["event_version"]),
        text(event["payload"]),
        text(event["metadata"]),
        uuid.UUID(event["event_id"]).bytes,
        text(event["subject"]),
        number(event["recorded_at"]),
    )


def get(address, bearer=None):
    headers = {"Authorization": "Bearer " + bearer} if bearer else {}
    with urllib.request.urlopen(urllib.request.Request(URL + address, headers=headers)) as answer:
        return answer.read().decode()


vkeys = [item["vkey"] for item in json.loads(get("/v1/log/key"))["items"]]
database = sqlite3.connect("file:" + STORE + "?mode=ro", uri=True)
database.row_factory = sqlite3.Row
deadline = time.time() + 30
while True:
    (end,) = database.execute("SELECT position FROM log_head").fetchone()
    size, newest = head(get("/v1/log/head"), vkeys)
    if size == end:
        break
    assert time.time() < deadline, "the log is not covered"
    time.sleep(0.2)

events = [dict(row) for row in database.execute("SELECT * FROM events ORDER BY position")]
assert [event["position"] for event in events] == list(range(1, size + 1))
leaves = []
for event in events:
    assert leaf(event) == event["leaf_hash"], "leaf of " + str(event["position"])
    leaves.append(leaf(event))
    count("leaves")
assert root(leaves) == newest

heads = []
for row in database.execute("SELECT size, note FROM tree_heads ORDER BY size"):
    covers, digest = head(row["note"], vkeys)
    assert covers == row["size"] and digest == root(leaves[:covers])
    heads.append(covers)
    count("signed heads")

body = json.dumps({"identifier": "boss", "password": ADMIN}).encode()
request = urllib.request.Request(URL + "/v1/sessions", body, {"Content-Type": "application/json"})
bearer = json.load(urllib.request.urlopen(request))["access_token"]
for covers in [covers for covers in heads if covers]:
    for position in range(1, covers + 1):
        answer = json.loads(get(f"/v1/log/proof/inclusion?position={position}&size={covers}", bearer))
        proof = [base64.b64decode(one) for one in answer["hashes"]]
        assert base64.b64decode(answer["leaf_hash"]) == leaves[position - 1]
        assert proof == path(position - 1, leaves[:covers])
        assert climb(leaves[position - 1], position - 1, covers, proof) == root(leaves[:covers])
        count("inclusion proofs")
    for earlier in range(covers + 1):
        answer = json.loads(get(f"/v1/log/proof/consistency?from={earlier}&to={covers}", bearer))
        proof = [base64.b64decode(one) for one in answer["hashes"]]
        assert proof == (subproof(earlier, leaves[:covers], True) if earlier else [])
        count("consistency proofs")

for bundle in BUNDLES:
    lines = open(bundle, "rb").read().splitlines(keepends=True)
    manifest = json.loads(lines[0])
    covers, digest = head(manifest["head"], vkeys)
    for line in lines[1:-1]:
        event = json.loads(line)
        proof = [base64.b64decode(one) for one in event["proof"]]
        assert climb(leaf(event), event["position"] - 1, covers, proof) == digest
        count("bundled events")
    text = opened(json.loads(lines[-1])["signature"], vkeys)
    body_digest = base64.b64encode(sha(*lines[:-1])).decode()
    assert text == f"{manifest['log']}\nbundle of {len(lines) - 2} events\n{body_digest}\n"
    count("bundles")

print("checked " + ", ".join(f"{number} {what}" for what, number in counts.items()))
