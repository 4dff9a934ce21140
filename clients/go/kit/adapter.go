package main

import (
	"context"
	"log/slog"
	"math"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"vidette.dev/go"
	"vidette.dev/go/internal/pace"
)

const (
	limitFactor     = 0.1
	waitFactor      = 0.01
	defaultWindow   = 110 * time.Second
	dedupeMargin    = 10 * time.Second
	defaultSSEAgain = 10 * time.Minute
)

// adapter holds one client, and one subscription at a time.
type adapter struct {
	ctx     context.Context
	waits   float64
	clock   *pace.Clock
	tokens  atomic.Int64
	client  *vidette.Client
	reading *reading
}

func newAdapter(ctx context.Context) *adapter {
	limits := factor("VIDETTE_KIT_LIMITS", limitFactor)
	waits := factor("VIDETTE_KIT_WAITS", waitFactor)

	say("ready", fields{"library": "vidette (Go)", "version": vidette.Version})
	return &adapter{ctx: ctx, waits: waits, clock: pace.Quick(limits, waits, sayWait)}
}

// factor reads a variable of the environment.
func factor(name string, otherwise float64) float64 {
	value, err := strconv.ParseFloat(os.Getenv(name), 64)
	if err != nil {
		return otherwise
	}
	return value
}

func sayWait(wait time.Duration) {
	say("wait", fields{"ms": math.Round(wait.Seconds() * 1000), "why": "retry"})
}

// obey does what one line asks, without waiting for events or receipts.
func (a *adapter) obey(asked command) {
	switch asked.Do {
	case "subscribe":
		a.reading = newReading(a.subscribe(asked))
	case "take":
		a.reading.take(asked.N)
	case "ack":
		a.reading.askAhead()
	case "state":
		a.sayState()
	case "close":
		a.close()
	case "publish":
		// Streams and calls are started in the order of the lines.
		go publish(a.ctx, a.clientFor(asked), asked)
	default:
		say("unsupported", fields{"do": asked.Do})
	}
}

func (a *adapter) close() {
	if a.reading != nil {
		a.reading.close()
	}
	if a.client != nil {
		_ = a.client.Close()
		a.client = nil
	}
}

func (a *adapter) clientFor(asked command) *vidette.Client {
	if a.client != nil {
		return a.client
	}

	window := defaultWindow
	if asked.WindowMs != nil {
		window = milliseconds(*asked.WindowMs)
	}
	options := []vidette.ClientOption{
		vidette.WithClock(a.clock),
		vidette.WithDedupeWindow(window + dedupeMargin),
		vidette.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))),
	}
	if asked.Token == "counted" {
		options = append(options, vidette.WithToken(a.nextToken))
	}

	a.client = vidette.New(os.Getenv("VIDETTE_KIT_URL"), options...)
	return a.client
}

func (a *adapter) nextToken(context.Context) (string, error) {
	n := a.tokens.Add(1)
	say("token", fields{"n": n})
	return "token-" + strconv.FormatInt(n, 10), nil
}

func (a *adapter) subscribe(asked command) *vidette.Subscription {
	// The time with SSE set aside is a wait, and the library measures it on the clock of limits.
	again := defaultSSEAgain
	if asked.SSEAgainMs != nil {
		again = milliseconds(*asked.SSEAgainMs)
	}
	again = time.Duration(float64(again) * a.waits / limitFactor)

	options := []vidette.SubscribeOption{
		vidette.Filter(asked.Topic...), vidette.After(asked.After), vidette.Since(asked.Since),
		vidette.SSEAgain(again), gapOption(asked.OnGap),
	}
	if asked.Snapshot {
		options = append(options, vidette.FromSnapshot())
	}
	if asked.MaxEventBytes > 0 {
		options = append(options, vidette.MaxEventBytes(asked.MaxEventBytes))
	}
	if asked.Transport != "auto" {
		options = append(options, vidette.Via(vidette.Transport(asked.Transport)))
	}

	return a.clientFor(asked).Subscribe(a.ctx, options...)
}

func gapOption(policy string) vidette.SubscribeOption {
	choice := map[string]vidette.GapPolicy{"snapshot": vidette.Snapshot}[policy]
	if policy == "fail" {
		return vidette.OnGap(vidette.Fail)
	}

	return vidette.OnGapFunc(func(gap vidette.Gap) vidette.GapPolicy {
		say("gap", fields{
			"reason": gap.Reason, "requested": gap.Requested, "first": gap.First,
			"last": gap.Last, "epoch": gap.Epoch,
		})
		return choice
	})
}

func (a *adapter) sayState() {
	if a.reading == nil {
		say("state", fields{"state": "closed", "cursor": nil})
		return
	}

	state := a.reading.subscription.State()
	var cursor any
	if state.Cursor != "" {
		cursor = state.Cursor
	}
	say("state", fields{
		"state": state.Phase, "transport": state.Transport, "cursor": cursor,
		"duplicates": state.Duplicates, "gaps": state.Gaps, "reconnects": state.Reconnects,
	})
}

func milliseconds(ms float64) time.Duration {
	return time.Duration(ms * float64(time.Millisecond))
}
