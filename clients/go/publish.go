package vidette

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"vidette.dev/go/internal/pace"
	"vidette.dev/go/internal/token"
)

const (
	postLimit     = 30 * time.Second
	mostAnswer    = 16 << 20
	jsonType      = "application/json"
	ndjsonType    = "application/x-ndjson"
	statusTooSoon = http.StatusRequestTimeout
)

// Publish returns when the event is durable. Where the network fails, or the gateway answers 429 or
// 5xx, it is tried again with the same id, so it is never published twice; see ErrOutcomeUnknown
// for the end of that. A *StatusError is any other refusal.
func (c *Client) Publish(ctx context.Context, event Event) (Receipt, error) {
	line, id, err := event.encode(c.clock.Wall())
	if err != nil {
		return Receipt{}, err
	}

	var receipt Receipt
	err = c.insist(ctx, []string{id}, func(ctx context.Context, token string) error {
		return c.post(ctx, token, line, &receipt)
	})
	return receipt, err
}

// PublishBatch publishes all of the events, with no other between them, or none.
func (c *Client) PublishBatch(ctx context.Context, events ...Event) ([]Receipt, error) {
	if len(events) == 0 {
		return nil, nil
	}

	lines, ids := make([][]byte, len(events)), make([]string, len(events))
	for at, event := range events {
		var err error
		if lines[at], ids[at], err = event.encode(c.clock.Wall()); err != nil {
			return nil, err
		}
	}
	body := append(append([]byte("["), bytes.Join(lines, []byte(","))...), ']')

	var answer struct{ Events []Receipt }
	err := c.insist(ctx, ids, func(ctx context.Context, token string) error {
		answer.Events = nil
		err := c.post(ctx, token, body, &answer)
		if err == nil && len(answer.Events) != len(events) {
			err = errors.New("a batch was answered with another number of receipts")
		}
		return err
	})
	return answer.Events, err
}

// insist tries until it succeeds, is refused for good, or the gateway may have forgotten the ids.
func (c *Client) insist(
	ctx context.Context, ids []string, try func(context.Context, string) error,
) error {
	ctx, cancel := c.within(ctx)
	defer cancel()
	backoff, endsAt := pace.NewBackoff(c.clock), c.clock.Now()+c.window
	renewal := renewal{tokens: c.tokens}

	for tries := 0; ; tries++ {
		token, err := renewal.token(ctx)
		if err != nil && tries == 0 {
			return err
		}
		if err == nil {
			err = c.tryOnce(ctx, token, min(postLimit, endsAt-c.clock.Now()), try)
		}
		if err == nil || isFinal(err) && !renewal.helps(err, token) {
			return err
		}
		if renewal.isPending {
			continue
		}

		wait := backoff.AfterFailure(retryAfterOf(err))
		isOver := ctx.Err() != nil || c.clock.Now()+wait >= endsAt
		if isOver || c.clock.Sleep(ctx, wait) != nil {
			return &OutcomeUnknownError{ids, err}
		}
	}
}

func (c *Client) tryOnce(
	ctx context.Context, token string, limit time.Duration,
	try func(context.Context, string) error,
) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.clock.Limit(limit), errNoAnswer)
	defer cancel()

	err := try(ctx, token)
	var refused *StatusError
	if err != nil && ctx.Err() != nil && !errors.As(err, &refused) {
		return context.Cause(ctx)
	}
	return err
}

var errNoAnswer = errors.New("no answer came in time")

func (c *Client) post(ctx context.Context, token string, body []byte, into any) error {
	request, err := publishRequest(ctx, c.url, token, jsonType, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()

	if response.StatusCode != http.StatusOK {
		refused, _ := refusal(response, c.clock)
		return refused
	}
	return decodeAnswer(response.Body, into)
}

// decodeAnswer takes only a whole answer.
func decodeAnswer(body io.Reader, into any) error {
	answer, err := io.ReadAll(io.LimitReader(body, mostAnswer))
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// isFinal says that a later try would meet the same.
func isFinal(err error) bool {
	var refused *StatusError
	if !errors.As(err, &refused) {
		return false
	}

	isLater := refused.Status == http.StatusTooManyRequests || refused.Status == statusTooSoon
	return refused.Status < http.StatusInternalServerError && !isLater
}

func retryAfterOf(err error) time.Duration {
	var refused *StatusError
	if errors.As(err, &refused) {
		return refused.retryAfter
	}
	return 0
}

// renewal asks for one new token after a 401.
type renewal struct {
	tokens    *token.Cache
	refused   string
	wasAsked  bool
	isPending bool
}

func (r *renewal) token(ctx context.Context) (string, error) {
	r.isPending = false
	return r.tokens.Get(ctx, r.refused)
}

// helps says whether another token may help, and has the next call ask for it.
func (r *renewal) helps(err error, token string) bool {
	var refused *StatusError
	isRefused := errors.As(err, &refused) && refused.Status == http.StatusUnauthorized
	if !isRefused || r.wasAsked || !r.tokens.IsRenewable() {
		return false
	}

	r.refused, r.wasAsked, r.isPending = token, true, true
	return true
}

// worked says that a later 401 may be helped again.
func (r *renewal) worked() { r.wasAsked = false }
