package lab

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/csv"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// adminUser is the administrator's name in certificates and as a token user.
const (
	adminUser  = "admin"
	adminGroup = "system:masters"
)

// serverHosts are the names in the API servers' certificate: what a client in
// or outside of the cluster may call them.
var serverHosts = []string{
	"127.0.0.1", "::1", "10.96.0.1", "localhost", "kubernetes",
	"kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
}

// writeIdentities makes certificates, keys and tokens, takes the servers'
// ports, and writes the kubeconfigs.
func (l *Lab) writeIdentities() error {
	var err error
	if l.pki, err = newPKI(l.path("pki")); err != nil {
		return err
	}
	if _, _, err := l.pki.serving("apiserver", serverHosts...); err != nil {
		return err
	}
	if _, _, err := l.pki.serving("kubelet", "127.0.0.1"); err != nil {
		return err
	}
	if _, _, err := l.pki.client("kubelet-client", "kube-apiserver-kubelet-client", adminGroup); err != nil {
		return err
	}
	adminCert, adminKey, err := l.pki.client("admin", adminUser, adminGroup)
	if err != nil {
		return err
	}
	signer, _, err := l.pki.newKey("service-account")
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&signer.PublicKey)
	if err != nil {
		return err
	}
	if err := writePEM(l.pki.file("service-account.pub"), "PUBLIC KEY", public); err != nil {
		return err
	}
	if err := l.writeTokens(); err != nil {
		return err
	}
	for i := range l.opts.Servers {
		s, err := l.newServer(i)
		if err != nil {
			return err
		}
		l.Servers = append(l.Servers, s)
	}
	gatewayPort, err := l.ports.take()
	if err != nil {
		return err
	}
	l.gateway = newForwarder(loopback(gatewayPort), l.gatewayBackend)
	if l.adminTLS, err = l.pki.tlsConfig(adminCert, adminKey); err != nil {
		return err
	}
	l.client = &http.Client{Transport: &http.Transport{TLSClientConfig: l.adminTLS}}
	l.prober = &http.Client{Transport: &http.Transport{TLSClientConfig: l.adminTLS, DisableKeepAlives: true}}
	return l.writeKubeconfigs(adminCert, adminKey)
}

// writeTokens writes the file for kube-apiserver's --token-auth-file.
func (l *Lab) writeTokens() error {
	l.tokens = map[string]string{}
	f, err := os.OpenFile(l.pki.file("tokens.csv"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := csv.NewWriter(f)
	for i, u := range append([]User{{Name: adminUser, Groups: []string{adminGroup}}}, l.opts.Users...) {
		if _, taken := l.tokens[u.Name]; taken || u.Name == "" {
			return fmt.Errorf("user %q: names must be given, differ, and not be %q", u.Name, adminUser)
		}
		token := rand.Text()
		l.tokens[u.Name] = token
		if err := w.Write([]string{token, u.Name, strconv.Itoa(1000 + i), strings.Join(u.Groups, ",")}); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

func (l *Lab) writeKubeconfigs(adminCert, adminKey string) error {
	certificate := fmt.Sprintf("client-certificate: %q\n    client-key: %q", adminCert, adminKey)
	write := func(path, server, user, credential string) error {
		return os.WriteFile(path, fmt.Appendf(nil, kubeconfigFormat, server, l.CAFile(), user, user, credential), 0o600)
	}
	for i, s := range l.Servers {
		if err := write(l.KubeconfigFor(i), s.URL(), adminUser, certificate); err != nil {
			return err
		}
		for user, token := range l.tokens {
			if err := write(l.UserKubeconfig(user, i), s.URL(), user, fmt.Sprintf("token: %q", token)); err != nil {
				return err
			}
		}
	}
	return write(l.gatewayKubeconfig(), "https://"+l.gateway.address, adminUser, certificate)
}

const kubeconfigFormat = `apiVersion: v1
kind: Config
clusters:
- name: lab
  cluster:
    server: %q
    certificate-authority: %q
contexts:
- name: lab
  context:
    cluster: lab
    user: %q
current-context: lab
users:
- name: %q
  user:
    %s
`

// Kubeconfig is the administrator's, for server 0, with a client certificate.
func (l *Lab) Kubeconfig() string { return l.KubeconfigFor(0) }

// KubeconfigFor is the administrator's, for the i-th server, with a client
// certificate of group system:masters.
func (l *Lab) KubeconfigFor(i int) string {
	return l.path("kubeconfig", fmt.Sprintf("server-%d.yaml", i))
}

// UserKubeconfig is for the i-th server with the user's bearer token. The user
// is one of Options.Users, or admin.
func (l *Lab) UserKubeconfig(user string, i int) string {
	return l.path("kubeconfig", fmt.Sprintf("%s-%d.yaml", user, i))
}

// gatewayKubeconfig leads to whichever server answers.
func (l *Lab) gatewayKubeconfig() string { return l.path("kubeconfig", "any-server.yaml") }

// Token is the bearer token of one of Options.Users, or of admin. It is empty
// for anyone else.
func (l *Lab) Token(user string) string { return l.tokens[user] }

// CAFile is the certificate of the authority that signed all of the lab's
// certificates, in PEM.
func (l *Lab) CAFile() string { return l.pki.file("ca.crt") }

// TLSConfig is for a client that calls the API servers as the administrator.
func (l *Lab) TLSConfig() *tls.Config { return l.adminTLS.Clone() }

// IssueServing issues a server certificate of the lab's CA for the given IP
// addresses and DNS names, and returns its files in PEM. Name tells it from
// others in the lab's directory.
func (l *Lab) IssueServing(name string, hosts ...string) (certFile, keyFile string, err error) {
	return l.pki.serving("serving-"+name, hosts...)
}

// IssueClient issues a client certificate of the lab's CA and returns its files
// in PEM. The API servers authenticate its bearer as the user in the groups.
func (l *Lab) IssueClient(user string, groups ...string) (certFile, keyFile string, err error) {
	return l.pki.client("client-"+user, user, groups...)
}
