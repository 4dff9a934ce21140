package grpcsub_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"vidette.dev/go"
	"vidette.dev/go/grpcsub"
	"vidette.dev/go/grpcsub/videttev1"
	"vidette.dev/go/internal/pace"
)

type stream = grpc.ServerStreamingServer[videttev1.SubscribeResponse]

// scripted answers the n-th Subscribe by its n-th function, the last one for all that follow.
type scripted struct {
	videttev1.UnimplementedEventBusServer
	calls   atomic.Int64
	waits   chan time.Duration
	answers []func(*videttev1.SubscribeRequest, stream) error
}

func (s *scripted) Subscribe(request *videttev1.SubscribeRequest, to stream) error {
	call := int(s.calls.Add(1))
	return s.answers[min(call, len(s.answers))-1](request, to)
}

type answer = func(*videttev1.SubscribeRequest, stream) error

// serve is a client of a server with these answers; limits take a tenth, waits a hundredth.
func serve(t *testing.T, answers ...answer) (*grpcsub.Client, *scripted) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, script := grpc.NewServer(), &scripted{
		answers: answers, waits: make(chan time.Duration, 16),
	}
	videttev1.RegisterEventBusServer(server, script)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	clock := pace.Quick(0.1, 0.01, func(wait time.Duration) { script.waits <- wait })
	token := func(context.Context) (string, error) { return "token", nil }
	client := grpcsub.New(listener.Addr().String(), plaintext(), grpcsub.WithClock(clock),
		grpcsub.WithToken(token))
	return client, script
}

func hello(to stream, epoch string, heartbeatMs uint32) {
	_ = to.Send(&videttev1.SubscribeResponse{Message: &videttev1.SubscribeResponse_Hello{
		Hello: &videttev1.Hello{Epoch: epoch, First: 1, Last: 100, HeartbeatMs: heartbeatMs},
	}})
}

func batch(to stream, epoch string, vids ...uint64) {
	var events []*videttev1.Event
	for _, vid := range vids {
		events = append(events, &videttev1.Event{Vid: vid, Topic: "door.1"})
	}
	_ = to.Send(&videttev1.SubscribeResponse{Message: &videttev1.SubscribeResponse_Events{
		Events: &videttev1.EventBatch{Events: events},
	}})
}

// hold keeps the stream open, and says nothing.
func hold(to stream) error {
	<-to.Context().Done()
	return nil
}

func gapOf(t *testing.T, events *grpcsub.Subscription) vidette.Gap {
	for _, err := range events.Events() {
		var gap *vidette.GapError
		if errors.As(err, &gap) {
			return gap.Gap
		}
		t.Fatal("an event, or another error:", err)
	}
	t.Fatal("it ended without an error")
	return vidette.Gap{}
}

func TestADeadConnectionIsCutByTheHeartbeatAndTheNextCallResumes(t *testing.T) {
	var asked atomic.Value
	bus, _ := serve(t,
		func(_ *videttev1.SubscribeRequest, to stream) error {
			hello(to, "k3x9q2", 1000)
			batch(to, "k3x9q2", 11, 12)
			return hold(to)
		},
		func(request *videttev1.SubscribeRequest, to stream) error {
			asked.Store(request.GetAfter())
			hello(to, "k3x9q2", 1000)
			batch(to, "k3x9q2", 12, 13)
			return hold(to)
		})

	events := bus.Subscribe(within(t), vidette.After("10-k3x9q2"))
	defer events.Close()
	vids := read(t, events, 3)

	if vids[2] != 13 || asked.Load() != "12-k3x9q2" || events.State().Duplicates != 1 {
		t.Fatal(vids, asked.Load(), events.State())
	}
}

func TestItResumesWithHelloLastWhereLatestEndsBeforeAnyEvent(t *testing.T) {
	var asked atomic.Value
	bus, _ := serve(t,
		func(_ *videttev1.SubscribeRequest, to stream) error {
			hello(to, "k3x9q2", 1000)
			return status.Error(codes.Unavailable, "away")
		},
		func(request *videttev1.SubscribeRequest, to stream) error {
			asked.Store(request.GetAfter())
			hello(to, "k3x9q2", 1000)
			batch(to, "k3x9q2", 101)
			return hold(to)
		})

	events := bus.Subscribe(within(t))
	defer events.Close()
	read(t, events, 1)

	if asked.Load() != "100-k3x9q2" {
		t.Fatal(asked.Load())
	}
}

