package main

import (
	"context"
	"errors"

	"vidette.dev/go"
)

// publish does it in the mode asked for, and says a receipt for each event.
func publish(ctx context.Context, client *vidette.Client, asked command) {
	events := make([]vidette.Event, len(asked.Events))
	for at, event := range asked.Events {
		events[at] = vidette.Event{
			Topic: event.Topic, Type: event.Type, ID: event.ID, Data: event.Data,
		}
	}

	switch asked.Mode {
	case "stream":
		stream := client.Stream(ctx)
		for at, event := range events {
			err := stream.Send(event, func(receipt vidette.Receipt, err error) {
				sayReceipt(asked.Ref, at, receipt, err)
			})
			if err != nil {
				sayReceipt(asked.Ref, at, vidette.Receipt{}, err)
			}
		}
		_ = stream.Close()
	case "batch":
		receipts, err := client.PublishBatch(ctx, events...)
		for at := range events {
			if err != nil {
				sayReceipt(asked.Ref, at, vidette.Receipt{}, err)
				continue
			}
			sayReceipt(asked.Ref, at, receipts[at], nil)
		}
	default:
		for at, event := range events {
			receipt, err := client.Publish(ctx, event)
			sayReceipt(asked.Ref, at, receipt, err)
		}
	}
}

func sayReceipt(ref string, index int, receipt vidette.Receipt, err error) {
	line := fields{"ref": ref, "index": index}
	var status *vidette.StatusError

	switch {
	case err == nil:
		line["vid"], line["cursor"], line["duplicate"] = receipt.Vid, receipt.Cursor, receipt.Duplicate
	case errors.Is(err, vidette.ErrOutcomeUnknown):
		line["error"] = "outcome_unknown"
	case errors.As(err, &status):
		line["error"], line["status"] = "status", status.Status
	default:
		line["error"], line["message"] = "other", err.Error()
	}
	say("receipt", line)
}
