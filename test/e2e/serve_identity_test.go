package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kuberelay/kuberelay/test/lab"
)

// isAs fails the test unless the event is of the broker as the person.
func isAs(t *testing.T, e lab.AuditEvent, p *person) {
	t.Helper()
	if e.User.Username != lab.BrokerUser || e.ImpersonatedUser == nil || e.ImpersonatedUser.Username != p.name {
		t.Errorf("%s %s reached the API server as %+v for %+v, want the broker for %s", e.Verb, e.RequestURI, e.User, e.ImpersonatedUser, p.name)
	}
}

// TestServeCallsTheClusterAsWhoeverCalls has three users of this machine call
// the same address. What the API servers have on record is joined with what
// kuberelay has.
func TestServeCallsTheClusterAsWhoeverCalls(t *testing.T) {
	all := people(t, "alice", "bob", "carol")
	alice, bob, carol := all[0], all[1], all[2]
	s := startServe(t, setup{clients: []string{alice.client("reader"), bob.client("all")}})
	r := s.record()

	t.Run("each reaches it as themselves", func(t *testing.T) {
		for _, p := range []*person{alice, bob} {
			got := s.ask(p, "GET", "/api/v1/namespaces/default/pods?labelSelector="+p.name)
			if got.Code != 200 || !strings.Contains(got.Body, `"PodList"`) {
				t.Fatalf("%s: %+v", p.name, got)
			}
			theirs, own := r.server(got.AuditID), r.own(got.AuditID)
			isAs(t, theirs, p)
			if !strings.Contains(theirs.RequestURI, p.name) {
				t.Errorf("%s's request is on record as %s", p.name, theirs.RequestURI)
			}
			if own.User.Username != p.name || own.Annotations["kuberelay/client"] != p.name || own.Annotations["kuberelay/upstream"] == "" {
				t.Errorf("kuberelay has on record %+v, want client %s", own, p.name)
			}
			if want := fmt.Sprintf("uid:%d", p.uid); p.isUser && own.Annotations["kuberelay/auth-id"] != want {
				t.Errorf("%s was known by %q, want %q", p.name, own.Annotations["kuberelay/auth-id"], want)
			}
		}
	})

	t.Run("kuberelay's policy keeps alice from what bob may", func(t *testing.T) {
		const path = "/api/v1/namespaces/default/configmaps?dryRun=All"
		refused := s.ask(alice, "POST", path)
		if refused.Code != 403 || !strings.Contains(refused.Body, `"reason":"Policy"`) {
			t.Errorf("alice creates: %+v, want 403 of the policy", refused)
		}
		allowed := s.ask(bob, "POST", path) // without a body, which is the API server's to say
		if allowed.Code != 400 {
			t.Errorf("bob creates: %+v, want the API server's 400", allowed)
		}
		isAs(t, r.server(allowed.AuditID), bob)
		if own := r.own(refused.AuditID); own.Annotations["authorization.k8s.io/decision"] != "forbid" || own.User.Username != "alice" {
			t.Errorf("kuberelay has on record %+v, want that it was forbidden to alice", own)
		}
		if r.settle(); r.serverEvents[refused.AuditID].AuditID != "" {
			t.Errorf("what the policy refused reached an API server: %+v", r.serverEvents[refused.AuditID])
		}
	})

	t.Run("the cluster's RBAC keeps alice from what bob may", func(t *testing.T) {
		refused, allowed := s.ask(alice, "GET", "/api/v1/nodes"), s.ask(bob, "GET", "/api/v1/nodes")
		if refused.Code != 403 || !strings.Contains(refused.Body, `User \"alice\" cannot list resource \"nodes\"`) {
			t.Errorf("alice lists nodes: %+v, want the API server's 403", refused)
		}
		if allowed.Code != 200 {
			t.Errorf("bob lists nodes: %+v", allowed)
		}
		isAs(t, r.server(refused.AuditID), alice)
		isAs(t, r.server(allowed.AuditID), bob)
	})

	t.Run("who is no client reaches nothing", func(t *testing.T) {
		const path = "/api/v1/namespaces/nobody-may-ask-this"
		got := s.ask(carol, "GET", path)
		if got.Code != 401 || !strings.Contains(got.Body, `"kind":"Status"`) {
			t.Errorf("carol: %+v, want 401", got)
		}
		if own := r.own(got.AuditID); own.User.Username != "" || own.ResponseStatus.Code != 401 {
			t.Errorf("kuberelay has on record %+v, want a 401 of nobody", own)
		}
		r.settle()
		for _, e := range r.serverEvents {
			if strings.HasPrefix(e.RequestURI, path) {
				t.Errorf("it reached an API server: %+v", e)
			}
		}
	})

	t.Run("kubectl with the generated kubeconfig", func(t *testing.T) {
		for name, as := range map[string]func(*person) *relay{"uid at the plain listener": s.byUID, "token for the uid at the TLS listener": s.byUser} {
			r := s.record()
			for _, p := range []*person{alice, bob} {
				if out := as(p).mustKubectl("", "get", "pods", "-n", "kube-system"); strings.Contains(out, "error") {
					t.Errorf("%s, %s: %s", name, p.name, out)
				}
				ofPods := func(e lab.AuditEvent) bool {
					return e.Annotations["kuberelay/client"] == p.name && e.ObjectRef != nil && e.ObjectRef.Resource == "pods"
				}
				r.await(name+" of "+p.name, func() bool { return r.find(ofPods).AuditID != "" })
				isAs(t, r.server(r.find(ofPods).AuditID), p)
			}
			if out, err := as(alice).kubectl("", "create", "configmap", "not-hers"); err == nil || !strings.Contains(err.Error(), "policy") {
				t.Errorf("%s: alice creates: %q, %v, want the policy's refusal", name, out, err)
			}
			if out, err := as(carol).kubectl("", "get", "pods"); err == nil || strings.Contains(out, "NAME") {
				t.Errorf("%s: carol gets pods: %q, %v", name, out, err)
			}
		}
	})
}

