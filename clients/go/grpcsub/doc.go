// Package grpcsub reads the events of a vidette push gateway over gRPC, by the same rules as
// [vidette.dev/go]: it resumes behind the last event that was finished, drops what comes twice,
// reports gaps, and connects again for ever. It is a module of its own, so that nobody else needs
// gRPC.
//
//	bus := grpcsub.New("push.example.com:443", grpcsub.WithToken(getJWT))
//	for event, err := range bus.Subscribe(ctx, vidette.Filter("door.*")).Events() {
//		fmt.Println(event.Vid, event.Topic, event.Type, string(event.Data), err)
//	}
//
// For publishing use the stubs of package videttev1.
package grpcsub

//go:generate sh generate.sh
