package vidette

import (
	"encoding/json"
	"fmt"
)

// Gap says that events after Requested, which the subscription has not seen, are gone.
type Gap struct {
	// Reason is "expired" (older than what is retained), "reset" (another log), "ahead" (the cursor
	// is beyond the newest event), or one that is newer than this library.
	Reason string
	// Requested is the cursor that could not be served.
	Requested string
	// First and Last are the oldest and newest retained vid.
	First, Last uint64
	// Epoch is that of the log which is read now.
	Epoch string
}

// String names what is gone.
func (g Gap) String() string {
	return fmt.Sprintf("%s: %s cannot be served; retained are %d to %d of %s",
		g.Reason, g.Requested, g.First, g.Last, g.Epoch)
}

// GapPolicy says what follows a gap.
type GapPolicy int

const (
	// Continue reads on with what is retained; a warning is logged unless OnGapFunc is used.
	Continue GapPolicy = iota
	// Fail ends the subscription with a *GapError.
	Fail
	// Snapshot reads the newest event of every topic, then goes on.
	Snapshot
)

// parseGap takes what is missing or odd as empty.
func parseGap(text []byte) Gap {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(text, &fields)

	return Gap{
		Reason:    field[string](fields, "reason"),
		Requested: field[string](fields, "requested"),
		First:     field[uint64](fields, "first"),
		Last:      field[uint64](fields, "last"),
		Epoch:     field[string](fields, "epoch"),
	}
}

func field[T any](fields map[string]json.RawMessage, name string) (value T) {
	if json.Unmarshal(fields[name], &value) != nil {
		var none T
		return none
	}
	return value
}
