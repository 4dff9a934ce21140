package grpcsub

import (
	"log/slog"

	"google.golang.org/grpc"

	"vidette.dev/go"
	"vidette.dev/go/internal/pace"
)

// Option is an option of New.
type Option func(*Client)

// WithToken has the function asked for a token: before the first try, after UNAUTHENTICATED, and
// when a JWT has less than 30 s left at a reconnect. One call at a time.
func WithToken(token vidette.TokenFunc) Option {
	return func(c *Client) { c.ask = token }
}

// WithDialOptions is for certificates, proxies and interceptors. Without it the connection is
// encrypted, with the system's roots.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(c *Client) { c.dialOptions = append(c.dialOptions, options...) }
}

// WithLogger takes the place of slog.Default.
func WithLogger(logger *slog.Logger) Option {
	return func(c *Client) { c.logger = logger }
}

// WithClock quickens time, for the tests of this module.
func WithClock(clock *pace.Clock) Option {
	return func(c *Client) { c.clock = clock }
}
