package pace

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestTheBoundOfWaitsDoublesUpToTwentySecondsAndFallsAfterReset(t *testing.T) {
	backoff := NewBackoff(Real())
	bound := base

	for range 12 {
		if wait := backoff.AfterFailure(0); wait < 0 || wait > bound {
			t.Fatalf("%v is not below %v", wait, bound)
		}
		bound = min(2*bound, longest)
	}

	backoff.Reset()
	if wait := backoff.AfterFailure(0); wait > base {
		t.Fatal(wait)
	}
}

func TestAFloorIsTheLeastWait(t *testing.T) {
	if wait := NewBackoff(Real()).AfterFailure(time.Minute); wait != time.Minute {
		t.Fatal(wait)
	}
}

func TestAnOrderlyEndWaitsAsAskedGiveOrTakeAHalf(t *testing.T) {
	backoff := NewBackoff(Real())

	for range 100 {
		wait := backoff.AfterOrderlyEnd(2 * time.Second)
		if wait < time.Second || wait > 3*time.Second {
			t.Fatal(wait)
		}
	}
	if wait := backoff.AfterOrderlyEnd(time.Hour); wait > 3*retryAfter/2 {
		t.Fatal("bounded", wait)
	}
}

func TestRetryAfterIsSecondsOrADateAndNothingElse(t *testing.T) {
	now := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	table := map[string]time.Duration{
		"3": 3 * time.Second, " 7 ": 7 * time.Second, "999999": retryAfter,
		"99999999999999999999999": 0, "-3": 0, "": 0, "soon, -3": 0,
		"Sat, 28 Nov 2026 10:00:09 GMT": 9 * time.Second,
		"Fri, 31 Dec 2100 23:59:59 GMT": retryAfter,
		"Wed, 21 Oct 2015 07:28:00 GMT": 0,
	}

	for header, expected := range table {
		if asked := RetryAfter(header, now); asked != expected {
			t.Errorf("%q: %v, not %v", header, asked, expected)
		}
	}
}

func TestASleepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()

	if err := Real().Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestPatienceCountsFromTheFirstFailureSinceSomethingWasGood(t *testing.T) {
	patience := Patience{Longest: 10 * time.Second}

	if patience.Failed(100*time.Second, time.Second) {
		t.Fatal("the first failure")
	}
	if !patience.Failed(108*time.Second, 3*time.Second) {
		t.Fatal("the wait would go beyond")
	}
	patience.Good()
	if patience.Failed(200*time.Second, time.Second) {
		t.Fatal("it was good between")
	}
}
