package daemon_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// open is what a client has open: a watch and a tunnel.
type open struct {
	watch  *openWatch
	tunnel *wire
}

func (r *team) open(token string) open {
	r.t.Helper()
	return open{r.watch(token), r.tunnelTo(token, podExec, websocket)}
}

// wantEnd wants both to end, and a websocket to be told why.
func (o open) wantEnd() {
	o.watch.t.Helper()
	begun := time.Now()
	o.watch.wantEnd()
	rest := o.tunnel.rest()
	o.watch.t.Logf("both had ended %v later", time.Since(begun))
	if !strings.HasPrefix(rest, "\x88") || !strings.Contains(rest, "\x03\xf0") {
		o.watch.t.Errorf("before the tunnel's end came %q, want a close frame with 1008", rest)
	}
}

// watch opens a watch with a token and waits until it has begun.
func (r *team) watch(token string) *openWatch {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.URL+pods+"?watch=1", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := r.Client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		r.t.Fatalf("watch: %d", resp.StatusCode)
	}
	w := &openWatch{t: r.t, id: resp.Header.Get("Audit-Id"), ended: make(chan error, 1), frames: make(chan string, 64)}
	r.t.Cleanup(func() { resp.Body.Close() })
	go func() {
		in := bufio.NewReader(resp.Body)
		for {
			line, err := in.ReadString('\n')
			if line != "" {
				w.frames <- line
			}
			if err != nil {
				w.ended <- err
				return
			}
		}
	}()
	return w
}

// openWatch is a client's end of a watch.
type openWatch struct {
	t      testing.TB
	id     string
	frames chan string
	ended  chan error // io.EOF: cleanly
}

// wantEnd wants the watch to end cleanly.
func (w *openWatch) wantEnd() {
	w.t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	select {
	case err := <-w.ended:
		if err != io.EOF {
			w.t.Errorf("the watch ended with %v, want a clean end", err)
		}
	case <-limit.C:
		w.t.Error("the watch was still open after 10 s")
	}
}

// wantOpen wants the watch to pass another event on.
func (w *openWatch) wantOpen(send func()) {
	w.t.Helper()
	send()
	limit := time.NewTimer(5 * time.Second)
	defer limit.Stop()
	select {
	case <-w.frames:
	case err := <-w.ended:
		w.t.Errorf("the watch has ended with %v, want it open", err)
	case <-limit.C:
		w.t.Error("no event came through the watch")
	}
}

// greeting is what a tunnel begins with: a whole frame of a WebSocket.
const greeting = "\x82\x08greeting"

// tunnelTo opens a tunnel with a token and waits for the greeting.
func (r *team) tunnelTo(token, path, offer string) *wire {
	r.t.Helper()
	return r.upgrade("proxy", path, bearer(token)+offer)
}

// anonymousTunnel opens a tunnel through a single listener.
func (r *team) anonymousTunnel(listener string) *wire {
	r.t.Helper()
	return r.upgrade(listener, podExec, websocket)
}

// upgrade upgrades a connection to a listener and waits for the greeting.
func (r *team) upgrade(listener, path, fields string) *wire {
	r.t.Helper()
	w := r.connect(listener)
	w.send(lines("GET " + path + " HTTP/1.1\nHost: localhost" + fields))
	if got := w.receive("GET"); got.Code != 101 {
		r.t.Fatalf("upgrade: %d %s", got.Code, got.Body)
	}
	w.expect(greeting)
	return w
}

// echoes proves that a tunnel is open.
func (w *wire) echoes() {
	w.t.Helper()
	w.send("hello")
	w.expect("hello")
}

// watchWith opens a watch with a client certificate and returns its connection
// and its answer.
func (r *team) watchWith(certificate tls.Certificate) (*wire, *http.Response) {
	r.t.Helper()
	w := r.connect("tls", certificate)
	w.send(lines("GET " + pods + "?watch=1 HTTP/1.1\nHost: localhost"))
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("watch: %+v, %v", resp, err)
	}
	r.t.Cleanup(func() { resp.Body.Close() })
	return w, resp
}
