package h1_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/internal/h1"
)

func upgrade(target string) *h1.Request {
	r := get(target)
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}}
	return r
}

func TestUpgradeHandsOverTheConnection(t *testing.T) {
	o := rawServer(t, func(n int, c *rawConn) {
		req, ok := c.request()
		if !ok {
			return
		}
		if n == 0 { // a connection for the pool, which an upgrade must not take
			c.send("HTTP/1.1 204 No Content\r\n\r\n")
			c.gone()
			return
		}
		if req.Header.Get("Upgrade") != "SPDY/3.1" || req.Header.Get("Connection") != "Upgrade" {
			t.Errorf("header %v", req.Header)
		}
		c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nfirst bytes")
		echo, _ := io.ReadAll(c.in) // up to the client's CloseWrite
		c.send(string(echo))
	})
	tr := newTransport(t, o)
	fetch(t, tr, get("/"))
	ctx, cancel := context.WithCancel(context.Background())
	resp, conn, err := tr.Upgrade(ctx, upgrade("/exec"))
	cancel() // no longer matters
	if err != nil || conn == nil {
		t.Fatal(conn, err)
	}
	if resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "SPDY/3.1" || resp.Body == nil {
		t.Errorf("response %+v", resp)
	}
	if st := tr.Stats(); st.Open != 2 || st.Dials != 2 {
		t.Errorf("stats %+v", st)
	}
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "first bytesping" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if st := tr.Stats(); st.Open != 1 || st.Idle != 1 {
		t.Errorf("stats after Close %+v", st)
	}
}

func TestARefusedUpgradeIsANormalResponse(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	tr := s.transport(t)
	resp, conn, err := tr.Upgrade(context.Background(), upgrade("/"))
	if err != nil || conn != nil {
		t.Fatal(conn, err)
	}
	if body := readAll(t, resp); body != "no\n" || resp.StatusCode != 403 {
		t.Errorf("%s %q", resp.Status, body)
	}
	if st := tr.Stats(); st.Open != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestUpgradeErrors(t *testing.T) {
	o := rawServer(t, func(_ int, c *rawConn) {
		c.request()
		c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		c.gone()
	})
	tr := newTransport(t, o)
	_, err := tr.Do(context.Background(), get("/"))
	if e := asError(t, err); !errors.Is(e, h1.ErrMalformed) || e.Phase != h1.PhaseHeader {
		t.Errorf("101 without an upgrade: %v", e)
	}
	_, conn, err := newTransport(t, h1.Options{Address: "127.0.0.1:1"}).Upgrade(context.Background(), upgrade("/"))
	if e := asError(t, err); conn != nil || e.Phase != h1.PhaseDial {
		t.Errorf("refused: %v, %v", conn, e)
	}
	if st := tr.Stats(); st.Open != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestPlainTCP(t *testing.T) {
	large := strings.Repeat("x", 100<<10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("X-Large", large)
			hello(w, r)
			return
		}
		c, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
		_, _ = io.Copy(c, in)
		_ = c.Close()
	}))
	defer s.Close()
	tr := newTransport(t, h1.Options{Address: s.Listener.Addr().String()})
	for range 3 {
		if resp, body := fetch(t, tr, get("/")); body != "hello" || resp.Header.Get("X-Large") != large {
			t.Errorf("body %q, a header of %d bytes", body, len(resp.Header.Get("X-Large")))
		}
	}
	if st := tr.Stats(); st.Dials != 1 || st.Reuses != 2 {
		t.Errorf("stats %+v", st)
	}
	_, conn, err := tr.Upgrade(context.Background(), upgrade("/"))
	if err != nil || conn == nil {
		t.Fatal(conn, err)
	}
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "ping" {
		t.Errorf("echo %q, %v", got, err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	tr.CloseIdle()
	s.CloseClientConnections()
}
