package vidette

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"vidette.dev/go/internal/pace"
	"vidette.dev/go/internal/token"
)

const (
	defaultDedupeWindow = 2 * time.Minute
	dedupeMargin        = 10 * time.Second
	mostBufferedBytes   = 1 << 20
	// mostIdleConnections so many calls of Publish at once do not connect again and again.
	mostIdleConnections = 32
	// pingAfter finds a dead connection of HTTP/2, which would be taken for the next request, too.
	pingAfter = 15 * time.Second
)

// Client is a gateway. It is safe for use by several goroutines.
type Client struct {
	url       string
	clock     *pace.Clock
	logger    *slog.Logger
	tokens    *token.Cache
	http      *http.Client
	isOwnHTTP bool
	window    time.Duration
	done      context.Context
	end       context.CancelFunc
}

// New is a client of the gateway at this URL. It connects when there is something to do.
func New(url string, options ...ClientOption) *Client {
	chosen := clientOptions{clock: pace.Real(), dedupeWindow: defaultDedupeWindow}
	for _, option := range options {
		option(&chosen)
	}

	client := &Client{
		url:       strings.TrimRight(url, "/"),
		clock:     chosen.clock,
		logger:    chosen.logger,
		tokens:    token.NewCache(chosen.clock, chosen.token, chosen.fixedToken),
		http:      chosen.http,
		isOwnHTTP: chosen.http == nil,
		window:    chosen.dedupeWindow - dedupeMargin,
	}
	if client.isOwnHTTP {
		client.http = newHTTPClient()
	}
	client.done, client.end = context.WithCancel(context.Background())

	return client
}

// Close ends the subscriptions and streams of this client, and closes its connections. It may be
// called again.
func (c *Client) Close() error {
	c.end()
	if c.isOwnHTTP {
		c.http.CloseIdleConnections()
	}
	return nil
}

func (c *Client) log() *slog.Logger {
	if c.logger != nil {
		return c.logger
	}
	return slog.Default()
}

// httpForStream has connections of its own, so that a subscription's end leaves none, and a dead
// connection takes nobody else's requests with it.
func (c *Client) httpForStream() (own *http.Client, isOwn bool) {
	if !c.isOwnHTTP {
		return c.http, false
	}
	return newHTTPClient(), true
}

func newHTTPClient() *http.Client {
	transport, isUsual := http.DefaultTransport.(*http.Transport)
	if !isUsual {
		return &http.Client{Transport: http.DefaultTransport}
	}

	transport = transport.Clone()
	transport.DisableCompression = true
	transport.MaxIdleConnsPerHost = mostIdleConnections
	// What is not read has to stay with the gateway.
	transport.HTTP2 = &http.HTTP2Config{
		MaxReceiveBufferPerStream: mostBufferedBytes,
		SendPingTimeout:           pingAfter,
	}

	return &http.Client{Transport: transport}
}

// within is the caller's context, ended also by Close.
func (c *Client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.done, func() { cancel(ErrClosed) })

	return ctx, func() {
		stop()
		cancel(ErrClosed)
	}
}
