package daemon_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// pluginCanary is what a plugin prints where it may be shown.
const pluginCanary = "canary-plugin-5d2e7f"

// plugin writes an exec plugin, and returns a credential that runs it. Each run
// adds a byte to the file that is named like the credential, with .runs.
func (r *team) plugin(name, script string, timeout time.Duration) auth.CredentialConfig {
	r.t.Helper()
	path := r.file(name+".sh", "#!/bin/sh\nprintf x >>"+r.path(name+".runs")+"\necho "+pluginCanary+" >&2\n"+script+"\n")
	if err := os.Chmod(path, 0o700); err != nil {
		r.t.Fatal(err)
	}
	return auth.CredentialConfig{Name: name, Exec: &auth.ExecConfig{Command: path, Timeout: timeout}}
}

// printing is a plugin's script that prints a token.
func printing(token string) string {
	return fmt.Sprintf(`echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":%q}}'`, token)
}

// with gives a client another credential, and the user of that.
func with(cfg *config.Configuration, client string, credential auth.CredentialConfig) {
	cfg.Credentials = append(cfg.Credentials, credential)
	clientOf(cfg, client).Grants[0] = config.Grant{Cluster: "test", Credential: credential.Name, Policy: "all"}
}

// TestSharedCredentialIsRefused: our credential's 401 is never the client's. It
// is asked for anew once, and what is then answered names the credential.
func TestSharedCredentialIsRefused(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		with(cfg, "dave", r.plugin("rotating", fmt.Sprintf("if [ -s %s ]; then %s; else %s; fi", r.path("newer"), printing(brokerToken), printing("stale")), 0))
	})
	r.Servers[0].Handle("GET "+pods+"/bearer", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="kubernetes-master"`)
		fakeapi.Unauthorized().ServeHTTP(w, q)
	}))
	r.Servers[0].Handle("GET "+podExec, fakeapi.Unauthorized())
	r.Servers[0].Handle("GET "+secrets, fakeapi.Unauthorized())
	for _, request := range []string{"GET " + pods + "/bearer", "GET " + podExec, "GET " + secrets + "?watch=1"} {
		offer := ""
		if strings.HasSuffix(request, "exec") {
			offer = websocket
		}
		got := r.ask(t, request+" HTTP/1.1\nHost: localhost"+bearer(aliceToken)+offer)
		status := wantStatus(t, got, 502, "InternalError")
		if len(got.Header["Www-Authenticate"]) != 0 || got.Header.Get("Retry-After") != "" || status.Details.Causes[0].Type != "UpstreamCredential" {
			t.Errorf("%s: answer %v %s", request, got.Header, got.Body)
		}
	}
	for _, pattern := range []string{"GET " + pods + "/bearer", "GET " + podExec, "GET " + secrets} {
		if n := len(r.Servers[0].Requests(pattern)); n != 1 {
			t.Errorf("%s arrived %d times; nothing newer was there to send", pattern, n)
		}
	}

	r.file("newer", "yes") // with the first run's token refused, the second run's is good
	r.file("rotating.runs", "")
	got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": newer"+bearer(daveToken))
	if got.Code != 200 {
		t.Errorf("answer %d %s", got.Code, got.Body)
	}
	for range 20 { // refused for ever: the plugin is not run for each
		r.Servers[0].Handle("GET "+pods, fakeapi.Unauthorized())
		if got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost"+bearer(daveToken)); got.Code != 502 {
			t.Fatalf("answer %d %s", got.Code, got.Body)
		}
	}
	if runs, err := os.ReadFile(r.path("rotating.runs")); err != nil || len(runs) > 3 {
		t.Errorf("the plugin ran %d times (%v)", len(runs), err)
	}
}

// TestSharedCredentialThatCannotBeHad is 503 that names it and nothing else;
// nothing is sent, least of all anonymously or with another's.
func TestSharedCredentialThatCannotBeHad(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		with(cfg, "carol", r.plugin("failing", "echo "+pluginCanary+"; exit 3", 0))
		with(cfg, "dave", r.plugin("babbling", "echo '{\"status\":{\"token\":\""+pluginCanary+"\"}}'", 0))
	})
	r.all("GET "+podExec, fakeapi.Upgrade(""))
	for name, token := range map[string]string{"failing": carolToken, "babbling": daveToken} {
		for _, request := range []string{"GET " + pods, "POST " + pods, "GET " + pods + "?watch=1", "GET " + podExec} {
			offer := ""
			if strings.HasSuffix(request, "exec") {
				offer = websocket
			}
			got := r.ask(t, request+" HTTP/1.1\nHost: localhost\n"+markHeader+": "+name+"\nContent-Length: 0"+bearer(token)+offer)
			status := wantStatus(t, got, 503, "ServiceUnavailable")
			if status.Details.Causes[0].Type != "Credential" || !strings.Contains(status.Message, name) ||
				strings.Contains(got.Raw, r.dir) || strings.Contains(got.Raw, pluginCanary) || strings.Contains(got.Raw, "exit") {
				t.Errorf("%s %s: answer %s", name, request, got.Raw)
			}
		}
		if arrived := r.arrived(name); len(arrived) != 0 {
			t.Errorf("%s: arrived: %+v", name, arrived)
		}
	}
	if got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken)); got.Code != 200 {
		t.Errorf("another client's: answer %d %s", got.Code, got.Body)
	}
}

// TestSharedHungPluginHurtsItsOwnClient: the requests of others go on, and
// revoking the client ends what waits for the plugin.
func TestSharedHungPluginHurtsItsOwnClient(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		with(cfg, "carol", r.plugin("hanging", "exec sleep 600", time.Minute))
		with(cfg, "dave", r.plugin("slow", "exec sleep 600", 300*time.Millisecond))
	})
	waiting := r.connect("proxy")
	waiting.send(lines("GET " + pods + " HTTP/1.1\nHost: localhost\n" + markHeader + ": hung" + bearer(carolToken)))
	r.await("the plugin runs", func() bool { b, err := os.ReadFile(r.path("hanging.runs")); return err == nil && len(b) == 1 })
	for range 10 {
		if got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken)); got.Code != 200 {
			t.Errorf("another client: answer %d %s", got.Code, got.Body)
		}
	}
	if got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": hung"+bearer(daveToken)); got.Code != 503 {
		t.Errorf("with a plugin past its time: answer %d %s", got.Code, got.Body)
	}
	if n := r.openOf("carol"); n != 1 {
		t.Errorf("carol has %d requests in flight, want the one that waits for the plugin", n)
	}
	r.revoke("carol")
	if got := waiting.receive("GET"); got.Code != 401 {
		t.Errorf("revoked: answer %d %s", got.Code, got.Body)
	}
	if arrived := r.arrived("hung"); len(arrived) != 0 {
		t.Errorf("arrived: %+v", arrived)
	}
}

// TestSharedCredentialIsEachClientsOwn: two clients of one plugin, and of two
// settings of it, never get each other's token.
func TestSharedCredentialIsEachClientsOwn(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		for _, name := range []string{"carol", "dave"} {
			c := r.plugin("plugin", `printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' "$WHO"`, 0)
			c.Name, c.Exec.Env = "plugin-"+name, map[string]string{"WHO": "token-of-" + name}
			with(cfg, name, c)
		}
	})
	r.Servers[0].RequireToken()
	for n := range 20 {
		for name, token := range map[string]string{"carol": carolToken, "dave": daveToken} {
			if err := r.get(fmt.Sprintf("%s/%s-%d", pods, name, n), token); err != nil {
				t.Error(err)
			}
		}
	}
	for _, name := range []string{"carol", "dave"} {
		for _, q := range r.Servers[0].Requests("GET " + pods + "/" + name + "*") {
			if got := q.Header["Authorization"]; len(got) != 1 || got[0] != "Bearer token-of-"+name {
				t.Errorf("%s arrived with %q", q.Target, got)
			}
		}
	}
}

