package vidette

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestAFixedTokenThatIsRefusedEndsIt(t *testing.T) {
	bus, gateway := gatewayOf(t, []ClientOption{WithFixedToken("key")}, refuse(401))

	var refused *StatusError
	err := errorOf(bus.Subscribe(within(t)))
	if !errors.As(err, &refused) || refused.Status != 401 || gateway.count() != 1 {
		t.Fatal(err, gateway.count())
	}
	if sent := gateway.asked(0).Header.Get("Authorization"); sent != "Bearer key" {
		t.Fatal(sent)
	}
}

func TestAJWTIsRenewedAtAReconnectBeforeItExpires(t *testing.T) {
	calls := 0
	token := func(context.Context) (string, error) {
		calls++
		lives := map[int]time.Duration{1: time.Hour, 2: 20 * time.Second, 3: time.Hour}[calls]
		claims := fmt.Sprintf(`{"exp":%d}`, time.Now().Add(lives).Unix())
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig", nil
	}
	bus, _ := gatewayOf(t, []ClientOption{WithToken(token)},
		streamAndEnd(eventBlock(11)), refuse(401), refuse(503), stream(eventBlock(12)))
	events := bus.Subscribe(within(t), After("10-k3x9q2"))
	vidsOf(t, events, 2)

	// The first lasts for the reconnect; the second, after 401, has only 20 s left at the next one.
	if calls != 3 {
		t.Fatal(calls)
	}
}

func TestATokenFunctionThatFailsIsAskedAgain(t *testing.T) {
	calls := 0
	token := func(context.Context) (string, error) {
		calls++
		if calls < 3 {
			return "", errors.New("the issuer is away")
		}
		return "good", nil
	}
	bus, gateway := gatewayOf(t, []ClientOption{WithToken(token)}, stream(eventBlock(11)))
	vidsOf(t, bus.Subscribe(within(t)), 1)

	if calls != 3 || gateway.count() != 1 {
		t.Fatal(calls, gateway.count())
	}
}
