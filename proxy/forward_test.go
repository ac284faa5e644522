package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/internal/apigroups"
)

// BenchmarkForward is what a request costs from the handler to the API server
// and back. The server allocates nothing.
func BenchmarkForward(b *testing.B) {
	const pod = "/api/v1/namespaces/x/pods/p"
	for name, c := range map[string]struct {
		path   string
		header http.Header
		answer string
	}{
		"answered": {pod, http.Header{}, "200 OK"},
		"failed":   {pod, http.Header{}, "500 Internal Server Error"},
		"upgrade refused": {
			pod + "/exec", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, "403 Forbidden",
		},
	} {
		b.Run(name, func(b *testing.B) {
			h := NewHandler(Options{
				Listener: "proxy", Registry: &Registry{}, Recorder: forgetful{}, APIPrefix: "/",
				Cluster: clusterAt(b, canned("HTTP/1.1 "+c.answer+"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")),
			})
			r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, c.path, nil)
			r.Body, r.Header = http.NoBody, c.header
			w := &blank{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		})
	}
}

// clusterAt is a cluster with one API server. serve is called with each
// connection to it, one after the other.
func clusterAt(tb testing.TB, serve func(net.Conn)) *Cluster {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			conn.Close()
		}
	}()
	address := l.Addr().String()
	u := NewUpstream(UpstreamOptions{
		Cluster: "test", ID: address, URL: &url.URL{Scheme: "http", Host: address},
		Dial: new(net.Dialer).DialContext,
	})
	pool := balancer.NewPool[*Upstream](balancer.DefaultConfig(), balancer.Options{})
	pool.Set([]balancer.Member[*Upstream]{{ID: address, Value: u}})
	tb.Cleanup(func() {
		pool.Set(nil)
		u.Close()
		u.CloseIdle()
		l.Close()
		<-done
	})
	return &Cluster{Name: "test", Pool: pool, Retry: balancer.DefaultConfig().Retry, Credentials: anonymous{}, Groups: apigroups.New()}
}

// canned answers each request without a body with the same bytes.
func canned(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		in := bufio.NewReader(conn)
		out := []byte(answer)
		for {
			line, err := in.ReadSlice('\n')
			if err == nil && len(line) == len("\r\n") { // the head's end
				_, err = conn.Write(out)
			}
			if err != nil {
				return
			}
		}
	}
}

// anonymous is a credential without anything in it.
type anonymous struct{}

var emptyLease auth.Lease

func (anonymous) Lease(context.Context) (*auth.Lease, error)                { return &emptyLease, nil }
func (anonymous) Refused(context.Context, *auth.Lease) (*auth.Lease, error) { return nil, io.EOF }

// forgetful is a Recorder that keeps nothing.
type forgetful struct{}

func (forgetful) Begin(string, string)         {}
func (forgetful) End(string, *Record)          {}
func (forgetful) Denied(*http.Request, Denial) {}

// blank is a ResponseWriter that throws away what it gets.
type blank struct{ header http.Header }

func (w *blank) Header() http.Header         { return w.header }
func (w *blank) WriteHeader(int)             {}
func (w *blank) Write(p []byte) (int, error) { return len(p), nil }
func (w *blank) Flush()                      {}
