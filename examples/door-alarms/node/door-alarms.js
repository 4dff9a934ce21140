/* Writes every alarm of a door into a database, each exactly once.
 *
 * The row and the position behind its event are written in one transaction. So whatever is killed,
 * and whenever: the service goes on behind the last row, and no alarm is missing or there twice. */

import { subscribe } from "@vidette/client/subscribe";
import Database from "libsql";

const { VIDETTE_URL: url = "http://127.0.0.1:8080", ALARMS_DB: file = "alarms.db" } = process.env;

const db = new Database(file);
db.exec(`
  CREATE TABLE IF NOT EXISTS alarms (id TEXT NOT NULL, door TEXT NOT NULL, seconds INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT NOT NULL);
`);
const readCursor = db.prepare("SELECT cursor FROM position");
const insertAlarm = db.prepare("INSERT INTO alarms VALUES (?, ?, ?)");
const writeCursor = db.prepare("REPLACE INTO position VALUES (1, ?)");

/** The row and the position: both or none. */
const handle = db.transaction(({ cursor, id, topic, type, data }) => {
  if (type === "alarm") insertAlarm.run(id, topic, data.open_seconds);
  writeCursor.run(cursor);
});

const events = subscribe(url, {
  topic: "door.*",
  // Where the last run came to; at first, the oldest event that is retained.
  after: readCursor.get()?.cursor ?? "earliest",
  onGap: ({ reason }) => console.log(`alarms may be missing: ${reason}`),
});

// Follows until it is stopped; lost connections are the library's work.
for await (const event of events) {
  handle(event);
  console.log(`${event.id}: ${event.type} of ${event.topic}`);
}
