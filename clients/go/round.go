package vidette

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// A pause of so long ends a request: a proxy that holds a body back until its end then holds
	// it for no longer than that. So does the longest time, where events come without a pause.
	pauseThatEnds   = 20 * time.Millisecond
	longestRound    = time.Second
	mostAnswerBytes = 64 << 10
)

// round is one request of a stream: its body grows while its answers are read. The transport reads
// the body in a goroutine of its own, perhaps for a moment longer than the request lasts.
type round struct {
	stream   *Stream
	token    string
	answered int

	// These are guarded by the stream's mutex.
	next     int
	first    int
	isClosed bool

	closed chan struct{}
	endsAt time.Time
	rest   []byte
}

func newRound(stream *Stream) *round {
	stream.mutex.Lock()
	defer stream.mutex.Unlock()

	return &round{
		stream: stream, next: stream.first, first: stream.first,
		closed: make(chan struct{}), endsAt: time.Now().Add(longestRound),
	}
}

// sent is how many events the transport has taken.
func (r *round) sent() int {
	r.stream.mutex.Lock()
	defer r.stream.mutex.Unlock()
	return r.next - r.first
}

// send is over when every event that was sent has its answer.
func (r *round) send(renewal *renewal) (err error) {
	client := r.stream.client
	if r.token, err = renewal.token(r.stream.ctx); err != nil {
		return err
	}

	ctx, cancel := context.WithCancelCause(r.stream.ctx)
	defer cancel(nil)
	limit := client.clock.Limit(postLimit)
	watchdog := time.AfterFunc(limit, func() { cancel(errNoAnswer) })
	defer watchdog.Stop()

	request, err := publishRequest(ctx, client.url, r.token, ndjsonType, r)
	if err != nil {
		return err
	}
	response, err := client.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()

	if response.StatusCode != http.StatusOK {
		refused, _ := refusal(response, client.clock)
		return refused
	}
	return r.readAnswers(response.Body, func() { watchdog.Reset(limit) })
}

func (r *round) readAnswers(body io.Reader, heard func()) error {
	lines := bufio.NewReaderSize(body, mostAnswerBytes)

	for {
		line, err := lines.ReadSlice('\n')
		if len(bytes.TrimSpace(line)) > 0 && (err == nil || errors.Is(err, io.EOF)) {
			heard()
			if err := r.take(line); err != nil {
				return err
			}
		}

		switch {
		case errors.Is(err, io.EOF) && r.sent() == r.answered:
			return nil
		case errors.Is(err, io.EOF):
			return errUnanswered
		case err != nil:
			return err
		}
	}
}

// take is for one answer. "Not now" for one event is "not now" for those behind it: sending all
// again keeps the order.
func (r *round) take(line []byte) error {
	var answer struct {
		Receipt
		Error json.RawMessage
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return fmt.Errorf("an answer that is no JSON: %w", err)
	}
	if r.answered >= r.sent() {
		return errors.New("more answers than events")
	}

	if answer.Error != nil {
		refused := statusError(refusedStatus(answer.Error), answer.Error)
		if !isFinal(refused) {
			return refused
		}
		r.answered++
		r.stream.answer(Receipt{}, refused)
		return nil
	}
	if answer.Vid == 0 {
		return errors.New("an answer without a vid")
	}

	r.answered++
	r.stream.answer(answer.Receipt, nil)
	return nil
}

func refusedStatus(problem []byte) int {
	var known struct{ Status int }
	if json.Unmarshal(problem, &known) != nil || known.Status == 0 {
		return http.StatusBadRequest
	}
	return known.Status
}

// Read is the body of the request: lines as they come, until there are none for a moment.
func (r *round) Read(into []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.rest = r.line(true); r.rest == nil {
			return 0, io.EOF
		}
	}

	count := 0
	for len(r.rest) > 0 {
		copied := copy(into[count:], r.rest)
		r.rest = r.rest[copied:]
		count += copied
		if len(r.rest) == 0 && count < len(into) {
			r.rest = r.line(false)
		} else {
			break
		}
	}
	return count, nil
}

// Close is called by the transport when it wants no more.
func (r *round) Close() error {
	r.stream.mutex.Lock()
	defer r.stream.mutex.Unlock()

	if !r.isClosed {
		r.isClosed = true
		close(r.closed)
	}
	return nil
}

// line is the next event's, nil at the end of the body; without patience also when none is there.
func (r *round) line(isPatient bool) []byte {
	s := r.stream
	s.mutex.Lock()
	defer s.mutex.Unlock()

	var pause <-chan time.Time
	for {
		if r.isClosed || s.ctx.Err() != nil {
			return nil
		}
		if at := r.next - s.first; at >= 0 && at < len(s.queue) && time.Now().Before(r.endsAt) {
			r.next++
			ticket := s.queue[at]
			ticket.try(s.client.clock.Now() + s.client.window)
			ticket.isSent = true
			return ticket.line
		}
		if !isPatient || s.waiters > 0 || !time.Now().Before(r.endsAt) {
			return nil
		}

		if pause == nil {
			pause = time.After(pauseThatEnds)
		}
		if !r.pause(pause) {
			isPatient = false
		}
	}
}

// pause says whether something has changed.
func (r *round) pause(pause <-chan time.Time) bool {
	changed := r.stream.changed
	r.stream.mutex.Unlock()
	defer r.stream.mutex.Lock()

	select {
	case <-changed:
		return true
	case <-r.closed:
		return true
	case <-pause:
		return false
	}
}

// try remembers when it was tried first.
func (t *ticket) try(endsAt time.Duration) {
	if t.endsAt == 0 {
		t.endsAt = endsAt
	}
}
