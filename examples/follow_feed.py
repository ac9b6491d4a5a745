"""Keeps a copy of where every account stands, by reading the registry's feed.

    REGISTRY_KEY=urk_… python3 follow_feed.py https://registry.example copy.db

Needs requests: pip install requests. May be stopped and started at any time: the copy and the position it is of are
written together. With a third argument `once` it ends when it has caught up.
"""

import os
import sqlite3
import sys
import time

import requests


def take(copy: sqlite3.Connection, event: dict) -> None:
    """Applies an event once: a repeat changes nothing, and nothing may be missing before it."""
    (position,) = copy.execute("SELECT position FROM place").fetchone()
    if event["position"] <= position:
        return
    if event["position"] != position + 1:
        raise SystemExit(f"a gap: {event['position']} after {position}")
    with copy:  # one transaction
        status = event["data"].get("status")
        if event["type"].startswith("user.") and status:
            copy.execute("INSERT OR REPLACE INTO users VALUES (?, ?, ?)", (event["subject"], status, event["sequence"]))
        copy.execute("UPDATE place SET position = ?", (event["position"],))


def follow(url: str, copy: sqlite3.Connection, once: bool = False) -> None:
    registry = requests.Session()
    registry.headers["Authorization"] = f"Bearer {os.environ['REGISTRY_KEY']}"
    while True:
        (position,) = copy.execute("SELECT position FROM place").fetchone()
        query = {"after": position, "limit": 1000, "wait": 0 if once else 30}
        try:
            answer = registry.get(f"{url}/v1/events", params=query, timeout=60)
            answer.raise_for_status()
        except requests.RequestException as problem:
            if once or (problem.response is not None and problem.response.status_code in (400, 401, 403)):
                raise  # no use in trying again
            time.sleep(1)
            continue
        page = answer.json()
        for event in page["events"]:
            take(copy, event)
        if once and page["next"] >= page["head"]:
            return


def open_copy(path: str) -> sqlite3.Connection:
    copy = sqlite3.connect(path)
    copy.execute("CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, status TEXT, version INTEGER)")
    copy.execute("CREATE TABLE IF NOT EXISTS place AS SELECT 0 AS position")
    copy.commit()
    return copy


if __name__ == "__main__":
    copy = open_copy(sys.argv[2])
    follow(sys.argv[1].rstrip("/"), copy, once=sys.argv[3:] == ["once"])
    for status, count in copy.execute("SELECT status, count(*) FROM users GROUP BY status ORDER BY status"):
        print(f"{status}: {count}")
