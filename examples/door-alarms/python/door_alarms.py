"""Writes every alarm of a door into a database, each exactly once.

The row and the position behind its event are written in one transaction. So whatever is killed, and
whenever: the service goes on behind the last row, and no alarm is missing or there twice.
"""

import os
import sqlite3

from vidette import Client, Gap, Received

TABLES = """
CREATE TABLE IF NOT EXISTS alarms (id TEXT NOT NULL, door TEXT NOT NULL, seconds INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT NOT NULL);
"""


def saved_cursor(db: sqlite3.Connection) -> str:
    """Where the last run came to; at first, the oldest event that is retained."""
    row = db.execute("SELECT cursor FROM position").fetchone()
    return row[0] if row else "earliest"


def handle(db: sqlite3.Connection, event: Received) -> None:
    """The row and the position: both or none."""
    with db:
        if event.type == "alarm":
            db.execute("INSERT INTO alarms VALUES (?, ?, ?)",
                       (event.id, event.topic, event.json["open_seconds"]))
        db.execute("REPLACE INTO position VALUES (1, ?)", (event.cursor,))

    print(f"{event.id}: {event.type} of {event.topic}", flush=True)


def report(gap: Gap) -> None:
    """The service was away for longer than events are retained."""
    print(f"alarms may be missing: {gap}", flush=True)


def main() -> None:
    """Follows until it is stopped; lost connections are the library's work."""
    db = sqlite3.connect(os.environ.get("ALARMS_DB", "alarms.db"))
    db.executescript(TABLES)
    url = os.environ.get("VIDETTE_URL", "http://127.0.0.1:8080")

    with Client(url) as bus:
        with bus.subscribe("door.*", after=saved_cursor(db), on_gap=report) as events:
            for event in events:
                handle(db, event)


if __name__ == "__main__":
    main()
