package proxy

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/kuberelay/kuberelay/balancer"
)

// pick asks the balancer for an upstream that was not tried.
func (x *exchange) pick() (balancer.Attempt[*Upstream], bool) {
	return x.cluster.Pool.Pick(balancer.Request{Key: x.key(), Kind: x.kind, Tried: x.tried})
}

// hold waits for an upstream when there is none left to try. The request may be
// sent again, whatever was sent of it so far.
func (x *exchange) hold() (balancer.Attempt[*Upstream], bool) {
	var none balancer.Attempt[*Upstream]
	if x.holdTill.IsZero() {
		x.holdTill = time.Now().Add(x.cluster.Retry.HoldWhenAllDown)
	}
	if f := x.cluster.Hooks.NoUpstream; f != nil {
		f()
	}
	if _, wait, _ := x.outlook(); !wait {
		return none, false
	}
	ctx, cancel := context.WithDeadline(x.r.Context(), x.holdTill)
	defer cancel()
	for {
		if len(x.tried) > 0 {
			// All were tried, and those that are left are not known to be down:
			// pause, so that requests do not come again at once and all together.
			pause := time.NewTimer(25*time.Millisecond + rand.N(75*time.Millisecond))
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return none, false
			}
		}
		if !x.cluster.Pool.Wait(ctx) {
			return none, false
		}
		x.tried = x.tried[:0]
		if a, ok := x.pick(); ok {
			return a, true
		}
		if ctx.Err() != nil {
			return none, false
		}
		x.tried = append(x.tried, "") // eligible and gone again: pause
	}
}

// giveUp answers a request that found no upstream in time.
func (x *exchange) giveUp() {
	if ended := endedError(x.r.Context()); ended != nil {
		x.fail(answerEnded(ended), ended)
		return
	}
	if x.err == nil {
		x.err = errNoUpstream
	}
	if x.uncertain {
		x.fail(answerBadGateway(x.err.Error()), x.err)
		return
	}
	why, _, retry := x.outlook()
	if why == "" {
		why = x.err.Error()
	}
	a := answerNoUpstream(why)
	if !retry {
		a.retryAfter = 0 // the same request would meet the same
	}
	x.fail(a, x.err)
}

// outlook asks the hook why no upstream can be used. While one can be, or
// without a hook, both waiting and coming back may help.
func (x *exchange) outlook() (why string, wait, retry bool) {
	if f := x.cluster.Hooks.Outlook; f != nil && x.cluster.Pool.Eligible() == 0 {
		return f()
	}
	return "", true, true
}

var errNoUpstream = errors.New("all are down")
