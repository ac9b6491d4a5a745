"""Keeps a copy of where every account stands, from the events of the registry.

    python3 subscriber.py amqp://guest:guest@localhost:5672/%2F copy.db [QUEUE [EXCHANGE]]

Needs pika: pip install pika. What was taken and what follows from it are written in one transaction, and only then is the
message acknowledged: so this may be killed at any moment and started again.
"""

import json
import sqlite3
import sys

import pika

TABLES = """
CREATE TABLE IF NOT EXISTS taken (position INTEGER PRIMARY KEY, message_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, status TEXT NOT NULL, position INTEGER NOT NULL);"""
# Only what is newer: a message that was missing and comes late must not undo what came after it.
NEWER = """INSERT INTO users VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE
SET status = excluded.status, position = excluded.position WHERE excluded.position > users.position"""


def take(copy, position, message_id, user, data):
    """Takes one event: 'new', 'repeat' (it is there already) or 'gap' (new, and something before it is missing)."""
    with copy:  # one transaction
        (last,) = copy.execute("SELECT coalesce(max(position), 0) FROM taken").fetchone()
        known = copy.execute("SELECT message_id FROM taken WHERE position = ?", (position,)).fetchone()
        if known:  # At least once means: sometimes twice, with the same message id.
            assert known == (message_id,), f"two messages at position {position}"
            return "repeat"
        copy.execute("INSERT INTO taken VALUES (?, ?)", (position, message_id))
        if "status" in data:  # Of somebody erased nothing is kept but that.
            copy.execute(NEWER, (user, data["status"], position))
        return "new" if position <= last + 1 else "gap"


def main(url, path, queue="copy", exchange="registry.events"):
    copy = sqlite3.connect(path)
    copy.executescript(TABLES)
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(queue, exchange, "#")  # Everything: with a filter, positions have holes by themselves.
    channel.basic_qos(prefetch_count=200)
    for method, properties, body in channel.consume(queue):
        position, user = properties.headers["position"], properties.headers["cloudEvents_subject"]
        if take(copy, position, properties.message_id, user, json.loads(body)) == "gap":
            # `user-registry publish` or GET /v1/events has what is missing.
            print(f"something before position {position} is missing", file=sys.stderr, flush=True)
        channel.basic_ack(method.delivery_tag)


if __name__ == "__main__":
    main(*sys.argv[1:])
