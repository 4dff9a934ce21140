package pace

import "time"

// Patience ends trying after a time without a good connection. The zero value of Longest tries for
// ever.
type Patience struct {
	Longest time.Duration

	isFailing bool
	since     time.Duration
}

// IsFailing says that nothing has been good since the last failure.
func (p *Patience) IsFailing() bool { return p.isFailing }

// Good says that the connection was good.
func (p *Patience) Good() { p.isFailing = false }

// Failed says whether to give up rather than to wait so long once more.
func (p *Patience) Failed(now, wait time.Duration) (isOver bool) {
	if !p.isFailing {
		p.isFailing, p.since = true, now
	}

	return p.Longest > 0 && now+wait-p.since > p.Longest
}
