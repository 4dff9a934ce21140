package vidette

import "sync"

// Phase is what a subscription is doing.
type Phase string

const (
	// Connecting waits for an answer.
	Connecting Phase = "connecting"
	// CatchingUp reads events that were there before.
	CatchingUp Phase = "catching-up"
	// Live has reached the end of the log.
	Live Phase = "live"
	// Waiting is between two tries.
	Waiting Phase = "waiting"
	// Closed has ended.
	Closed Phase = "closed"
)

// Transport is how events are read.
type Transport string

const (
	// Auto is SSE, and long-poll where that does not come through.
	Auto Transport = ""
	// SSE is server-sent events.
	SSE Transport = "sse"
	// Poll is long-poll.
	Poll Transport = "poll"
)

// State is how a subscription is doing, as of now.
type State struct {
	Phase     Phase
	Transport Transport
	// Cursor is the one to save: behind the last event that was finished; empty while nothing is
	// known.
	Cursor string
	// Lag is how many vids it was behind at the last hello.
	Lag uint64
	// Reconnects, Gaps and Duplicates count; a duplicate was dropped.
	Reconnects, Gaps, Duplicates int
}

// status is written by the reading goroutine and read by any.
type status struct {
	mutex sync.Mutex
	state State
}

func (s *status) get() State {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.state
}

func (s *status) update(change func(*State)) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	change(&s.state)
}

func (s *status) enter(phase Phase) {
	s.update(func(state *State) { state.Phase = phase })
}
