package vidette_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"vidette.dev/go"
)

func Example() {
	bus := vidette.New("http://127.0.0.1:8080")
	for event, err := range bus.Subscribe(context.Background(), vidette.Filter("door.*")).Events() {
		fmt.Println(event.Vid, event.Topic, event.Type, string(event.Data), err)
	}
}

// The cursor is saved in the transaction that handles the event: so each is handled exactly once.
func ExampleClient_Subscribe() {
	ctx := context.Background()
	bus := vidette.New("https://push.example.com", vidette.WithToken(getJWT))
	defer bus.Close()

	events := bus.Subscribe(ctx,
		vidette.Filter("door.*"), vidette.After(loadCursor()), vidette.OnGap(vidette.Fail))
	defer events.Close()

	for event, err := range events.Events() {
		var missing *vidette.GapError
		if errors.As(err, &missing) {
			log.Print("load the current state again: ", missing)
			return
		}
		if err != nil {
			log.Print(err)
			return
		}

		var door struct{ No int }
		if err := event.JSON(&door); err != nil {
			log.Print(err)
			continue
		}
		inTransaction(func() { handle(door.No); saveCursor(event.Cursor) })
	}
}

func ExampleClient_Publish() {
	ctx := context.Background()
	bus := vidette.New("http://127.0.0.1:8080")

	receipt, err := bus.Publish(ctx, vidette.Event{
		Topic: "door.3", Type: "opened", Data: map[string]int{"no": 3},
	})
	switch {
	case errors.Is(err, vidette.ErrOutcomeUnknown):
		log.Print("published, or not: ", err)
	case err != nil:
		log.Print("refused: ", err)
	default:
		log.Print("durable at ", receipt.Vid)
	}
}

func ExampleClient_Stream() {
	out := vidette.New("http://127.0.0.1:8080").Stream(context.Background())
	for no := range 1000 {
		event := vidette.Event{Topic: "door.3", Data: no}
		err := out.Send(event, func(receipt vidette.Receipt, err error) {
			if err != nil {
				log.Print(no, " is not published: ", err)
			}
		})
		if err != nil {
			log.Print(err)
			break
		}
	}

	// Waits for what is on its way.
	if err := out.Close(); err != nil {
		log.Print(err)
	}
}

func getJWT(context.Context) (string, error) { return "eyJ…", nil }
func loadCursor() string                     { return "" }
func saveCursor(string)                      {}
func handle(int)                             {}
func inTransaction(work func())              { work() }
