package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// configured writes a configuration with listeners of every kind. None of the
// files that it names is there, but the certificate at certFile may be.
func configured(t *testing.T, address, certFile, socket string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, fmt.Sprintf(`apiVersion: kuberelay/v1alpha1
kind: Configuration
clusters:
- {name: prod, kubeconfig: {path: /nonexistent/prod}}
- {name: dev, kubeconfig: {path: /nonexistent/dev}}
credentials:
- {name: broker, tokenFile: /nonexistent/token}
policies:
- {name: all, rules: [{verbs: [get], nonResourceURLs: ["*"]}]}
clients:
- name: alice
  match: [{uid: 1001}]
  grants: [{cluster: prod, credential: broker, policy: all}]
listeners:
- {name: team, address: "%[1]s", mode: shared, cluster: prod, tls: {certFile: "%[2]s", keyFile: /nonexistent/key}, identify: [bearer]}
- {name: cert, address: "127.0.0.1:8444", mode: shared, cluster: dev, tls: {certFile: "%[2]s", keyFile: /nonexistent/key, clientCAFile: /nonexistent/ca}, identify: [certificate]}
- {name: sso, address: "127.0.0.1:8445", hosts: [relay.example.org], mode: shared, cluster: prod, tls: {certFile: "%[2]s", keyFile: /nonexistent/key}, identify: [oidc]}
- {name: every, address: "0.0.0.0:8446", mode: shared, cluster: prod, tls: {certFile: "%[2]s", keyFile: /nonexistent/key}, identify: [bearer]}
- {name: local, address: "127.0.0.1:8001", mode: shared, cluster: prod, identify: [uid]}
- {name: plain, address: "127.0.0.1:8003", mode: shared, cluster: prod, identify: [bearer]}
- {name: activated, address: "systemd:kuberelay.socket", mode: shared, cluster: prod, tls: {certFile: "%[2]s", keyFile: /nonexistent/key}, identify: [bearer]}
- {name: named, address: "localhost:8447", hosts: [relay.example.org], mode: shared, cluster: dev, tls: {certFile: "%[2]s", keyFile: /nonexistent/key}, identify: [oidc]}
- {name: me, address: "127.0.0.1:8002", mode: single, cluster: dev}
%[3]s
`, address, certFile, socket))
	return path
}

const sock = `- {name: sock, address: "unix:///run/kuberelay/api.sock", mode: shared, cluster: prod, identify: [uid]}`

// kubeconfigOf runs the command and loads what it prints.
func kubeconfigOf(t *testing.T, path string, args ...string) (*api.Config, result) {
	t.Helper()
	r := execute(t, command(t, "kuberelay", append([]string{"kubeconfig", "--config", path}, args...)...))
	if r.code != 0 {
		t.Fatalf("%q: %+v", args, r)
	}
	k, err := clientcmd.Load([]byte(r.stdout))
	if err != nil {
		t.Fatalf("%q: %v in:\n%s", args, err, r.stdout)
	}
	return k, r
}

// summary is what counts of a kubeconfig.
func summary(k *api.Config) map[string]string {
	s := map[string]string{}
	for name, c := range k.Contexts {
		text := k.Clusters[c.Cluster].Server
		if u := k.AuthInfos[c.AuthInfo]; u != nil {
			text += " " + u.ClientCertificate + u.ClientKey
			if u.Exec != nil {
				text += strings.Join(append([]string{u.Exec.Command}, u.Exec.Args...), " ")
			}
		}
		if name == k.CurrentContext {
			name = "*" + name
		}
		s[name] = text
	}
	return s
}

func TestKubeconfigs(t *testing.T) {
	path, without := configured(t, "127.0.0.1:8443", "/nonexistent/cert", sock), configured(t, "127.0.0.1:8443", "/nonexistent/cert", "")
	plugin := " kuberelay credential --socket /run/kuberelay/api.sock"
	for _, tc := range []struct {
		name string
		args []string
		want map[string]string
		note string
	}{
		{"tokens from the socket", []string{path, "--listener=team"}, map[string]string{"*prod": "https://127.0.0.1:8443" + plugin, "dev": "https://127.0.0.1:8443/clusters/dev" + plugin}, "certificate of listener team cannot be read"},
		{"another socket and program", []string{path, "--listener=team", "--socket=/s", "--command=/opt/k", "--cluster=dev"}, map[string]string{"*dev": "https://127.0.0.1:8443/clusters/dev /opt/k credential --socket /s"}, ""},
		{"tokens without a socket", []string{without, "--listener=team", "--cluster=prod"}, map[string]string{"*prod": "https://127.0.0.1:8443 "}, "kubectl config set-credentials kuberelay --token=…"},
		{"a certificate", []string{path, "--listener=cert", "--client-certificate=/c", "--client-key=/k"}, map[string]string{"*dev": "https://127.0.0.1:8444 /c/k", "prod": "https://127.0.0.1:8444/clusters/prod /c/k"}, ""},
		{"OpenID Connect", []string{path, "--listener=sso", "--cluster=prod"}, map[string]string{"*prod": "https://127.0.0.1:8445 "}, "add a plugin that gets ID tokens"},
		{"a name that the listener does not have", []string{path, "--listener=named"}, map[string]string{"*dev": "https://relay.example.org:8447 ", "prod": "https://relay.example.org:8447/clusters/prod "}, ""},
		{"a listener on every address", []string{path, "--listener=every", "--server=relay:8446", "--cluster=prod"}, map[string]string{"*prod": "https://relay:8446" + plugin}, ""},
		{"an inherited socket", []string{path, "--listener=activated", "--server=[::1]:8446", "--cluster=prod"}, map[string]string{"*prod": "https://[::1]:8446" + plugin}, ""},
		{"user IDs on loopback", []string{path, "--listener=local"}, map[string]string{"*prod": "http://127.0.0.1:8001", "dev": "http://127.0.0.1:8001/clusters/dev"}, ""},
		{"a single listener", []string{path, "--listener=me"}, map[string]string{"*dev": "http://127.0.0.1:8002"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, r := kubeconfigOf(t, tc.args[0], tc.args[1:]...)
			if d := cmp.Diff(tc.want, summary(k)); d != "" {
				t.Error(d)
			}
			if !strings.Contains(r.stderr, tc.note) {
				t.Errorf("standard error %q, want %q", r.stderr, tc.note)
			}
		})
	}
}

