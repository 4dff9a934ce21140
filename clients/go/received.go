package vidette

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"vidette.dev/go/internal/position"
)

// Received is an event that was read.
type Received struct {
	// Vid is its place in the order: rising, perhaps with holes.
	Vid uint64
	// Cursor is the position behind it, to resume from.
	Cursor string
	// Topic, Type, ID, ContentType and Headers are as published; ContentType is empty where the
	// data shows it.
	Topic, Type, ID, ContentType string
	Headers                      map[string]string
	// Time is when the gateway accepted it.
	Time time.Time
	// Data is the JSON text with every digit, the text, or the bytes.
	Data []byte
	// Raw is the data as JSON text, with quotes where it is text; nil for bytes.
	Raw json.RawMessage
}

// JSON decodes the data. It is an error for bytes.
func (r Received) JSON(into any) error {
	if r.Raw == nil {
		return fmt.Errorf("vidette: the data of %s is bytes (%s), not JSON", r.Cursor, r.ContentType)
	}
	return json.Unmarshal(r.Raw, into)
}

// eventObject is the JSON object of SSE and long-poll.
type eventObject struct {
	Vid         uint64            `json:"vid"`
	Topic       string            `json:"topic"`
	Time        string            `json:"time"`
	Type        string            `json:"type"`
	ID          string            `json:"id"`
	ContentType string            `json:"content_type"`
	Headers     map[string]string `json:"headers"`
	Data        json.RawMessage   `json:"data"`
	DataBase64  *string           `json:"data_base64"`
}

// parseReceived makes the cursor from vid and epoch where the event has none of its own.
func parseReceived(text []byte, cursor, epoch string) (Received, error) {
	var object eventObject
	if err := json.Unmarshal(text, &object); err != nil {
		return Received{}, fmt.Errorf("an event that is no event object: %w", err)
	}
	if object.Vid == 0 || object.Topic == "" {
		return Received{}, errors.New("an event without vid or topic")
	}
	if cursor == "" {
		cursor = position.Text(object.Vid, epoch)
	}

	received := Received{
		Vid: object.Vid, Cursor: cursor, Topic: object.Topic, Type: object.Type, ID: object.ID,
		ContentType: object.ContentType, Headers: object.Headers,
	}
	received.Time, _ = time.Parse(time.RFC3339Nano, object.Time)

	return received, received.takeData(object)
}

func (r *Received) takeData(object eventObject) (err error) {
	if object.DataBase64 != nil {
		r.Data, err = base64.StdEncoding.DecodeString(*object.DataBase64)
		return err
	}

	r.Raw, r.Data = object.Data, object.Data
	if len(object.Data) > 0 && object.Data[0] == '"' {
		var text string
		err = json.Unmarshal(object.Data, &text)
		r.Data = []byte(text)
	}
	return err
}
