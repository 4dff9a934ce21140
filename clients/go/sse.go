package vidette

import (
	"bytes"
	"strconv"
	"time"
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// block is what stood before an empty line. Blocks without data count, too: their id moves the
// cursor.
type block struct {
	id, event string
	data      []byte // nil if there was no data line
	retry     time.Duration
	hasRetry  bool
}

// blockParser takes the bytes of one stream of server-sent events. Lines end with CR, LF or CRLF,
// and bytes may be split anywhere. Nothing is kept beyond maxBytes of one event.
type blockParser struct {
	maxBytes      int
	line          []byte
	afterCR       bool
	isBeyondFirst bool
	current       block
}

// feed appends the blocks that these bytes complete.
func (p *blockParser) feed(blocks []block, piece []byte) ([]block, error) {
	for len(piece) > 0 {
		if p.afterCR {
			p.afterCR = false
			if piece[0] == '\n' {
				piece = piece[1:]
				continue
			}
		}

		end := bytes.IndexAny(piece, "\r\n")
		if end < 0 {
			p.line = append(p.line, piece...)
			return blocks, p.bounded(len(p.line))
		}

		p.afterCR = piece[end] == '\r'
		line := piece[:end]
		if len(p.line) > 0 {
			p.line = append(p.line, line...)
			line = p.line
		}
		piece = piece[end+1:]

		if err := p.bounded(len(line)); err != nil {
			return blocks, err
		}
		done, err := p.take(line)
		if err != nil {
			return blocks, err
		}
		if done != nil {
			blocks = append(blocks, *done)
		}
		p.line = p.line[:0]
	}

	return blocks, nil
}

func (p *blockParser) bounded(size int) error {
	if size > p.maxBytes {
		return ErrTooLarge
	}
	return nil
}

func (p *blockParser) take(line []byte) (*block, error) {
	if !p.isBeyondFirst {
		p.isBeyondFirst = true
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	if len(line) == 0 {
		return p.complete(), nil
	}

	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))

	switch string(name) {
	case "data":
		if err := p.bounded(len(p.current.data) + len(value) + 1); err != nil {
			return nil, err
		}
		p.current.data = append(append(p.current.data, value...), '\n')
	case "event":
		p.current.event = string(value)
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			p.current.id = string(value)
		}
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 32); err == nil {
			p.current.retry, p.current.hasRetry = time.Duration(ms)*time.Millisecond, true
		}
	}
	return nil, nil
}

func (p *blockParser) complete() *block {
	done := p.current
	p.current = block{}

	if done.data != nil {
		done.data = done.data[:len(done.data)-1]
	}
	if done.data == nil && done.id == "" && done.event == "" && !done.hasRetry {
		return nil
	}
	return &done
}
