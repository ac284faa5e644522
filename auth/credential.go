package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// CredentialOptions are the inputs of [OpenCredential].
type CredentialOptions struct {
	// Config is the credential, valid as [CredentialConfig.Validate] says.
	Config CredentialConfig
	// Log gets one line for each change and each problem. nil: none.
	Log *zap.Logger
	// OnRefresh is told of each credential that was fetched or re-read, with
	// the result "ok" or "error". It must not block.
	OnRefresh func(credential, result string)
	// OnExpiry is told when the current credential expires; the zero time when
	// that is not known any more. It must not block.
	OnExpiry func(credential string, t time.Time)
	// Post sends a POST with a JSON body to a path of a cluster, as another
	// credential of the configuration, and returns the answer's body and status
	// code; the error is for a cluster that does not answer and a credential
	// that cannot be had. It is how a service account's token is asked for,
	// and required for that alone. It must return when ctx ends.
	Post func(ctx context.Context, cluster, credential, path string, body []byte) (Answer, error)
}

// Answer is a cluster's answer to a request of [CredentialOptions.Post].
type Answer struct {
	Body   []byte
	Status int
	// Generation is the [Endpoint.Generation] of the server that answered.
	Generation uint64
}

// Bound says which cluster a lease was obtained for: its token is not to be
// shown to another that has taken the cluster's place. The zero value is bound to none.
type Bound struct {
	Cluster    string
	Generation uint64
}

// Credential is a credential of the configuration, live: its files are read
// again when they change, and what is fetched is fetched when it is first
// needed and again before it expires. It fails closed: nothing is handed out
// past its own expiry, in the last 30 s (or tenth of the lifetime) of what can
// be fetched, or later than 60 s after its files vanished. Its leases belong to
// no [Endpoint]: [Lease.TLSIdentity] says which connections they go over. Its
// methods may be called from any goroutine.
type Credential struct{ keeper *keeper }

// OpenCredential reads the credential's files and checks them. It contacts
// nobody and runs no plugin. Errors name the credential and the file, and quote
// nothing of what is in it.
func OpenCredential(o CredentialOptions) (*Credential, error) {
	name := o.Config.Name
	if err := o.Config.Validate(); err != nil {
		return nil, fmt.Errorf("credential %q: %w", name, err)
	}
	if o.Config.ServiceAccountToken != nil && o.Post == nil {
		return nil, fmt.Errorf("credential %q: %w", name, errors.New("auth: CredentialOptions.Post is missing"))
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.OnRefresh == nil {
		o.OnRefresh = func(string, string) {}
	}
	if o.OnExpiry == nil {
		o.OnExpiry = func(string, time.Time) {}
	}
	k, err := newKeeper(keeperOptions{
		name:      name,
		subject:   "credential source",
		load:      func() (*loaded, error) { return loadCredential(&o) },
		files:     o.Config.mainFiles,
		log:       o.Log.With(zap.String("credential", name)),
		onRefresh: o.OnRefresh,
		onExpiry:  o.OnExpiry,
		rules:     keeperRules{maxBackoff: daemonBackoff, leeway: daemonLeeway, failClosed: true},
		connect:   func(*loaded) (uint64, func()) { return 0, func() {} },
	})
	if err != nil {
		return nil, fmt.Errorf("credential %q: %w", name, err)
	}
	return &Credential{keeper: k}, nil
}

// Lease returns the lease to use now, as [Kubeconfig.Lease] does: at the cost
// of an atomic load while it is valid, else after one fetch for all callers,
// each of whom waits as long as its own ctx. The error is an
// [*UnavailableError].
func (c *Credential) Lease(ctx context.Context) (*Lease, error) { return c.keeper.Lease(ctx) }

// Refused is told that an upstream answered 401 to a request made with l, and
// returns a lease with another credential, as [Kubeconfig.Refused] does. The
// error is an [*UnavailableError]; it wraps [ErrNoNewerCredential] when nothing
// newer can be had, and l remains in use.
func (c *Credential) Refused(ctx context.Context, l *Lease) (*Lease, error) {
	return c.keeper.Refused(ctx, l)
}

// Run re-reads the files when they change, until ctx ends, and then closes c.
// It returns nil. Without it a credential is still fetched and renewed, but
// files are re-read only when an upstream refused what they gave.
func (c *Credential) Run(ctx context.Context) error { return c.keeper.Run(ctx) }

// Drop forgets what was fetched, also what is just being fetched: the next
// [Credential.Lease] fetches anew. It is for a service account's token whose
// cluster has become another one, and does nothing to credentials that are read
// from files.
func (c *Credential) Drop() {
	k := c.keeper
	k.publish(func() {
		s := k.loaded.source
		if s.fetch == nil {
			return
		}
		next := *k.loaded
		// A source of its own: what is under way ends in the one before.
		next.source = &source{kind: s.kind, identity: s.identity, fetch: s.fetch, timeout: s.timeout}
		k.loaded = &next
	})
}

// Close stops a fetch that is under way and waits for its end. A lease that is
// still valid is handed out after it, a new one is not fetched.
func (c *Credential) Close() { c.keeper.Close() }

// UnavailableError says that a credential cannot be had, and why. Its words are
// for the log: they name the source, which may be a file, command or address of
// the daemon's, and hold nothing of the credential or of what a plugin printed.
type UnavailableError struct {
	Name string // of the credential
	Err  error  // the source and the reason
}

func (e *UnavailableError) Error() string { return fmt.Sprintf("credential %q: %v", e.Name, e.Err) }

func (e *UnavailableError) Unwrap() error { return e.Err }
