package identify

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// maxVerified bounds the ID tokens whose verification is remembered.
const maxVerified = 4096

// Issuers holds the keys of OpenID Connect issuers and the ID tokens that were
// verified with them, over all generations of the configuration. Nothing is
// fetched before a token needs it, so that a daemon starts while an issuer is
// away. It is safe for concurrent use.
type Issuers struct {
	now      func() time.Time
	verified *tokenCache

	// ctx ends with Close; fetches are those that it ends.
	ctx     context.Context
	cancel  context.CancelFunc
	fetches sync.WaitGroup

	mu     sync.Mutex
	closed bool                  // guarded by mu: no fetch begins any more
	known  map[issuerKey]*issuer // guarded by mu
}

type issuerKey struct{ url, caFile string }

// NewIssuers returns Issuers that know no issuer yet. The clock may be nil:
// time.Now.
func NewIssuers(now func() time.Time) *Issuers {
	if now == nil {
		now = time.Now
	}
	s := &Issuers{now: now, verified: newTokenCache(maxVerified), known: make(map[issuerKey]*issuer)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close ends what is being fetched and waits for it. Keys that are there are
// used until they are too old. No goroutine runs but while something is
// fetched, so Issuers that fetch nothing need no Close.
func (s *Issuers) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.fetches.Wait()
}

// begin registers a fetch, which calls fetches.Done when it has ended. It
// returns false after Close.
func (s *Issuers) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.fetches.Add(1)
	return true
}

// open returns the issuer, with the keys that it has from earlier generations.
// The CA file is only looked at: each fetch reads it anew.
func (s *Issuers) open(url, caFile string) (*issuer, error) {
	if _, err := readCAs(caFile); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := issuerKey{url, caFile}
	i := s.known[key]
	if i == nil {
		i = &issuer{url: url, caFile: caFile, all: s}
		s.known[key] = i
	}
	return i, nil
}

// readCAs returns the certificates of the file, nil for the system's if there
// is no file.
func readCAs(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(file + " has no certificate in PEM: it must hold those that the issuer's own is verified with")
	}
	return pool, nil
}
