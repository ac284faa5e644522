package main

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// connection holds kubectl's connection flags and loads what they stand for.
// The flags are client-go's own; the wider k8s.io/cli-runtime has the same ones
// at the price of 37 MB of resident memory.
type connection struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
	userExtra  []string

	missing atomic.Pointer[string] // see warnings
}

// addFlags adds the flags to fs, and to ignored those that have an effect on
// other commands of kubectl only.
func (c *connection) addFlags(fs, ignored *pflag.FlagSet) {
	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.ClusterOverrideFlags.APIServer.ShortName = "s"
	namespace, timeout := names.ContextOverrideFlags.Namespace, names.Timeout
	names.ContextOverrideFlags.Namespace, names.Timeout = clientcmd.FlagInfo{}, clientcmd.FlagInfo{}
	compression := names.ClusterOverrideFlags.DisableCompression
	names.ClusterOverrideFlags.DisableCompression = clientcmd.FlagInfo{}

	all := pflag.NewFlagSet("connection", pflag.ContinueOnError)
	clientcmd.BindOverrideFlags(&c.overrides, all, names)
	all.StringVar(&c.kubeconfig, "kubeconfig", "", "")
	all.StringArrayVar(&c.userExtra, "as-user-extra", nil, "")
	for _, f := range connectionFlags {
		flag := all.Lookup(f.name)
		flag.Usage = f.usage
		fs.AddFlag(flag)
	}

	namespace.BindStringFlag(ignored, new(string))
	compression.BindBoolFlag(ignored, new(bool)) // API servers are asked for what clients ask for
	timeout.BindStringFlag(ignored, &c.overrides.Timeout)
}

// load reads the files anew. See config.Connection.
func (c *connection) load() (*rest.Config, error) {
	overrides, err := c.effective()
	if err != nil {
		return nil, err
	}
	loaded, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(c.rules(), overrides).ClientConfig()
	if err != nil {
		return nil, err
	}
	loaded.Timeout = 0 // --request-timeout is for kubectl's own requests, not for those of a proxy's clients.
	return loaded, nil
}

// effective returns the overrides as of the command line, for one load.
func (c *connection) effective() (*clientcmd.ConfigOverrides, error) {
	o := c.overrides
	o.ClusterDefaults = clientcmd.ClusterDefaults // http://localhost:8080 when nothing is configured
	for _, extra := range c.userExtra {
		key, value, ok := strings.Cut(extra, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--as-user-extra: %q: want KEY=VALUE", extra)
		}
		if o.AuthInfo.ImpersonateUserExtra == nil {
			o.AuthInfo.ImpersonateUserExtra = make(map[string][]string)
		}
		o.AuthInfo.ImpersonateUserExtra[key] = append(o.AuthInfo.ImpersonateUserExtra[key], value)
	}
	return &o, nil
}

// rules say which files count: --kubeconfig's alone, or those of KUBECONFIG, or
// ~/.kube/config.
func (c *connection) rules() *clientcmd.ClientConfigLoadingRules {
	r := clientcmd.NewDefaultClientConfigLoadingRules()
	r.DefaultClientConfig = &clientcmd.DefaultClientConfig
	r.ExplicitPath = c.kubeconfig
	r.Warner = func(err error) {
		text := err.Error()
		c.missing.Store(&text)
	}
	return r
}

// warnings are what the last load had to say of files that KUBECONFIG names
// and that are not there. kubectl serves http://localhost:8080 then, silently.
func (c *connection) warnings() []string {
	if text := c.missing.Load(); text != nil {
		return []string{*text + " (named by KUBECONFIG)"}
	}
	return nil
}

// files are the kubeconfig files that load reads. See config.Connection.
func (c *connection) files() []string {
	return c.rules().GetLoadingPrecedence()
}

// connectionFlags are the flags in the order of the help. What client-go says
// of them is written for kubectl's own requests.
var connectionFlags = []struct{ name, usage string }{
	{"kubeconfig", "Path to the kubeconfig file to use, in place of those named by KUBECONFIG and ~/.kube/config."},
	{"context", "The name of the kubeconfig context to use."},
	{"cluster", "The name of the kubeconfig cluster to use."},
	{"user", "The name of the kubeconfig user to use."},
	{"server", "The URL of the Kubernetes API server, in place of the kubeconfig's."},
	{"certificate-authority", "Path to a cert file for the certificate authority."},
	{"tls-server-name", "Server name to use for server certificate validation. If it is not provided, the hostname used to contact the server is used."},
	{"insecure-skip-tls-verify", "If true, the API servers' certificates will not be checked for validity. This will make your HTTPS connections insecure."},
	{"proxy-url", "The URL of a proxy through which to connect to the API servers."},
	{"client-certificate", "Path to a client certificate file for TLS."},
	{"client-key", "Path to a client key file for TLS."},
	{"token", "Bearer token for authentication to the API servers."},
	{"username", "Username for basic authentication to the API servers."},
	{"password", "Password for basic authentication to the API servers."},
	{"as", "Username to impersonate. User could be a regular user or a service account in a namespace."},
	{"as-uid", "UID to impersonate."},
	{"as-group", "Group to impersonate, this flag can be repeated to specify multiple groups."},
	{"as-user-extra", "User extra to impersonate, as KEY=VALUE, this flag can be repeated to specify multiple values for the same key."},
}
