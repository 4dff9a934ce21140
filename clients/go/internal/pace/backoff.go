package pace

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	base       = 500 * time.Millisecond
	longest    = 20 * time.Second
	retryAfter = 5 * time.Minute
	doublings  = 32
)

// Backoff says how long to wait before a new try: a random time between 0 and a bound that doubles
// with each failure, so that readers who lost a gateway together do not come back together.
type Backoff struct {
	clock    *Clock
	failures int
}

// NewBackoff has no failure yet.
func NewBackoff(clock *Clock) *Backoff { return &Backoff{clock: clock} }

// Reset says that the connection was good.
func (b *Backoff) Reset() { b.failures = 0 }

// AfterFailure is the wait after one more failure, at least floor.
func (b *Backoff) AfterFailure(floor time.Duration) time.Duration {
	bound := math.Min(float64(longest), float64(base)*math.Pow(2, float64(b.failures)))
	b.failures = min(b.failures+1, doublings)

	return max(floor, time.Duration(b.clock.Random()*bound))
}

// AfterOrderlyEnd is the wait that the server asked for, give or take a half; a negative one is
// none.
func (b *Backoff) AfterOrderlyEnd(asked time.Duration) time.Duration {
	if asked < 0 {
		asked = base
	}

	return time.Duration((0.5 + b.clock.Random()) * float64(min(asked, retryAfter)))
}

// RetryAfter is what the header of that name asks for, in seconds or as a date: at most 5 minutes,
// and 0 for nonsense.
func RetryAfter(header string, wall time.Time) time.Duration {
	header = strings.TrimSpace(header)

	if seconds, err := strconv.ParseUint(header, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(retryAfter/time.Second))) * time.Second
	}

	date, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	// Whole seconds: a date has no finer ones.
	return min(max(date.Sub(wall), 0), retryAfter)
}
