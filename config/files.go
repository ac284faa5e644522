package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/internal/secretfile"
)

// checkPaths refuses relative paths: a daemon's working directory is nobody's.
func (c *Configuration) checkPaths(p *problems) {
	absolute := func(field, path string) {
		if path != "" && !filepath.IsAbs(path) {
			p.add(field, fmt.Errorf("%q: want an absolute path", shorten(path)))
		}
	}
	for i := range c.Clusters {
		absolute(fmt.Sprintf("clusters[%d].kubeconfig.path", i), c.Clusters[i].Kubeconfig.Path)
	}
	for i := range c.Credentials {
		field, credential := fmt.Sprintf("credentials[%d]", i), &c.Credentials[i]
		absolute(field+".tokenFile", credential.TokenFile)
		if files := credential.ClientCertificate; files != nil {
			absolute(field+".clientCertificate.certFile", files.CertFile)
			absolute(field+".clientCertificate.keyFile", files.KeyFile)
		}
		if ref := credential.Kubeconfig; ref != nil {
			absolute(field+".kubeconfig.path", ref.Path)
		}
	}
	for i := range c.Clients {
		for j := range c.Clients[i].Match {
			if oidc := c.Clients[i].Match[j].OIDC; oidc != nil {
				absolute(fmt.Sprintf("clients[%d].match[%d].oidc.caFile", i, j), oidc.CAFile)
			}
		}
	}
	for i := range c.Listeners {
		field, l := fmt.Sprintf("listeners[%d]", i), &c.Listeners[i]
		if socket, ok := unixSocket(l.Address); ok && socket != "" && !strings.HasPrefix(socket, "@") && !filepath.IsAbs(socket) {
			p.add(field+".address", fmt.Errorf("%q: want an absolute path: unix:///PATH", shorten(l.Address)))
		} else if ok {
			p.addSocketPath(field+".address", socket)
		}
		absolute(field+".staticDir", l.StaticDir)
		if l.TLS != nil {
			absolute(field+".tls.certFile", l.TLS.CertFile)
			absolute(field+".tls.keyFile", l.TLS.KeyFile)
			absolute(field+".tls.clientCAFile", l.TLS.ClientCAFile)
		}
	}
	for i, path := range c.Gossip.SecretKeyFiles {
		absolute(fmt.Sprintf("gossip.secretKeyFiles[%d]", i), path)
	}
	absolute("admin.controlSocket", c.Admin.ControlSocket)
	p.addSocketPath("admin.controlSocket", c.Admin.ControlSocket)
	absolute("audit.file", c.Audit.File)
	absolute("stateFile", c.StateFile)
}

// addSocketPath refuses what the kernel calls an invalid argument, see unix(7).
func (p *problems) addSocketPath(field, path string) {
	const most = 107
	if len(path) > most {
		p.add(field, fmt.Errorf("is a path of %d bytes, more than the %d that a Unix socket can have", len(path), most))
	}
}

// checkFiles checks the files that the configuration names: that they are there,
// can be used, and that those which hold secrets are read by their owner alone.
func (c *Configuration) checkFiles(p *problems) {
	for i := range c.Clusters {
		field, ref := fmt.Sprintf("clusters[%d]", i), c.Clusters[i].Kubeconfig
		if p.addSecrets(field+".kubeconfig.path", auth.CredentialConfig{Kubeconfig: &ref}) {
			c.Clusters[i].checkConnection(field, p)
		}
	}
	for i := range c.Credentials {
		checkCredential(fmt.Sprintf("credentials[%d]", i), c.Credentials[i], p)
	}
	for i := range c.Listeners {
		if c.Listeners[i].TLS != nil {
			c.Listeners[i].TLS.checkFiles(fmt.Sprintf("listeners[%d].tls", i), p)
		}
	}
	for i, path := range c.Gossip.SecretKeyFiles {
		p.addSecretFile(fmt.Sprintf("gossip.secretKeyFiles[%d]", i), path)
	}
}

// checkCredential reads what the credential names. It is not asked for a
// lease, so that nobody is contacted and no plugin runs.
func checkCredential(field string, c auth.CredentialConfig, p *problems) {
	if c.Validate() != nil { // said elsewhere
		return
	}
	at := field
	switch {
	case c.TokenFile != "":
		at += ".tokenFile"
	case c.ClientCertificate != nil:
		at += ".clientCertificate.keyFile"
	case c.Exec != nil:
		at += ".exec.command"
		if _, err := exec.LookPath(c.Exec.Command); err != nil {
			p.add(at, fmt.Errorf("the plugin cannot be run: %w", err))
			return
		}
	case c.Kubeconfig != nil:
		at += ".kubeconfig.path"
	default:
		return // a service account's token is no file
	}
	if !p.addSecrets(at, c) {
		return
	}
	credential, err := auth.OpenCredential(auth.CredentialOptions{Config: c})
	if err != nil {
		p.add(at, &trimmed{err, fmt.Sprintf("credential %q: ", c.Name)})
		return
	}
	credential.Close()
}

func (t *ListenerTLS) checkFiles(field string, p *problems) {
	if filepath.IsAbs(t.CertFile) && p.addSecretFile(field+".keyFile", t.KeyFile) {
		if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
			p.add(field+".certFile", fmt.Errorf("cannot be used: %w", err))
		}
	}
	if t.ClientCAFile == "" {
		return
	}
	if !filepath.IsAbs(t.ClientCAFile) {
		return // said elsewhere
	}
	pem, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		p.add(field+".clientCAFile", err)
	} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		p.add(field+".clientCAFile", fmt.Errorf("%s holds no certificate in PEM", t.ClientCAFile))
	}
}

// addSecrets is addSecretFile for all files of a credential.
func (p *problems) addSecrets(field string, c auth.CredentialConfig) bool {
	good := true
	for _, path := range c.Files() {
		good = p.addSecretFile(field, path) && good
	}
	return good
}

// addSecretFile reports whether a file can be used as a secret, and records why
// not.
func (p *problems) addSecretFile(field, path string) bool {
	if !filepath.IsAbs(path) {
		return false // said elsewhere
	}
	err := secretfile.Check(path)
	p.add(field, err)
	return err == nil
}
