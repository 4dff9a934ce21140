package position

import "fmt"

// Start says where a request begins; at most one of the fields is set.
type Start struct {
	After    string
	Since    string
	Snapshot bool
}

// Bookmark is the position of one subscription.
type Bookmark struct {
	start      Start
	cursor     string
	handedOn   *Cursor
	seen       *Cursor
	unfinished string
}

// NewBookmark is at the start that the application asked for.
func NewBookmark(start Start) *Bookmark {
	bookmark := &Bookmark{start: start}
	if _, isCursor := Parse(start.After); isCursor && start.After != "0" {
		bookmark.cursor = start.After
	}
	return bookmark
}

// Cursor is the position to save and to resume from; empty while nothing is known.
func (b *Bookmark) Cursor() string { return b.cursor }

// FromLatest is true while only what comes from now on is wanted, and "now" has no cursor yet.
func (b *Bookmark) FromLatest() bool {
	isWanted := b.start.After == "" || b.start.After == "latest"
	return isWanted && b.start.Since == "" && !b.start.Snapshot && b.cursor == ""
}

// Next says where the next request begins: at the start only until a cursor is known.
func (b *Bookmark) Next() Start {
	switch {
	case b.cursor != "":
		return Start{After: b.cursor}
	case b.start.Snapshot:
		return Start{Snapshot: true}
	case b.start.Since != "":
		return Start{Since: b.start.Since}
	case b.start.After != "":
		return Start{After: b.start.After}
	default:
		return Start{After: "latest"}
	}
}

// Finish says that the application is done with the event it has.
func (b *Bookmark) Finish() {
	if b.unfinished == "" {
		return
	}

	if cursor, ok := Parse(b.unfinished); ok {
		b.move(b.unfinished, cursor)
	}
	b.unfinished = ""
}

// Progress says that everything up to here is seen, and that nothing of it is unfinished.
func (b *Bookmark) Progress(text string) error {
	cursor, ok := Parse(text)
	if !ok {
		return fmt.Errorf("%q is no cursor", text)
	}

	isBehind := b.seen != nil && b.seen.Epoch == cursor.Epoch && cursor.Vid < b.seen.Vid
	if !isBehind {
		b.move(text, cursor)
	}
	return nil
}

// IsNew is false for what was handed on before. The error is for an event of another log than the
// one that the server said to be reading.
func (b *Bookmark) IsNew(text, epoch string) (bool, error) {
	cursor, ok := Parse(text)
	if !ok {
		return false, fmt.Errorf("%q is no cursor", text)
	}
	if differ(epoch, cursor.Epoch) {
		return false, fmt.Errorf("event %s is of another log than hello's, %s", text, epoch)
	}

	// A log that goes on from a copy has a new epoch, tells no gap, and its vids go on rising.
	before := b.handedOn
	if before == nil || cursor.Vid > before.Vid {
		return true, nil
	}
	if differ(before.Epoch, cursor.Epoch) {
		return false, fmt.Errorf("event %s is of another log, and no gap was reported", text)
	}
	return false, nil
}

// HandOn says that the application has this event now.
func (b *Bookmark) HandOn(text string) {
	if cursor, ok := Parse(text); ok {
		b.handedOn = &cursor
	}
	b.unfinished = text
}

// Gap says that what follows may be of another log, or lower.
func (b *Bookmark) Gap(reason, epoch string) {
	b.seen = nil

	isOther := b.handedOn != nil && differ(b.handedOn.Epoch, epoch)
	if reason == "reset" || reason == "ahead" || isOther {
		b.handedOn = nil
	}
}

// RestartWithSnapshot forgets a cursor that cannot be served.
func (b *Bookmark) RestartWithSnapshot() {
	b.cursor = ""
	b.start = Start{Snapshot: true}
}

func (b *Bookmark) move(text string, cursor Cursor) {
	b.cursor, b.seen = text, &cursor
}

func differ(one, other string) bool { return one != "" && other != "" && one != other }
