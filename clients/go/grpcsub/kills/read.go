package main

import (
	"context"
	"fmt"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"vidette.dev/go"
	"vidette.dev/go/grpcsub"
	"vidette.dev/go/internal/gateway"
	"vidette.dev/go/internal/network"
)

const (
	eventsBeforeRestart = 500
	publishers          = 3
)

// reader is what one has read, in order.
type reader struct {
	name   string
	events []vidette.Received
	// lasts counts publishers whose last event was read.
	lasts int
	state vidette.State
	done  chan error
}

// subscription is that of either module.
type subscription interface {
	Events() iter.Seq2[vidette.Received, error]
	State() vidette.State
	Close() error
}

func startReaders(ctx context.Context, g *gateway.Gateway, n *network.Network) []*reader {
	near, far := vidette.New(g.URL()), vidette.New("http://"+n.Address)
	plaintext := grpc.WithTransportCredentials(insecure.NewCredentials())
	byGRPC := grpcsub.New(n.Address, grpcsub.WithDialOptions(plaintext))
	filter, earliest := vidette.Filter(topic), vidette.After("earliest")

	return []*reader{
		follow("SSE", far.Subscribe(ctx, filter, earliest)),
		follow("long-poll", far.Subscribe(ctx, filter, earliest, vidette.Via(vidette.Poll))),
		follow("gRPC", byGRPC.Subscribe(ctx, filter, earliest)),
		follow("SSE, no network", near.Subscribe(ctx, filter, earliest)),
		beginAgain("begins again", func(cursor string) subscription {
			return far.Subscribe(ctx, filter, vidette.After(cursor))
		}),
	}
}

// follow reads to the end by one subscription.
func follow(name string, events subscription) *reader {
	made := &reader{name: name, done: make(chan error, 1)}
	go func() {
		_, err := made.read(events, -1)
		made.done <- err
	}()
	return made
}

// beginAgain reads by one subscription after another.
func beginAgain(name string, from func(string) subscription) *reader {
	made := &reader{name: name, done: make(chan error, 1)}
	go func() {
		cursor := "earliest"
		for {
			isAll, err := made.read(from(cursor), eventsBeforeRestart)
			if isAll || err != nil {
				made.done <- err
				return
			}
			cursor = made.events[len(made.events)-1].Cursor
		}
	}()
	return made
}

// read ends with the last event of every publisher, or after so many events.
func (r *reader) read(events subscription, most int) (isAll bool, err error) {
	defer events.Close()
	defer func() { r.state = events.State() }()

	for event, err := range events.Events() {
		if err != nil {
			return false, err
		}
		r.events = append(r.events, event)
		most--

		if numberOf(event).IsLast {
			r.lasts++
		}
		if r.lasts == publishers {
			return true, nil
		}
		if most == 0 {
			return false, nil
		}
	}
	return false, fmt.Errorf("the time is over after %d events", len(r.events))
}

func numberOf(event vidette.Received) (data number) {
	_ = event.JSON(&data)
	return data
}
