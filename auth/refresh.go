package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

const (
	// firstBackoff and maxBackoff space the runs of a plugin that fails: 1 s,
	// 2 s, 4 s, 8 s, and 10 s from then on. A daemon goes on to a minute.
	firstBackoff  = time.Second
	maxBackoff    = 10 * time.Second
	daemonBackoff = time.Minute
	// refusalInterval is the least time between two refreshes forced by an
	// upstream's 401, so that a refused credential does not become a fork bomb.
	refusalInterval = 5 * time.Second
)

var (
	// ErrNoNewerCredential is what [Kubeconfig.Refused] returns when a refresh
	// gave the same credential, or was made a moment ago.
	ErrNoNewerCredential = errors.New("no newer credential")
	// ErrClosed is returned when a credential would have to be fetched after Close.
	ErrClosed = errors.New("closed")

	// errRunOut makes a failure of a fetch whose result cannot be used, so that
	// it is not repeated at once and for ever.
	errRunOut = errors.New("what it gave has run out already: check this machine's clock")
)

// call is a refresh under way that any number of requests wait for.
type call struct {
	done chan struct{} // closed at the end
	err  error         // readable after it
}

// wait waits for the end of c or of ctx.
func (c *call) wait(ctx context.Context) error {
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Lease returns the credential to use now. It costs an atomic load while that
// is valid. In the last fifth of its lifetime a renewal is started beside it;
// when it has run out, or none was fetched yet, Lease fetches one: any number
// of callers wait for one run of the plugin, each as long as its own ctx. After
// a failure it fails at once until the next run is due.
func (k *keeper) Lease(ctx context.Context) (*Lease, error) {
	l := k.lease.Load()
	if l == nil {
		return k.acquire(ctx)
	}
	v := &l.validity
	if v.renewAt.IsZero() && v.until.IsZero() {
		return l, nil
	}
	now := time.Now()
	if !v.usable(now) {
		return k.acquire(ctx)
	}
	if v.due(now) {
		k.renew()
	}
	return l, nil
}

// renew starts a fetch, unless there is one or it is too early after a failure.
func (k *keeper) renew() {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, _ = k.begin(k.loaded.source) // An error was logged when it happened.
}

// acquire waits for a credential that can be used.
func (k *keeper) acquire(ctx context.Context) (*Lease, error) {
	for {
		k.mu.Lock()
		if l := k.lease.Load(); l != nil && l.validity.usable(time.Now()) {
			k.mu.Unlock()
			return l, nil
		}
		s := k.loaded.source
		c, err := k.begin(s)
		k.mu.Unlock()
		if err == nil {
			err = c.wait(ctx)
		}
		if err == nil {
			continue
		}
		if ctx.Err() == nil && k.replaced(s) {
			continue // The kubeconfig changed: what failed is not asked any more.
		}
		return nil, k.fault(s, err)
	}
}

// replaced reports whether s is no longer the source.
func (k *keeper) replaced(s *source) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.loaded.source != s
}

// begin joins or starts the fetch of s. mu is held.
func (k *keeper) begin(s *source) (*call, error) {
	switch now := time.Now(); {
	case s.call != nil:
		return s.call, nil
	case !k.vanished.IsZero() && (s.fetch == nil || !now.Before(k.vanished.Add(tokenFileGrace))):
		return nil, errors.New("it cannot be read, and the last value has run out")
	case s.fetch == nil:
		return nil, fmt.Errorf("it expired at %s: replace it", k.expiry.UTC().Format(time.RFC3339))
	case now.Before(s.retryAt):
		return nil, fmt.Errorf("%w (tried again in %s)", s.err, s.retryAt.Sub(now).Round(100*time.Millisecond))
	case k.closed:
		return nil, ErrClosed
	}
	c := &call{done: make(chan struct{})}
	s.call = c
	k.calls.Go(func() { k.fetch(s, c) })
	return c, nil
}

