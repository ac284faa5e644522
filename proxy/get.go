package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/internal/h1"
)

// getLimit bounds what Get reads: discovery documents are the largest.
const getLimit = 16 << 20

// Get fetches a path of the cluster with its own credential, from whichever
// upstream answers: what kuberelay itself wants to know of a cluster. The
// body is at most 16 MiB.
func (c *Cluster) Get(ctx context.Context, path, accept string) (body []byte, status int, err error) {
	lease, err := c.Credentials.Lease(ctx)
	if err != nil {
		return nil, 0, err
	}
	var tried []string
	err = errNoUpstream
	for {
		a, ok := c.Pool.Pick(balancer.Request{Key: "kuberelay", Kind: balancer.CachedRead, Tried: tried})
		if !ok {
			return nil, 0, err
		}
		body, status, err = c.getFrom(ctx, a, lease, path, accept)
		if err == nil || ctx.Err() != nil {
			return body, status, err
		}
		tried = append(tried, a.ID())
	}
}

func (c *Cluster) getFrom(ctx context.Context, a balancer.Attempt[*Upstream], lease *auth.Lease, path, accept string) ([]byte, int, error) {
	defer a.Done()
	defer a.Report(balancer.Neutral)
	u := a.Value()
	if lease.EndpointGeneration() != u.generation {
		return nil, 0, errGeneration
	}
	header := http.Header{}
	auth.Rebuild(header, http.Header{"Accept": {accept}}, lease, auth.RebuildOptions{
		DefaultUserAgent: c.UserAgent,
		SchemeHTTP:       u.URL.Scheme == "http",
	})
	resp, err := u.http1.Do(ctx, &h1.Request{Method: http.MethodGet, Target: path, Host: u.URL.Host, Header: header})
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, getLimit+1))
	switch {
	case err != nil:
		return nil, 0, err
	case len(body) > getLimit:
		return nil, 0, fmt.Errorf("%s: %w", path, errTooLarge)
	}
	return body, resp.StatusCode, nil
}

var errGeneration = errors.New("the connection parameters have just changed")

var errTooLarge = errors.New("the answer is larger than 16 MiB")
