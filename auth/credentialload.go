package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"slices"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// elsewhere is the server of a credential, which has none: requests go to the
// cluster that a grant names.
const elsewhere = "https://cluster.invalid"

// errKubeconfig stands for clientcmd's errors, which quote the file.
var errKubeconfig = errors.New("it is not a valid kubeconfig: check it with kubectl config view")

// mainFiles are the files that loading begins with, see [keeperOptions.files].
func (c *CredentialConfig) mainFiles() []string {
	if c.Kubeconfig != nil {
		return []string{c.Kubeconfig.Path}
	}
	return nil
}

// loadCredential reads the credential's files anew, so that what it returns
// can be used as a whole or not at all.
func loadCredential(o *CredentialOptions) (*loaded, error) {
	var l *loaded
	var err error
	switch c := &o.Config; {
	case c.TokenFile != "":
		l = &loaded{files: []string{c.TokenFile}}
		l.source, err = tokenFileSource(c.TokenFile, "")
	case c.ClientCertificate != nil:
		l, err = loadCertificate(c.ClientCertificate)
	case c.Exec != nil:
		l = &loaded{}
		l.source, err = c.Exec.source()
	case c.Kubeconfig != nil:
		l, err = c.Kubeconfig.loadUser()
	case c.ServiceAccountToken != nil:
		l = &loaded{source: tokenRequestSource(o)}
	default:
		err = errNoSource
	}
	if err != nil {
		return nil, err
	}
	l.who = l.impersonation.identity()
	l.connection = identify(certificateDER(l.certificate))
	return l, nil
}

// loadCertificate reads a pair of files. A pair that does not match is being
// replaced.
func loadCertificate(c *CertificateFiles) (*loaded, error) {
	pair, err := clientCertificate(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CertFile: c.CertFile, KeyFile: c.KeyFile}})
	if err != nil {
		return nil, err
	}
	return &loaded{
		files:       []string{c.CertFile, c.KeyFile},
		certificate: pair,
		source: &source{
			kind:       "client certificate " + c.CertFile,
			identity:   identify("client certificate", certificateDER(pair)),
			credential: &credential{},
		},
	}, nil
}

// source is the plugin as a kubeconfig would have it.
func (c *ExecConfig) source() (*source, error) {
	config := &clientcmdapi.ExecConfig{
		Command:         c.Command,
		Args:            c.Args,
		APIVersion:      "client.authentication.k8s.io/v1",
		InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		config.Env = append(config.Env, clientcmdapi.ExecEnvVar{Name: name, Value: c.Env[name]})
	}
	s, err := daemonExecSource(&rest.Config{Host: elsewhere, ExecProvider: config})
	if err == nil && c.Timeout > 0 {
		s.timeout = c.Timeout
	}
	return s, err
}

// loadUser reads the context's user. The cluster of the context matters only
// to a plugin that wants to know it.
func (c *KubeconfigRef) loadUser() (*loaded, error) {
	config, err := c.restConfig()
	if err != nil {
		return nil, err
	}
	if config.AuthProvider != nil {
		return nil, fmt.Errorf("kubeconfig %s: auth-provider %q is refused in a daemon: client-go shares its tokens between users (kubernetes/kubernetes#78509); use exec instead", c.Path, config.AuthProvider.Name)
	}
	l := &loaded{}
	for _, path := range []string{config.CAFile, config.CertFile, config.KeyFile, config.BearerTokenFile} {
		if path != "" {
			l.files = append(l.files, path)
		}
	}
	if l.certificate, err = clientCertificate(config); err != nil {
		return nil, err
	}
	server, err := url.Parse(elsewhere)
	if err != nil {
		return nil, err
	}
	if l.source, err = newSource(config, server, l.certificate, daemonExecSource); err != nil {
		return nil, err
	}
	if l.source.kind == anonymousSource {
		return nil, fmt.Errorf("kubeconfig %s: the context's user has no credential, and anonymous is none", c.Path)
	}
	l.source.identity = identify(string(l.source.identity[:]), certificateDER(l.certificate))
	l.impersonation, err = newImpersonation(config.Impersonate)
	return l, err
}

// restConfig returns what client-go makes of the context, with another cluster
// unless the user's plugin is to be told of the context's. Its errors quote
// nothing of the file but names.
func (c *KubeconfigRef) restConfig() (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: c.Path}
	raw, err := rules.Load()
	if err != nil {
		return nil, c.problem(err, errKubeconfig)
	}
	name := c.Context
	if name == "" {
		name = raw.CurrentContext
	}
	used, found := raw.Contexts[name]
	if !found {
		return nil, fmt.Errorf("kubeconfig %s has no context %q", c.Path, name)
	}
	user, found := raw.AuthInfos[used.AuthInfo]
	if !found {
		return nil, fmt.Errorf("kubeconfig %s, context %q: it has no user %q", c.Path, name, used.AuthInfo)
	}
	telling := user.Exec != nil && user.Exec.ProvideClusterInfo
	if !telling {
		used.Cluster = "elsewhere"
		raw.Clusters[used.Cluster] = &clientcmdapi.Cluster{Server: elsewhere}
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*raw, name, &clientcmd.ConfigOverrides{}, rules).ClientConfig()
	switch {
	case err == nil:
		return config, nil
	case telling:
		return nil, c.problem(err, errKubeconfig) // it may quote proxy-url, with a password
	default:
		return nil, c.problem(err, err)
	}
}

// problem returns the file that err is about, if it is about one, else shown.
func (c *KubeconfigRef) problem(err, shown error) error {
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		return fmt.Errorf("kubeconfig %s: %w", c.Path, file)
	}
	if several := (utilerrors.Aggregate)(nil); errors.As(err, &several) {
		for _, one := range several.Errors() {
			if file := (*fs.PathError)(nil); errors.As(one, &file) {
				return fmt.Errorf("kubeconfig %s: %w", c.Path, file)
			}
		}
	}
	return fmt.Errorf("kubeconfig %s: %w", c.Path, shown)
}
