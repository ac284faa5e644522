package daemon_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

// The tests named Parity hold the data path to what kubectl proxy was seen to
// do, and to where kuberelay differs on purpose. They speak raw HTTP/1.1,
// because net/http would refuse, repair or hide what they are about.

// markHeader tells a test's own requests from those of the daemon at the fake
// API server.
const markHeader = "X-Mark"

// parity runs a daemon in front of one fake API server that answers "fine".
func parity(t testing.TB, edit ...func(*config.Configuration)) *relay {
	t.Helper()
	r := start(t, servers(t, 1), edit...)
	r.all("*", fakeapi.Text(200, "fine"))
	return r
}

// listener edits the only listener.
func listener(edit func(*config.Listener)) func(*config.Configuration) {
	return func(cfg *config.Configuration) { edit(&cfg.Listeners[0]) }
}

func withPrefix(prefix string) func(*config.Configuration) {
	return listener(func(l *config.Listener) { l.APIPrefix = prefix })
}

func withoutFilter() func(*config.Configuration) {
	return listener(func(l *config.Listener) { l.Filter = filter.Config{Disabled: true} })
}

// seen returns the requests with a mark that reached the servers.
func (r *relay) seen(mark string) []fakeapi.Request {
	var all []fakeapi.Request
	for _, s := range r.Servers {
		all = append(all, s.Requests()...)
	}
	return slices.DeleteFunc(all, func(q fakeapi.Request) bool { return q.Header.Get(markHeader) != mark })
}

// one returns the only request with a mark that reached the servers.
func (r *relay) one(mark string) fakeapi.Request {
	r.t.Helper()
	all := r.seen(mark)
	if len(all) != 1 {
		r.t.Fatalf("%d requests with mark %q reached the server, want 1: %+v", len(all), mark, all)
	}
	return all[0]
}

// wire is one client connection, byte by byte.
type wire struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	all  bytes.Buffer // everything that came
	from int          // where in all the next response begins
}

// dial opens a client connection to the relay.
func (r *relay) dial(t testing.TB) *wire {
	t.Helper()
	addr := r.Daemon.Addr("proxy")
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, conn: conn}
	w.in = bufio.NewReader(io.TeeReader(conn, &w.all))
	return w
}

// send writes bytes as they are.
func (w *wire) send(raw string) {
	w.t.Helper()
	if _, err := io.WriteString(w.conn, raw); err != nil {
		w.t.Fatal(err)
	}
}

// wireReply is one final response and what came before it.
type wireReply struct {
	Code    int
	Proto   string
	Header  http.Header
	Trailer http.Header
	Body    string
	Err     error            // of the body
	Raw     string           // the final response's bytes
	Interim []*http.Response // 1xx
}

// head is the response's head without its Date, in the order of the wire.
func (r wireReply) head() string {
	head, _, _ := strings.Cut(r.Raw, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Date: ") }), "\n")
}

// receive reads one response to a request of the method.
func (w *wire) receive(method string) wireReply {
	w.t.Helper()
	var got wireReply
	for {
		w.from = w.all.Len() - w.in.Buffered()
		resp, err := http.ReadResponse(w.in, &http.Request{Method: method})
		if err != nil {
			w.t.Fatalf("no response: %v; after it came %q", err, w.all.String()[w.from:])
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			got.Interim = append(got.Interim, resp)
			continue
		}
		if resp.StatusCode != http.StatusSwitchingProtocols {
			body, err := io.ReadAll(resp.Body)
			got.Body, got.Err = string(body), err
			resp.Body.Close()
		}
		got.Code, got.Proto, got.Header, got.Trailer = resp.StatusCode, resp.Proto, resp.Header, resp.Trailer
		got.Raw = w.all.String()[w.from : w.all.Len()-w.in.Buffered()]
		return got
	}
}

// serves proves that the connection is still open for requests.
func (w *wire) serves() {
	w.t.Helper()
	w.send("GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if got := w.receive("GET"); got.Code != 200 {
		w.t.Errorf("the next request on the connection: %d %s, want 200", got.Code, got.Body)
	}
}

// ended waits for the connection's end, and fails when anything comes before.
func (w *wire) ended() {
	w.t.Helper()
	if rest := w.rest(); rest != "" {
		w.t.Errorf("before the connection's end came %q", rest)
	}
}

// ask sends one request, written as for [lines], on a connection of its own.
func (r *relay) ask(t testing.TB, request string) wireReply {
	t.Helper()
	w := r.dial(t)
	defer w.conn.Close()
	w.send(lines(request))
	method, _, _ := strings.Cut(request, " ")
	return w.receive(method)
}

// lines is a request's head as it goes over the wire: one line of it for each
// line of the text, and the empty line.
func lines(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\r\n") + "\r\n\r\n"
}

// rest is everything up to the connection's end.
func (w *wire) rest() string {
	w.t.Helper()
	rest, err := io.ReadAll(w.in)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		w.t.Fatalf("the connection stays open after %q", rest)
	}
	return string(rest)
}
