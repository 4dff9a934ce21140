// Package grpcsub reads the events of a vidette push gateway over gRPC, by the same rules as
// [vidette.dev/go]: it resumes behind the last event that was finished, drops what comes twice,
// tells gaps, and connects again for ever. It is a module of its own, so that nobody else needs
// gRPC.
//
//	bus := grpcsub.New("push.example.com:443", grpcsub.WithToken(getJWT))
//	for event, err := range bus.Subscribe(ctx, vidette.Filter("door.*")).Events() {
//		fmt.Println(event.Vid, event.Topic, event.Type, string(event.Data), err)
//	}
//
// For publishing use the stubs of package videttev1.
package grpcsub

// The stubs are generated from the repository's proto, with protoc-gen-go v1.36.12 and
// protoc-gen-go-grpc v1.6.2 on the PATH; python -m grpc_tools.protoc does as well as protoc.

//go:generate protoc -I ../../../proto --go_out=. --go_opt=module=vidette.dev/go/grpcsub,Mvidette/v1/vidette.proto=vidette.dev/go/grpcsub/videttev1 --go-grpc_out=. --go-grpc_opt=module=vidette.dev/go/grpcsub,Mvidette/v1/vidette.proto=vidette.dev/go/grpcsub/videttev1 vidette/v1/vidette.proto
