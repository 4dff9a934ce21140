package grpcsub

import (
	"context"
	"errors"
	"iter"
	"sync"

	"vidette.dev/go"
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

// Events is the events from here on; each is finished when the next is asked for. It ends when ctx
// does, or by Close, without an error; an error is final: *vidette.GapError, a status of gRPC, or
// one that matches vidette.ErrTooLarge, ErrProtocol or ErrGaveUp.
//
// After a break it may be ranged over again, by one goroutine at a time.
func (s *Subscription) Events() iter.Seq2[vidette.Received, error] {
	return func(yield func(vidette.Received, error) bool) {
		if !s.reading.TryLock() {
			yield(vidette.Received{}, errors.New("grpcsub: another goroutine reads this subscription"))
			return
		}
		defer s.reading.Unlock()

		for !s.isEnded {
			event, err := s.next()
			if err != nil {
				s.isEnded = true
				s.cancel()
				if !errors.Is(err, vidette.ErrClosed) {
					yield(vidette.Received{}, err)
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

// State is a snapshot, for any goroutine. Its Transport is "grpc".
func (s *Subscription) State() vidette.State {
	state := s.reader.status.get()
	if s.ctx.Err() != nil {
		state.Phase = vidette.Closed
	}
	return state
}

// Close ends it at once, from any goroutine. It may be called again.
func (s *Subscription) Close() error {
	s.cancel()
	return nil
}

func (s *Subscription) next() (vidette.Received, error) {
	if s.wrong != nil {
		return vidette.Received{}, s.wrong
	}
	return s.reader.next(s.ctx)
}

// status is written by the reading goroutine and read by any.
type status struct {
	mutex sync.Mutex
	state vidette.State
}

func (s *status) get() vidette.State {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.state
}

func (s *status) update(change func(*vidette.State)) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	change(&s.state)
}
