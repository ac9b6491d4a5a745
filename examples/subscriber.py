"""Keeps a copy of where every account stands, from the events of the registry.

    python3 subscriber.py amqp://guest:guest@localhost:5672/%2F copy.db [QUEUE [EXCHANGE]]

Needs pika: pip install pika. The copy, a SQLite file, also holds the position up to which it is whole: state and position
change in one transaction, and only then is the message acknowledged. So it may be killed at any moment and started again.
"""

import json
import sqlite3
import sys

import pika


def take(copy: sqlite3.Connection, position: int, message_id: str, kind: str, user: str, data: dict) -> str:
    """Takes one event into the copy: 'new', 'repeat' (it has it already) or 'gap' (something is missing before it)."""
    with copy:  # one transaction
        (last,) = copy.execute("SELECT position FROM reached").fetchone()
        if position <= last:  # at least once means: sometimes twice. The same position has the same message id.
            known = copy.execute("SELECT message_id FROM seen WHERE position = ?", (position,)).fetchone()
            assert known is None or known[0] == message_id, f"two messages at position {position}"
            return "repeat"
        if kind in ("user.erased", "user.expired"):
            copy.execute("DELETE FROM users WHERE id = ?", (user,))  # forget: that is what it says
        elif kind.startswith("user.") and "status" in data:
            copy.execute("REPLACE INTO users (id, status, position) VALUES (?, ?, ?)", (user, data["status"], position))
        copy.execute("INSERT INTO seen (position, message_id) VALUES (?, ?)", (position, message_id))
        copy.execute("DELETE FROM seen WHERE position <= ?", (position - 10_000,))
        copy.execute("UPDATE reached SET position = ?", (position,))
        return "new" if position == last + 1 else "gap"


def main(url: str, path: str, queue: str = "copy", exchange: str = "registry.events") -> None:
    copy = sqlite3.connect(path)
    copy.executescript("""CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, status TEXT, position INTEGER);
        CREATE TABLE IF NOT EXISTS seen (position INTEGER PRIMARY KEY, message_id TEXT);
        CREATE TABLE IF NOT EXISTS reached (position INTEGER);
        INSERT INTO reached SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM reached);""")
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(queue, exchange, "#")  # everything, so that positions have no holes
    channel.basic_qos(prefetch_count=200)
    for method, properties, body in channel.consume(queue):
        position = properties.headers["position"]
        user = properties.headers["cloudEvents_subject"]
        result = take(copy, position, properties.message_id, properties.type, user, json.loads(body))
        if result == "gap":  # `user-registry publish --from … --to …`, or GET /v1/events?after=…, has what is missing
            print(f"something is missing before position {position}", file=sys.stderr, flush=True)
        channel.basic_ack(method.delivery_tag)


if __name__ == "__main__":
    main(*sys.argv[1:])
