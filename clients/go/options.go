package vidette

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"vidette.dev/go/internal/pace"
)

// ClientOption is an option of New.
type ClientOption func(*clientOptions)

type clientOptions struct {
	clock        *pace.Clock
	logger       *slog.Logger
	token        TokenFunc
	fixedToken   string
	http         *http.Client
	dedupeWindow time.Duration
}

// TokenFunc gives a token that is good now.
type TokenFunc func(context.Context) (string, error)

// WithToken has the function asked for a token: before the first request, after a 401, and when a
// JWT has less than 30 s left at a reconnect. One call at a time.
func WithToken(token TokenFunc) ClientOption {
	return func(o *clientOptions) { o.token = token }
}

// WithFixedToken is for a token that does not change, as an API key.
func WithFixedToken(token string) ClientOption {
	return func(o *clientOptions) { o.fixedToken = token }
}

// WithHTTPClient is for certificates and proxies of your own. Its Timeout has to be 0, since a
// stream does not end; its connections are yours to close.
func WithHTTPClient(client *http.Client) ClientOption {
	return func(o *clientOptions) { o.http = client }
}

// WithLogger takes the place of slog.Default.
func WithLogger(logger *slog.Logger) ClientOption {
	return func(o *clientOptions) { o.logger = logger }
}

// WithDedupeWindow is how long the gateway knows ids of events, where it is configured to another
// time than 2 minutes. Publishing is tried again until 10 s before that.
func WithDedupeWindow(window time.Duration) ClientOption {
	return func(o *clientOptions) { o.dedupeWindow = window }
}

// WithClock quickens time, for the tests of this module.
func WithClock(clock *pace.Clock) ClientOption {
	return func(o *clientOptions) { o.clock = clock }
}

// SubscribeOption is an option of Subscribe.
type SubscribeOption func(*SubscribeOptions)

// SubscribeOptions is what a subscription is asked to do. It is exported for libraries that read by
// another transport with the same options, as vidette.dev/go/grpcsub.
type SubscribeOptions struct {
	Topics        []string
	After         string
	Since         string
	Snapshot      bool
	OnGap         GapPolicy
	GapHandler    func(Gap) GapPolicy
	Transport     Transport
	MaxElapsed    time.Duration
	MaxEventBytes int
	SSEAgain      time.Duration
}

const (
	defaultMaxEventBytes = 3 << 20
	defaultSSEAgain      = 10 * time.Minute
)

// NewSubscribeOptions has the defaults where nothing else is chosen. The error is for what can
// never work.
func NewSubscribeOptions(options ...SubscribeOption) (SubscribeOptions, error) {
	chosen := SubscribeOptions{MaxEventBytes: defaultMaxEventBytes, SSEAgain: defaultSSEAgain}
	for _, option := range options {
		option(&chosen)
	}

	starts := 0
	for _, isGiven := range []bool{chosen.After != "", chosen.Since != "", chosen.Snapshot} {
		if isGiven {
			starts++
		}
	}
	if starts > 1 {
		return chosen, errors.New("vidette: only one of After, Since and FromSnapshot may be chosen")
	}
	return chosen, nil
}

// Filter chooses topics, exact or with wildcards: * for one token, a last > for one or more.
// Without it all topics are read.
func Filter(topics ...string) SubscribeOption {
	return func(o *SubscribeOptions) { o.Topics = append(o.Topics, topics...) }
}

// After begins behind a cursor, or at "earliest" or "latest". Empty is the default, "latest".
func After(cursor string) SubscribeOption {
	return func(o *SubscribeOptions) { o.After = cursor }
}

// Since begins at a time (RFC 3339), or so long ago, as "15m".
func Since(timeOrDuration string) SubscribeOption {
	return func(o *SubscribeOptions) { o.Since = timeOrDuration }
}

// FromSnapshot begins with the newest event of every topic.
func FromSnapshot() SubscribeOption {
	return func(o *SubscribeOptions) { o.Snapshot = true }
}

// OnGap chooses what happens when events that were not read are gone; the default is Continue.
func OnGap(policy GapPolicy) SubscribeOption {
	return func(o *SubscribeOptions) { o.OnGap = policy }
}

// OnGapFunc has the function called with each gap, before the event behind it; it decides.
func OnGapFunc(decide func(Gap) GapPolicy) SubscribeOption {
	return func(o *SubscribeOptions) { o.GapHandler = decide }
}

// Via chooses the transport; the default is Auto.
func Via(transport Transport) SubscribeOption {
	return func(o *SubscribeOptions) { o.Transport = transport }
}

// MaxElapsed gives up after so long without a good connection. Without it, never.
func MaxElapsed(longest time.Duration) SubscribeOption {
	return func(o *SubscribeOptions) { o.MaxElapsed = longest }
}

// MaxEventBytes is the largest event that is taken; the default is 3 MiB. A larger one ends the
// subscription with ErrTooLarge.
func MaxEventBytes(bytes int) SubscribeOption {
	return func(o *SubscribeOptions) { o.MaxEventBytes = bytes }
}

// SSEAgain is how long long-poll is used before server-sent events are tried again; the default is
// 10 minutes.
func SSEAgain(after time.Duration) SubscribeOption {
	return func(o *SubscribeOptions) { o.SSEAgain = after }
}
