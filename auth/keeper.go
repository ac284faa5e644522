package auth

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/internal/filestate"
)

// pollInterval is how often the files are looked at. A stat a second costs
// nothing, and unlike inotify it sees through symlinks (kubelet and cert-manager
// swap them), over NFS, and a file that does not exist yet.
const pollInterval = time.Second

// keeper keeps the credential of one user fresh: it reads the files again when
// they change, fetches from a plugin or an API server what is fetched, and
// publishes each state as a [Lease]. [Kubeconfig] and [Credential] are built
// around one.
type keeper struct {
	keeperOptions

	lease atomic.Pointer[Lease] // what requests read; nil: must be fetched first

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	calls  sync.WaitGroup // goroutines that fetch

	reloading sync.Mutex      // held while files are read; before publishing
	seen      filestate.State // guarded by reloading: the files of the last good load
	trouble   string          // guarded by reloading: why they cannot be read now

	publishing sync.Mutex // held while a change is made known; before mu

	mu          sync.Mutex // guards what follows
	loaded      *loaded
	generation  uint64    // of the published lease
	vanished    time.Time // when the files could not be found any more; zero: they can
	refusal     *call     // a refresh forced by a refused lease, under way
	nextRefusal time.Time // none before
	expiry      time.Time // as onExpiry was told
	closed      bool
}

// keeperOptions are what a keeper is made from. None is nil.
type keeperOptions struct {
	name      string // of the credential, for errors, logs and hooks
	subject   string // what the files are, for logs: "kubeconfig"
	load      func() (*loaded, error)
	files     func() []string // those that load begins with
	log       *zap.Logger
	onRefresh func(credential, result string)
	onExpiry  func(credential string, t time.Time)
	rules     keeperRules
	// connect makes known what connections are to be made of when l is loaded,
	// and returns the generation of that and what is to be called when the
	// lease is known too. mu is held.
	connect func(l *loaded) (generation uint64, announce func())
}

// keeperRules are the ways in which a daemon is stricter than an interactive
// process.
type keeperRules struct {
	maxBackoff time.Duration // between two fetches that fail
	// leeway is how long before its expiry, at most, a fetched credential is
	// no longer handed out; zero: as its source decides.
	leeway time.Duration
	// failClosed withholds a credential from its own expiry on, and once its
	// files have been gone for the grace time.
	failClosed bool
}

// newKeeper loads for the first time.
func newKeeper(o keeperOptions) (*keeper, error) {
	k := &keeper{keeperOptions: o}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	before := filestate.Look(k.files())
	l, err := k.load()
	if err != nil {
		k.cancel()
		return nil, err
	}
	k.adopt(l, before)
	return k, nil
}

// Run re-reads the files when they change, until ctx ends, and then closes k.
// It returns nil. Without it a credential is still fetched and renewed, but
// files are re-read only when an upstream refused what they gave.
func (k *keeper) Run(ctx context.Context) error {
	defer k.Close()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			k.reload(ctx, false)
		case <-ctx.Done():
			return nil
		}
	}
}

// Close stops a plugin that is running and waits for its end. A lease that is
// still valid is handed out after it, a new one is not fetched.
func (k *keeper) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.cancel()
	k.calls.Wait()
}

// publish applies change, with mu held, and makes known what follows from it:
// the endpoint and the lease, the lease second, so that who sees the new lease
// finds the new endpoint; then its listeners are called.
func (k *keeper) publish(change func()) {
	k.publishing.Lock()
	defer k.publishing.Unlock()

	k.mu.Lock()
	change()
	endpoint, announce := k.connect(k.loaded)
	lease, expiry := k.nextLease(endpoint)
	expiryChanged := !expiry.Equal(k.expiry)
	k.expiry = expiry
	k.lease.Store(lease)
	k.mu.Unlock()

	announce()
	if expiryChanged {
		k.onExpiry(k.name, expiry)
	}
}

// nextLease returns the lease to publish (nil: fetch first) and its expiry. mu is
// held.
func (k *keeper) nextLease(endpoint uint64) (*Lease, time.Time) {
	c := k.loaded.source.credential
	if c == nil {
		return nil, time.Time{}
	}
	certificate := k.loaded.certificate
	if certificate == nil {
		certificate = c.certificate
	}
	k.generation++
	headers := &leaseHeaders{plainHTTP: c.plainHTTP, impersonation: k.loaded.impersonation}
	if !c.authorization.IsEmpty() {
		headers.authorization = []string{c.authorization.Reveal()}
	}
	expiry := earliest(c.validity.expiry, certificateExpiry(certificate))
	l := &Lease{
		headers:            func() *leaseHeaders { return headers },
		identity:           identify(c.authorization.Reveal(), certificateDER(certificate)),
		generation:         k.generation,
		endpointGeneration: endpoint,
		validity:           k.bounded(c.validity, expiry),
		certificate:        certificate,
		tlsIdentity:        identifyTLS(certificate),
		bound:              c.bound,
	}
	return l, expiry
}

// bounded returns v within what the rules and the credential itself, which
// expires at expiry, allow. mu is held.
func (k *keeper) bounded(v validity, expiry time.Time) validity {
	v.expiry = expiry // the certificate may end before the token
	if k.rules.failClosed || !k.vanished.IsZero() {
		v.until = earliest(v.until, expiry)
	}
	if !k.vanished.IsZero() {
		v.until = earliest(v.until, k.vanished.Add(tokenFileGrace))
	}
	return v
}

// fault adds the credential's name to err.
func (k *keeper) fault(s *source, err error) error {
	return &UnavailableError{Name: k.name, Err: fmt.Errorf("%s: %w", s.kind, err)}
}
