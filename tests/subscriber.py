"""Runs examples/subscriber.py against a real service and broker: killed four times, it ends with the copy that it must have.

    python3 tests/subscriber.py URL AMQP_URL EXCHANGE PROGRAM DATA_DIR FOLDER
"""

import atexit
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request

import pika

url, amqp, exchange, program, data, folder = sys.argv[1:]
copy, queue = f"{folder}/copy.db", f"{exchange}.copy"
PASSWORD = "seven green goats on a hill"


def call(path, body=None, token=None):
    request = urllib.request.Request(url + path, json.dumps(body).encode() if body is not None else None)
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def command(name, body, token=None):
    return call(f"/v1/commands/{name}", body, token)


def subscriber():
    return subprocess.Popen([sys.executable, "examples/subscriber.py", amqp, copy, queue, exchange], stderr=subprocess.PIPE, text=True)


def wait(what, holds):
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, f"waited in vain for {what}: {state()}"
        time.sleep(0.05)


def rows(sql):
    with sqlite3.connect(copy) as connection:
        return connection.execute(sql).fetchall()


def whole(head):
    try:
        return rows("SELECT count(*), max(position) FROM taken") == [(head, head)]
    except sqlite3.OperationalError:  # no table yet
        return False


def state():
    running.kill()
    try:
        return rows("SELECT count(*), min(position), max(position) FROM taken"), head(), running.stderr.read()
    except sqlite3.OperationalError as problem:
        return problem, head(), running.stderr.read()


admin = call("/v1/sessions", {"identifier": "boss", "password": PASSWORD})["access_token"]
head = lambda: call("/v1/events?limit=1", token=admin)["head"]

channel = pika.BlockingConnection(pika.URLParameters(amqp)).channel()
running, people = subscriber(), []
atexit.register(lambda: running.kill())
for round in range(4):
    for number in range(10):
        people.append(command("register-user", {"username": f"u{round}-{number}", "password": PASSWORD})["id"])
    command("lock-user", {"user_id": people[-1], "reason": "a test"}, admin)
    command("deactivate-user", {"user_id": people[-2]}, admin)
    command("erase-user", {"user_id": people[-3], "reason": "a test"}, admin)
    running.send_signal(signal.SIGKILL)
    running.wait()
    running = subscriber()
wait("the whole copy", lambda: whole(head()))

# What the copy says is what the registry says.
expected = {one["id"]: one["status"] for one in call("/v1/users?limit=200", token=admin)["items"]}
stands = dict(rows("SELECT id, status FROM users"))
erased = {id for id, status in stands.items() if status == "erased"}
assert len(erased & set(people)) == 4 and not erased & {id for id, status in expected.items() if status != "erased"}
assert {id: status for id, status in stands.items() if id not in erased} == {
    id: status for id, status in expected.items() if id not in erased
}, (stands, expected)

# A repeat changes nothing: the whole range once more, to the very queue.
running.send_signal(signal.SIGKILL)
running.wait()
before, last = rows("SELECT * FROM users ORDER BY id"), head()
channel.exchange_declare(f"{exchange}.replay", "topic", durable=True)
channel.queue_bind(queue, f"{exchange}.replay", "#")
publish = [program, "publish", "--data-dir", data, "--amqp-url", amqp, "--from", "1", "--to", str(last)]
told = subprocess.run(publish, check=True, capture_output=True, text=True).stdout
assert f"published {last} events" in told, told
# So does one that comes as a whole CloudEvent, which is read all the same.
environment = {**os.environ, "REGISTRY__AMQP__MODE": "structured"}
subprocess.run(publish, check=True, capture_output=True, env=environment)
running = subscriber()
wait("the repeats to be taken", lambda: channel.queue_declare(queue, passive=True).method.message_count == 0)
running.send_signal(signal.SIGTERM)
running.wait()
assert "Error" not in (told := running.stderr.read()), told
assert rows("SELECT * FROM users ORDER BY id") == before and whole(last)
# Whatever form it comes in, it is taken from there: the whole once more into an empty copy.
copy, first = f"{folder}/structured.db", copy
subprocess.run(publish, check=True, capture_output=True, env=environment)
running = subscriber()
wait("the copy of whole CloudEvents", lambda: whole(last))
assert rows("SELECT * FROM users ORDER BY id") == before
running.send_signal(signal.SIGKILL)
running.wait()
copy = first
# And what is missing is seen: three positions are forgotten, the highest among them stays.
with sqlite3.connect(copy) as connection:
    connection.execute("DELETE FROM taken WHERE position > ?", (last - 3,))
    connection.execute("UPDATE users SET position = 0 WHERE position > ?", (last - 3,))
channel.queue_purge(queue)
last_id = command("register-user", {"username": "last", "password": PASSWORD})["id"]
running = subscriber()
missing = running.stderr.readline()
assert missing == f"something before position {last + 1} is missing\n", missing
publish[publish.index("--from") + 1] = str(last - 2)
subprocess.run(publish, check=True, capture_output=True)
wait("what was missing", lambda: whole(last + 1))
assert [row[:2] for row in rows(f"SELECT * FROM users WHERE id <> '{last_id}' ORDER BY id")] == [row[:2] for row in before]
running.send_signal(signal.SIGKILL)
running.wait()
channel.queue_delete(queue)
channel.exchange_delete(exchange)
channel.exchange_delete(f"{exchange}.replay")
print(f"{last + 1} events, {len(stands)} accounts, 4 kills, {last} repeats, 3 gaps filled: the copy is whole")
