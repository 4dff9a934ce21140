package vidette

import (
	"time"

	"vidette.dev/go/internal/pace"
)

const (
	shortStream = time.Second
	shortEnds   = 3
	badAnswers  = 2
)

// transportPolicy chooses by which transport to ask: SSE, or long-poll where SSE does not come
// through. It learns from how requests end.
type transportPolicy struct {
	clock    *pace.Clock
	isFixed  bool
	sseAgain time.Duration

	current      Transport
	pollingSince time.Duration
	shortEnds    int
	badAnswers   int
	// isOnTrial is true for long-poll that has still to show that it works better.
	isOnTrial bool
}

func newTransportPolicy(clock *pace.Clock, options SubscribeOptions) *transportPolicy {
	current := SSE
	if options.Transport == Poll {
		current = Poll
	}

	return &transportPolicy{
		clock: clock, isFixed: options.Transport != Auto, sseAgain: options.SSEAgain,
		current: current,
	}
}

// next is the transport of the next request.
func (p *transportPolicy) next() Transport {
	isTime := p.clock.Now()-p.pollingSince >= p.sseAgain
	if p.current == Poll && !p.isFixed && isTime {
		p.use(SSE)
	}
	return p.current
}

// nothingCame is for headers of a stream without a byte behind them: a proxy holds it back.
func (p *transportPolicy) nothingCame() { p.use(Poll) }

// streamEnded is for a stream that was open.
func (p *transportPolicy) streamEnded(lasted time.Duration, isOrderly bool) {
	if lasted > shortStream {
		p.shortEnds = 0
	} else if !isOrderly {
		p.shortEnds++
	}

	if p.shortEnds >= shortEnds {
		p.use(Poll)
	}
}

// badAnswer is for an answer of a proxy: 502, 504, or a page that is not the gateway's.
func (p *transportPolicy) badAnswer() {
	if p.current == Poll {
		p.pollFailed()
		return
	}

	p.badAnswers++
	if p.badAnswers >= badAnswers {
		p.use(Poll)
		p.isOnTrial = !p.isFixed
	}
}

// pollFailed is for long-poll on trial that does not help either: the next try is SSE, and the one
// after that is not.
func (p *transportPolicy) pollFailed() {
	if p.isOnTrial {
		p.use(SSE)
		p.badAnswers = badAnswers - 1
	}
}

// good is for an answer of the gateway itself.
func (p *transportPolicy) good() {
	p.isOnTrial = false
	p.badAnswers = 0
}

func (p *transportPolicy) use(transport Transport) {
	if p.isFixed {
		return
	}

	p.current = transport
	p.shortEnds, p.badAnswers = 0, 0
	p.isOnTrial = false
	p.pollingSince = p.clock.Now()
}
