package proxy

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/limit"
	"github.com/kuberelay/kuberelay/auth/policy"
)

// SharedOptions are what a shared listener has besides [Options].
type SharedOptions struct {
	// Access is the present generation. Required, and never of nil.
	Access *atomic.Pointer[Access]
	// Cluster is the name of the cluster at the root.
	Cluster string
	// Hosts are the host names that the listener answers to, in lower case and
	// without port, besides its connections' own addresses. nil: on a Unix
	// socket all, else none.
	Hosts []string
	// Peer returns what is known of a request's connection. Required.
	Peer func(*http.Request) *identify.Peer
	// Stale reports whether a request's client certificate was verified with an
	// authority that is no longer trusted; nil: none is asked for.
	Stale func(*http.Request) bool
	// Mint makes a short-lived token for a client whose process has the uid;
	// nil: this listener gives none.
	Mint func(client string, uid uint32) (token string, expires time.Time)
}

// clustersPrefix begins the paths of clusters that are not at the root.
const clustersPrefix = "/clusters/"

// visit is a request at the gates of a shared listener.
type visit struct {
	h       *Handler
	access  *Access
	w       http.ResponseWriter
	r       *http.Request
	start   time.Time
	auditID string
	peer    *identify.Peer

	identity *identify.Identity // nil: not known yet
	request  *policy.Request    // nil: not known yet
	cluster  string
	prefix   string // /clusters/NAME where the request's path began so
	err      error  // why it is refused, where the answer does not say it; often nil
}

// serveShared takes a request of a shared listener through its gates, in this
// order: form, host and origin, identity, rate, cluster, path, impersonation,
// number at a time, policy. What passes is forwarded as an exchange; what does not is answered,
// counted and audited.
func (h *Handler) serveShared(w http.ResponseWriter, r *http.Request) {
	v := visit{
		h: h, access: h.o.Shared.Access.Load(), w: w, r: r,
		start: time.Now(), auditID: uuid.NewString(), peer: h.o.Shared.Peer(r),
	}
	escaped, ok := v.form()
	if !ok || !v.site() {
		return
	}
	if escaped == CredentialPath {
		v.mint()
		return
	}
	client, ok := v.identify(v.accepted())
	if !ok {
		return
	}
	v.prefix = clusterPrefix(escaped)
	v.cluster, escaped = clusterOf(h.o.Shared.Cluster, escaped)
	grant := client.Grants[v.cluster]
	if grant == nil {
		v.deny(deniedForbidden, answerForbidden("Cluster", "the client may not use this cluster, or there is none of this name"))
		return
	}
	v.forward(client, grant, escaped)
}

// forward takes a request of a known client to a cluster that is granted
// through the remaining gates, and then to the cluster.
func (v *visit) forward(client *Client, grant *Grant, escaped string) {
	decoded, err := unescapePath(escaped)
	if err != nil {
		v.deny(deniedBadPath, answerBadRequest(err.Error()))
		return
	}
	ctx, end := context.WithCancelCause(v.r.Context())
	defer end(nil)
	x := newExchange(v.h, grant.Cluster, v.w, v.r.WithContext(ctx), decoded, escaped, v.start)
	request, err := policy.Parse(v.r.Method, escaped, v.r.URL.RawQuery, x.upgrade)
	if err != nil {
		v.deny(deniedBadPath, answerBadRequest(err.Error()))
		return
	}
	v.request = &request
	as, err := client.Allowed.Resolve(grant.As, v.r.Header)
	if err != nil {
		v.deny(deniedImpersonation, answerForbidden("Impersonation", err.Error()))
		return
	}
	kind := limitKind(x)
	if err := client.Limiter.Admit(kind); err != nil {
		v.deny(deniedLimit, answerLimit(err))
		return
	}
	defer client.Limiter.Done(kind)
	decision := grant.Policy.Decide(&request)
	if !decision.Allowed {
		v.deny(deniedForbidden, answerForbidden("Policy", decision.Reason()))
		return
	}
	x.auditID = v.auditID
	x.caller = &Caller{
		Access: v.access, Listener: v.h.o.Listener, Identity: *v.identity, Client: client,
		Grant: grant, Cluster: v.cluster, Prefix: v.prefix, Request: request, Rule: decision.Rule, As: as, AskedAs: as != grant.As,
	}
	x.flight.caller, x.flight.end = x.caller, end
	x.serve()
}

// form refuses a request whose method, path or query is not proxied. It returns
// the path as it goes upstream, except for the cluster's prefix.
func (v *visit) form() (escaped string, ok bool) {
	r := v.r
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace || r.URL.Path == "*" || r.URL.Path == "" {
		v.deny(deniedMethod, answerForm(v.w.Header(), r))
		return "", false
	}
	escaped = rawPath(r.URL)
	if err := policy.Canonical(trimCluster(escaped)); err != nil {
		v.deny(deniedBadPath, answerBadRequest(err.Error()))
		return "", false
	}
	if tokenInQuery(r.URL.RawQuery) && !strings.Contains(escaped, "/proxy/") {
		v.deny(deniedBadPath, answerBadRequest("a credential does not go into the query, where logs show it: send it as Authorization"))
		return "", false
	}
	return escaped, true
}

