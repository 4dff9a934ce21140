package grpcsub

import (
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"vidette.dev/go"
	"vidette.dev/go/grpcsub/videttev1"
)

const longestRetryInfo = 5 * time.Minute

// final is the error for what a later try would meet again; nil for everything else.
func final(err error) error {
	known := grpcstatus.Convert(err)

	switch known.Code() {
	case codes.OutOfRange:
		for _, detail := range known.Details() {
			if gap, is := detail.(*videttev1.Gap); is {
				return &vidette.GapError{Gap: gapOf(gap)}
			}
		}
		return err
	case codes.InvalidArgument, codes.PermissionDenied, codes.NotFound, codes.Unimplemented,
		codes.Unauthenticated:
		return err
	case codes.ResourceExhausted:
		// gRPC has no other sign of its own bound.
		if strings.Contains(known.Message(), "received message larger than max") {
			return vidette.ErrTooLarge
		}
	}
	return nil
}

// floorOf is what the gateway asks to wait at least.
func floorOf(err error) time.Duration {
	for _, detail := range grpcstatus.Convert(err).Details() {
		if info, is := detail.(*errdetails.RetryInfo); is {
			return min(max(info.GetRetryDelay().AsDuration(), 0), longestRetryInfo)
		}
	}
	return 0
}
