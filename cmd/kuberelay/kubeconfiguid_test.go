package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKubeconfigsOfUIDListeners: without TLS kubectl needs no user. Over TLS it
// asks for a name and a password where the kubeconfig has none.
func TestKubeconfigsOfUIDListeners(t *testing.T) {
	path := configured(t, "127.0.0.1:8443", "/nonexistent/cert", sock)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const overTLS = `, mode: shared, cluster: prod, tls: {certFile: /nonexistent/cert, keyFile: /nonexistent/key}, identify: `
	write(t, path, string(text)+
		`- {name: both, address: "127.0.0.1:8450"`+overTLS+"[uid, bearer]}\n"+
		`- {name: uid, address: "127.0.0.1:8451"`+overTLS+"[uid]}\n"+
		`- {name: sign-on, address: "127.0.0.1:8452"`+overTLS+"[uid, oidc]}\n"+
		`- {name: clear, address: "127.0.0.1:8453", mode: shared, cluster: prod, identify: [uid, bearer]}`+"\n")
	for name, want := range map[string]string{
		"both":    "https://127.0.0.1:8450 kuberelay credential --socket /run/kuberelay/api.sock",
		"sign-on": "https://127.0.0.1:8452 ",
		"clear":   "http://127.0.0.1:8453",
	} {
		k, _ := kubeconfigOf(t, path, "--cluster=prod", "--listener="+name)
		if d := cmp.Diff(map[string]string{"*prod": want}, summary(k)); d != "" {
			t.Errorf("listener %s: %s", name, d)
		}
	}
	r := execute(t, command(t, "kuberelay", "kubeconfig", "--config", path, "--listener=uid"))
	if want := "listener uid identifies by uid alone, over TLS, where kubectl asks for a user name and a password: let it identify by bearer, too"; r.code != exitFailure || r.stdout != "" || !strings.Contains(r.stderr, want) {
		t.Errorf("%+v, want exit code 1 and %q", r, want)
	}
}
