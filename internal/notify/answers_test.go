package notify

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

func server(t *testing.T, network, address string) *httptest.Server {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the question has reached the handler, and so the audit log: %s %s", r.Method, r.RequestURI)
	}))
	s.Config.DisableGeneralOptionsHandler = true
	s.Listener.Close()
	s.Listener = l
	t.Cleanup(s.Close)
	return s
}

func TestWhatServesAnswers(t *testing.T) {
	plain, secure := server(t, "tcp", "127.0.0.1:0"), server(t, "tcp", "127.0.0.1:0")
	socket, all := server(t, "unix", filepath.Join(t.TempDir(), "s")), server(t, "tcp", ":0")
	plain.Start()
	secure.StartTLS()
	socket.Start()
	all.Start()
	for name, s := range map[string]*httptest.Server{"HTTP": plain, "HTTPS": secure, "a Unix socket": socket, "all addresses": all} {
		if err := Answers(t.Context(), s.Listener.Addr()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatDoesNotServe(t *testing.T) {
	listen := func(serve func(net.Conn)) net.Addr {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serve(c)
			}
		}()
		t.Cleanup(func() { l.Close(); <-ended })
		return l.Addr()
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts nothing: its queue does
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for _, c := range []struct {
		name    string
		address net.Addr
		want    string
	}{
		{"nobody accepts", silent.Addr(), "no answer in time"},
		{"nobody listens", gone.Addr(), "refused"},
		{"it hangs up", listen(func(c net.Conn) { c.Close() }), "reset|EOF"},
		{"it is no HTTP", listen(func(c net.Conn) { c.Write([]byte("220 smtp.example.org")); c.(*net.TCPConn).CloseWrite() }), "not HTTP"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := Answers(ctx, c.address)
		cancel()
		if err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
}
