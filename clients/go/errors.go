package vidette

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrOutcomeUnknown is matched by the error of an event of which it is not known whether it was
	// published: no try was answered for as long as the gateway knows its id. See
	// OutcomeUnknownError.
	ErrOutcomeUnknown = errors.New("vidette: it is not known whether the events were published")
	// ErrTooLarge ends a subscription at an event beyond MaxEventBytes.
	ErrTooLarge = errors.New("vidette: an event is larger than MaxEventBytes")
	// ErrProtocol ends a subscription when the server has broken the contract twice in a row.
	ErrProtocol = errors.New("vidette: the server breaks the contract")
	// ErrGaveUp ends a subscription after MaxElapsed without a good connection.
	ErrGaveUp = errors.New("vidette: no good connection for as long as MaxElapsed")
	// ErrClosed is for what is asked of a client or a stream after Close.
	ErrClosed = errors.New("vidette: closed")
)

// GapError ends a subscription whose policy is Fail: load the current state again, then subscribe
// anew.
type GapError struct{ Gap Gap }

func (e *GapError) Error() string { return "vidette: events are missing, " + e.Gap.String() }

// StatusError is an answer that refuses.
type StatusError struct {
	// Status is that of HTTP.
	Status int
	// Type, Title and Detail are from the problem (RFC 9457), where the answer has one.
	Type, Title, Detail string

	retryAfter time.Duration
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("vidette: status %d", e.Status)
	for _, part := range []string{e.Title, e.Detail} {
		if part != "" {
			text += ": " + part
		}
	}
	return text
}

// OutcomeUnknownError names the events; it matches ErrOutcomeUnknown, and the last error of a try.
type OutcomeUnknownError struct {
	IDs   []string
	Cause error
}

func (e *OutcomeUnknownError) Error() string {
	return fmt.Sprintf("%v (%s): %v", ErrOutcomeUnknown, strings.Join(e.IDs, ", "), e.Cause)
}

// Unwrap is for errors.Is and errors.As.
func (e *OutcomeUnknownError) Unwrap() []error { return []error{ErrOutcomeUnknown, e.Cause} }

func statusError(status int, body []byte) *StatusError {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(body, &fields)

	return &StatusError{
		Status: status,
		Type:   field[string](fields, "type"),
		Title:  field[string](fields, "title"),
		Detail: field[string](fields, "detail"),
	}
}
