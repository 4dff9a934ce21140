package vidette

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"
)

// published has the body of each request.
type published struct{ bodies []string }

// take answers with this status and text, and keeps the body.
func (p *published) take(status int, answer string) http.HandlerFunc {
	return func(to http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		p.bodies = append(p.bodies, string(body))
		to.WriteHeader(status)
		fmt.Fprint(to, answer)
	}
}

func (p *published) object(t *testing.T, at int) (object map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(p.bodies[at]), &object); err != nil {
		t.Fatal(err, p.bodies)
	}
	return object
}

const receipt7 = `{"vid":7,"cursor":"7-k3x9q2","duplicate":true}`

func TestDataIsSentAsJSONAsTextOrAsBytes(t *testing.T) {
	var seen published
	bus, _ := gatewayOf(t, nil, seen.take(200, receipt7))
	table := map[string]any{
		`"data":{"no":3}`: struct {
			No int `json:"no"`
		}{3},
		`"data":12345678901234567890.10`: json.RawMessage(`12345678901234567890.10`),
		`"data":"<ö>"`:                   "<ö>",
		`"data":null`:                    nil,
		`"data":""`:                      "",
		`"data_base64":"AQI="`:           []byte{1, 2},
	}

	for expected, data := range table {
		seen.bodies = nil
		_, err := bus.Publish(within(t), Event{Topic: "a", ID: "i", Data: data})
		if body := `{"topic":"a","id":"i",` + expected + `}`; err != nil || seen.bodies[0] != body {
			t.Error(seen.bodies, err)
		}
	}

	if _, err := bus.Publish(within(t), Event{Topic: "a", Data: func() {}}); err == nil {
		t.Error("a function is no JSON")
	}
}

func TestEveryEventHasAnIDThatSortsByTimeAndIsTheSameInEveryTry(t *testing.T) {
	var seen published
	bus, _ := gatewayOf(t, nil, seen.take(503, ""), seen.take(200, "half"), seen.take(200, receipt7))

	receipt, err := bus.Publish(within(t), Event{Topic: "a", Type: "opened",
		ContentType: "text/plain", Headers: map[string]string{"by": "me"}})
	if err != nil || receipt != (Receipt{7, "7-k3x9q2", true}) {
		t.Fatal(receipt, err)
	}

	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	id := seen.object(t, 0)["id"].(string)
	if !uuid.MatchString(id) || len(seen.bodies) != 3 || seen.bodies[0] != seen.bodies[2] {
		t.Fatal(seen.bodies)
	}
	if later := newID(time.Now().Add(time.Second)); later <= id {
		t.Fatal(later, id)
	}
}

func TestABatchIsAllOrNothingAndHasItsReceiptsInOrder(t *testing.T) {
	var seen published
	answer := `{"first_vid":7,"last_vid":8,
		"events":[{"vid":7,"cursor":"7-k"},{"vid":8,"cursor":"8-k"}]}`
	bus, _ := gatewayOf(t, nil, seen.take(200, `{"events":[]}`), seen.take(200, answer))

	receipts, err := bus.PublishBatch(within(t), Event{Topic: "a"}, Event{Topic: "b"})
	if err != nil || fmt.Sprint(receipts) != "[{7 7-k false} {8 8-k false}]" {
		t.Fatal(receipts, err)
	}
	if len(seen.bodies) != 2 || seen.bodies[0] != seen.bodies[1] {
		t.Fatal(seen.bodies)
	}
	if receipts, err := bus.PublishBatch(within(t)); receipts != nil || err != nil {
		t.Fatal("of nothing nothing", receipts, err)
	}
}

func TestARefusalIsFinal(t *testing.T) {
	for _, status := range []int{400, 401, 403, 413, 415} {
		bus, gateway := gatewayOf(t, nil, refuse(status))

		var refused *StatusError
		_, err := bus.Publish(within(t), Event{Topic: "a"})
		if !errors.As(err, &refused) || refused.Status != status || gateway.count() != 1 {
			t.Error(err, gateway.count())
		}
		if errors.Is(err, ErrOutcomeUnknown) {
			t.Error("it is known", err)
		}
	}
}

func TestWhenTheWindowIsOverTheOutcomeIsUnknown(t *testing.T) {
	window := WithDedupeWindow(dedupeMargin + 3*time.Second)
	bus, gateway := gatewayOf(t, []ClientOption{window}, refuse(503))

	var unknown *OutcomeUnknownError
	var refused *StatusError
	_, err := bus.Publish(within(t), Event{Topic: "a", ID: "mine"})
	isUnknown := errors.Is(err, ErrOutcomeUnknown) && errors.As(err, &unknown)
	if !isUnknown || fmt.Sprint(unknown.IDs) != "[mine]" || !errors.As(err, &refused) {
		t.Fatal(err)
	}
	if gateway.count() < 2 {
		t.Fatal(gateway.count())
	}
}

func TestAContextThatEndsWhileItIsTriedLeavesTheOutcomeUnknown(t *testing.T) {
	ctx, cancel := context.WithCancel(within(t))
	bus, _ := gatewayOf(t, nil, func(_ http.ResponseWriter, request *http.Request) {
		cancel()
		holdRequest(request)
	})

	_, err := bus.Publish(ctx, Event{Topic: "a"})
	if !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	var bus *Client
	bus, _ = gatewayOf(t, nil, func(_ http.ResponseWriter, request *http.Request) {
		_ = bus.Close()
		holdRequest(request)
	})

	_, err := bus.Publish(within(t), Event{Topic: "a"})
	if !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}