// TestSharedTokenFileRotates: a refused token is read anew, and the request sent
// again, once and as the same request.
func TestSharedTokenFileRotates(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.Servers[0].RequireToken(testToken, "rotated")
	if err := os.WriteFile(r.path("broker"), []byte("rotated"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": rotated"+bearer(aliceToken))
	if got.Code != 200 {
		t.Fatalf("answer %d %s", got.Code, got.Body)
	}
	arrived := r.arrived("rotated")
	last := arrived[len(arrived)-1]
	want := asAlice()
	want.Set("Authorization", "Bearer rotated")
	checkArrived(t, last, want)
	var ids []string
	for _, q := range arrived {
		ids = append(ids, q.Header.Get("Audit-Id"))
	}
	if len(arrived) > 2 || ids[0] != ids[len(ids)-1] {
		t.Errorf("arrived %d times, as %v: want one refresh of one request", len(arrived), ids)
	}
	var status struct{ Kind string }
	if json.Unmarshal([]byte(got.Body), &status) == nil && status.Kind == "Status" {
		t.Errorf("answer %s", got.Body)
	}
}

// TestSharedCredentialIsNotLeftOut: where an http:// server may not get the
// grant's credential, nothing is sent, rather than a request without it.
func TestSharedCredentialIsNotLeftOut(t *testing.T) {
	t.Parallel()
	plain := fakeapi.New(t, fakeapi.Options{Plain: true})
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		cfg.Clusters = append(cfg.Clusters, config.DefaultCluster("plain", config.Connection{Load: func() (*rest.Config, error) {
			return &rest.Config{Host: plain.URL}, nil
		}}))
		for _, c := range []string{"alice", "carol"} {
			g := clientOf(cfg, c).Grants[0]
			g.Cluster = "plain"
			clientOf(cfg, c).Grants = append(clientOf(cfg, c).Grants, g)
		}
	})
	plain.Handle("GET "+pods, fakeapi.Text(200, "fine"))
	for _, token := range []string{aliceToken, carolToken} {
		got := r.ask(t, "GET /clusters/plain"+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": x"+bearer(token))
		for _, q := range plain.Requests("GET " + pods) {
			t.Errorf("answer %d, arrived with %v: without the credential", got.Code, identityOf(q.Header))
		}
	}
}
