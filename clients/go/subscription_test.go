package vidette

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestNothingRunsBeforeTheFirstRead(t *testing.T) {
	bus, gateway := gatewayOf(t, nil, stream())

	events := bus.Subscribe(within(t), Filter("door.*"), After("10-k3x9q2"))
	state := events.State()
	_ = events.Close()

	if gateway.count() != 0 || state.Cursor != "10-k3x9q2" || state.Phase != Connecting {
		t.Fatal(gateway.count(), state)
	}
}

func TestARequestHasTheFilterTheCursorAndTheName(t *testing.T) {
	bus, gateway := gatewayOf(t, nil, stream(eventBlock(11)))
	events := bus.Subscribe(within(t), Filter("door.*", "a.>"), After("10-k3x9q2"), OnGap(Fail))
	vidsOf(t, events, 1)

	asked := gateway.asked(0)
	query := "after=10-k3x9q2&on_gap=fail&topic=door.%2A&topic=a.%3E"
	if asked.URL.RawQuery != query || asked.UserAgent() != "vidette-go/"+Version {
		t.Fatal(asked.URL, asked.Header)
	}
}

func TestAfterABreakItGoesOnBehindTheEventThatWasHandedOn(t *testing.T) {
	bus, gateway := gatewayOf(t, nil, stream(eventBlock(11), eventBlock(12), eventBlock(13)))
	events := bus.Subscribe(within(t), After("10-k3x9q2"))

	vids := vidsOf(t, events, 2)
	unfinished := events.State().Cursor
	events.Finish()
	finished := events.State().Cursor
	vids = append(vids, vidsOf(t, events, 1)...)

	if fmt.Sprint(vids) != "[11 12 13]" || gateway.count() != 1 {
		t.Fatal(vids, gateway.count())
	}
	if unfinished != "11-k3x9q2" || finished != "12-k3x9q2" {
		t.Fatal(unfinished, finished)
	}
}

func TestCloseEndsAWaitingReadWithoutAnErrorAndMayBeCalledAgain(t *testing.T) {
	bus, _ := gatewayOf(t, nil, stream(eventBlock(11)))
	events := bus.Subscribe(within(t), After("10-k3x9q2"))
	vidsOf(t, events, 1)

	go func() { _ = events.Close() }()
	if err := errorOf(events); err != nil {
		t.Fatal(err)
	}
	_ = events.Close()

	if state := events.State(); state.Phase != Closed || state.Cursor != "11-k3x9q2" {
		t.Fatal(state)
	}
}

func TestItEndsWithItsContextAndWithItsClientWithoutAnError(t *testing.T) {
	bus, _ := gatewayOf(t, nil, stream(eventBlock(11)))
	ctx, cancel := context.WithCancel(within(t))
	byContext, byClient := bus.Subscribe(ctx), bus.Subscribe(within(t))
	vidsOf(t, byContext, 1)
	vidsOf(t, byClient, 1)

	go cancel()
	if err := errorOf(byContext); err != nil {
		t.Fatal(err)
	}
	go func() { _ = bus.Close() }()
	if err := errorOf(byClient); err != nil {
		t.Fatal(err)
	}
}

func TestCloseLeavesNoConnection(t *testing.T) {
	ended := make(chan struct{})
	bus, _ := gatewayOf(t, nil, func(to http.ResponseWriter, request *http.Request) {
		stream(eventBlock(11))(to, request)
		close(ended)
	})
	events := bus.Subscribe(within(t))
	vidsOf(t, events, 1)
	_ = events.Close()

	select {
	case <-ended:
	case <-time.After(testPatience):
		t.Fatal("the stream is still open")
	}
}

func TestTwoStartsAreRefusedBeforeAnythingIsAsked(t *testing.T) {
	bus, gateway := gatewayOf(t, nil, stream())

	err := errorOf(bus.Subscribe(within(t), After("7"), Since("15m")))
	if err == nil || gateway.count() != 0 {
		t.Fatal(err, gateway.count())
	}
}

func TestTwoGoroutinesCannotReadOneSubscription(t *testing.T) {
	bus, _ := gatewayOf(t, nil, stream(eventBlock(11)))
	events := bus.Subscribe(within(t))

	for range events.Events() {
		if err := errorOf(events); err == nil {
			t.Fatal("the second one got on")
		}
		break
	}
}

