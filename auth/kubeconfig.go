package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/rest"
)

// KubeconfigOptions are the inputs of [OpenKubeconfig]. Load is required.
type KubeconfigOptions struct {
	// Load reads the kubeconfig (with the flags and environment that belong to
	// it) anew at every call. It must not keep what it read, as a deferred
	// client-go loader does: make a new one in each call. Of what it returns,
	// the wrappers, dialer and rate limits are not used.
	Load func() (*rest.Config, error)
	// Files names the kubeconfig files, to be watched. The CA, certificate, key
	// and token files they name are watched without being listed. nil: none.
	Files func() []string
	// Log gets one line for each change and each trouble. nil: none.
	Log *zap.Logger
	// Name names the credential in errors, logs and hooks: the cluster's or the
	// credential's name in the configuration.
	Name string
	// UserAgent is for a kubeconfig that sets none. Default: UserAgent("").
	UserAgent string
	// OnRefresh is told of each credential that was fetched or re-read, with
	// the result "ok" or "error". It must not block.
	OnRefresh func(credential, result string)
	// OnExpiry is told when the current credential expires; the zero time when
	// that is not known any more. It must not block.
	OnExpiry func(credential string, t time.Time)
}

// Kubeconfig is the user and the cluster of one kubeconfig, live. Its methods
// may be called from any goroutine.
type Kubeconfig struct {
	opts KubeconfigOptions
	log  *zap.Logger

	// What requests read.
	lease    atomic.Pointer[Lease]
	endpoint atomic.Pointer[Endpoint]

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	calls  sync.WaitGroup // goroutines that fetch

	reloading sync.Mutex // held while files are read; before publishing
	seen      fileState  // guarded by reloading: the files of the last good load
	trouble   string     // guarded by reloading: why they cannot be read now

	publishing sync.Mutex // held while a change is made known; before mu

	mu          sync.Mutex // guards what follows
	loaded      *loaded
	connection  identity // of the published endpoint
	generations struct{ lease, endpoint uint64 }
	listeners   []func(*Endpoint)
	refusal     *call     // a refresh forced by a refused lease, under way
	nextRefusal time.Time // none before
	expiry      time.Time // as OnExpiry was told
	closed      bool
}

// OpenKubeconfig loads the kubeconfig and checks it and the files it names. It
// contacts nobody and runs no plugin. Errors are clientcmd's as they are, or
// name the part of the kubeconfig; [*ServerURLError] for the server.
func OpenKubeconfig(o KubeconfigOptions) (*Kubeconfig, error) {
	if o.Load == nil {
		return nil, errors.New("auth: KubeconfigOptions.Load is missing")
	}
	if o.Files == nil {
		o.Files = func() []string { return nil }
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.UserAgent == "" {
		o.UserAgent = UserAgent("")
	}
	if o.OnRefresh == nil {
		o.OnRefresh = func(string, string) {}
	}
	if o.OnExpiry == nil {
		o.OnExpiry = func(string, time.Time) {}
	}
	k := &Kubeconfig{opts: o, log: o.Log.With(zap.String("credential", o.Name))}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	before := look(o.Files())
	l, err := loadKubeconfig(&k.opts)
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
func (k *Kubeconfig) Run(ctx context.Context) error {
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
func (k *Kubeconfig) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.cancel()
	k.calls.Wait()
}

// Endpoint returns what connections are to be made of now.
func (k *Kubeconfig) Endpoint() *Endpoint { return k.endpoint.Load() }

// OnChange registers f, to be called with each new Endpoint: connections made
// with the old one are to be drained. Calls are made one at a time and in order
// of [Endpoint.Generation]; f must not call Lease, Refused or Close. It is not
// called for the present endpoint: register first, then ask.
func (k *Kubeconfig) OnChange(f func(*Endpoint)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listeners = append(k.listeners, f)
}

// publish applies change, with mu held, and makes known what follows from it:
// the endpoint and the lease, the lease second, so that who sees the new lease
// finds the new endpoint; then the listeners are called.
func (k *Kubeconfig) publish(change func()) {
	k.publishing.Lock()
	defer k.publishing.Unlock()

	k.mu.Lock()
	change()
	endpoint, listeners := k.nextEndpoint()
	lease, expiry := k.nextLease()
	expiryChanged := !expiry.Equal(k.expiry)
	k.expiry = expiry
	if endpoint != nil {
		k.endpoint.Store(endpoint)
	}
	k.lease.Store(lease)
	k.mu.Unlock()

	if endpoint != nil {
		for _, f := range listeners {
			f(endpoint)
		}
	}
	if expiryChanged {
		k.opts.OnExpiry(k.opts.Name, expiry)
	}
}

// nextEndpoint returns the endpoint to be published, nil when it is the same.
// mu is held.
func (k *Kubeconfig) nextEndpoint() (*Endpoint, []func(*Endpoint)) {
	plugin := k.pluginCertificate()
	connection := identify(string(k.loaded.connection[:]), certificateDER(plugin))
	if k.generations.endpoint > 0 && connection == k.connection {
		return nil, nil
	}
	k.connection = connection
	k.generations.endpoint++
	return k.loaded.endpoint.with(k.generations.endpoint, plugin), k.listeners
}

// pluginCertificate is the client certificate that an exec plugin returned.
// mu is held.
func (k *Kubeconfig) pluginCertificate() *tls.Certificate {
	if c := k.loaded.source.credential; c != nil {
		return c.certificate
	}
	return nil
}

// nextLease returns the lease to be published, nil when it must be fetched
// first, and when it expires. mu is held.
func (k *Kubeconfig) nextLease() (*Lease, time.Time) {
	c := k.loaded.source.credential
	if c == nil {
		return nil, time.Time{}
	}
	certificate := k.loaded.certificate
	if certificate == nil {
		certificate = c.certificate
	}
	k.generations.lease++
	headers := &leaseHeaders{plainHTTP: c.plainHTTP, impersonation: k.loaded.impersonation}
	if !c.authorization.IsEmpty() {
		headers.authorization = []string{c.authorization.Reveal()}
	}
	l := &Lease{
		headers:            func() *leaseHeaders { return headers },
		identity:           identify(c.authorization.Reveal(), certificateDER(certificate)),
		generation:         k.generations.lease,
		endpointGeneration: k.generations.endpoint,
		validity:           c.validity,
		certificate:        certificate,
		tlsIdentity:        identifyTLS(certificate),
	}
	return l, earliest(c.validity.expiry, certificateExpiry(certificate))
}

// fault adds the credential's name to err.
func (k *Kubeconfig) fault(s *source, err error) error {
	return fmt.Errorf("credential %q: %s: %w", k.opts.Name, s.kind, err)
}
