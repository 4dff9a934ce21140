// Writes every alarm of a door into a database, each exactly once.
//
// The row and the position behind its event are written in one transaction. So whatever is killed,
// and whenever: the service goes on behind the last row, and no alarm is missing or there twice.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"

	_ "modernc.org/sqlite"
	"vidette.dev/go"
)

const tables = `
CREATE TABLE IF NOT EXISTS alarms (id TEXT NOT NULL, door TEXT NOT NULL, seconds INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT NOT NULL);`

func main() {
	url := cmp.Or(os.Getenv("VIDETTE_URL"), "http://127.0.0.1:8080")
	log.Fatal(follow(url, cmp.Or(os.Getenv("ALARMS_DB"), "alarms.db")))
}

// follow ends with an error only; lost connections are the library's work.
func follow(url, file string) error {
	db, err := sql.Open("sqlite", file)
	if err == nil {
		_, err = db.Exec(tables)
	}
	// Where the last run came to; at first, the oldest event that is retained.
	cursor := "earliest"
	if err == nil {
		err = db.QueryRow("SELECT cursor FROM position").Scan(&cursor)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	// A gap is logged: alarms may be missing, as the service was away for too long.
	doors := vidette.New(url).Subscribe(context.Background(), vidette.Filter("door.*"), vidette.After(cursor))
	for event, err := range doors.Events() {
		if err == nil {
			err = handle(db, event)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// handle writes the row and the position: both or none.
func handle(db *sql.DB, event vidette.Received) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit

	if event.Type == "alarm" {
		var data map[string]int
		if err = event.JSON(&data); err == nil {
			_, err = tx.Exec("INSERT INTO alarms VALUES (?, ?, ?)", event.ID, event.Topic, data["open_seconds"])
		}
	}
	if err == nil {
		_, err = tx.Exec("REPLACE INTO position VALUES (1, ?)", event.Cursor)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err == nil {
		fmt.Printf("%s: %s of %s\n", event.ID, event.Type, event.Topic)
	}
	return err
}
