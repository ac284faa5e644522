package auth

import (
	"fmt"
	"maps"
	"net/url"
	"slices"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

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
	config, err := c.userConfig()
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
		return nil, fmt.Errorf("kubeconfig %s: the context's user has no credential, and anonymous access is refused", c.Path)
	}
	l.source.identity = identify(string(l.source.identity[:]), certificateDER(l.certificate))
	l.impersonation, err = newImpersonation(config.Impersonate)
	return l, err
}
