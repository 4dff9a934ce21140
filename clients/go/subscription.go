package vidette

import (
	"context"
	"errors"
	"iter"
	"sync"
)

// Subscription reads events in order.
type Subscription struct {
	reader  *reader
	ctx     context.Context
	cancel  context.CancelFunc
	reading sync.Mutex
	isEnded bool
	// wrong is what was wrong with the options.
	wrong error
}

// Subscribe reads events. It connects when the first is asked for, and is tried for ever, unless
// MaxElapsed says otherwise. It ends with ctx, by Close, or by a final error.
func (c *Client) Subscribe(ctx context.Context, options ...SubscribeOption) *Subscription {
	chosen, err := NewSubscribeOptions(options...)
	reader := newReader(c, chosen)
	ctx, cancel := c.within(ctx)
	if reader.isOwnHTTP {
		context.AfterFunc(ctx, reader.http.CloseIdleConnections)
	}

	return &Subscription{reader: reader, ctx: ctx, cancel: cancel, wrong: err}
}

// Events is the events from here on; each is finished when the next is asked for. It ends when ctx
// does, or by Close, without an error; an error is final: *GapError, *StatusError, or one that
// matches ErrTooLarge, ErrProtocol or ErrGaveUp.
//
// After a break it may be ranged over again, by one goroutine at a time: it goes on behind the
// event that was handed on last.
func (s *Subscription) Events() iter.Seq2[Received, error] {
	return func(yield func(Received, error) bool) {
		if !s.reading.TryLock() {
			yield(Received{}, errors.New("vidette: another goroutine reads this subscription"))
			return
		}
		defer s.reading.Unlock()

		for !s.isEnded {
			event, err := s.next()
			if err != nil {
				s.end()
				if !errors.Is(err, ErrClosed) {
					yield(Received{}, err)
				}
				return
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}

// Finish says that the last event is handled while no other is wanted yet, as before a break.
// It must not be called while another goroutine waits for an event.
func (s *Subscription) Finish() { s.reader.finish() }

// State is a snapshot, for any goroutine.
func (s *Subscription) State() State {
	state := s.reader.status.get()
	if s.ctx.Err() != nil {
		state.Phase = Closed
	}
	return state
}

// Close ends it at once, from any goroutine. An event that is not finished stays so: State still
// says the cursor before it. It may be called again.
func (s *Subscription) Close() error {
	s.cancel()
	return nil
}

func (s *Subscription) next() (Received, error) {
	if s.wrong != nil {
		return Received{}, s.wrong
	}
	return s.reader.next(s.ctx)
}

func (s *Subscription) end() {
	s.isEnded = true
	s.cancel()
}
