// Kills a real gateway again and again, cuts and silences connections, and checks the history:
// nothing may be lost, doubled or out of order, and every receipt has to be true.
//
//	go run ./kills -gateway ../../../target/release/vidette -seconds 600
//
// Three publishers (one by one, in batches, by a stream) and five readers (SSE, long-poll, one that
// begins again from its cursor every 500 events, gRPC, and SSE without the network between) run
// from the start. Exit status 1 if a reader has not exactly what was published.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"vidette.dev/go/internal/gateway"
	"vidette.dev/go/internal/network"
)

const timeToFinish = 90 * time.Second

func main() {
	program := flag.String("gateway", "../../../target/release/vidette", "the vidette program")
	seconds := flag.Float64("seconds", 600, "how long events are published")
	flag.Parse()
	log.SetFlags(0)
	slog.SetLogLoggerLevel(slog.LevelError)

	folder, err := os.MkdirTemp("", "kills")
	if err != nil {
		log.Fatal(err)
	}
	isGood := check(*program, folder, time.Duration(*seconds*float64(time.Second)))
	_ = os.RemoveAll(folder)
	if !isGood {
		os.Exit(1)
	}
}

// check is one run, and its report.
func check(program, folder string, lasts time.Duration) bool {
	running, err := start(program, folder)
	if err != nil {
		log.Fatal(err)
	}
	defer running.Kill()
	between, err := network.Before(running.Address)
	if err != nil {
		log.Fatal(err)
	}
	defer between.Close()

	ctx, cancel := context.WithTimeout(context.Background(), lasts+timeToFinish)
	defer cancel()
	readers := startReaders(ctx, running, between)
	published := startPublishers(ctx, "http://"+between.Address, lasts)

	breakAll(running, between, published.done)
	fmt.Printf("%d kills, %d events published in %v\n", running.Kills, published.count(), lasts)
	return report(readers, published)
}

// start has short heartbeats, so that silent connections are noticed many times.
func start(program, folder string) (*gateway.Gateway, error) {
	config := filepath.Join(folder, "vidette.toml")
	if err := os.WriteFile(config, []byte("[bus]\nheartbeat = \"1s\"\n"), 0o600); err != nil {
		return nil, err
	}
	return gateway.Start(program, folder, "--config", config)
}

// breakAll kills the gateway and breaks connections at random until done is closed.
func breakAll(running *gateway.Gateway, between *network.Network, done <-chan struct{}) {
	var all sync.WaitGroup
	cuts, silences := 0, 0

	again := func(least, most time.Duration, act func()) {
		defer all.Done()
		for {
			select {
			case <-done:
				return
			case <-time.After(least + rand.N(most-least)):
				act()
			}
		}
	}

	all.Add(3)
	go again(500*time.Millisecond, 3*time.Second, func() {
		running.Kill()
		time.Sleep(rand.N(500 * time.Millisecond))
		if err := running.StartAgain(); err != nil {
			log.Fatal(err)
		}
	})
	go again(100*time.Millisecond, time.Second, func() {
		cuts += between.Cut(func() bool { return rand.IntN(3) == 0 })
	})
	go again(2*time.Second, 8*time.Second, func() {
		silences += between.Silence(func() bool { return rand.IntN(2) == 0 })
	})
	all.Wait()

	fmt.Printf("%d connections cut, %d silenced\n", cuts, silences)
}
