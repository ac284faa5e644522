package daemon_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedInterleavedRequestsKeepTheirIdentity sends a thousand requests of
// two clients over the same few connections, short ones and watches, and holds
// each that arrives to whom its path names.
func TestSharedInterleavedRequestsKeepTheirIdentity(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 2)
	const each = 125
	tokens := map[string]string{"alice": aliceToken, "bob": bobToken}
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for n := range each {
				for name, token := range tokens {
					path := pods + "/for-" + name
					if n%5 == 0 {
						path = pods + "?watch=1&for=" + name // over the HTTP/2 that identities share
					}
					if err := r.get(path, token); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	senders.Wait()
	want := map[string]http.Header{"alice": asAlice(), "bob": asBob()}
	arrived := map[string]int{}
	shared := map[string]map[string]bool{} // names by connection
	for i, s := range r.Servers {
		for _, q := range s.Requests("GET " + pods + "*") {
			name := q.Target[strings.LastIndexAny(q.Target, "-=")+1:]
			checkArrived(t, q, want[name])
			arrived[name]++
			conn := fmt.Sprint(i, "/", q.Conn)
			if shared[conn] == nil {
				shared[conn] = map[string]bool{}
			}
			shared[conn][name] = true
		}
	}
	if arrived["alice"] != 4*each || arrived["bob"] != 4*each {
		t.Errorf("arrived: %v, want %d of each", arrived, 4*each)
	}
	both := 0
	for _, names := range shared {
		if len(names) == 2 {
			both++
		}
	}
	if both == 0 {
		t.Errorf("no connection of %d was used for both, so that nothing was shown", len(shared))
	}
}

// get makes one request with a token and reads its answer.
func (r *team) get(path, token string) error {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.URL+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := r.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %d", path, resp.StatusCode)
	}
	return nil
}

// TestSharedCertificatesNeverShareAConnection uses credentials that are client
// certificates beside tokens and the kubeconfig's own certificate: each has
// connections of its own, for short requests, watches and upgrades alike.
func TestSharedCertificatesNeverShareAConnection(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) { r.useCertificate(cfg) })
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	var senders sync.WaitGroup
	for name, token := range map[string]string{"alice": aliceToken, "carol": carolToken, "dave": daveToken} {
		senders.Go(func() {
			for range 20 {
				for _, path := range []string{pods + "/short?who=", pods + "/p/log?follow=1&who=", pods + "?watch=1&who="} {
					if err := r.get(path+name, token); err != nil {
						t.Error(err)
					}
				}
			}
		})
		w := r.tunnelTo(token, podExec+"?who="+name, websocket)
		w.conn.Close()
	}
	senders.Wait()
	owners := map[int64]map[string]bool{}
	kinds := map[string]map[string]bool{}
	for _, q := range r.Servers[0].Requests() {
		who, own := "kubeconfig", strings.HasPrefix(q.Header.Get("User-Agent"), "kuberelay/") && !strings.Contains(q.Target, "who=")
		if !own {
			_, who, _ = strings.Cut(q.Target, "who=")
		}
		want := map[string]string{"alice": "", "carol": "carol-certificate", "dave": "dave-certificate", "kubeconfig": "kubeconfig-certificate"}[who]
		if q.User != want {
			t.Errorf("%s of %s arrived with the certificate of %q, want %q", q.Target, who, q.User, want)
		}
		authorization := q.Header.Get("Authorization")
		if (who == "carol" || who == "dave") && (authorization != "" || len(identityOf(q.Header)) != 0) {
			t.Errorf("%s of %s arrived with %v", q.Target, who, identityOf(q.Header))
		}
		if who == "alice" && !sameFields(identityOf(q.Header), asAlice()) {
			t.Errorf("%s of %s arrived with %v", q.Target, who, identityOf(q.Header))
		}
		if owners[q.Conn] == nil {
			owners[q.Conn] = map[string]bool{}
		}
		owners[q.Conn][who] = true
		if kinds[who] == nil {
			kinds[who] = map[string]bool{}
		}
		kinds[who][q.Proto] = true
	}
	for conn, names := range owners {
		if len(names) != 1 {
			t.Errorf("connection %d was used for %v", conn, names)
		}
	}
	for _, who := range []string{"alice", "carol", "dave"} {
		if len(kinds[who]) != 2 {
			t.Errorf("%s: only %v was used, so that the other was not looked at", who, kinds[who])
		}
	}
}

// useCertificate makes the kubeconfig's user one with a certificate.
func (r *team) useCertificate(cfg *config.Configuration) {
	connection := &cfg.Clusters[0].Connection
	load := connection.Load
	connection.Load = func() (*rest.Config, error) {
		c, err := load()
		if err != nil {
			return nil, err
		}
		c.BearerToken = ""
		c.CertFile, c.KeyFile = r.path("kubeconfig.crt"), r.path("kubeconfig.key")
		return c, nil
	}
}

// TestSharedCertificateOfAClient identifies by the certificate of a connection,
// alone or with a token of the same client, and by none that another authority
// has signed.
func TestSharedCertificateOfAClient(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	alice, bob := r.certificate("alice"), r.certificate("bob")
	for mark, c := range map[string]struct {
		send  func() *wire
		token string
		code  int
	}{
		"certificate":       {func() *wire { return r.connect("tls", alice) }, "", 200},
		"both":              {func() *wire { return r.connect("tls", alice) }, bearer(aliceToken), 200},
		"of two people":     {func() *wire { return r.connect("tls", alice) }, bearer(bobToken), 401},
		"and a wrong token": {func() *wire { return r.connect("tls", alice) }, bearer("wrong"), 401},
		"of nobody":         {func() *wire { return r.connect("tls", bob) }, "", 401},
		"of nobody, token":  {func() *wire { return r.connect("tls", bob) }, bearer(bobToken), 401},
		"none":              {func() *wire { return r.connect("tls") }, "", 401},
		"token":             {func() *wire { return r.connect("tls") }, bearer(aliceToken), 200},
	} {
		w := c.send()
		w.send(lines("GET " + pods + " HTTP/1.1\nHost: localhost\n" + markHeader + ": " + mark + c.token))
		if got := w.receive("GET"); got.Code != c.code {
			t.Errorf("%s: answer %d %s, want %d", mark, got.Code, got.Body, c.code)
		}
		arrived := r.arrived(mark)
		if len(arrived) != map[int]int{200: 1}[c.code] {
			t.Errorf("%s: %d requests arrived", mark, len(arrived))
		}
		for _, q := range arrived {
			checkArrived(t, q, asAlice())
		}
	}
}
