package vidette

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// Event is an event to be published.
type Event struct {
	// Topic is dot-separated, without wildcards.
	Topic string
	// Type may be empty.
	Type string
	// ID makes publishing again safe; empty: a UUIDv7 is made.
	ID string
	// Data is anything that encodes as JSON, as a json.RawMessage; a []byte is sent as bytes.
	Data any
	// ContentType may be empty: then it is found from the data.
	ContentType string
	// Headers are your own names and values.
	Headers map[string]string
}

// Receipt says that an event is durable.
type Receipt struct {
	Vid    uint64 `json:"vid"`
	Cursor string `json:"cursor"`
	// Duplicate: the id was known already; vid and cursor are those of the first one.
	Duplicate bool `json:"duplicate"`
}

// wireEvent is the JSON object of publishing.
type wireEvent struct {
	Topic       string            `json:"topic"`
	ID          string            `json:"id"`
	Type        string            `json:"type,omitempty"`
	ContentType string            `json:"content_type,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	Data        any               `json:"data,omitempty"`
	DataBase64  *string           `json:"data_base64,omitempty"`
}

// encode is the event as one line of JSON, and its id, the same for every try.
func (e Event) encode(wall time.Time) (line []byte, id string, err error) {
	if e.ID == "" {
		e.ID = newID(wall)
	}

	object := wireEvent{
		Topic: e.Topic, ID: e.ID, Type: e.Type, ContentType: e.ContentType, Headers: e.Headers,
	}
	if data, isBytes := e.Data.([]byte); isBytes {
		text := base64.StdEncoding.EncodeToString(data)
		object.DataBase64 = &text
	} else {
		// A pointer, so that what is empty is sent, too.
		object.Data = &e.Data
	}

	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		return nil, "", fmt.Errorf("vidette: the event for %q: %w", e.Topic, err)
	}
	return bytes.TrimRight(buffer.Bytes(), "\n"), e.ID, nil
}

// newID is a UUIDv7: ids of one publisher sort by time.
func newID(wall time.Time) string {
	var id [16]byte
	_, _ = rand.Read(id[6:])

	ms := uint64(wall.UnixMilli())
	for at := range 6 {
		id[at] = byte(ms >> (40 - 8*at))
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80

	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