// TestServeKeepsClientsApartOnOneConnection interleaves requests of two clients
// over the same connections, and looks up each at the API server that had it.
func TestServeKeepsClientsApartOnOneConnection(t *testing.T) {
	const connections = 4
	for name, c := range map[string]struct {
		requests     int
		certificates bool
	}{
		"impersonation":       {requests: 1000},
		"client certificates": {requests: 400, certificates: true},
	} {
		t.Run(name, func(t *testing.T) {
			all := people(t, "alice", "bob")
			var s *served
			if c.certificates {
				var entries setup
				for _, p := range all {
					entries.credentials = append(entries.credentials, certificateCredential(t, "certificate-"+p.name, p.name, p.group))
					entries.clients = append(entries.clients, p.clientWith("certificate-"+p.name, "", "all"))
				}
				s = startServe(t, entries)
			} else {
				s = startServe(t, setup{clients: []string{all[0].client("all"), all[1].client("all")}})
			}
			r := s.record()
			var dials atomic.Int32
			config := cluster.TLSConfig()
			config.Certificates = nil
			transport := &http.Transport{TLSClientConfig: config, MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}
			dial := (&net.Dialer{}).DialContext
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				dials.Add(1)
				return dial(ctx, network, address)
			}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}

			who := make([]*person, c.requests)
			ids := make([]string, c.requests)
			var workers sync.WaitGroup
			next := make(chan int)
			for range 2 * connections {
				workers.Go(func() {
					for i := range next {
						who[i] = all[i%2]
						req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/api/v1/namespaces/default/pods/of-%s-%d", s.team, who[i].name, i), nil)
						if err != nil {
							t.Error(err)
							continue
						}
						req.Header.Set("Authorization", "Bearer "+who[i].token)
						resp, err := client.Do(req)
						if err != nil {
							t.Error(err)
							continue
						}
						_, err = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
						if err != nil || resp.StatusCode != http.StatusNotFound {
							t.Errorf("request %d: HTTP %d, %v", i, resp.StatusCode, err)
						}
						ids[i] = resp.Header.Get("Audit-Id")
					}
				})
			}
			for i := range c.requests {
				next <- i
			}
			close(next)
			workers.Wait()
			if n := dials.Load(); n > connections {
				t.Errorf("%d connections for %d requests, want %d at most", n, c.requests, connections)
			}
			for i, id := range ids {
				e := r.server(id)
				if want := fmt.Sprintf("/pods/of-%s-%d", who[i].name, i); !strings.HasSuffix(e.RequestURI, want) {
					t.Errorf("request %d is on record as %s, want %s", i, e.RequestURI, want)
				}
				if !c.certificates {
					isAs(t, e, who[i])
				} else if e.User.Username != who[i].name || e.ImpersonatedUser != nil {
					t.Errorf("request %d of %s reached the API server as %+v for %+v", i, who[i].name, e.User, e.ImpersonatedUser)
				}
			}
		})
	}
}

// certificateCredential is a credential with a client certificate of the
// cluster's authority.
func certificateCredential(t *testing.T, name, user string, groups ...string) string {
	t.Helper()
	certFile, keyFile, err := cluster.IssueClient(user, groups...)
	check(t, err)
	return fmt.Sprintf("{name: %s, clientCertificate: {certFile: %s, keyFile: %s}}", name, certFile, keyFile)
}
