package vidette

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// message is one step of a subscription (the contract, §4), the same for SSE and long-poll.
type message interface{ isMessage() }

type (
	helloMessage struct {
		epoch     string
		last      uint64
		hasLast   bool
		heartbeat time.Duration
		// served is the filter that is left where the caller's rights cut it down.
		served []string
	}
	// eventMessage is the event object, not parsed yet. cursor may be empty.
	eventMessage struct {
		text   []byte
		cursor string
	}
	progressMessage struct{ cursor string }
	caughtUpMessage struct{ cursor string }
	gapMessage      struct{ gap Gap }
	closingMessage  struct {
		reason   string
		retry    time.Duration
		hasRetry bool
	}
)

func (helloMessage) isMessage()    {}
func (eventMessage) isMessage()    {}
func (progressMessage) isMessage() {}
func (caughtUpMessage) isMessage() {}
func (gapMessage) isMessage()      {}
func (closingMessage) isMessage()  {}

type fields = map[string]json.RawMessage

// messageOf is nil for a block that says nothing, or nothing that this library knows.
func messageOf(block block) message {
	if !strings.HasPrefix(block.event, "vidette.") {
		if block.data != nil {
			return eventMessage{block.data, block.id}
		}
		return progressTo(block.id)
	}

	var known fields
	_ = json.Unmarshal(block.data, &known)

	switch block.event {
	case "vidette.hello":
		return helloOf(known)
	case "vidette.gap":
		return gapMessage{parseGap(block.data)}
	case "vidette.caught_up":
		cursor := field[string](known, "cursor")
		if cursor == "" {
			cursor = block.id
		}
		return caughtUpMessage{cursor}
	case "vidette.closing":
		return closingOf(known)
	default:
		return progressTo(block.id)
	}
}

func progressTo(id string) message {
	if id == "" {
		return nil
	}
	return progressMessage{id}
}

func helloOf(known fields) helloMessage {
	_, hasLast := known["last"]

	return helloMessage{
		epoch:     field[string](known, "epoch"),
		last:      field[uint64](known, "last"),
		hasLast:   hasLast,
		heartbeat: time.Duration(field[uint32](known, "heartbeat_ms")) * time.Millisecond,
		served:    field[[]string](known, "filter"),
	}
}

func closingOf(known fields) closingMessage {
	retry, hasRetry := known["retry_ms"]
	ms := field[uint32](fields{"ms": retry}, "ms")

	return closingMessage{
		field[string](known, "reason"), time.Duration(ms) * time.Millisecond, hasRetry,
	}
}

// messagesOfAnswer is what the answer of a poll says, in order.
func messagesOfAnswer(body []byte) ([]message, error) {
	var known fields
	var events []json.RawMessage
	if json.Unmarshal(body, &known) != nil || json.Unmarshal(known["events"], &events) != nil {
		return nil, errors.New("a poll was answered with something else than events")
	}

	epoch, cursor := field[string](known, "epoch"), field[string](known, "cursor")
	if epoch == "" || cursor == "" {
		return nil, errors.New("a poll was answered without its position")
	}

	messages := []message{helloOf(known)}
	if gap, has := known["gap"]; has && string(gap) != "null" {
		messages = append(messages, gapMessage{parseGap(gap)})
	}
	for _, event := range events {
		messages = append(messages, eventMessage{event, ""})
	}

	if field[bool](known, "up_to_date") {
		return append(messages, caughtUpMessage{cursor}), nil
	}
	return append(messages, progressMessage{cursor}), nil
}
