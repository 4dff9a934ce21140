// The adapter of the common kit: JSON lines in, this library's doings out.
//
//	go build -o .tools/bin/kit-go ./kit
//	vidette-kit run --level full -- .tools/bin/kit-go
//
// Limits are quickened by 10 and waits by VIDETTE_KIT_WAITS; what is said is in full time.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"sync"
)

// command is one line of the kit.
type command struct {
	Do string

	Topic         []string
	After, Since  string
	Snapshot      bool
	OnGap         string `json:"on_gap"`
	Transport     string
	SSEAgainMs    *float64 `json:"sse_again_ms"`
	MaxEventBytes int      `json:"max_event_bytes"`
	Token         string

	N *int

	Ref, Mode string
	Events    []publishedEvent
	WindowMs  *float64 `json:"window_ms"`
}

type publishedEvent struct {
	Topic, Type, ID string
	Data            json.RawMessage
}

var output = struct {
	sync.Mutex
	*json.Encoder
}{Encoder: json.NewEncoder(os.Stdout)}

type fields map[string]any

// say is one line for the kit.
func say(word string, more fields) {
	line := fields{"say": word}
	for name, value := range more {
		line[name] = value
	}

	output.Lock()
	defer output.Unlock()
	_ = output.Encode(line)
}

func main() {
	output.SetEscapeHTML(false)
	ctx, cancel := context.WithCancel(context.Background())
	adapter := newAdapter(ctx)

	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 1 {
			var asked command
			if json.Unmarshal(line, &asked) != nil {
				asked.Do = "nonsense"
			}
			adapter.obey(asked)
		}
		if err != nil {
			break
		}
	}

	adapter.close()
	cancel()
}
