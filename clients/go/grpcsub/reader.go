package grpcsub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"vidette.dev/go"
	"vidette.dev/go/grpcsub/videttev1"
	"vidette.dev/go/internal/pace"
	"vidette.dev/go/internal/position"
)

const (
	goodAfter = 10 * time.Second
	transport = vidette.Transport("grpc")
)

// reader connects, reads, and connects again, until its context ends or an error is final. It has
// one call at most, and runs only while the next event is asked for.
type reader struct {
	client   *Client
	options  vidette.SubscribeOptions
	status   *status
	bookmark *position.Bookmark
	backoff  *pace.Backoff
	patience pace.Patience

	call *call
	// batch is what has come and is not handed on yet; no more is read before that.
	batch        []*videttev1.Event
	epoch        string
	token        string
	refusedToken string
	wasRefused   bool
	wasOrderly   bool
	violations   int
	calls        int
}

func newReader(client *Client, options vidette.SubscribeOptions) *reader {
	bookmark := position.NewBookmark(position.Start{
		After: options.After, Since: options.Since, Snapshot: options.Snapshot,
	})
	state := vidette.State{
		Phase: vidette.Connecting, Transport: transport, Cursor: bookmark.Cursor(),
	}

	return &reader{
		client: client, options: options, status: &status{state: state}, bookmark: bookmark,
		backoff:  pace.NewBackoff(client.clock),
		patience: pace.Patience{Longest: options.MaxElapsed},
	}
}

// next finishes the event before, and waits for the next one. The error is final.
func (r *reader) next(ctx context.Context) (vidette.Received, error) {
	r.finish()

	for ctx.Err() == nil {
		event, err := r.step(ctx)
		if err != nil {
			r.drop()
			return vidette.Received{}, err
		}
		if event != nil {
			return *event, nil
		}
	}

	r.drop()
	return vidette.Received{}, vidette.ErrClosed
}

func (r *reader) finish() {
	r.bookmark.Finish()
	r.publishCursor()
}

func (r *reader) publishCursor() {
	cursor := r.bookmark.Cursor()
	r.status.update(func(state *vidette.State) { state.Cursor = cursor })
}

func (r *reader) step(ctx context.Context) (*vidette.Received, error) {
	switch {
	case len(r.batch) > 0:
		return r.event(ctx)
	case r.call != nil:
		return nil, r.receive(ctx)
	default:
		return nil, r.connect(ctx)
	}
}

func (r *reader) event(ctx context.Context) (*vidette.Received, error) {
	next := r.batch[0]
	r.batch = r.batch[1:]
	cursor := position.Text(next.GetVid(), r.epoch)

	isNew, err := r.bookmark.IsNew(cursor, r.epoch)
	if err != nil {
		return nil, r.broken(ctx, err)
	}
	r.violations = 0
	r.good()
	if !isNew {
		r.status.update(func(state *vidette.State) { state.Duplicates++ })
		return nil, nil
	}

	r.bookmark.HandOn(cursor)
	event := received(next, cursor)
	return &event, nil
}

// broken is for an error of the server: the first time a reconnect may help.
func (r *reader) broken(ctx context.Context, err error) error {
	r.violations++
	if r.violations > 1 {
		return fmt.Errorf("%w: %w", vidette.ErrProtocol, err)
	}

	r.client.log().Warn("vidette: the server breaks the contract; reconnecting once", "error", err)
	return r.retry(ctx, err, 0)
}

func (r *reader) connect(ctx context.Context) error {
	r.calls++
	r.epoch = ""
	r.status.update(func(state *vidette.State) {
		state.Phase, state.Reconnects = vidette.Connecting, r.calls-1
	})

	token, err := r.client.tokens.Get(ctx, r.refusedToken)
	if err != nil {
		return r.retry(ctx, fmt.Errorf("the token function failed: %w", err), 0)
	}
	r.token = token

	made, err := r.client.dial(ctx, r.request(), token, r.options.MaxEventBytes)
	if err != nil {
		return r.failed(ctx, err)
	}
	r.call = made
	return nil
}

func (r *reader) request() *videttev1.SubscribeRequest {
	start := r.bookmark.Next()
	request := &videttev1.SubscribeRequest{
		Topic: r.options.Topics, After: start.After, Since: start.Since, Snapshot: start.Snapshot,
	}
	if r.options.OnGap == vidette.Fail && r.options.GapHandler == nil {
		request.OnGap = videttev1.OnGap_ON_GAP_FAIL
	}
	return request
}

