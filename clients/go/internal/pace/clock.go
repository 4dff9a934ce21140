// Package pace is about time: the clock, the waits between tries, and how long trying goes on.
//
// Invariants: what is measured never runs backwards, and every wait ends with its context.
package pace

import (
	"context"
	"math/rand/v2"
	"time"
)

// Clock is the one source of time and chance. Tests and the kit quicken it: measured times by
// LimitFactor, waits by WaitFactor; 1 is real time.
type Clock struct {
	LimitFactor float64
	WaitFactor  float64
	// OnWait is called at the start of each wait with what was asked for; it may be nil.
	OnWait func(time.Duration)

	began time.Time
}

// Real is the time of the machine.
func Real() *Clock { return Quick(1, 1, nil) }

// Quick is a clock with these factors.
func Quick(limitFactor, waitFactor float64, onWait func(time.Duration)) *Clock {
	return &Clock{limitFactor, waitFactor, onWait, time.Now()}
}

// Now is the time since the clock was made.
func (c *Clock) Now() time.Duration {
	return scale(time.Since(c.began), 1/c.LimitFactor)
}

// Wall is the time of day. It may jump; only times that others name are compared with it.
func (c *Clock) Wall() time.Time { return time.Now() }

// Random is evenly spread from 0 to 1.
func (c *Clock) Random() float64 { return rand.Float64() }

// Limit is how long a limit lasts on the machine.
func (c *Clock) Limit(limit time.Duration) time.Duration {
	return scale(max(limit, 0), c.LimitFactor)
}

// Sleep waits, at most until the context ends.
func (c *Clock) Sleep(ctx context.Context, wait time.Duration) error {
	if c.OnWait != nil {
		c.OnWait(wait)
	}

	timer := time.NewTimer(scale(wait, c.WaitFactor))
	defer timer.Stop()

	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func scale(duration time.Duration, factor float64) time.Duration {
	if factor == 1 {
		return duration
	}
	return time.Duration(float64(duration) * factor)
}
