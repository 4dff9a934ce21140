// Package vidette reads and publishes events of a vidette push gateway.
//
// A reader only has to resume: store the cursor of the last event you handled, and begin there next
// time. Lost connections, restarts of the gateway, proxies that hold streams back, expired tokens
// and repeated events are the library's work.
//
//	bus := vidette.New("https://push.example.com")
//	for event, err := range bus.Subscribe(ctx, vidette.Filter("door.*")).Events() {
//		fmt.Println(event.Vid, event.Topic, event.Type, string(event.Data), err)
//	}
//
// Asking for the next event is what finishes the one before, and moves the cursor behind it. Save
// [Received.Cursor] in the transaction that handles the event, and each is handled exactly once.
//
// Nothing runs before the first event is asked for, and nothing is left after Close.
package vidette
