package vidette

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const everyKind = "\xef\xbb\xbfid: 1-k\ndata: a\r\ndata:b €\rretry: 250\r\n\r\n: note\n\n" +
	"id: 2-k\n\nevent: opened\ndata\ncolour: red\n\nretry: soon\n\nid: 3\x00\n\ndata: cut"

func TestBlocksAreTheSameWhereverBytesAreSplit(t *testing.T) {
	whole := blocksOf(t, everyKind)
	expected := `[{1-k  "a\nb €" 250ms} {2-k  "" 0s} { opened "" 0s}]`
	if whole != expected {
		t.Fatal(whole)
	}

	for at := range len(everyKind) {
		if split := blocksOf(t, everyKind[:at], everyKind[at:]); split != whole {
			t.Fatalf("split at %d: %s", at, split)
		}
	}
	if alone := blocksOf(t, strings.Split(everyKind, "")...); alone != whole {
		t.Fatal(alone)
	}
}

func blocksOf(t *testing.T, pieces ...string) string {
	t.Helper()
	parser := &blockParser{maxBytes: 100}
	var shown []string

	for _, piece := range pieces {
		blocks, err := parser.feed(nil, []byte(piece))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			shown = append(shown, fmt.Sprintf("{%s %s %q %v}", b.id, b.event, b.data, b.retry))
		}
	}
	return "[" + strings.Join(shown, " ") + "]"
}

func TestABlockWithoutDataHasNone(t *testing.T) {
	blocks, _ := (&blockParser{maxBytes: 100}).feed(nil, []byte("id: 2-k\n\ndata\n\nretry: 0\n\n"))

	if blocks[0].data != nil || blocks[1].data == nil {
		t.Fatalf("%+v", blocks)
	}
	if !blocks[2].hasRetry || blocks[2].retry != 0*time.Millisecond {
		t.Fatalf("%+v", blocks[2])
	}
}

func TestALineOrAnEventBeyondTheBoundIsAnError(t *testing.T) {
	for _, text := range []string{
		"data: " + strings.Repeat("a", 95),
		strings.Repeat("data: 23456789\n", 12),
	} {
		if _, err := (&blockParser{maxBytes: 100}).feed(nil, []byte(text)); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
	}

	flood := []byte(strings.Repeat(": a comment that says nothing\n", 1000))
	if _, err := (&blockParser{maxBytes: 100}).feed(nil, flood); err != nil {
		t.Error(err)
	}
}
