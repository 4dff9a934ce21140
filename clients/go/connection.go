package vidette

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"vidette.dev/go/internal/pace"
)

const (
	helloLimit        = 10 * time.Second
	firstByteLimit    = 5 * time.Second
	pollWait          = 25 * time.Second
	pollGrace         = 10 * time.Second
	defaultHeartbeat  = 15 * time.Second
	errorBodyBytes    = 64 << 10
	pollPageBytes     = 2 << 20
	silenceTenths     = 25 // of a heartbeat
	pieceBytes        = 32 << 10
	largestFieldBytes = 4096
)

var errSilent = errors.New("nothing came within the time that the heartbeat allows")

// connection is one request of a subscription, from its sending to its end. A watchdog cuts it when
// nothing comes in time, but only while somebody is reading: a slow application is no dead line.
type connection struct {
	transport Transport
	clock     *pace.Clock
	ctx       context.Context
	cancel    context.CancelCauseFunc
	watchdog  *time.Timer
	askedAt   time.Duration
	limit     time.Duration

	body      io.ReadCloser
	parser    *blockParser
	isOpen    bool
	headAt    time.Duration
	hasBytes  bool
	heartbeat time.Duration
	isClosing bool
	retry     time.Duration
	ended     error
}

// dial sends the request. It is silent if no head comes within the limit.
func dial(
	ctx context.Context, sender *http.Client, request *http.Request, conn *connection,
) (*http.Response, error) {
	conn.ctx, conn.cancel = context.WithCancelCause(ctx)
	conn.watchdog = time.AfterFunc(conn.clock.Limit(conn.limit), func() { conn.cancel(errSilent) })

	response, err := sender.Do(request.WithContext(conn.ctx))
	if err != nil {
		conn.ended = conn.reason(err)
		return nil, conn.ended
	}
	conn.body = response.Body
	return response, nil
}

// open is for an answer that is a stream, or a poll's.
func (c *connection) open() {
	c.isOpen = true
	c.headAt = c.clock.Now()
}

// read waits for bytes. What has come is given before the error that came behind it.
func (c *connection) read(buffer []byte) (int, error) {
	if c.ended != nil {
		return 0, c.ended
	}

	c.watchdog.Reset(c.clock.Limit(c.readLimit()))
	count, err := c.body.Read(buffer)
	c.watchdog.Stop()

	c.hasBytes = c.hasBytes || count > 0
	if err != nil {
		c.ended = c.reason(err)
		if count > 0 {
			err = nil
		} else {
			err = c.ended
		}
	}
	return count, err
}

// readAll is the whole body, up to so many bytes.
func (c *connection) readAll(most int) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(c.body, int64(most)+1))
	if err != nil {
		c.ended = c.reason(err)
		return nil, c.ended
	}
	if len(body) > most {
		return nil, ErrTooLarge
	}
	return body, nil
}

// readLimit is how long the next byte may take.
func (c *connection) readLimit() time.Duration {
	if c.heartbeat > 0 {
		return c.heartbeat * silenceTenths / 10
	}

	// Bytes that come, however slowly, are no dead line.
	if c.hasBytes {
		return helloLimit
	}
	now := c.clock.Now()
	return min(c.askedAt+helloLimit, c.headAt+firstByteLimit) - now
}

// lasted is how long it has been open.
func (c *connection) lasted() time.Duration {
	if !c.isOpen {
		return 0
	}
	return c.clock.Now() - c.headAt
}

// end lets go of it. A body that was read to its end leaves its connection to the next request.
func (c *connection) end() {
	c.watchdog.Stop()
	if c.body != nil {
		_ = c.body.Close()
	}
	c.cancel(nil)
}

// reason prefers the cause that ended the request over what the network made of it.
func (c *connection) reason(err error) error {
	if cause := context.Cause(c.ctx); cause != nil && !errors.Is(err, io.EOF) {
		return cause
	}
	return err
}
