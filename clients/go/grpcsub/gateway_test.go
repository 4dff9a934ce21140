package grpcsub_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"vidette.dev/go"
	"vidette.dev/go/grpcsub"
	"vidette.dev/go/grpcsub/videttev1"
	"vidette.dev/go/internal/gateway"
)

const patience = 30 * time.Second

// start runs the gateway that VIDETTE_PROGRAM names.
func start(t *testing.T, arguments ...string) *gateway.Gateway {
	program := os.Getenv("VIDETTE_PROGRAM")
	if program == "" {
		t.Skip("set VIDETTE_PROGRAM to the vidette program to run this test")
	}

	running, err := gateway.Start(program, t.TempDir(), arguments...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.Kill)
	return running
}

func plaintext() grpcsub.Option {
	return grpcsub.WithDialOptions(grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// publish publishes so many numbers from first on, in one batch.
func publish(ctx context.Context, t *testing.T, address string, first, count int) {
	connection, err := grpc.NewClient(
		address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()

	var events []*videttev1.NewEvent
	for number := first; number < first+count; number++ {
		events = append(events, &videttev1.NewEvent{
			Topic: "door.1", Id: fmt.Sprint("n", number), Data: fmt.Append(nil, number),
		})
	}
	request := &videttev1.PublishRequest{Events: events}
	if _, err := videttev1.NewEventBusClient(connection).Publish(ctx, request); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsLostOrDoubledWhenTheGatewayIsKilled(t *testing.T) {
	running := start(t)
	ctx := within(t)
	const rounds, perRound = 4, 50
	publish(ctx, t, running.Address, 0, perRound)

	bus := grpcsub.New(running.Address, plaintext())
	events := bus.Subscribe(ctx, vidette.Filter("door.*"), vidette.After("earliest"))
	defer events.Close()

	var seen []int
	for event, err := range events.Events() {
		if err != nil {
			t.Fatal(err)
		}
		var number int
		if err := event.JSON(&number); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, number)

		// In the middle of what was published, so that some of it is on its way.
		if number%perRound == perRound/2 && running.Kills < rounds-1 {
			running.Kill()
			if err := running.StartAgain(); err != nil {
				t.Fatal(err)
			}
			publish(ctx, t, running.Address, perRound*running.Kills, perRound)
		}
		if len(seen) == rounds*perRound {
			break
		}
	}

	for at, number := range seen {
		if number != at {
			t.Fatalf("event %d is number %d", at, number)
		}
	}
	if len(seen) != rounds*perRound || events.State().Reconnects < rounds-1 {
		t.Fatalf("%d events, %+v", len(seen), events.State())
	}
}

func TestItBeginsAgainFromTheCursorOfTheLastEventThatWasFinished(t *testing.T) {
	running := start(t)
	ctx := within(t)
	publish(ctx, t, running.Address, 0, 3)
	bus := grpcsub.New(running.Address, plaintext())

	first := bus.Subscribe(ctx, vidette.After("earliest"))
	vids := read(t, first, 2)
	_ = first.Close()
	second := bus.Subscribe(ctx, vidette.After(first.State().Cursor))
	defer second.Close()
	vids = append(vids, read(t, second, 2)...)

	if fmt.Sprint(vids) != "[1 2 2 3]" {
		t.Fatal("the event that was not finished comes again:", vids)
	}
}

// read takes so many events; the last one stays unfinished.
func read(t *testing.T, events *grpcsub.Subscription, count int) (vids []uint64) {
	for event, err := range events.Events() {
		if err != nil {
			t.Fatal(err)
		}
		vids = append(vids, event.Vid)
		if len(vids) == count {
			break
		}
	}
	return vids
}

func TestAGapThatEndsItHasTheFieldsOfTheGateway(t *testing.T) {
	running := start(t)
	ctx := within(t)
	publish(ctx, t, running.Address, 0, 1)

	events := grpcsub.New(running.Address, plaintext()).Subscribe(
		ctx, vidette.After("7-aaaaaa"), vidette.OnGap(vidette.Fail))
	gap := gapOf(t, events)

	if gap.Reason != "reset" || gap.Requested != "7-aaaaaa" || gap.Last != 1 {
		t.Fatalf("%+v", gap)
	}
}
