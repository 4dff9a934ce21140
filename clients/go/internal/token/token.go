// Package token has the newest token, and asks the caller's function for another.
package token

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"vidette.dev/go/internal/pace"
)

const renewBefore = 30 * time.Second

// Cache asks one call at a time, and only when a new token is due.
type Cache struct {
	clock *pace.Clock
	ask   func(context.Context) (string, error)
	// lock has one place; a channel, so that waiting for it ends with a context.
	lock    chan struct{}
	current string
}

// NewCache has a function to ask, or a fixed token, or neither.
func NewCache(
	clock *pace.Clock, ask func(context.Context) (string, error), fixed string,
) *Cache {
	return &Cache{clock: clock, ask: ask, lock: make(chan struct{}, 1), current: fixed}
}

// IsRenewable says that there is a function to ask.
func (t *Cache) IsRenewable() bool { return t.ask != nil }

// Get is a token that is not the refused one, as far as the function has another.
func (t *Cache) Get(ctx context.Context, refused string) (string, error) {
	if t.ask == nil {
		return t.current, nil
	}

	select {
	case t.lock <- struct{}{}:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	defer func() { <-t.lock }()

	if !t.isDue(refused) {
		return t.current, nil
	}

	token, err := t.ask(ctx)
	if err != nil {
		return "", err
	}
	t.current = token
	return token, nil
}

func (t *Cache) isDue(refused string) bool {
	if t.current == "" || t.current == refused {
		return true
	}

	expires, has := expiresAt(t.current)
	return has && expires.Sub(t.clock.Wall()) < renewBefore
}

// expiresAt is the exp of a JWT.
func expiresAt(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}

	claims, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	var known struct{ Exp *float64 }
	if err != nil || json.Unmarshal(claims, &known) != nil || known.Exp == nil {
		return time.Time{}, false
	}
	return time.Unix(int64(*known.Exp), 0), true
}
