package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/health"
)

// probeTLS returns the same pointer as long as nothing has changed.
func (c *cluster) probeTLS(t health.Target) *tls.Config {
	if m := c.member(t.ID); m != nil {
		return m.tls
	}
	return nil
}

// authorize sets the cluster's own credential on a probe, and no impersonation:
// that user may not be allowed to ask.
func (c *cluster) authorize(ctx context.Context, t health.Target, h http.Header) error {
	lease, err := c.kubeconfig.Lease(ctx)
	if err != nil {
		return err
	}
	return c.setAuthorization(h, t, lease)
}

func (c *cluster) reauthorize(ctx context.Context, t health.Target, h http.Header) error {
	lease, err := c.kubeconfig.Lease(ctx)
	if err != nil {
		return err
	}
	if lease, err = c.kubeconfig.Refused(ctx, lease); err != nil {
		return err
	}
	return c.setAuthorization(h, t, lease)
}

// errOtherCluster is why a probe goes without the credential. The lease belongs
// to the current kubeconfig, the server to the previous one.
var errOtherCluster = errors.New("the kubeconfig has just changed")

// setAuthorization applies the rules of requests to a probe: no credential in
// clear text, and none to a server of another generation of the kubeconfig.
func (c *cluster) setAuthorization(h http.Header, t health.Target, lease *auth.Lease) error {
	m := c.member(t.ID)
	if m == nil || m.generation != lease.EndpointGeneration() {
		return errOtherCluster
	}
	if secret := lease.Authorization(); !secret.IsEmpty() && t.URL.Scheme == "https" {
		h.Set("Authorization", secret.Reveal())
	}
	return nil
}
