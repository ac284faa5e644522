package auth

import (
	"crypto/tls"
	"errors"
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
	// Log gets one line for each change and each problem. nil: none.
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
	*keeper

	endpoint atomic.Pointer[Endpoint] // what connections are made of

	// Guarded by keeper.mu.
	connection identity // of the published endpoint
	endpoints  uint64   // its generation
	listeners  []func(*Endpoint)
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
	k := &Kubeconfig{}
	var err error
	k.keeper, err = newKeeper(keeperOptions{
		name:      o.Name,
		subject:   "kubeconfig",
		load:      func() (*loaded, error) { return loadKubeconfig(&o) },
		files:     o.Files,
		log:       o.Log.With(zap.String("credential", o.Name)),
		onRefresh: o.OnRefresh,
		onExpiry:  o.OnExpiry,
		rules:     keeperRules{maxBackoff: maxBackoff},
		connect:   k.connect,
	})
	if err != nil {
		return nil, err
	}
	return k, nil
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

// connect publishes the endpoint that l makes, unless it is the present one,
// and returns its generation and a function that calls the listeners. The
// keeper's mu is held.
func (k *Kubeconfig) connect(l *loaded) (uint64, func()) {
	var plugin *tls.Certificate // that an exec plugin returned
	if c := l.source.credential; c != nil {
		plugin = c.certificate
	}
	connection := identify(string(l.connection[:]), certificateDER(plugin))
	if k.endpoints > 0 && connection == k.connection {
		return k.endpoints, func() {}
	}
	k.connection = connection
	k.endpoints++
	endpoint, listeners := l.endpoint.with(k.endpoints, plugin), k.listeners
	k.endpoint.Store(endpoint)
	return k.endpoints, func() {
		for _, f := range listeners {
			f(endpoint)
		}
	}
}
