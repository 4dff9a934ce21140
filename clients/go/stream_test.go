package vidette

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// outcomes are the receipts and errors of a stream, in order.
type outcomes struct {
	mutex sync.Mutex
	texts []string
}

func (o *outcomes) take(receipt Receipt, err error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()

	if err != nil {
		o.texts = append(o.texts, err.Error())
		return
	}
	o.texts = append(o.texts, fmt.Sprint(receipt.Vid))
}

// lines answers each line by this function, as it comes; false ends the answer.
func lines(answer func(n int, id string) (string, bool)) http.HandlerFunc {
	return func(to http.ResponseWriter, request *http.Request) {
		_ = http.NewResponseController(to).EnableFullDuplex()
		to.WriteHeader(http.StatusOK)
		to.(http.Flusher).Flush()

		body := bufio.NewScanner(request.Body)
		for n := 0; body.Scan(); n++ {
			var event struct{ ID string }
			_ = json.Unmarshal(body.Bytes(), &event)
			text, isMore := answer(n, event.ID)
			if !isMore {
				panic(http.ErrAbortHandler)
			}
			fmt.Fprintln(to, text)
			to.(http.Flusher).Flush()
		}
	}
}

func receiptLine(vid any) string { return fmt.Sprintf(`{"vid":%v,"cursor":"%v-k3x9q2"}`, vid, vid) }

func TestAStreamIsAnsweredWhileItsRequestIsStillOpen(t *testing.T) {
	bus, gateway := gatewayOf(t, nil, lines(func(_ int, id string) (string, bool) {
		// The way to a gateway and back, in which a body without patience would have ended.
		time.Sleep(time.Millisecond)
		return receiptLine(id), true
	}))
	out := bus.Stream(within(t))
	defer out.Close()

	// Each is sent only when the one before is answered, and at once.
	answered := make(chan uint64)
	for n := 1; n <= 20; n++ {
		err := out.Send(Event{Topic: "a", ID: fmt.Sprint(n)}, func(receipt Receipt, _ error) {
			answered <- receipt.Vid
		})
		if vid := <-answered; err != nil || vid != uint64(n) {
			t.Fatal(vid, err)
		}
	}

	if err := out.Close(); err != nil || gateway.count() == 20 {
		t.Fatal(gateway.count(), "requests for 20 events", err)
	}
}

func TestWhatIsUnansweredAtACutIsSentAgainInOrder(t *testing.T) {
	var ids []string
	cutAfter := func(most int) http.HandlerFunc {
		return lines(func(n int, id string) (string, bool) {
			ids = append(ids, id)
			return receiptLine(id), n < most
		})
	}
	bus, _ := gatewayOf(t, nil, cutAfter(3), cutAfter(1), cutAfter(100))

	var got outcomes
	out := bus.Stream(within(t))
	for n := range 8 {
		if err := out.Send(Event{Topic: "a", ID: fmt.Sprint(n + 1)}, got.take); err != nil {
			t.Fatal(err)
		}
	}

	if err := out.Close(); err != nil || fmt.Sprint(got.texts) != "[1 2 3 4 5 6 7 8]" {
		t.Fatal(got.texts, err)
	}
	if fmt.Sprint(ids) != "[1 2 3 4 4 5 5 6 7 8]" {
		t.Fatal(ids)
	}
}

func TestALineThatIsRefusedForGoodIsPassedAndOneForNowIsSentAgain(t *testing.T) {
	tries := map[string]int{}
	bus, _ := gatewayOf(t, nil, lines(func(_ int, id string) (string, bool) {
		tries[id]++
		if id == "2" {
			return `{"line":2,"error":{"status":400,"title":"Bad"}}`, true
		}
		if id == "3" && tries[id] == 1 {
			return `{"line":3,"error":{"status":429,"title":"Busy"}}`, true
		}
		return receiptLine(id), true
	}))

	var got outcomes
	out := bus.Stream(within(t))
	for n := range 4 {
		_ = out.Send(Event{Topic: "a", ID: fmt.Sprint(n + 1)}, got.take)
	}

	var refused *StatusError
	if err := out.Close(); !errors.As(err, &refused) || refused.Status != 400 {
		t.Fatal("Close says the first error:", err)
	}
	if fmt.Sprint(got.texts) != "[1 vidette: status 400: Bad 3 4]" || tries["2"] != 1 {
		t.Fatal(got.texts, tries)
	}
}

func TestMoreAnswersThanEventsAreNobodysReceipts(t *testing.T) {
	twice := func(_ int, id string) (string, bool) {
		return receiptLine(id) + "\n" + receiptLine(99), true
	}
	once := func(_ int, id string) (string, bool) { return receiptLine(id), true }
	bus, _ := gatewayOf(t, nil, lines(twice), lines(once))

	var got outcomes
	out := bus.Stream(within(t))
	_ = out.Send(Event{Topic: "a", ID: "1"}, got.take)
	_ = out.Flush()
	_ = out.Send(Event{Topic: "a", ID: "2"}, got.take)

	if err := out.Close(); err != nil || fmt.Sprint(got.texts) != "[1 2]" {
		t.Fatal(got.texts, err)
	}
}

func TestARequestThatIsRefusedSettlesWhatItHeld(t *testing.T) {
	bus, _ := gatewayOf(t, nil, refuse(403))

	var got outcomes
	out := bus.Stream(within(t))
	for range 3 {
		_ = out.Send(Event{Topic: "a"}, got.take)
	}
	_ = out.Close()

	for _, text := range got.texts {
		if text != "vidette: status 403: No: why" {
			t.Fatal(got.texts)
		}
	}
	if len(got.texts) != 3 {
		t.Fatal(got.texts)
	}
}

func TestAStreamTakesNoMoreThanItsBound(t *testing.T) {
	ctx, cancel := context.WithCancel(within(t))
	bus, _ := gatewayOf(t, nil, func(_ http.ResponseWriter, request *http.Request) {
		holdRequest(request)
	})
	out := bus.Stream(ctx)

	for n := range mostUnanswered {
		if err := out.Send(Event{Topic: "a"}, nil); err != nil {
			t.Fatal(n, err)
		}
	}
	go cancel()
	if err := out.Send(Event{Topic: "a"}, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}

	if err := out.Close(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := out.Send(Event{Topic: "a"}, nil); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestAStreamLeavesNoGoroutineWhileNothingIsToBeDone(t *testing.T) {
	bus, _ := gatewayOf(t, nil, lines(func(_ int, id string) (string, bool) {
		return receiptLine(id), true
	}))
	out := bus.Stream(within(t))

	for n := range 3 {
		_ = out.Send(Event{Topic: "a", ID: fmt.Sprint(n + 1)}, nil)
		if err := out.Flush(); err != nil || out.isRunning {
			t.Fatal(err, out.isRunning)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasNeverSentIsNotUnknown(t *testing.T) {
	away := errors.New("the issuer is away")
	token := WithToken(func(context.Context) (string, error) { return "", away })
	window := WithDedupeWindow(dedupeMargin + 3*time.Second)
	bus, gateway := gatewayOf(t, []ClientOption{token, window}, refuse(500))

	out := bus.Stream(within(t))
	_ = out.Send(Event{Topic: "a"}, nil)

	err := out.Close()
	if !errors.Is(err, away) || errors.Is(err, ErrOutcomeUnknown) || gateway.count() != 0 {
		t.Fatal(err, gateway.count())
	}
}