// fetch asks s for a credential and publishes it.
func (k *keeper) fetch(s *source, c *call) {
	defer close(c.done)
	started := time.Now()
	ctx, cancel := context.WithTimeoutCause(k.ctx, s.timeout, fmt.Errorf("no answer within %s", s.timeout))
	defer cancel()
	fetched, err := s.fetch(ctx)
	took := time.Since(started).Round(time.Millisecond)
	if err == nil {
		fetched = fetched.withheld(time.Now(), k.rules.leeway)
		if !fetched.validity.usable(time.Now()) {
			err = errRunOut
		}
	}
	if err != nil {
		k.failed(s, c, err, took)
		return
	}
	k.publish(func() {
		s.call, s.credential = nil, fetched
		if s.failures > 0 {
			k.log.Info("credential can be had again", zap.String("source", s.kind))
		}
		s.forgive()
	})
	k.onRefresh(k.name, "ok")
	k.log.Debug("credential fetched", zap.String("source", s.kind), zap.Duration("took", took), zap.Time("expires", fetched.validity.expiry))
}

func (k *keeper) failed(s *source, c *call, err error, took time.Duration) {
	c.err = err
	k.mu.Lock()
	s.call, s.err = nil, err
	s.failures++
	backoff := min(firstBackoff<<min(s.failures-1, 10), k.rules.maxBackoff)
	s.retryAt = time.Now().Add(backoff)
	first := s.failures == 1
	k.mu.Unlock()
	k.onRefresh(k.name, "error")
	if first && k.ctx.Err() == nil { // of a row: the others say the same
		k.log.Warn("credential cannot be had", zap.String("source", s.kind), zap.Duration("took", took), zap.Error(err))
	}
}

// forgive forgets failures: the next fetch may be made at once. mu is held.
func (s *source) forgive() {
	s.failures, s.retryAt, s.err = 0, time.Time{}, nil
}

// Refused is told that an upstream answered 401 to a request made with l's
// credential. It returns a lease with another one: at once when there is one
// already, else after one refresh for all callers (the plugin is run, or the
// kubeconfig and the token file are re-read), at most every 5 s. Each caller
// waits as long as its own ctx. When nothing newer can be had the error is
// [ErrNoNewerCredential] or says why, and l remains in use.
func (k *keeper) Refused(ctx context.Context, l *Lease) (*Lease, error) {
	if newer := k.newerThan(l); newer != nil {
		return newer, nil
	}
	k.mu.Lock()
	s := k.loaded.source
	c, err := k.beginRefusal(l)
	k.mu.Unlock()
	if err == nil {
		err = c.wait(ctx)
	}
	if newer := k.newerThan(l); newer != nil {
		return newer, nil
	}
	if err == nil {
		err = ErrNoNewerCredential
	}
	return nil, k.fault(s, err)
}

// newerThan returns the present lease if it can be used and has another
// credential than l.
func (k *keeper) newerThan(l *Lease) *Lease {
	if now := k.lease.Load(); now != nil && !now.same(l) && now.validity.usable(time.Now()) {
		return now
	}
	return nil
}

// beginRefusal joins or starts a forced refresh. mu is held.
func (k *keeper) beginRefusal(l *Lease) (*call, error) {
	switch now := time.Now(); {
	case k.refusal != nil:
		return k.refusal, nil
	case k.closed:
		return nil, ErrClosed
	case now.Before(k.nextRefusal):
		return nil, ErrNoNewerCredential
	default:
		k.nextRefusal = now.Add(refusalInterval)
	}
	c := &call{done: make(chan struct{})}
	k.refusal = c
	k.calls.Go(func() {
		defer close(c.done)
		c.err = k.refresh(l)
		k.mu.Lock()
		k.refusal = nil
		k.mu.Unlock()
	})
	return c, nil
}

// refresh looks for a credential other than l's: in the files, then from the
// plugin.
func (k *keeper) refresh(l *Lease) error {
	k.reload(k.ctx, true)
	if k.newerThan(l) != nil {
		return nil
	}
	k.mu.Lock()
	s := k.loaded.source
	if s.fetch == nil {
		k.mu.Unlock()
		return nil
	}
	c, err := k.begin(s)
	k.mu.Unlock()
	if err != nil {
		return err
	}
	return c.wait(k.ctx)
}
