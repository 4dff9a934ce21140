package vidette

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"

	"vidette.dev/go/internal/pace"
	"vidette.dev/go/internal/position"
	"vidette.dev/go/internal/token"
)

// reader connects, reads, and connects again, until its context ends or an error is final. It has
// one connection at most, and runs only while the next event is asked for.
type reader struct {
	url     string
	options SubscribeOptions
	clock   *pace.Clock
	log     func() *slog.Logger
	tokens  *token.Cache
	http    *http.Client
	// isOwnHTTP: no other subscription uses its connections.
	isOwnHTTP bool
	status    *status

	bookmark *position.Bookmark
	intake   *intake
	policy   *transportPolicy
	backoff  *pace.Backoff
	patience pace.Patience

	conn         *connection
	buffer       []byte
	blocks       []block
	refusedToken string
	wasRefused   bool
	wasOrderly   bool
	violations   int
	quickAnswers int
	requests     int
}

func newReader(client *Client, options SubscribeOptions) *reader {
	sender, isOwn := client.httpForStream()
	bookmark := position.NewBookmark(position.Start{
		After: options.After, Since: options.Since, Snapshot: options.Snapshot,
	})
	state := &status{}
	policy := newTransportPolicy(client.clock, options)
	state.update(func(s *State) {
		s.Phase, s.Cursor, s.Transport = Connecting, bookmark.Cursor(), policy.current
	})

	return &reader{
		url: client.url, options: options, clock: client.clock, log: client.log,
		tokens: client.tokens, http: sender, isOwnHTTP: isOwn, status: state,
		bookmark: bookmark,
		intake:   &intake{bookmark: bookmark, status: state, log: client.log},
		policy:   policy,
		backoff:  pace.NewBackoff(client.clock),
		patience: pace.Patience{Longest: options.MaxElapsed},
	}
}

// next finishes the event before, and waits for the next one. The error is final.
func (r *reader) next(ctx context.Context) (Received, error) {
	r.finish()

	for ctx.Err() == nil {
		event, err := r.step(ctx)
		if err != nil {
			r.drop()
			return Received{}, err
		}
		if event != nil {
			return *event, nil
		}
	}

	r.drop()
	return Received{}, ErrClosed
}

func (r *reader) finish() {
	r.bookmark.Finish()
	r.intake.publishCursor()
}

func (r *reader) step(ctx context.Context) (*Received, error) {
	switch {
	case len(r.intake.inbox) > 0:
		return r.take(ctx)
	case r.conn != nil:
		return nil, r.read(ctx)
	default:
		return nil, r.connect(ctx)
	}
}

func (r *reader) take(ctx context.Context) (*Received, error) {
	event, gap, err := r.intake.take(r.conn)

	switch {
	case err != nil:
		return nil, r.broken(ctx, err)
	case gap != nil:
		return nil, r.tell(*gap)
	case event != nil:
		r.violations = 0
		r.good()
	}
	return event, nil
}

// broken is for an error of the server: the first time a reconnect may help.
func (r *reader) broken(ctx context.Context, err error) error {
	r.intake.inbox = nil
	r.violations++
	if r.violations > 1 {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}

	r.log().Warn("vidette: the server breaks the contract; reconnecting once", "error", err)
	return r.retry(ctx, err, 0)
}

func (r *reader) tell(gap Gap) error {
	choice := r.options.OnGap
	if r.options.GapHandler != nil {
		choice = r.options.GapHandler(gap)
	} else {
		r.log().Warn("vidette: events are missing", "gap", gap.String())
	}

	switch choice {
	case Fail:
		return &GapError{gap}
	case Snapshot:
		r.bookmark.RestartWithSnapshot()
		r.intake.publishCursor()
		r.intake.inbox = nil
		r.drop()
	}
	return nil
}

// connect sends the next request, and reads the answer of a poll.
func (r *reader) connect(ctx context.Context) error {
	transport := r.policy.next()
	r.status.update(func(state *State) { state.Transport = transport })
	if transport == SSE || r.requests == 0 || r.patience.IsFailing() {
		r.begin()
	}

	token, err := r.tokens.Get(ctx, r.refusedToken)
	if err != nil {
		return r.retry(ctx, fmt.Errorf("the token function failed: %w", err), 0)
	}
	request, limit, err := readRequest(r.url, token, transport, r.options, r.bookmark)
	if err != nil {
		return err
	}

	r.intake.epoch = ""
	r.conn = &connection{
		transport: transport, clock: r.clock, askedAt: r.clock.Now(), limit: limit, retry: -1,
		parser: &blockParser{maxBytes: maxLineBytes(r.options.MaxEventBytes)},
	}
	response, err := dial(ctx, r.http, request, r.conn)
	if err != nil {
		return r.failed(ctx, err)
	}
	return r.answered(ctx, response, token)
}

func (r *reader) begin() {
	r.requests++
	r.status.update(func(state *State) {
		state.Phase, state.Reconnects = Connecting, r.requests-1
	})
}

func (r *reader) answered(ctx context.Context, response *http.Response, token string) error {
	expected := "text/event-stream"
	if r.conn.transport == Poll {
		expected = "application/json"
	}
	mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if response.StatusCode != http.StatusOK || mediaType != expected {
		return r.refused(ctx, response, token)
	}

	r.conn.open()
	r.wasRefused, r.refusedToken = false, ""
	if r.conn.transport == Poll {
		return r.poll(ctx)
	}
	r.policy.good()
	return nil
}

// read takes some bytes of the stream, or notices its end.
func (r *reader) read(ctx context.Context) error {
	if r.buffer == nil {
		r.buffer = make([]byte, pieceBytes)
	}

	conn := r.conn
	count, err := conn.read(r.buffer)
	if err == nil {
		return r.parse(r.buffer[:count])
	}

	isHeldBack := errors.Is(err, errSilent) && !conn.hasBytes && r.options.Transport == Auto
	switch {
	case ctx.Err() != nil:
		return nil
	case isHeldBack:
		r.log().Info("vidette: no byte of the stream comes through; long-poll from here")
		r.policy.nothingCame()
		r.drop()
		return nil
	case errors.Is(err, io.EOF):
		return r.streamEnded(ctx, nil)
	default:
		return r.streamEnded(ctx, err)
	}
}

func (r *reader) parse(piece []byte) error {
	blocks, err := r.conn.parser.feed(r.blocks[:0], piece)

	for _, block := range blocks {
		if block.hasRetry {
			r.conn.retry = block.retry
		}
		if message := messageOf(block); message != nil {
			r.intake.inbox = append(r.intake.inbox, message)
		}
	}
	clear(blocks)
	r.blocks = blocks

	return err
}

// drop closes what is open.
func (r *reader) drop() {
	conn := r.conn
	if conn == nil {
		return
	}

	conn.end()
	r.conn = nil
	// HTTP/2 would take a silent connection for the next request, too.
	if r.isOwnHTTP && errors.Is(conn.ended, errSilent) {
		r.http.CloseIdleConnections()
	}
}

// maxLineBytes is the longest event on the wire: its data as base64, and its other fields.
func maxLineBytes(maxEventBytes int) int {
	return (maxEventBytes+2)/3*4 + largestFieldBytes
}
