package vidette

import (
	"context"
	"errors"
	"time"
)

const (
	quickAnswer = time.Second
	// quickAnswers without news in a row are fine: an empty answer may come early.
	quickAnswers = 3
)

func (r *reader) poll(ctx context.Context) error {
	body, err := r.conn.readAll(pollPageBytes + maxLineBytes(r.options.MaxEventBytes))
	if errors.Is(err, ErrTooLarge) {
		return err
	}
	if err != nil {
		return r.failed(ctx, err)
	}

	messages, err := messagesOfAnswer(body)
	if err != nil {
		r.policy.pollFailed()
		return r.retry(ctx, err, 0)
	}

	took := r.clock.Now() - r.conn.askedAt
	r.policy.good()
	r.drop()
	r.intake.inbox = messages
	return r.slowDown(ctx, messages, took)
}

// slowDown is for an empty answer, which should come after the wait: one that comes at once again
// and again must not make us spin.
func (r *reader) slowDown(ctx context.Context, messages []message, took time.Duration) error {
	if hasNews(messages) || took >= quickAnswer {
		r.quickAnswers = 0
		r.good()
		return nil
	}

	r.quickAnswers++
	if r.quickAnswers <= quickAnswers {
		return nil
	}
	return r.waitAfter(ctx, errors.New("polls are answered at once"), r.backoff.AfterFailure(0))
}

func hasNews(messages []message) bool {
	for _, message := range messages {
		switch message.(type) {
		case eventMessage, gapMessage:
			return true
		}
	}
	return false
}