func TestKubeconfigsThatCannotBe(t *testing.T) {
	path := configured(t, "127.0.0.1:8443", "/nonexistent/cert", sock)
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"a listener that is not there", []string{"--listener=x"}, `there is no "x": the configuration has team, cert, sso, every, local, plain, activated, named, me, sock`},
		{"a Unix socket", []string{"--listener=sock"}, "which kubectl cannot dial"},
		{"every address", []string{"--listener=every"}, "say so with --server=HOST:PORT"},
		{"an inherited socket", []string{"--listener=activated"}, "say so with --server=HOST:PORT"},
		{"a server without a port", []string{"--listener=every", "--server=relay"}, `--server: "relay": want HOST:PORT`},
		{"a server with a path", []string{"--listener=every", "--server=relay:1/x"}, `--server: "relay:1/x": want HOST:PORT`},
		{"tokens without TLS", []string{"--listener=plain"}, "listener plain has no TLS"},
		{"a socket where tokens do not count", []string{"--listener=local", "--socket=/s"}, "does not identify by bearer over TLS"},
		{"a certificate where none counts", []string{"--listener=team", "--client-certificate=/c", "--client-key=/k"}, "does not identify by certificate"},
		{"no certificate where one counts", []string{"--listener=cert"}, "name the client's with --client-certificate and --client-key"},
		{"a cluster that is not served", []string{"--listener=me", "--cluster=prod"}, `listener me does not serve "prod": it serves dev`},
		{"an authority that is not there", []string{"--listener=team", "--certificate-authority=/nonexistent/ca"}, "--certificate-authority: open /nonexistent/ca"},
		{"an authority that is none", []string{"--listener=team", "--certificate-authority=" + path}, "holds no certificate in PEM"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := execute(t, command(t, "kuberelay", append([]string{"kubeconfig", "--config", path}, tc.args...)...))
			if r.code != exitFailure || r.stdout != "" || !strings.Contains(r.stderr, tc.want) {
				t.Errorf("%+v, want exit code 1 and %q", r, tc.want)
			}
		})
	}
}

func TestKubeconfigHasTheListenersAuthority(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	// The certificate is for example.com, 127.0.0.1 and ::1.
	self := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	leaf, _ := fakeapi.NewCA(t).ClientCertificate(t, "not self-signed")
	for _, tc := range []struct {
		name   string
		chain  string
		server string
		want   string
		as     string
		note   string
	}{
		{"a certificate that signed itself", string(self), "127.0.0.1:8443", string(self), "", ""},
		{"a chain with its authority", string(leaf) + string(self), "127.0.0.1:8443", string(self), "", "is not for 127.0.0.1"},
		{"a chain without", string(leaf), "127.0.0.1:8443", "", "", "does not end in its authority"},
		{"no chain", "nothing", "127.0.0.1:8443", "", "", "no certificate in PEM"},
		{"a certificate for another name", string(self), "10.0.0.1:8443", string(self), "example.com", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			chain := filepath.Join(t.TempDir(), "chain")
			write(t, chain, tc.chain)
			k, r := kubeconfigOf(t, configured(t, "127.0.0.1:8443", chain, sock), "--listener=team", "--server", tc.server)
			got := k.Clusters["prod"]
			if string(got.CertificateAuthorityData) != tc.want || got.TLSServerName != tc.as || !strings.Contains(r.stderr, tc.note) || tc.note == "" && r.stderr != "" {
				t.Errorf("%+v, standard error %q, want %q as %q, and %q", got, r.stderr, tc.want, tc.as, tc.note)
			}
		})
	}
}

// The whole way of stock kubectl: kubeconfig, plugin, socket, token, TLS.
func TestClientGoCallsWithTheKubeconfig(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.URL.Path+" "+r.Header.Get("Authorization"))
	}))
	defer server.Close()
	cert := filepath.Join(t.TempDir(), "cert")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	socket := socketServer(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Replace(given, "2026", "2126", 1))
	})
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(asProgram, "1") // for the plugin, which is this program
	path := configured(t, server.Listener.Addr().String(), cert, strings.Replace(sock, "/run/kuberelay/api.sock", socket, 1))
	_, r := kubeconfigOf(t, path, "--listener=team", "--command", executable)
	c, err := clientcmd.NewClientConfigFromBytes([]byte(r.stdout))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := c.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(loaded)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	if got := get(t, client.Transport, loaded.Host+"/api"); got != "/api Bearer kuberelay-m1.x.y" {
		t.Errorf("the listener got %q, want the token", got)
	}
}
