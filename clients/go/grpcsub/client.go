package grpcsub

import (
	"context"
	"crypto/tls"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"vidette.dev/go"
	"vidette.dev/go/internal/pace"
	"vidette.dev/go/internal/token"
)

// Client is a gateway. It is safe for use by several goroutines.
type Client struct {
	target      string
	ask         vidette.TokenFunc
	tokens      *token.Cache
	dialOptions []grpc.DialOption
	logger      *slog.Logger
	clock       *pace.Clock
}

// New is a client of the gateway at this target of gRPC, as "push.example.com:443".
func New(target string, options ...Option) *Client {
	client := &Client{target: target, clock: pace.Real()}
	encrypted := grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{}))
	client.dialOptions = []grpc.DialOption{encrypted}

	for _, option := range options {
		option(client)
	}
	client.tokens = token.NewCache(client.clock, client.ask, "")
	return client
}

// Subscribe reads events, with the options of vidette.Client.Subscribe; those about transports do
// nothing here. It ends with ctx, by Close, or by a final error. Each subscription has a connection
// of its own, made anew for each try: so the waits between them are ours, and a dead connection is
// left behind.
func (c *Client) Subscribe(ctx context.Context, options ...vidette.SubscribeOption) *Subscription {
	chosen, err := vidette.NewSubscribeOptions(options...)
	ctx, cancel := context.WithCancel(ctx)

	return &Subscription{reader: newReader(c, chosen), ctx: ctx, cancel: cancel, wrong: err}
}

func (c *Client) log() *slog.Logger {
	if c.logger != nil {
		return c.logger
	}
	return slog.Default()
}
