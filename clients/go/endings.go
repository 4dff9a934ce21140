package vidette

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// This file is about what follows the end of a request: a final error, or a wait and the next one.

// goodAfter so long a stream was good, and failures before it do not count any more.
const goodAfter = 10 * time.Second

var (
	errEndedEarly   = errors.New("the stream ended early")
	errEndedInOrder = errors.New("the stream ended")
)

func (r *reader) refused(ctx context.Context, response *http.Response, token string) error {
	refused, body := refusal(response, r.clock)

	switch refused.Status {
	case http.StatusGone:
		return r.gone(refused, body)
	case http.StatusUnauthorized:
		if !r.tokens.IsRenewable() || r.wasRefused {
			return refused
		}
		r.wasRefused, r.refusedToken = true, token
		r.drop()
		return nil
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
		return refused
	case http.StatusOK, http.StatusBadGateway, http.StatusGatewayTimeout:
		r.policy.badAnswer()
	default:
		r.policy.pollFailed()
	}
	return r.retry(ctx, refused, refused.retryAfter)
}

func (r *reader) gone(refused *StatusError, body []byte) error {
	gap := parseGap(body)
	if gap.Reason == "" || r.options.OnGap != Fail {
		return refused
	}

	r.intake.gap(gap)
	return &GapError{gap}
}

func (r *reader) streamEnded(ctx context.Context, err error) error {
	conn := r.conn
	lasted := conn.lasted()
	isGood := lasted >= goodAfter
	r.policy.streamEnded(lasted, conn.isClosing)

	if isGood {
		r.good()
	}
	if !conn.isClosing && (err != nil || !isGood) {
		if err == nil {
			err = errEndedEarly
		}
		return r.retry(ctx, err, 0)
	}

	// One orderly end after the other, with nothing between them, is not how it should be.
	wait := r.backoff.AfterOrderlyEnd(conn.retry)
	if r.wasOrderly {
		wait = max(wait, r.backoff.AfterFailure(0))
	}
	r.wasOrderly = true
	return r.waitAfter(ctx, errEndedInOrder, wait)
}

// failed is for a request that was not answered, or not to its end.
func (r *reader) failed(ctx context.Context, err error) error {
	r.policy.pollFailed()
	return r.retry(ctx, err, 0)
}

func (r *reader) retry(ctx context.Context, err error, floor time.Duration) error {
	return r.waitAfter(ctx, err, r.backoff.AfterFailure(floor))
}

func (r *reader) waitAfter(ctx context.Context, err error, wait time.Duration) error {
	r.drop()
	if ctx.Err() != nil {
		return nil
	}
	if r.patience.Failed(r.clock.Now(), wait) {
		return fmt.Errorf("%w: %w", ErrGaveUp, err)
	}

	r.log().Debug("vidette: the connection ended", "error", err, "next_try_in", wait)
	r.status.enter(Waiting)
	_ = r.clock.Sleep(ctx, wait)
	return nil
}

func (r *reader) good() {
	r.backoff.Reset()
	r.patience.Good()
	r.wasOrderly = false
}
