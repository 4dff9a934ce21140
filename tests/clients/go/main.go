// CloudEvents as Go's SDK writes and reads them: published in every content mode, read by poll and by stream.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

func main() {
	log.SetFlags(0)
	gateway := os.Args[1]
	sent := events()
	publishOneByOne(gateway, sent[:2])
	publishBatch(gateway, sent[2:])

	check("poll", sent, poll(gateway))
	check("stream", sent, stream(gateway))
	fmt.Println("ok")
}

// One of each kind of data.
func events() []cloudevents.Event {
	must := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	made := make([]cloudevents.Event, 4)
	for number := range made {
		event := cloudevents.NewEvent()
		event.SetID(fmt.Sprintf("go-%d", number))
		event.SetSource("/doors/§ 3")
		event.SetType("door.opened")
		event.SetSubject("ö \"3\" %")
		event.SetTime(time.Date(2026, 11, 28, 10, 0, number, 0, time.UTC))
		event.SetExtension("site", "north")
		made[number] = event
	}
	must(made[0].SetData(cloudevents.ApplicationJSON, map[string]any{"n": 1}))
	must(made[1].SetData(cloudevents.TextPlain, "a text\nof two lines"))
	must(made[2].SetData("application/octet-stream", []byte{0, 1, 255}))
	made[3].SetExtension("urgent", true)
	made[3].SetExtension("floor", int32(-3))
	return made
}

// The first one in binary mode, which is the client's default, and the second one structured.
func publishOneByOne(gateway string, events []cloudevents.Event) {
	client, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(gateway + "/v1/cloudevents"))
	if err != nil {
		log.Fatal(err)
	}
	modes := []context.Context{context.Background(), binding.WithForceStructured(context.Background())}
	for number, event := range events {
		if result := client.Send(modes[number], event); !cloudevents.IsACK(result) {
			log.Fatalf("event %d: %v", number, result)
		}
	}
}

func publishBatch(gateway string, events []cloudevents.Event) {
	request, err := cehttp.NewHTTPRequestFromEvents(context.Background(), gateway+"/v1/topics/door.opened", events)
	if err != nil {
		log.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent || answer.Header.Get("Vidette-Vid") != "4" {
		log.Fatalf("the batch: %s %v", answer.Status, answer.Header)
	}
}

const start = "?format=cloudevents&topic=door.opened&after=earliest&wait=0"

func poll(gateway string) []cloudevents.Event {
	answer, err := http.Get(gateway + "/v1/poll" + start)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	var page struct{ Events []cloudevents.Event }
	if err := json.NewDecoder(answer.Body).Decode(&page); err != nil {
		log.Fatal(err)
	}
	return page.Events
}

func stream(gateway string) []cloudevents.Event {
	answer, err := http.Get(gateway + "/v1/sse" + start)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	var read []cloudevents.Event
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		// The steps of the gateway have no specversion.
		if !isData || !strings.Contains(data, `"specversion"`) {
			continue
		}
		var event cloudevents.Event
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			log.Fatalf("%v: %s", err, data)
		}
		read = append(read, event)
	}
	return read
}

func check(how string, sent, read []cloudevents.Event) {
	if len(read) != len(sent) {
		log.Fatalf("%s: %d events of %d: %v", how, len(read), len(sent), read)
	}
	for number := range sent {
		if err := read[number].Validate(); err != nil {
			log.Fatalf("%s: event %d: %v", how, number, err)
		}
		one, other := sent[number], read[number]
		isSame := one.Context.String() == other.Context.String() && bytes.Equal(one.Data(), other.Data())
		if !isSame {
			log.Fatalf("%s: event %d left as\n%v\nand came as\n%v", how, number, other, one)
		}
	}
}
