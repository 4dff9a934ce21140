package vidette

import (
	"context"
	"errors"
	"sync"
	"time"

	"vidette.dev/go/internal/pace"
)

const (
	mostUnanswered      = 4096
	mostUnansweredBytes = 4 << 20
)

// Stream publishes many events in order, without waiting for one before the next is sent. It is
// safe for use by several goroutines.
//
// Events go out in one request as long as they come without a pause; what is unanswered when a
// connection breaks is sent again, with the same ids, before anything newer.
type Stream struct {
	client *Client
	ctx    context.Context
	cancel context.CancelFunc

	mutex sync.Mutex
	// queue has what is not answered yet; first is the number of its first event in the stream.
	queue     []*ticket
	first     int
	bytes     int
	changed   chan struct{}
	isRunning bool
	isClosed  bool
	// waiters wait for the queue to be empty: no request has to stay open for more.
	waiters int
	failure error
}

// ticket is an event on its way.
type ticket struct {
	id   string
	line []byte
	done func(Receipt, error)
	// endsAt is when the gateway may have forgotten the id; 0 before the first try.
	endsAt time.Duration
	// isSent is false while it cannot have arrived.
	isSent bool
}

// Stream makes a stream that ends with ctx. It connects when there is something to send.
func (c *Client) Stream(ctx context.Context) *Stream {
	ctx, cancel := c.within(ctx)
	return &Stream{client: c, ctx: ctx, cancel: cancel, changed: make(chan struct{})}
}

// Send adds an event; done is called once, in the order of sending, with its receipt or its error.
// It may be nil, and must not block. Send waits while 4096 events or 4 MiB are unanswered.
func (s *Stream) Send(event Event, done func(Receipt, error)) error {
	line, id, err := event.encode(s.client.clock.Wall())
	if err != nil {
		return err
	}

	s.mutex.Lock()
	defer s.mutex.Unlock()
	for s.isFull() && s.isOpen() == nil {
		s.await()
	}
	if err := s.isOpen(); err != nil {
		return err
	}

	s.queue = append(s.queue, &ticket{id: id, line: append(line, '\n'), done: done})
	s.bytes += len(line) + 1
	s.run()
	s.broadcast()
	return nil
}

// Flush waits until all that was sent is answered, and returns the first error of any event.
func (s *Stream) Flush() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()

	s.waiters++
	s.broadcast()
	for len(s.queue) > 0 || s.isRunning {
		s.await()
	}
	s.waiters--

	return s.failure
}

// Close does the same, and then takes no more. It may be called again.
func (s *Stream) Close() error {
	s.mutex.Lock()
	s.isClosed = true
	s.mutex.Unlock()

	err := s.Flush()
	s.cancel()
	return err
}

// All below are called with the mutex held, except for work and what it calls.

func (s *Stream) isFull() bool {
	return len(s.queue) >= mostUnanswered || s.bytes >= mostUnansweredBytes
}

func (s *Stream) isOpen() error {
	if s.isClosed {
		return ErrClosed
	}
	return context.Cause(s.ctx)
}

// await lets go of the mutex until something has changed. The end of the context is such a change:
// the work that is under way then settles everything.
func (s *Stream) await() {
	changed := s.changed
	s.mutex.Unlock()
	<-changed
	s.mutex.Lock()
}

func (s *Stream) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Stream) run() {
	if !s.isRunning {
		s.isRunning = true
		go s.work()
	}
}

// work sends round after round until nothing is left. It is the only goroutine of a stream, and
// there is none while nothing is to be done.
func (s *Stream) work() {
	backoff := pace.NewBackoff(s.client.clock)
	renewal := &renewal{tokens: s.client.tokens}

	for s.hasMore() {
		round := newRound(s)
		err := round.send(renewal)
		if round.answered > 0 {
			backoff.Reset()
			renewal.worked()
		}
		if err != nil {
			s.recover(round, renewal, backoff, err)
		}
	}
}

func (s *Stream) hasMore() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()

	s.isRunning = len(s.queue) > 0
	if !s.isRunning {
		s.broadcast()
	}
	return s.isRunning
}

// recover settles what no later round can help, and waits for the next one.
func (s *Stream) recover(round *round, renewal *renewal, backoff *pace.Backoff, err error) {
	switch {
	case s.ctx.Err() != nil:
		s.settleAll(context.Cause(s.ctx))
		return
	case renewal.helps(err, round.token):
		return
	case isFinal(err):
		s.settle(max(round.sent()-round.answered, 1), err)
		return
	}

	wait := backoff.AfterFailure(retryAfterOf(err))
	s.settleOverdue(s.client.clock.Now()+wait, err)
	if s.hasMore() && s.client.clock.Sleep(s.ctx, wait) != nil {
		s.settleAll(context.Cause(s.ctx))
	}
}

// settleOverdue is for the first ones, as later events are never older.
func (s *Stream) settleOverdue(now time.Duration, cause error) {
	s.mutex.Lock()
	if len(s.queue) > 0 {
		// It has its time also where the round failed before anything was sent.
		s.queue[0].try(now + s.client.window)
	}
	overdue := 0
	for _, ticket := range s.queue {
		if ticket.endsAt == 0 || ticket.endsAt > now {
			break
		}
		overdue++
	}
	s.mutex.Unlock()

	s.settle(overdue, cause)
}

func (s *Stream) settleAll(cause error) {
	s.mutex.Lock()
	count := len(s.queue)
	s.mutex.Unlock()

	s.settle(count, cause)
}

// settle ends the next events with this error. Whether one was published is not known if it was
// sent, unless the error is an answer.
func (s *Stream) settle(count int, cause error) {
	for range count {
		ticket := s.next()
		if ticket == nil {
			return
		}

		err := cause
		if ticket.isSent && !isFinal(cause) {
			err = &OutcomeUnknownError{[]string{ticket.id}, cause}
		}
		s.answer(Receipt{}, err)
	}
}

// next is the event whose answer comes next.
func (s *Stream) next() *ticket {
	s.mutex.Lock()
	defer s.mutex.Unlock()

	if len(s.queue) == 0 {
		return nil
	}
	return s.queue[0]
}

// answer takes the first event out of the queue, and tells of its outcome.
func (s *Stream) answer(receipt Receipt, err error) {
	s.mutex.Lock()
	ticket := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.first++
	s.bytes -= len(ticket.line)
	if err != nil && s.failure == nil {
		s.failure = err
	}
	s.broadcast()
	s.mutex.Unlock()

	if ticket.done != nil {
		ticket.done(receipt, err)
	}
}

var errUnanswered = errors.New("the answer ended before every event had its receipt")
