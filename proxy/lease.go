package proxy

import (
	"net/http"

	"go.uber.org/zap"
)

// acquireLease gets the credential with which the cluster is called. Without
// one, nothing is sent: no request goes out anonymous.
func (x *exchange) acquireLease() bool {
	lease, err := x.credentials().Lease(x.r.Context())
	if err != nil {
		x.failCredential(err)
		return false
	}
	x.lease = lease
	return true
}

// credentials are the grant's on a shared listener, else the cluster's own.
func (x *exchange) credentials() Credentials {
	if x.caller != nil {
		return x.caller.Grant.Credentials
	}
	return x.cluster.Credentials
}

// fit is whether an upstream can be called with a lease.
type fit uint8

const (
	leaseFits  fit = iota
	leaseUnfit     // not this upstream, or not yet
	leaseGone      // none, since the credential cannot be had: x.err says why
)

// leaseFor makes sure that the lease and the upstream are of one generation of
// connection parameters: after a kubeconfig was switched to another cluster,
// neither may get the other's credential. On a shared listener, the grant binds
// the credential to the cluster instead.
func (x *exchange) leaseFor(u *Upstream) fit {
	if x.caller != nil {
		return x.leaseNow(u)
	}
	if x.lease.EndpointGeneration() == u.generation {
		return leaseFits
	}
	lease, err := x.cluster.Credentials.Lease(x.r.Context())
	if err != nil {
		x.err = err
		return leaseUnfit
	}
	x.lease, x.header = lease, nil
	if lease.EndpointGeneration() != u.generation {
		return leaseUnfit
	}
	return leaseFits
}

// leaseNow makes sure that a shared listener's request is sent with the present
// lease, since it may have been held, and not with one that another cluster of
// the same name has issued.
func (x *exchange) leaseNow(u *Upstream) fit {
	lease, err := x.caller.Grant.Credentials.Lease(x.r.Context())
	if err != nil {
		x.err = err
		return leaseGone
	}
	if lease != x.lease {
		x.lease, x.header = lease, nil
	}
	if b := lease.Bound(); b.Cluster == u.Cluster && b.Generation != u.generation {
		x.err = errGeneration
		return leaseUnfit
	}
	return leaseFits
}

// refused reports whether the API server itself refuses our credential. What
// stands behind it, such as a service with a login, answers 401 for reasons of
// its own, and has looked at the request.
func (x *exchange) refused(resp *http.Response) bool {
	return x.injected && resp.StatusCode == http.StatusUnauthorized &&
		(!x.target.reachesBeyond() || unauthorizedStatus(peekBody(resp)))
}

// refresh gets another lease after a refusal, if the request can be sent again:
// once for each request.
func (x *exchange) refresh() bool {
	if x.refreshed || !x.rewindable() {
		return false
	}
	x.refreshed = true
	lease, err := x.credentials().Refused(x.r.Context(), x.lease)
	if err != nil {
		x.log("the API server refuses the credential and there is no newer one", zap.Error(err))
		return false
	}
	x.lease, x.header = lease, nil
	return true
}
