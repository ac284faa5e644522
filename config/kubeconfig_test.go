package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/auth"
)

func TestKubeconfigConnection(t *testing.T) {
	// Neither the environment nor the pod that the daemon runs in count.
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for _, tc := range []struct {
		name, content, context string
		want                   string // the server, or what is in the error
	}{
		{"the current context", kubeconfigYAML, "", "https://10.0.0.1:6443"},
		{"a context", kubeconfigYAML, "prod", "https://10.0.0.1:6443"},
		{"an unknown context", kubeconfigYAML, "dev", `kubeconfig FILE has no context "dev"`},
		{"no current context", strings.Replace(kubeconfigYAML, "current-context: staging", "", 1), "", "kubeconfig FILE has no current-context: name the context to use"},
		{"a cluster without a server", kubeconfigYAML, "nowhere", `kubeconfig FILE, context "nowhere": `},
		{"a context without its user", strings.Replace(kubeconfigYAML, "- {name: prod, context: {cluster: c, user: u}}", "- {name: prod, context: {cluster: c, user: v}}", 1), "prod", `kubeconfig FILE, context "prod": there is no user "v"`},
		{"an empty file", "", "", "kubeconfig FILE has no current-context"},
		{
			"a proxy with a password", strings.Replace(kubeconfigYAML, `server: "https://10.0.0.1:6443"`, `server: "https://10.0.0.1:6443", proxy-url: "ftp://u:very-secret@egress"`, 1), "",
			`kubeconfig FILE, context "staging": the cluster's proxy-url is not valid: want an http, https or socks5 URL`,
		},
		{"no kubeconfig", "{{ very-secret", "", "FILE is not a valid kubeconfig: check it with kubectl config view --kubeconfig=FILE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "k")
			write(t, file, tc.content)
			loaded, err := KubeconfigConnection(auth.KubeconfigRef{Path: file, Context: tc.context}).Load()
			if err == nil {
				if loaded.Host != tc.want {
					t.Errorf("server %q, want %q", loaded.Host, tc.want)
				}
				return
			}
			if got := strings.ReplaceAll(err.Error(), file, "FILE"); !strings.Contains(got, tc.want) || strings.Contains(got, "secret") {
				t.Errorf("Load() = %s, want %q", got, tc.want)
			}
		})
	}
	_, err := KubeconfigConnection(auth.KubeconfigRef{Path: "/no/such/file"}).Load()
	if want := "kubeconfig /no/such/file: no such file or directory"; text(err) != want {
		t.Errorf("Load() = %v, want %s", err, want)
	}
}

func TestKubeconfigIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "k")
	connection := KubeconfigConnection(auth.KubeconfigRef{Path: file})
	for _, server := range []string{"https://10.0.0.1:6443", "https://10.0.0.2:6443"} {
		write(t, file, strings.Replace(kubeconfigYAML, "https://10.0.0.1:6443", server, 1))
		if loaded, err := connection.Load(); err != nil || loaded.Host != server {
			t.Errorf("Load() = %v, %v, want %s", loaded, err, server)
		}
	}
}

func TestKubeconfigsPathsAreRelativeToIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "k")
	write(t, file, strings.Replace(kubeconfigYAML, "token: very-secret", "tokenFile: token", 1))
	want := filepath.Join(filepath.Dir(file), "token")
	write(t, want, "very-secret")
	loaded, err := KubeconfigConnection(auth.KubeconfigRef{Path: file}).Load()
	if err != nil || loaded.BearerTokenFile != want {
		t.Errorf("Load() = %v, %v, want the token file %s", loaded, err, want)
	}
}
