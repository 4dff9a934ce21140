package main

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"vidette.dev/go"
)

const (
	topic     = "kills.numbers"
	batchSize = 5
	burst     = 20
	pause     = 20 * time.Millisecond
)

// number is the data of an event: the n-th of a publisher. The last one says so.
type number struct {
	Publisher string `json:"publisher"`
	N         int    `json:"n"`
	IsLast    bool   `json:"is_last,omitempty"`
}

// history is what was published: for each publisher the vid of each number, as the receipt says.
type history struct {
	mutex sync.Mutex
	vids  map[string][]uint64
	// done is closed when all publishers have ended.
	done chan struct{}
}

// publisher publishes numbers from first on, and gives their receipts; a last one, too.
type publisher func(
	ctx context.Context, name string, first int, isLast bool,
) ([]vidette.Receipt, error)

func startPublishers(ctx context.Context, url string, lasts time.Duration) *history {
	made := &history{vids: map[string][]uint64{}, done: make(chan struct{})}
	client := vidette.New(url)
	endsAt := time.Now().Add(lasts)
	ways := map[string]publisher{
		"single": single(client), "batch": batches(client), "stream": streams(client.Stream(ctx)),
	}

	var all sync.WaitGroup
	for name, way := range ways {
		made.vids[name] = nil
		all.Add(1)
		go func() {
			defer all.Done()
			made.publish(ctx, name, way, endsAt)
		}()
	}
	go func() {
		all.Wait()
		_ = client.Close()
		close(made.done)
	}()
	return made
}

func (h *history) publish(ctx context.Context, name string, way publisher, endsAt time.Time) {
	for count, isLast := 0, false; !isLast; {
		isLast = time.Now().After(endsAt)
		receipts, err := way(ctx, name, count, isLast)
		if err != nil {
			log.Fatalf("%s: %v", name, err)
		}

		h.mutex.Lock()
		for _, receipt := range receipts {
			h.vids[name] = append(h.vids[name], receipt.Vid)
		}
		h.mutex.Unlock()
		count += len(receipts)
		time.Sleep(pause)
	}
}

func (h *history) count() int {
	h.mutex.Lock()
	defer h.mutex.Unlock()

	count := 0
	for _, vids := range h.vids {
		count += len(vids)
	}
	return count
}

func event(name string, n int, isLast bool) vidette.Event {
	return vidette.Event{Topic: topic, Data: number{name, n, isLast}}
}

func single(client *vidette.Client) publisher {
	return func(ctx context.Context, name string, first int, isLast bool) ([]vidette.Receipt, error) {
		receipt, err := client.Publish(ctx, event(name, first, isLast))
		return []vidette.Receipt{receipt}, err
	}
}

func batches(client *vidette.Client) publisher {
	return func(ctx context.Context, name string, first int, isLast bool) ([]vidette.Receipt, error) {
		var events []vidette.Event
		for n := range batchSize {
			events = append(events, event(name, first+n, isLast && n == batchSize-1))
		}
		return client.PublishBatch(ctx, events...)
	}
}

// streams does not wait for its receipts between bursts, but for the last.
func streams(stream *vidette.Stream) publisher {
	var mutex sync.Mutex
	var settled []vidette.Receipt
	var failure error
	done := func(receipt vidette.Receipt, err error) {
		mutex.Lock()
		defer mutex.Unlock()
		settled = append(settled, receipt)
		if err != nil && failure == nil {
			failure = err
		}
	}

	next := 0
	return func(_ context.Context, name string, _ int, isLast bool) ([]vidette.Receipt, error) {
		for n := range burst {
			if err := stream.Send(event(name, next, isLast && n == burst-1), done); err != nil {
				return nil, fmt.Errorf("send: %w", err)
			}
			next++
		}
		if isLast {
			_ = stream.Close()
		}

		mutex.Lock()
		defer mutex.Unlock()
		receipts := settled
		settled = nil
		return receipts, failure
	}
}