func TestItGivesUpAfterMaxElapsedAndSaysWhy(t *testing.T) {
	bus, gateway := gatewayOf(t, nil, refuse(503))

	err := errorOf(bus.Subscribe(within(t), MaxElapsed(5*time.Second)))
	var refused *StatusError
	if !errors.Is(err, ErrGaveUp) || !errors.As(err, &refused) || gateway.count() < 2 {
		t.Fatal(err, gateway.count())
	}
}

func TestARefusalHasThePartsOfTheProblem(t *testing.T) {
	bus, _ := gatewayOf(t, nil, refuse(403))

	var refused *StatusError
	err := errorOf(bus.Subscribe(within(t)))
	if !errors.As(err, &refused) || refused.Status != 403 || refused.Detail != "why" {
		t.Fatal(err)
	}
}

const gapBlock = "event: vidette.gap\n" +
	"data: {\"reason\":\"expired\",\"requested\":\"7-k3x9q2\",\"first\":40,\"last\":100," +
	"\"epoch\":\"k3x9q2\"}\n\n"

func TestAGapWithoutAHandlerIsLogged(t *testing.T) {
	var log bytes.Buffer
	logger := WithLogger(slog.New(slog.NewTextHandler(&log, nil)))
	bus, _ := gatewayOf(t, []ClientOption{logger}, stream(gapBlock, eventBlock(40)))
	events := bus.Subscribe(within(t), After("7-k3x9q2"))
	vidsOf(t, events, 1)

	if !strings.Contains(log.String(), "events are missing") || events.State().Gaps != 1 {
		t.Fatal(log.String(), events.State())
	}
}

func TestAGapFunctionIsToldFirstAndMayEndIt(t *testing.T) {
	bus, _ := gatewayOf(t, nil, stream(gapBlock, eventBlock(40)))
	var told Gap
	events := bus.Subscribe(within(t), After("7-k3x9q2"), OnGapFunc(func(gap Gap) GapPolicy {
		told = gap
		return Fail
	}))

	var failed *GapError
	err := errorOf(events)
	expected := Gap{"expired", "7-k3x9q2", 40, 100, "k3x9q2"}
	if !errors.As(err, &failed) || failed.Gap != expected || told != expected {
		t.Fatal(err, told)
	}
}

func TestTheStateSaysWhereItIs(t *testing.T) {
	caughtUp := "event: vidette.caught_up\ndata: {\"cursor\":\"100-k3x9q2\"}\n\n"
	bus, _ := gatewayOf(t, nil, streamAndEnd(eventBlock(11)),
		stream(eventBlock(11), eventBlock(12), caughtUp, eventBlock(101)))
	events := bus.Subscribe(within(t), After("10-k3x9q2"))
	vidsOf(t, events, 2)
	behind := events.State()
	vidsOf(t, events, 1)

	expected := State{CatchingUp, SSE, "11-k3x9q2", 89, 1, 0, 1}
	if behind != expected {
		t.Fatalf("%+v", behind)
	}
	expected.Phase, expected.Cursor = Live, "100-k3x9q2"
	if state := events.State(); state != expected {
		t.Fatalf("%+v", state)
	}
}

func TestTheFirstPollFromLatestOnlyAsksForThePosition(t *testing.T) {
	answer := func(cursor string, events string) http.HandlerFunc {
		return func(to http.ResponseWriter, _ *http.Request) {
			to.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(to, `{"epoch":"k3x9q2","first":1,"last":100,"cursor":"%s","events":[%s]}`,
				cursor, events)
		}
	}
	bus, gateway := gatewayOf(t, nil, answer("100-k3x9q2", ""),
		answer("101-k3x9q2", `{"vid":101,"topic":"a","data":1}`))
	events := bus.Subscribe(within(t), Via(Poll))
	vidsOf(t, events, 1)

	first, second := gateway.asked(0).URL.Query(), gateway.asked(1).URL.Query()
	if first.Get("wait") != "0" || second.Get("wait") != "25" || second.Get("after") != "100-k3x9q2" {
		t.Fatal(first, second)
	}
}

func TestNothingIsLeftRunningAfterClose(t *testing.T) {
	bus, _ := gatewayOf(t, nil, stream(eventBlock(101)))
	before := runtime.NumGoroutine()

	for range 20 {
		events := bus.Subscribe(within(t))
		vidsOf(t, events, 1)
		_ = events.Close()
	}

	for ends := time.Now().Add(testPatience); runtime.NumGoroutine() > before; {
		if time.Now().After(ends) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}
