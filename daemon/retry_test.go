package daemon_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestRetriesOfALostReadAreCounted has the only server reset every connection
// on which it gets a read, with many connections open: the request is sent four
// times, neither until the hold ends nor over each of the connections.
func TestRetriesOfALostReadAreCounted(t *testing.T) {
	r := start(t, servers(t, 1))
	release := make(chan struct{})
	r.all("GET /api/v1/nodes", fakeapi.Until(release, fakeapi.Text(200, "fine")))
	var open sync.WaitGroup
	for range 8 {
		open.Go(func() { r.do("GET", "/api/v1/nodes", "") })
	}
	r.Servers[0].Await("GET /api/v1/nodes", 8)
	close(release)
	open.Wait()
	r.all("GET /api/v1/pods", fakeapi.RST())
	got := r.do("GET", "/api/v1/pods", "")
	if got.Code != 502 || got.Header.Get("Retry-After") != "" {
		t.Errorf("answer %+v, want 502 without Retry-After", got)
	}
	// Once over a connection that might just have been closed for idleness,
	// and then three times.
	if n := r.received("GET /api/v1/pods"); n > 4 {
		t.Errorf("the read was sent %d times, want 4 at most", n)
	}
}

// TestRefusalFromBeyondIsSentOnce has what is behind the API server refuse a
// login: its 401 is not about the cluster's credential.
func TestRefusalFromBeyondIsSentOnce(t *testing.T) {
	token := newRotatingToken(t, "first")
	r := start(t, servers(t, 2), token.use)
	const login = "/api/v1/namespaces/x/services/s/proxy/login"
	r.all("POST "+login, fakeapi.Text(http.StatusUnauthorized, "wrong password"))
	token.set("second") // a newer credential could be had
	if got := r.do("POST", login, "{}"); got.Code != http.StatusUnauthorized || got.Body != "wrong password" {
		t.Errorf("answer %+v, want the service's own 401", got)
	}
	if n := r.received("POST " + login); n != 1 {
		t.Errorf("the login was sent %d times, want once", n)
	}
	// The API server's own 401 is, on such a path as on others.
	r.all("POST "+login, fakeapi.Token("third", fakeapi.Text(200, "welcome")))
	token.set("third")
	if got := r.do("POST", login, "{}"); got.Code != 200 {
		t.Errorf("answer %+v, want the login repeated with the new token", got)
	}
}

// TestWatchIsRetriedWhereAHandshakeHangs has new connections hang before TLS is
// up: nothing was sent, so a watch may go to another server.
func TestWatchIsRetriedWhereAHandshakeHangs(t *testing.T) {
	r := start(t, servers(t, 2))
	r.all("GET /api/v1/pods", fakeapi.Text(200, "{}\n"))
	bound := r.bound()
	r.Servers[bound].SetFault(fakeapi.HangHandshake) // the probe's connection is up already
	if got := r.do("GET", "/api/v1/pods?watch=true", ""); got.Code != 200 {
		t.Errorf("watch: %+v, want it from the other server", got)
	}
}

// TestSharedRetryThatSucceedsIsNoBrokenAnswer has one server break off and the
// other one answer: the audit event has two attempts and no close reason.
func TestSharedRetryThatSucceedsIsNoBrokenAnswer(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 2)
	const pod = pods + "/retried"
	var asked atomic.Int32
	broken, fine := fakeapi.RSTEarly(), fakeapi.Text(200, "fine")
	r.all("GET "+pod, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if asked.Add(1) == 1 {
			broken.ServeHTTP(w, req)
			return
		}
		fine.ServeHTTP(w, req)
	}))
	if got := r.do("GET", pod, "", "Authorization", "Bearer "+aliceToken); got.Code != 200 {
		t.Fatalf("answer %+v", got)
	}
	e := r.awaitEvent("ResponseComplete", func(e event) bool { return e.RequestURI == pod })
	if e.Annotations["kuberelay/attempts"] != "2" || e.Annotations["kuberelay/close-reason"] != "" {
		t.Errorf("%v, want two attempts and no close reason", e.Annotations)
	}
}
