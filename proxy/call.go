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

// callLimit is how much of an answer is read. Discovery documents are the
// largest.
const callLimit = 16 << 20

// call is a request of kuberelay's own.
type call struct {
	method, path, accept string
	body                 []byte // JSON; nil: none
	own                  bool   // over the connections of the cluster's own credential
}

// Get fetches a path of the cluster with its own credential, from whichever
// upstream answers: it is for what kuberelay itself wants to know about a
// cluster. The body is at most 16 MiB.
func (c *Cluster) Get(ctx context.Context, path, accept string) (body []byte, status int, err error) {
	lease, err := c.Credentials.Lease(ctx)
	if err != nil {
		return nil, 0, err
	}
	answer, err := c.call(ctx, lease, call{method: http.MethodGet, path: path, accept: accept, own: true})
	return answer.Body, answer.Status, err
}

// Post sends a JSON body to a path of the cluster with a configured
// credential. It is sent to another upstream only if the one before has
// provably not processed it, and once more if it was refused with 401 and the
// credential can be had anew. The answer's body is at most 16 MiB.
func (c *Cluster) Post(ctx context.Context, with Credentials, path string, body []byte) (auth.Answer, error) {
	lease, err := with.Lease(ctx)
	if err != nil {
		return auth.Answer{}, err
	}
	q := call{method: http.MethodPost, path: path, accept: "application/json", body: body}
	answer, err := c.call(ctx, lease, q)
	if err != nil || answer.Status != http.StatusUnauthorized {
		return answer, err
	}
	if newer, refused := with.Refused(ctx, lease); refused == nil {
		return c.call(ctx, newer, q)
	}
	return answer, nil // the credential's log says why there is no other
}

func (c *Cluster) call(ctx context.Context, lease *auth.Lease, q call) (answer auth.Answer, err error) {
	var tried []string
	err = errNoUpstream
	for {
		a, ok := c.Pool.Pick(balancer.Request{Key: "kuberelay", Kind: balancer.CachedRead, Tried: tried})
		if !ok {
			return answer, err
		}
		answer, err = c.callAt(ctx, a, lease, q)
		if err == nil || ctx.Err() != nil || q.body != nil && judgeError(ctx, err).resend != resendAny {
			return answer, err
		}
		tried = append(tried, a.ID())
	}
}

func (c *Cluster) callAt(ctx context.Context, a balancer.Attempt[*Upstream], lease *auth.Lease, q call) (auth.Answer, error) {
	defer a.Done()
	defer a.Report(balancer.Neutral)
	u := a.Value()
	var none auth.Answer
	to := u.own
	switch {
	case !q.own && u.URL.Scheme == "http" && lease.Confidential():
		return none, errInTheClear
	case !q.own && lease.Bound().Cluster == u.Cluster && lease.Bound().Generation != u.generation:
		return none, errGeneration
	case !q.own:
		to = u.connectionsFor(lease)
	case lease.EndpointGeneration() != u.generation:
		return none, errGeneration
	}
	header := http.Header{}
	auth.Rebuild(header, http.Header{"Accept": {q.accept}}, lease, auth.RebuildOptions{
		DefaultUserAgent: c.UserAgent,
		SchemeHTTP:       u.URL.Scheme == "http",
	})
	request := h1.Request{Method: q.method, Target: q.path, Host: u.URL.Host, Header: header}
	if q.body != nil {
		header["Content-Type"] = []string{"application/json"}
		request.Payload = q.body
	}
	if !q.own { // as for clients of shared listeners
		request.Target = u.path + q.path
	}
	resp, err := to.http1.Do(ctx, &request)
	if err != nil {
		return none, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, callLimit+1))
	switch {
	case err != nil:
		return none, err
	case len(body) > callLimit:
		return none, fmt.Errorf("%s: %w", q.path, errTooLarge)
	}
	return auth.Answer{Body: body, Status: resp.StatusCode, Generation: u.generation}, nil
}

var errGeneration = errors.New("the connection parameters have just changed")

var errTooLarge = errors.New("the answer is larger than 16 MiB")
