package apigroups

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// Get fetches a path of the cluster with an Accept header and returns the body
// and the HTTP status. It must honour ctx and bound the body's size. The error
// is for requests that got no answer.
type Get func(ctx context.Context, path, accept string) (body []byte, status int, err error)

// DefaultInterval is how often [Table.Run] refreshes.
const DefaultInterval = 5 * time.Minute

const (
	refreshTimeout = 30 * time.Second // of one refresh: three small GETs
	firstRetry     = 5 * time.Second  // after a failed one, doubling to the interval
)

const apiServicesPath = "/apis/apiregistration.k8s.io/v1/apiservices"

// Refresh asks the cluster what it serves. What the credential may not read
// (403), and what an old server does not have (404, 406, plain discovery),
// leaves that part of the table as it is and is no error.
func (t *Table) Refresh(ctx context.Context, get Get) error {
	return errors.Join(t.refreshGroups(ctx, get), t.refreshAggregated(ctx, get))
}

func (t *Table) refreshGroups(ctx context.Context, get Get) error {
	var docs [][]byte
	for _, path := range []string{"/api", "/apis"} {
		doc, ok, err := fetch(ctx, get, path, AcceptDiscovery)
		if err != nil || !ok {
			return err
		}
		docs = append(docs, doc)
	}
	d, err := Parse(docs...)
	if errors.Is(err, ErrNotAggregated) {
		return nil
	}
	if err != nil {
		return err
	}
	t.Set(d)
	return nil
}

func (t *Table) refreshAggregated(ctx context.Context, get Get) error {
	doc, ok, err := fetch(ctx, get, apiServicesPath, "application/json")
	if err != nil || !ok {
		return err
	}
	s, err := ParseAPIServices(doc)
	if err != nil {
		return err
	}
	t.SetAggregated(s)
	return nil
}

// fetch reports ok = false for what the cluster will not tell.
func fetch(ctx context.Context, get Get, path, accept string) (doc []byte, ok bool, err error) {
	doc, status, err := get(ctx, path, accept)
	if err != nil {
		return nil, false, fmt.Errorf("get %s: %w", path, err)
	}
	switch status {
	case http.StatusOK:
		return doc, true, nil
	case http.StatusForbidden, http.StatusNotFound, http.StatusNotAcceptable:
		return nil, false, nil
	default:
		return nil, false, fmt.Errorf("get %s: HTTP %d", path, status)
	}
}

// Run refreshes at once and then every interval ± 10 % (0: [DefaultInterval])
// until ctx ends, and returns ctx's error. A failed refresh is passed to
// onError, when that is set, and tried again after 5 s, then 10 s, and so on up
// to the interval. Each refresh is bounded to 30 s.
func (t *Table) Run(ctx context.Context, get Get, interval time.Duration, onError func(error)) error {
	if interval <= 0 {
		interval = DefaultInterval
	}
	retry := min(firstRetry, interval)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		bounded, cancel := context.WithTimeout(ctx, refreshTimeout)
		err := t.Refresh(bounded, get)
		cancel()
		wait := interval
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			retry = min(firstRetry, interval)
		default:
			wait, retry = retry, min(2*retry, interval)
			if onError != nil {
				onError(err)
			}
		}
		timer.Reset(jitter(wait))
	}
}

// jitter spreads instances that started together: d ± 10 %.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
