package auth

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	_ "k8s.io/client-go/plugin/pkg/client/auth" // Registers the auth providers: oidc.
	"k8s.io/client-go/rest"
)

const (
	providerTimeout = 60 * time.Second
	// providerRenew is when client-go's oidc provider itself asks for a new ID
	// token; asking it earlier returns the old one.
	providerRenew = 10 * time.Second
	providerUntil = 5 * time.Second
)

// provider is a legacy auth-provider of client-go. It only speaks
// http.RoundTripper, so the header is taken from a request that goes nowhere.
type provider struct {
	name    string
	wrapped http.RoundTripper
	// busy holds a token while a call is under way. client-go's provider takes
	// no context: one that hangs outlives its caller, and must not be joined
	// by a second.
	busy chan struct{}
}

func providerSource(c *rest.Config) (*source, error) {
	parts := []string{"auth-provider", c.Host, c.AuthProvider.Name}
	for _, key := range slices.Sorted(maps.Keys(c.AuthProvider.Config)) {
		parts = append(parts, key, c.AuthProvider.Config[key])
	}
	id := identify(parts...)
	// client-go keeps providers process-wide by cluster address, issuer and
	// client ID, and would give one user another's token; the digest makes
	// each user's settings a cluster of their own (kubernetes/kubernetes#78509).
	ap, err := rest.GetAuthProvider(c.Host+"#"+hex.EncodeToString(id[:]), c.AuthProvider, c.AuthConfigPersister)
	if err != nil {
		return nil, fmt.Errorf("auth-provider %s: its settings are refused, see the provider's documentation", c.AuthProvider.Name)
	}
	p := &provider{name: c.AuthProvider.Name, busy: make(chan struct{}, 1)}
	p.wrapped = ap.WrapTransport(nowhere{})
	return &source{
		kind:     "auth-provider " + p.name,
		identity: id,
		fetch:    p.fetch,
		timeout:  providerTimeout,
	}, nil
}

// nowhere answers every request with the headers it came with.
type nowhere struct{}

func (nowhere) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusNoContent, Header: r.Header, Body: http.NoBody, Request: r}, nil
}

func (p *provider) fetch(ctx context.Context) (*credential, error) {
	select {
	case p.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("it does not answer: %w", context.Cause(ctx))
	}
	type answer struct {
		authorization string
		err           error
	}
	answered := make(chan answer, 1)
	go func() {
		defer func() { <-p.busy }()
		authorization, err := p.authorization(ctx)
		answered <- answer{authorization, err}
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return nil, a.err
		}
		return providerCredential(a.authorization)
	case <-ctx.Done():
		return nil, fmt.Errorf("it does not answer: %w", context.Cause(ctx))
	}
}

// authorization asks the provider. What it says of a failure is not passed on:
// the text quotes the issuer's answer, which may hold tokens.
func (p *provider) authorization(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://kubernetes.invalid/", nil)
	if err != nil {
		return "", err
	}
	resp, err := p.wrapped.RoundTrip(req)
	if err != nil {
		return "", errors.New("it could not get a token: log in again, then check with kubectl get --raw /version")
	}
	_ = resp.Body.Close() // http.NoBody
	return resp.Header.Get("Authorization"), nil
}

func providerCredential(authorization string) (*credential, error) {
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	if !ok {
		return nil, errors.New("it gave no bearer token")
	}
	c, err := bearerCredential(token)
	if err != nil {
		return nil, fmt.Errorf("its token: %w", err)
	}
	if e := c.validity.expiry; !e.IsZero() {
		c.validity.renewAt = e.Add(-providerRenew)
		c.validity.until = e.Add(-providerUntil)
	}
	return c, nil
}