// accepted are the kinds of evidence that the listener accepts, in the
// generation that decides: one that it does not know accepts none.
func (v *visit) accepted() identify.Accepted { return v.access.Listeners[v.h.o.Listener] }

// identify finds the client and takes the request off its rate, or answers 401
// or 429. The rate comes before whatever else may be refused, since each refusal
// costs an answer and a line of the audit log.
func (v *visit) identify(accepted identify.Accepted) (*Client, bool) {
	identity, err := v.access.Directory.Identify(v.r.Context(), v.r, v.peer, accepted)
	if err != nil {
		if v.r.Context().Err() == nil { // else the client has gone, which is no failure here
			v.err = errors.Unwrap(err)
		}
		v.deny(deniedUnauthenticated, answerUnauthenticated(err))
		return nil, false
	}
	v.identity = &identity
	client := v.access.Clients[identity.Client]
	if client == nil || v.access.revoked(identity.Client, v.start) {
		v.deny(deniedRevoked, answerUnauthenticated(errRevoked))
		return nil, false
	}
	client.Seen.note(v.start)
	if err := client.Limiter.Ask(); err != nil {
		v.deny(deniedLimit, answerLimit(err))
		return nil, false
	}
	return client, true
}

// admitted closes the gap between the gates and the registry: a reload or a
// revocation in between has not found this request in there. Then, where the
// audit log blocks, it records what may change something before it is sent.
func (x *exchange) admitted() bool {
	if x.caller == nil {
		return true
	}
	if stale := x.h.o.Shared.Stale; stale != nil && stale(x.r) {
		ended := &EndedError{CloseRemoved, "the authority of clients' certificates was replaced"}
		x.flight.end(ended)
		x.fail(answerEnded(ended), ended)
		return false
	}
	if now := x.h.o.Shared.Access.Load(); now != x.caller.Access {
		if err := now.Review(x.caller, time.Now()); err != nil {
			x.flight.end(err)
			if ended := endedError(x.r.Context()); ended != nil {
				x.fail(answerEnded(ended), ended)
			}
			return false
		}
	}
	return x.auditReceived()
}

// deny answers a request that does not pass.
func (v *visit) deny(reason string, a answer) {
	d := Denial{Reason: reason, Code: a.code, Cause: a.message, Err: v.err}
	if v.identity != nil {
		d.Client = v.identity.Client
	}
	v.h.o.Recorder.Denied(v.r, d)
	v.audit(a)
	body := v.r.Body != nil && v.r.Body != http.NoBody
	stranger := v.identity == nil
	if body || stranger || len(v.r.Header["Upgrade"]) > 0 {
		// What follows a refused request, or comes from a stranger, is not read.
		v.w.Header().Set("Connection", "close")
	}
	a.write(v.w, v.auditID)
}

// clusterOf reads which cluster an escaped path is for, and the path there.
func clusterOf(root, escaped string) (cluster, rest string) {
	name, rest, found := cutCluster(escaped)
	if !found {
		return root, escaped
	}
	return name, rest
}

// clusterPrefix is /clusters/NAME, if an escaped path begins so.
func clusterPrefix(escaped string) string {
	if name, _, found := cutCluster(escaped); found {
		return clustersPrefix + name
	}
	return ""
}

// trimCluster is the path at its cluster.
func trimCluster(escaped string) string {
	if _, rest, found := cutCluster(escaped); found {
		return rest
	}
	return escaped
}

// cutCluster takes /clusters/NAME off an escaped path. The name is as it is
// written: no configured one needs an escape.
func cutCluster(escaped string) (name, rest string, found bool) {
	after, found := strings.CutPrefix(escaped, clustersPrefix)
	if !found {
		return "", "", false
	}
	name, rest, _ = strings.Cut(after, "/")
	return name, "/" + rest, true
}

func limitKind(x *exchange) limit.Kind {
	switch x.streamKind() {
	case "":
		return limit.Short
	case "upgrade":
		return limit.Upgrade
	}
	return limit.Watch
}

// tokenInQuery reports whether the query has a bearer token (RFC 6750, section
// 2.3), in whatever spelling.
func tokenInQuery(rawQuery string) bool {
	if !strings.Contains(rawQuery, "access") && !strings.Contains(rawQuery, "%") {
		return false
	}
	_, found := queryFirst(rawQuery, "access_token")
	return found
}

// Reasons of denials, as admin's metric has them.
const (
	deniedMethod          = "method"
	deniedHost            = "host"
	deniedCrossSite       = "cross_site"
	deniedBadPath         = "bad_path"
	deniedUnauthenticated = "unauthenticated"
	deniedRevoked         = "revoked"
	deniedForbidden       = "forbidden"
	deniedImpersonation   = "impersonation"
	deniedLimit           = "limit"
)
