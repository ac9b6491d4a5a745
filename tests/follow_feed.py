"""What tests/python runs: the consumer of the README beside the service it copies, stopped and started again."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import urllib.request

EXAMPLE = pathlib.Path(__file__).parent.parent / "examples" / "follow_feed.py"
sys.path.insert(0, str(EXAMPLE.parent))
import follow_feed  # noqa: E402

URL = sys.argv[1]
PASSWORD = "seven green goats on a hill"


def ask(method, path, body=None, token=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(URL + path, data, headers, method=method)) as answer:
        return json.load(answer)


def command(name, body, token=None):
    return ask("POST", f"/v1/commands/{name}", body, token)


boss = ask("POST", "/v1/sessions", {"identifier": "boss", "password": PASSWORD})["access_token"]
key = command("issue-api-key", {"name": "a copy", "roles": ["subscriber"]}, boss)["api_key"]
folder = tempfile.TemporaryDirectory()
path = os.path.join(folder.name, "copy.db")
environment = dict(os.environ, REGISTRY_KEY=key)


def start(*more):
    return subprocess.Popen([sys.executable, EXAMPLE, URL, path, *more], env=environment)


# It follows while things happen, and is killed in the middle of it, again and again.
people, kills = [], 0
reader = start()
for number in range(60):
    people.append(command("register-user", {"username": f"copied{number}", "password": PASSWORD})["id"])
    if number % 3 == 0:
        command("lock-user", {"user_id": people[-1], "reason": "a test"}, boss)
    if number % 6 == 0:
        command("unlock-user", {"user_id": people[-1], "reason": "a test"}, boss)
    if number % 10 == 9:
        command("erase-user", {"user_id": people[-1], "reason": "a test"}, boss)
    if number % 12 == 11:
        reader.send_signal(signal.SIGKILL)
        reader.wait()
        kills += 1
        reader = start()
reader.send_signal(signal.SIGKILL)
reader.wait()
assert start("once").wait() == 0
copy = follow_feed.open_copy(path)
(position,) = copy.execute("SELECT position FROM place").fetchone()
states = dict(copy.execute("SELECT id, status FROM users"))
wrong = 0
for number, user in enumerate(people):
    if number % 10 == 9:
        expected = "erased"
    else:
        expected = ask("GET", f"/v1/users/{user}", token=boss)["status"]
    if states.get(user) != expected:
        print(f"{user}: {states.get(user)} instead of {expected}")
        wrong += 1
head = ask("GET", f"/v1/events?after={position}", token=key)["head"]
assert position == head, (position, head)

# A repeat changes nothing, and a gap is met.
event = ask("GET", "/v1/events/1", token=key)
follow_feed.take(copy, event)
assert dict(copy.execute("SELECT id, status FROM users")) == states
try:
    follow_feed.take(copy, {**event, "position": position + 2})
    sys.exit("FAILED: a gap was passed over")
except SystemExit as gap:
    assert "a gap" in str(gap), gap
if wrong:
    sys.exit(f"FAILED: {wrong} accounts are wrong")
print(f"{len(people)} accounts copied over {position} events, the copier killed {kills + 1} times: all right")
