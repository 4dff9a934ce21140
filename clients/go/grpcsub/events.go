package grpcsub

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"vidette.dev/go"
	"vidette.dev/go/grpcsub/videttev1"
)

// received is the event as the other transports show it.
func received(event *videttev1.Event, cursor string) vidette.Received {
	made := vidette.Received{
		Vid: event.GetVid(), Cursor: cursor, Topic: event.GetTopic(), Type: event.GetType(),
		ID: event.GetId(), ContentType: event.GetContentType(), Headers: event.GetHeaders(),
		Time: event.GetTime().AsTime(), Data: event.GetData(),
	}

	switch {
	case isJSON(event.GetContentType()):
		made.Raw = event.GetData()
	case strings.HasPrefix(event.GetContentType(), "text/") && utf8.Valid(event.GetData()):
		made.Raw, _ = json.Marshal(string(event.GetData()))
	}
	return made
}

func isJSON(contentType string) bool {
	essence, _, _ := strings.Cut(contentType, ";")
	essence = strings.ToLower(strings.TrimSpace(essence))

	return essence == "application/json" || essence == "text/json" ||
		strings.HasSuffix(essence, "+json")
}

func gapOf(gap *videttev1.Gap) vidette.Gap {
	return vidette.Gap{
		Reason: gap.GetReason(), Requested: gap.GetRequested(), First: gap.GetFirst(),
		Last: gap.GetLast(), Epoch: gap.GetEpoch(),
	}
}