func TestAnotherEpochWithoutAGapFailsTheSecondTime(t *testing.T) {
	bus, script := serve(t, func(_ *videttev1.SubscribeRequest, to stream) error {
		hello(to, "k3x9q2", 1000)
		batch(to, "k3x9q2", 11)
		return status.Error(codes.Unavailable, "away")
	}, func(_ *videttev1.SubscribeRequest, to stream) error {
		hello(to, "m8d4w1", 1000)
		batch(to, "m8d4w1", 2)
		return hold(to)
	})

	events := bus.Subscribe(within(t), vidette.After("10-k3x9q2"))
	defer events.Close()
	var last error
	for _, err := range events.Events() {
		last = err
	}

	if !errors.Is(last, vidette.ErrProtocol) || script.calls.Load() != 3 {
		t.Fatal(last, script.calls.Load())
	}
}

func TestItAsksForOneMoreTokenAndThenEnds(t *testing.T) {
	bus, script := serve(t, func(_ *videttev1.SubscribeRequest, to stream) error {
		if sent, _ := metadata.FromIncomingContext(to.Context()); len(sent["authorization"]) != 1 {
			return status.Error(codes.Internal, "no token")
		}
		return status.Error(codes.Unauthenticated, "who?")
	})

	events := bus.Subscribe(within(t))
	var last error
	for _, err := range events.Events() {
		last = err
	}

	if status.Code(last) != codes.Unauthenticated || script.calls.Load() != 2 {
		t.Fatal(last, script.calls.Load())
	}
}

func TestClosingIsFollowedByAWaitAsLongAsAsked(t *testing.T) {
	bus, script := serve(t, func(_ *videttev1.SubscribeRequest, to stream) error {
		hello(to, "k3x9q2", 1000)
		_ = to.Send(&videttev1.SubscribeResponse{Message: &videttev1.SubscribeResponse_Closing{
			Closing: &videttev1.Closing{Reason: "shutdown", RetryMs: 2000},
		}})
		return status.Error(codes.Unavailable, "closing")
	}, func(_ *videttev1.SubscribeRequest, to stream) error {
		hello(to, "k3x9q2", 1000)
		batch(to, "k3x9q2", 101)
		return hold(to)
	})

	events := bus.Subscribe(within(t))
	defer events.Close()
	read(t, events, 1)

	if wait := <-script.waits; wait < time.Second || wait > 3*time.Second {
		t.Fatal(wait)
	}
}

func TestFailIsAskedOfTheGatewayWhichRefusesWithTheGap(t *testing.T) {
	bus, _ := serve(t, func(request *videttev1.SubscribeRequest, to stream) error {
		if request.GetOnGap() != videttev1.OnGap_ON_GAP_FAIL {
			return status.Error(codes.InvalidArgument, "another policy")
		}
		refusal, err := status.New(codes.OutOfRange, "gone").WithDetails(&videttev1.Gap{
			Reason: "expired", Requested: request.GetAfter(), First: 40, Last: 100, Epoch: "k3x9q2",
		})
		if err != nil {
			return err
		}
		return refusal.Err()
	})

	events := bus.Subscribe(within(t), vidette.After("7-k3x9q2"), vidette.OnGap(vidette.Fail))
	expected := vidette.Gap{
		Reason: "expired", Requested: "7-k3x9q2", First: 40, Last: 100, Epoch: "k3x9q2",
	}
	if gap := gapOf(t, events); gap != expected {
		t.Fatalf("%+v", gap)
	}
}

func TestAnErrorThatNamesAWaitIsFollowedByThatWaitAtLeast(t *testing.T) {
	bus, script := serve(t, func(*videttev1.SubscribeRequest, stream) error {
		busy, err := status.New(codes.ResourceExhausted, "busy").WithDetails(
			&errdetails.RetryInfo{RetryDelay: durationpb.New(7 * time.Second)})
		if err != nil {
			return err
		}
		return busy.Err()
	}, func(_ *videttev1.SubscribeRequest, to stream) error {
		hello(to, "k3x9q2", 1000)
		batch(to, "k3x9q2", 101)
		return hold(to)
	})

	events := bus.Subscribe(within(t))
	defer events.Close()
	read(t, events, 1)

	if wait := <-script.waits; wait != 7*time.Second {
		t.Fatal(wait)
	}
}
