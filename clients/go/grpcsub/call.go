package grpcsub

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"vidette.dev/go/grpcsub/videttev1"
	"vidette.dev/go/internal/pace"
)

const (
	helloLimit       = 10 * time.Second
	defaultHeartbeat = 15 * time.Second
	silenceTenths    = 25 // of a heartbeat
	// unreadBytes is what may come before it is asked for. Set, so that gRPC does not choose more.
	unreadBytes = 1 << 20
	// mostMessage is what every client of gRPC takes, and what a message has beside one event.
	mostMessage = 4 << 20
)

var errSilent = errors.New("nothing came within the time that the heartbeat allows")

// call is one Subscribe, on a connection of its own. A watchdog cuts it when nothing comes in time,
// but only while somebody is waiting: a slow application is no dead line.
type call struct {
	clock      *pace.Clock
	connection *grpc.ClientConn
	ctx        context.Context
	cancel     context.CancelCauseFunc
	watchdog   *time.Timer
	stream     grpc.ServerStreamingClient[videttev1.SubscribeResponse]

	askedAt   time.Duration
	isOpen    bool
	openedAt  time.Duration
	heartbeat time.Duration
	isClosing bool
	retry     time.Duration
}

// dial connects and asks. Its first answer may take helloLimit, from here.
func (c *Client) dial(
	ctx context.Context, request *videttev1.SubscribeRequest, token string, maxEventBytes int,
) (*call, error) {
	options := append([]grpc.DialOption{
		grpc.WithInitialWindowSize(unreadBytes),
		grpc.WithInitialConnWindowSize(unreadBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(mostMessage + maxEventBytes)),
	}, c.dialOptions...)
	connection, err := grpc.NewClient(c.target, options...)
	if err != nil {
		return nil, err
	}

	made := &call{clock: c.clock, connection: connection, askedAt: c.clock.Now(), retry: -1}
	made.ctx, made.cancel = context.WithCancelCause(ctx)
	made.watchdog = time.AfterFunc(c.clock.Limit(helloLimit), func() { made.cancel(errSilent) })

	asking := made.ctx
	if token != "" {
		asking = metadata.AppendToOutgoingContext(asking, "authorization", "Bearer "+token)
	}
	made.stream, err = videttev1.NewEventBusClient(connection).Subscribe(asking, request)
	if err != nil {
		err = made.reason(err)
		made.end()
		return nil, err
	}
	return made, nil
}

// receive waits for the next message.
func (c *call) receive() (*videttev1.SubscribeResponse, error) {
	c.watchdog.Reset(c.clock.Limit(c.limit()))
	response, err := c.stream.Recv()
	c.watchdog.Stop()

	if err != nil {
		return nil, c.reason(err)
	}
	if !c.isOpen {
		c.isOpen, c.openedAt = true, c.clock.Now()
	}
	return response, nil
}

// limit is how long the next message may take.
func (c *call) limit() time.Duration {
	if c.heartbeat > 0 {
		return c.heartbeat * silenceTenths / 10
	}
	return c.askedAt + helloLimit - c.clock.Now()
}

// lasted is how long ago the first message came.
func (c *call) lasted() time.Duration {
	if !c.isOpen {
		return 0
	}
	return c.clock.Now() - c.openedAt
}

func (c *call) end() {
	c.watchdog.Stop()
	c.cancel(nil)
	_ = c.connection.Close()
}

// reason prefers the cause that ended the call over what gRPC made of it.
func (c *call) reason(err error) error {
	if errors.Is(context.Cause(c.ctx), errSilent) {
		return errSilent
	}
	return err
}
