"""Keeps a copy of where every account stands, from the events of the registry.

    python3 subscriber.py amqp://guest:guest@localhost:5672/%2F copy.db [QUEUE [EXCHANGE]]

Needs pika: pip install pika. What was taken and what follows from it are written in one transaction, and only then is the
message acknowledged: so this may be killed at any moment and started again. One at a time: a second one gets a part of the
messages, and then neither hears them in their order.
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
        if copy.execute("INSERT OR IGNORE INTO taken VALUES (?, ?)", (position, message_id)).rowcount == 0:
            # At least once means: sometimes twice, with the same message id.
            known = copy.execute("SELECT message_id FROM taken WHERE position = ?", (position,)).fetchone()
            assert known == (message_id,), f"two messages at position {position}"
            return "repeat"
        if "status" in data:  # Of somebody erased nothing is kept but that.
            copy.execute(NEWER, (user, data["status"], position))
        return "new" if position <= last + 1 else "gap"


def read(properties, body):
    """Whom an event is about, and its facts: the body is the facts alone or the whole CloudEvent (`amqp.mode`)."""
    told = json.loads(body)
    if properties.content_type.startswith("application/cloudevents+json"):
        return told["subject"], told["data"]
    return properties.headers["cloudEvents_subject"], told


def main(url, path, queue="copy", exchange="registry.events"):
    copy = sqlite3.connect(path)
    copy.executescript(TABLES)
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(queue, exchange, "#")  # Everything: with a filter, positions have holes by themselves.
    channel.basic_qos(prefetch_count=200)
    for method, properties, body in channel.consume(queue):
        position, (user, data) = properties.headers["position"], read(properties, body)
        if take(copy, position, properties.message_id, user, data) == "gap":
            # `user-registry publish` or GET /v1/events has what is missing.
            print(f"something before position {position} is missing", file=sys.stderr, flush=True)
        channel.basic_ack(method.delivery_tag)


if __name__ == "__main__":
    main(*sys.argv[1:])