func (r *reader) receive(ctx context.Context) error {
	response, err := r.call.receive()
	if err != nil {
		return r.ended(ctx, err)
	}
	r.wasRefused, r.refusedToken = false, ""

	switch message := response.GetMessage().(type) {
	case *videttev1.SubscribeResponse_Hello:
		err = r.hello(message.Hello)
	case *videttev1.SubscribeResponse_Events:
		r.batch = message.Events.GetEvents()
	case *videttev1.SubscribeResponse_CaughtUp:
		err = r.progress(message.CaughtUp.GetCursor())
		r.enter(vidette.Live)
	case *videttev1.SubscribeResponse_Progress:
		err = r.progress(message.Progress.GetCursor())
	case *videttev1.SubscribeResponse_Gap:
		return r.gap(gapOf(message.Gap))
	case *videttev1.SubscribeResponse_Closing:
		r.call.isClosing = true
		r.call.retry = time.Duration(message.Closing.GetRetryMs()) * time.Millisecond
	}

	if err != nil {
		return r.broken(ctx, err)
	}
	return nil
}

func (r *reader) hello(hello *videttev1.Hello) error {
	r.epoch = hello.GetEpoch()
	r.call.heartbeat = defaultHeartbeat
	if ms := hello.GetHeartbeatMs(); ms > 0 {
		r.call.heartbeat = time.Duration(ms) * time.Millisecond
	}
	if served := hello.GetFilter(); len(served) > 0 {
		r.client.log().Warn(
			"vidette: the rights of this caller cut the filter down", "served", served)
	}

	// "From now on" is the end that the log has now, also if the connection breaks at once.
	var err error
	if r.bookmark.FromLatest() {
		err = r.progress(position.Text(hello.GetLast(), r.epoch))
	}
	cursor, _ := position.Parse(r.bookmark.Cursor())
	r.status.update(func(state *vidette.State) {
		state.Phase = vidette.CatchingUp
		state.Lag = hello.GetLast() - min(hello.GetLast(), cursor.Vid)
	})
	return err
}

func (r *reader) progress(cursor string) error {
	err := r.bookmark.Progress(cursor)
	r.publishCursor()
	return err
}

func (r *reader) gap(gap vidette.Gap) error {
	r.epoch = gap.Epoch
	r.bookmark.Gap(gap.Reason, gap.Epoch)
	r.status.update(func(state *vidette.State) { state.Gaps++ })

	choice := r.options.OnGap
	if r.options.GapHandler != nil {
		choice = r.options.GapHandler(gap)
	} else {
		r.client.log().Warn("vidette: events are missing", "gap", gap.String())
	}

	switch choice {
	case vidette.Fail:
		return &vidette.GapError{Gap: gap}
	case vidette.Snapshot:
		r.bookmark.RestartWithSnapshot()
		r.publishCursor()
		r.drop()
	}
	return nil
}

// ended is for a call that has ended: in order, or with an error.
func (r *reader) ended(ctx context.Context, err error) error {
	lasted := r.call.lasted()
	isGood := lasted >= goodAfter
	if isGood {
		r.good()
	}
	isOrderly := r.call.isClosing || (isGood && errors.Is(err, io.EOF))
	if ctx.Err() != nil || !isOrderly {
		return r.failed(ctx, err)
	}

	// One orderly end after the other, with nothing between them, is not how it should be.
	wait := r.backoff.AfterOrderlyEnd(r.call.retry)
	if r.wasOrderly {
		wait = max(wait, r.backoff.AfterFailure(0))
	}
	r.wasOrderly = true
	return r.waitAfter(ctx, err, wait)
}

func (r *reader) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}

	isRenewable := r.client.tokens.IsRenewable() && !r.wasRefused
	if grpcstatus.Code(err) == codes.Unauthenticated && isRenewable {
		r.wasRefused, r.refusedToken = true, r.token
		r.drop()
		return nil
	}
	if final := final(err); final != nil {
		return final
	}
	return r.retry(ctx, err, floorOf(err))
}

func (r *reader) retry(ctx context.Context, err error, floor time.Duration) error {
	return r.waitAfter(ctx, err, r.backoff.AfterFailure(floor))
}

func (r *reader) waitAfter(ctx context.Context, err error, wait time.Duration) error {
	r.drop()
	if r.patience.Failed(r.client.clock.Now(), wait) {
		return fmt.Errorf("%w: %w", vidette.ErrGaveUp, err)
	}

	r.client.log().Debug("vidette: the call ended", "error", err, "next_try_in", wait)
	r.enter(vidette.Waiting)
	_ = r.client.clock.Sleep(ctx, wait)
	return nil
}

func (r *reader) good() {
	r.backoff.Reset()
	r.patience.Good()
	r.wasOrderly = false
}

func (r *reader) enter(phase vidette.Phase) {
	r.status.update(func(state *vidette.State) { state.Phase = phase })
}

// drop closes what is open, and forgets what is not handed on.
func (r *reader) drop() {
	r.batch = nil
	if r.call != nil {
		r.call.end()
		r.call = nil
	}
}
