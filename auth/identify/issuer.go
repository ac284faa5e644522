package identify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// refreshAfter is the age at which keys in use are fetched again, behind
	// the requests that use them: a key that the issuer has withdrawn is used
	// so much longer.
	refreshAfter = 10 * time.Minute
	// maxKeyAge is the age up to which keys are used while the issuer cannot
	// be reached. After it no token of the issuer is taken.
	maxKeyAge = time.Hour
	// fetchInterval is the least time between two fetches, so that tokens with
	// made-up keys are no load on the issuer.
	fetchInterval = 10 * time.Second
	// fetchTimeout bounds each request to the issuer, its body included. A
	// fetch takes two.
	fetchTimeout = 5 * time.Second
	// maxDocument bounds the bytes of each of an issuer's documents.
	maxDocument = 1 << 20
	// maxRedirects within the issuer's own host are followed.
	maxRedirects = 3
)

// issuer is one OpenID Connect issuer and its keys.
type issuer struct {
	url    string
	caFile string
	all    *Issuers

	keys atomic.Pointer[keySet] // nil before the first fetch that succeeded

	mu        sync.Mutex
	attempted time.Time // guarded by mu: when the last fetch began
	err       error     // guarded by mu: why it failed
	running   *fetch    // guarded by mu: nil while there is none
}

// fetch is one fetch of the keys. Many may wait for it.
type fetch struct{ done chan struct{} }

// current returns keys that may be used now. Keys that are merely not fresh
// are returned at once, and fetched again behind the caller's back.
func (i *issuer) current(ctx context.Context) (*keySet, error) {
	keys := i.keys.Load()
	switch now := i.all.now(); {
	case !keys.usable(now):
		return i.renewed(ctx)
	case now.Sub(keys.fetched) >= refreshAfter:
		i.start()
	}
	return keys, nil
}

// renewed fetches the keys, or waits for the fetch that is running, and returns
// what there is then. If the last fetch began less than fetchInterval ago, that
// is what there is now. The error says why there are no keys that may be used,
// or why those that are there may not be the last ones; the keys are nil only in
// the first case.
func (i *issuer) renewed(ctx context.Context) (*keySet, error) {
	if f := i.start(); f != nil {
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("issuer %s: %w", i.url, context.Cause(ctx))
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	keys := i.keys.Load()
	if !keys.usable(i.all.now()) {
		keys = nil
	}
	return keys, i.err
}

// start returns the fetch that is running, after having begun one if none is.
// It returns nil if it is too early for another.
func (i *issuer) start() *fetch {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.running != nil {
		return i.running
	}
	now := i.all.now()
	if !i.attempted.IsZero() && now.Sub(i.attempted) < fetchInterval {
		return nil
	}
	if !i.all.begin() {
		i.err = fmt.Errorf("issuer %s: the daemon is stopping", i.url)
		return nil
	}
	f := &fetch{done: make(chan struct{})}
	i.attempted, i.running = now, f
	go i.run(f, now)
	return f
}

// run is the fetch's goroutine. It ends within two times fetchTimeout, and with
// Close.
func (i *issuer) run(f *fetch, now time.Time) {
	defer i.all.fetches.Done()
	keys, err := i.fetch(i.all.ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		i.err = fmt.Errorf("issuer %s: %w", i.url, err)
	} else {
		keys.fetched = now
		i.keys.Store(keys)
		i.err = nil
	}
	i.running = nil
	close(f.done)
}

// fetch asks the issuer for its configuration (OpenID Connect Discovery 1.0 §4)
// and its keys (RFC 7517).
func (i *issuer) fetch(ctx context.Context) (*keySet, error) {
	client, err := i.client()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), i.url)
	if err != nil {
		// The error may quote a whole page.
		return nil, fmt.Errorf("discovery: %s", printableText(err.Error(), 300))
	}
	var metadata struct {
		KeysURL string `json:"jwks_uri"`
	}
	if err := provider.Claims(&metadata); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	if u, err := url.Parse(metadata.KeysURL); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("discovery: its jwks_uri is %q, and must be an https URL", printableText(metadata.KeysURL, 200))
	}
	body, err := get(ctx, client, metadata.KeysURL)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	keys, err := parseKeys(body)
	if err != nil {
		return nil, fmt.Errorf("keys of %s: %w", printableText(metadata.KeysURL, 200), err)
	}
	return keys, nil
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", printableText(url, 200), printableText(answer.Status, 100))
	}
	return io.ReadAll(answer.Body)
}

// client returns the client of one fetch. It keeps no connection, since the
// next fetch is minutes away and may have another CA.
func (i *issuer) client() (*http.Client, error) {
	roots, err := readCAs(i.caFile)
	if err != nil {
		return nil, fmt.Errorf("caFile %s: %w", i.caFile, err)
	}
	return &http.Client{
		Timeout: fetchTimeout,
		Transport: bounded{&http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		}},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case r.URL.Scheme != "https" || r.URL.Host != via[0].URL.Host:
				return errors.New("it redirects to another host, which is not followed")
			case len(via) > maxRedirects:
				return errors.New("it redirects too often")
			}
			return nil
		},
	}, nil
}

// bounded makes reading more than maxDocument of an answer's body an error.
type bounded struct{ *http.Transport }

// RoundTrip is the Transport's.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.Transport.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxDocument)
	}
	return answer, err
}
