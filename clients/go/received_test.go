package vidette

import (
	"encoding/json"
	"testing"
	"time"
)

func TestDataKeepsItsDigitsAndHasItsBytes(t *testing.T) {
	table := []struct{ object, data, raw string }{
		{`{"vid":1,"topic":"a","data":{"n": 12345678901234567890.10}}`,
			`{"n": 12345678901234567890.10}`, `{"n": 12345678901234567890.10}`},
		{`{"vid":1,"topic":"a","data":"plain \"words\""}`, `plain "words"`, `"plain \"words\""`},
		{`{"vid":1,"topic":"a","data":null}`, `null`, `null`},
		{`{"vid":1,"topic":"a","content_type":"image/png","data_base64":"AQI="}`, "\x01\x02", ""},
	}

	for _, row := range table {
		event, err := parseReceived([]byte(row.object), "", "k3x9q2")
		if err != nil || string(event.Data) != row.data || string(event.Raw) != row.raw {
			t.Errorf("%s: %q %q %v", row.object, event.Data, event.Raw, err)
		}
		if event.Cursor != "1-k3x9q2" {
			t.Error(event.Cursor)
		}
		var value any
		if err := event.JSON(&value); (err == nil) != json.Valid(event.Raw) {
			t.Error(err)
		}
	}
}

func TestAnEventHasWhatThePublisherGave(t *testing.T) {
	event, err := parseReceived([]byte(`{"vid":7,"topic":"door.3","time":"2026-11-22T10:00:00.123Z",
		"type":"opened","id":"a1","headers":{"by":"me"},"data":1,"later":true}`), "7-k3x9q2", "")
	if err != nil {
		t.Fatal(err)
	}

	time := time.Date(2026, 11, 22, 10, 0, 0, 123e6, time.UTC)
	isRight := event.Vid == 7 && event.Topic == "door.3" && event.Type == "opened" &&
		event.ID == "a1" && event.Headers["by"] == "me" && event.Time.Equal(time)
	if !isRight {
		t.Fatalf("%+v", event)
	}
}

func TestWhatIsNoEventIsAnError(t *testing.T) {
	for _, text := range []string{
		``, `7`, `{}`, `{"vid":"7","topic":"a"}`, `{"vid":7}`, `{"vid":-7,"topic":"a"}`,
		`{"vid":7,"topic":"a","data_base64":"?"}`,
	} {
		if _, err := parseReceived([]byte(text), "", ""); err == nil {
			t.Error(text)
		}
	}
}
