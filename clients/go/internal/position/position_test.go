package position

import "testing"

func TestACursorIsAVidPerhapsWithAnEpoch(t *testing.T) {
	for _, text := range []string{"0", "1042", "1042-k3x9q2", "9007199254740991-k3x9q2"} {
		cursor, ok := Parse(text)
		if !ok || Text(cursor.Vid, cursor.Epoch) != text {
			t.Error(text, cursor, ok)
		}
	}
	for _, text := range []string{
		"", "-", "7-", "-k3x9q2", "+7", "7-K3", "7 ", "99999999999999999", "latest", "7-a-b",
	} {
		if cursor, ok := Parse(text); ok {
			t.Error(text, "is", cursor)
		}
	}
}

func TestTheStartIsAskedForUntilACursorIsKnown(t *testing.T) {
	b := NewBookmark(Start{Since: "15m"})
	if b.Next() != (Start{Since: "15m"}) || b.FromLatest() {
		t.Fatal(b.Next())
	}

	b.HandOn("31-k3x9q2")
	if b.Next() != (Start{Since: "15m"}) || b.Cursor() != "" {
		t.Fatal("an unfinished event moves nothing")
	}

	b.Finish()
	if b.Next() != (Start{After: "31-k3x9q2"}) {
		t.Fatal(b.Next())
	}
}

func TestEarliestIsNoCursorYet(t *testing.T) {
	for _, after := range []string{"earliest", "0"} {
		b := NewBookmark(Start{After: after})
		if b.Cursor() != "" || b.FromLatest() || b.Next().After != after {
			t.Error(after, b)
		}
	}
}

func TestTheCursorNeverMovesBackWithinAnEpoch(t *testing.T) {
	b := NewBookmark(Start{})
	for _, cursor := range []string{"20-k3x9q2", "15-k3x9q2"} {
		if err := b.Progress(cursor); err != nil {
			t.Fatal(err)
		}
	}
	if b.Cursor() != "20-k3x9q2" {
		t.Fatal(b.Cursor())
	}
	if b.Progress("soon") == nil {
		t.Fatal("no cursor is an error")
	}
}

func TestWhatWasHandedOnIsNotNew(t *testing.T) {
	b := NewBookmark(Start{})
	b.HandOn("11-k3x9q2")

	expect(t, b, "11-k3x9q2", "k3x9q2", false, true)
	expect(t, b, "9-k3x9q2", "k3x9q2", false, true)
	expect(t, b, "12-k3x9q2", "k3x9q2", true, true)
	expect(t, b, "12-m8d4w1", "k3x9q2", false, false)
	expect(t, b, "3-m8d4w1", "m8d4w1", false, false)
	// A log that goes on from a copy.
	expect(t, b, "12-m8d4w1", "m8d4w1", true, true)
}

func TestAfterAResetLowerVidsAreNew(t *testing.T) {
	b := NewBookmark(Start{})
	b.HandOn("11-k3x9q2")
	b.Gap("reset", "m8d4w1")
	expect(t, b, "1-m8d4w1", "m8d4w1", true, true)

	b.HandOn("5-m8d4w1")
	b.Gap("expired", "m8d4w1")
	expect(t, b, "5-m8d4w1", "m8d4w1", false, true)
	b.Gap("ahead", "m8d4w1")
	expect(t, b, "4-m8d4w1", "m8d4w1", true, true)
}

func expect(t *testing.T, b *Bookmark, cursor, epoch string, isNew, isRight bool) {
	t.Helper()
	if got, err := b.IsNew(cursor, epoch); got != isNew || (err == nil) != isRight {
		t.Error(cursor, epoch, got, err)
	}
}
