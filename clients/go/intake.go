package vidette

import (
	"fmt"
	"log/slog"

	"vidette.dev/go/internal/position"
)

// intake turns messages into events, gaps and positions, in the order of the wire. It is filled
// only while it is empty: what is unread stays in the socket.
type intake struct {
	bookmark *position.Bookmark
	status   *status
	log      func() *slog.Logger
	inbox    []message
	epoch    string
}

// take works on one message. At most one of event and gap is not nil; the error is for what breaks
// the contract.
func (i *intake) take(conn *connection) (event *Received, gap *Gap, err error) {
	next := i.inbox[0]
	i.inbox = i.inbox[1:]

	switch message := next.(type) {
	case eventMessage:
		event, err = i.event(message)
	case progressMessage:
		err = i.progress(message.cursor)
	case caughtUpMessage:
		if message.cursor != "" {
			err = i.progress(message.cursor)
		}
		i.status.enter(Live)
	case gapMessage:
		i.gap(message.gap)
		gap = &message.gap
	case helloMessage:
		err = i.hello(message, conn)
	case closingMessage:
		i.closing(message, conn)
	}
	return event, gap, err
}

func (i *intake) event(message eventMessage) (*Received, error) {
	event, err := parseReceived(message.text, message.cursor, i.epoch)
	if err != nil {
		return nil, err
	}

	isNew, err := i.bookmark.IsNew(event.Cursor, i.epoch)
	if err != nil {
		return nil, err
	}
	if !isNew {
		i.status.update(func(state *State) { state.Duplicates++ })
		return nil, nil
	}

	i.bookmark.HandOn(event.Cursor)
	return &event, nil
}

func (i *intake) progress(cursor string) error {
	err := i.bookmark.Progress(cursor)
	i.publishCursor()
	return err
}

func (i *intake) gap(gap Gap) {
	if gap.Epoch != "" {
		i.epoch = gap.Epoch
	}
	i.bookmark.Gap(gap.Reason, gap.Epoch)
	i.status.update(func(state *State) { state.Gaps++ })
}

func (i *intake) hello(hello helloMessage, conn *connection) error {
	i.epoch = hello.epoch
	if hello.served != nil {
		i.log().Warn("vidette: the rights of this caller cut the filter down", "served", hello.served)
	}
	if conn != nil {
		conn.heartbeat = hello.heartbeat
		if conn.heartbeat == 0 {
			conn.heartbeat = defaultHeartbeat
		}
	}

	// "From now on" is the end that the log has now, also if the connection breaks at once. Of a
	// poll, it is the answer's own cursor.
	if conn != nil && hello.hasLast && hello.epoch != "" && i.bookmark.FromLatest() {
		if err := i.progress(fmt.Sprintf("%d-%s", hello.last, hello.epoch)); err != nil {
			return err
		}
	}

	cursor, _ := position.Parse(i.bookmark.Cursor())
	i.status.update(func(state *State) {
		if conn != nil || state.Phase != Live {
			state.Phase = CatchingUp
		}
		state.Lag = hello.last - min(hello.last, cursor.Vid)
	})
	return nil
}

func (i *intake) closing(closing closingMessage, conn *connection) {
	i.log().Debug("vidette: the gateway ends the stream", "reason", closing.reason)
	if conn == nil {
		return
	}

	conn.isClosing = true
	if closing.hasRetry {
		conn.retry = closing.retry
	}
}

func (i *intake) publishCursor() {
	cursor := i.bookmark.Cursor()
	i.status.update(func(state *State) { state.Cursor = cursor })
}
