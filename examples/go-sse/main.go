// A reader on plain go-sse: it resumes, and a gap is said. All the other rules (dead connections,
// proxies that hold a stream back, tokens, bounds) are kept by the library in clients/go.
//
//	go run . http://127.0.0.1:8080
package main

import (
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/tmaxmax/go-sse"
)

func main() {
	for cursor := "earliest"; ; time.Sleep(rand.N(time.Second)) {
		cursor = follow(os.Args[1], cursor)
	}
}

// follow reads until the connection ends, and returns where to resume.
func follow(gateway, cursor string) string {
	response, err := http.Get(gateway + "/v1/sse?topic=door.*&after=" + cursor)
	if err != nil {
		log.Print(err)
		return cursor
	}
	defer response.Body.Close()

	for event, err := range sse.Read(response.Body, &sse.ReadConfig{MaxEventSize: 5 << 20}) {
		switch {
		case err != nil:
			log.Print(err)
			return cursor
		case event.Type == "vidette.gap":
			log.Print("events are gone: ", event.Data)
		case event.Data != "" && !strings.HasPrefix(event.Type, "vidette."):
			fmt.Println(event.Data)
		}

		// Behind the event that is handled now; a block that has only an id moves it, too.
		if event.LastEventID != "" {
			cursor = event.LastEventID
		}
	}
	return cursor
}
