package main

import (
	"encoding/base64"
	"errors"
	"iter"
	"sync"

	"vidette.dev/go"
)

// reading is one subscription. The next event may have been asked for ahead of the next take.
type reading struct {
	subscription *vidette.Subscription
	// wanted has how many events each take wants; -1 is all, and 0 only asks ahead.
	wanted chan int
	// Nothing is said of a subscription behind its end.
	saying  sync.Mutex
	isEnded bool
}

const mostTakes = 1024

func newReading(subscription *vidette.Subscription) *reading {
	r := &reading{subscription: subscription, wanted: make(chan int, mostTakes)}
	go r.work()
	return r
}

func (r *reading) take(n *int) {
	if n == nil {
		r.wanted <- -1
		return
	}
	r.wanted <- *n
}

// askAhead finishes the last event; the next one is kept for the next take.
func (r *reading) askAhead() { r.wanted <- 0 }

func (r *reading) close() {
	_ = r.subscription.Close()
	r.sayEnded()
}

func (r *reading) work() {
	next, stop := iter.Pull2(r.subscription.Events())
	defer stop()
	var ahead *vidette.Received

	for count := range r.wanted {
		for isAhead := count == 0; isAhead || count != 0; count-- {
			if ahead == nil {
				event, err, isThere := next()
				if !isThere || err != nil {
					r.sayEnd(err)
					return
				}
				ahead = &event
			}
			if isAhead {
				break
			}

			r.say(func() { sayEvent(*ahead) })
			ahead = nil
		}
	}
}

func (r *reading) sayEnd(err error) {
	if err != nil {
		sayError(err)
	}
	r.sayEnded()
}

func (r *reading) sayEnded() {
	r.say(func() {
		r.isEnded = true
		say("ended", nil)
	})
}

func (r *reading) say(line func()) {
	r.saying.Lock()
	defer r.saying.Unlock()
	if !r.isEnded {
		line()
	}
}

func sayEvent(event vidette.Received) {
	line := fields{"vid": event.Vid, "cursor": event.Cursor, "topic": event.Topic}
	if event.Type != "" {
		line["type"] = event.Type
	}
	if event.ID != "" {
		line["id"] = event.ID
	}
	if event.Raw != nil {
		line["raw"] = string(event.Raw)
	} else {
		line["base64"] = base64.StdEncoding.EncodeToString(event.Data)
	}

	say("event", line)
}

// sayError is for a final error of the subscription.
func sayError(err error) {
	line := fields{"kind": "other", "message": err.Error()}
	var gap *vidette.GapError
	var status *vidette.StatusError

	switch {
	case errors.As(err, &gap):
		line["kind"] = "gap"
	case errors.As(err, &status):
		line["kind"], line["status"] = "status", status.Status
	case errors.Is(err, vidette.ErrProtocol):
		line["kind"] = "protocol"
	case errors.Is(err, vidette.ErrTooLarge):
		line["kind"] = "too_large"
	}
	say("error", line)
}
