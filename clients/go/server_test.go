package vidette

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"vidette.dev/go/internal/pace"
)

const testPatience = 20 * time.Second

// script is a gateway whose n-th request is answered by its n-th function, and all that follow by
// the last one.
type script struct {
	mutex    sync.Mutex
	requests []*http.Request
	answers  []http.HandlerFunc
}

func (s *script) ServeHTTP(to http.ResponseWriter, request *http.Request) {
	s.mutex.Lock()
	s.requests = append(s.requests, request)
	answer := s.answers[min(len(s.requests), len(s.answers))-1]
	s.mutex.Unlock()

	answer(to, request)
}

func (s *script) asked(at int) *http.Request {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.requests[at]
}

func (s *script) count() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return len(s.requests)
}

// gatewayOf is a client of a server with these answers; limits take a tenth, waits a thousandth.
func gatewayOf(
	t *testing.T, options []ClientOption, answers ...http.HandlerFunc,
) (*Client, *script) {
	t.Helper()
	made := &script{answers: answers}
	server := httptest.NewServer(made)
	quick := WithClock(pace.Quick(0.1, 0.001, nil))
	client := New(server.URL+"/", append([]ClientOption{quick}, options...)...)

	t.Cleanup(func() {
		_ = client.Close()
		server.CloseClientConnections()
		server.Close()
	})
	return client, made
}

// stream is the head of an event stream and hello, then these blocks, then silence.
func stream(blocks ...string) http.HandlerFunc {
	return func(to http.ResponseWriter, request *http.Request) {
		streamAndEnd(blocks...)(to, request)
		<-request.Context().Done()
	}
}

// streamAndEnd ends after its blocks.
func streamAndEnd(blocks ...string) http.HandlerFunc {
	return func(to http.ResponseWriter, _ *http.Request) {
		to.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		hello := `{"epoch":"k3x9q2","first":1,"last":100,"heartbeat_ms":15000}`
		fmt.Fprintf(to, "event: vidette.hello\ndata: %s\n\n", hello)
		for _, block := range blocks {
			fmt.Fprint(to, block)
		}
		to.(http.Flusher).Flush()
	}
}

func eventBlock(vid int) string {
	object := fmt.Sprintf(`{"vid":%d,"topic":"door.1","data":{}}`, vid)
	return fmt.Sprintf("id: %d-k3x9q2\ndata: %s\n\n", vid, object)
}

func refuse(status int) http.HandlerFunc {
	return func(to http.ResponseWriter, _ *http.Request) {
		to.WriteHeader(status)
		fmt.Fprintf(to, `{"type":"urn:x","title":"No","status":%d,"detail":"why"}`, status)
	}
}

// holdRequest answers nothing. Only who has read the body notices that a client has gone.
func holdRequest(request *http.Request) {
	_, _ = io.Copy(io.Discard, request.Body)
	<-request.Context().Done()
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	t.Cleanup(cancel)
	return ctx
}

// vidsOf reads so many events, and breaks.
func vidsOf(t *testing.T, events *Subscription, count int) (vids []uint64) {
	t.Helper()
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

// errorOf reads until a final error.
func errorOf(events *Subscription) (last error) {
	for _, err := range events.Events() {
		last = err
	}
	return last
}
