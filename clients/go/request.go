package vidette

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"vidette.dev/go/internal/pace"
	"vidette.dev/go/internal/position"
)

const userAgent = "vidette-go/" + Version

// readRequest asks for a subscription's next part, and says how long its answer may take.
func readRequest(
	base, token string, transport Transport, options SubscribeOptions, bookmark *position.Bookmark,
) (*http.Request, time.Duration, error) {
	query, limit := url.Values{"topic": options.Topics}, helloLimit

	switch start := bookmark.Next(); {
	case start.Snapshot:
		query.Set("snapshot", "true")
	case start.Since != "":
		query.Set("since", start.Since)
	default:
		query.Set("after", start.After)
	}
	if options.OnGap == Fail && options.GapHandler == nil {
		query.Set("on_gap", "fail")
	}

	accept := "text/event-stream"
	if transport == Poll {
		// Without a cursor a lost answer would lose events: the first poll only asks for one.
		wait := pollWait
		if bookmark.FromLatest() {
			wait = 0
		}
		accept, limit = "application/json", wait+pollGrace
		query.Set("wait", strconv.Itoa(int(wait/time.Second)))
	}

	address := base + "/v1/" + string(transport) + "?" + query.Encode()
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Accept", accept)
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("Cache-Control", "no-store")
	authorize(request, token)

	return request, limit, nil
}

func publishRequest(
	ctx context.Context, base, token, contentType string, body io.Reader,
) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/events", body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", contentType)
	authorize(request, token)

	return request, nil
}

func authorize(request *http.Request, token string) {
	request.Header.Set("User-Agent", userAgent)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
}

// refusal reads an answer that is not what was asked for.
func refusal(response *http.Response, clock *pace.Clock) (*StatusError, []byte) {
	body, _ := io.ReadAll(io.LimitReader(response.Body, errorBodyBytes))
	refused := statusError(response.StatusCode, body)
	refused.retryAfter = pace.RetryAfter(response.Header.Get("Retry-After"), clock.Wall())

	return refused, body
}
