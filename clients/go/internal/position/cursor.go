// Package position knows where a subscription is, whichever transport it reads by: the cursor to
// resume from, and what was handed on already.
//
// Invariants: a cursor moves when the application has finished with an event, never before; within
// an epoch no vid is handed on twice.
package position

import (
	"fmt"
	"strconv"
	"strings"
)

// Cursor is a parsed VID or VID-EPOCH.
type Cursor struct {
	Vid   uint64
	Epoch string
}

const (
	mostDigits = 16
	mostEpoch  = 32
)

// Parse says false for what is no cursor.
func Parse(text string) (Cursor, bool) {
	digits, epoch, hasEpoch := strings.Cut(text, "-")
	vid, err := strconv.ParseUint(digits, 10, 64)

	isRight := err == nil && len(digits) <= mostDigits && digits[0] != '+'
	if !isRight || (hasEpoch && !isEpoch(epoch)) {
		return Cursor{}, false
	}
	return Cursor{vid, epoch}, true
}

// Text is the cursor of an event with this vid.
func Text(vid uint64, epoch string) string {
	if epoch == "" {
		return strconv.FormatUint(vid, 10)
	}
	return fmt.Sprintf("%d-%s", vid, epoch)
}

func isEpoch(text string) bool {
	for _, char := range text {
		if (char < 'a' || char > 'z') && (char < '0' || char > '9') {
			return false
		}
	}
	return text != "" && len(text) <= mostEpoch
}
