package h1_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/internal/h1"
)

// connectHandler is an HTTP proxy that knows CONNECT.
func connectHandler(t *testing.T, auth string, tunnels *sync.WaitGroup) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(auth))
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != want {
			http.Error(w, "who are you", http.StatusProxyAuthRequired)
			return
		}
		up, err := net.Dial("tcp", r.RequestURI)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		down, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(down, "HTTP/1.1 200 Connection established\r\n\r\n")
		tunnel(tunnels, down, buf, up)
	}
}

// tunnel copies until either side ends.
func tunnel(wg *sync.WaitGroup, down net.Conn, in io.Reader, up net.Conn) {
	wg.Go(func() {
		_, _ = io.Copy(up, in)
		_ = up.Close()
	})
	wg.Go(func() {
		_, _ = io.Copy(down, up)
		_ = down.Close()
	})
}

// socksServer speaks as much of RFC 1928 and RFC 1929 as a client needs.
func socksServer(t *testing.T, user, password string, tunnels *sync.WaitGroup) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serveSOCKS(t, c, user, password, tunnels) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func serveSOCKS(t *testing.T, c net.Conn, user, password string, tunnels *sync.WaitGroup) {
	_ = c.SetDeadline(time.Now().Add(patience))
	take := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(c, b)
		return b
	}
	take(int(take(2)[1]))
	_, _ = c.Write([]byte{5, 2}) // user and password
	gotUser := string(take(int(take(2)[1])))
	gotPassword := string(take(int(take(1)[0])))
	if gotUser != user || gotPassword != password {
		_, _ = c.Write([]byte{1, 1})
		_ = c.Close()
		return
	}
	_, _ = c.Write([]byte{1, 0})
	if head := take(4); head[3] != 1 {
		t.Errorf("SOCKS address type %d, want IPv4", head[3])
	}
	ip := net.IP(take(4))
	port := binary.BigEndian.Uint16(take(2))
	up, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: ip, Port: int(port)})
	if err != nil {
		_, _ = c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
		_ = c.Close()
		return
	}
	_, _ = c.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 1})
	tunnel(tunnels, c, c, up)
}

func TestThroughProxies(t *testing.T) {
	const secret = "pa55word"
	var tunnels sync.WaitGroup
	t.Cleanup(tunnels.Wait) // after the transports' and servers' own
	plain := httptest.NewServer(connectHandler(t, "me:"+secret, &tunnels))
	t.Cleanup(plain.Close)
	secure := newServer(t, connectHandler(t, "me:"+secret, &tunnels))
	secureTLS := secure.trust()
	secureTLS.ServerName = "overridden.test" // the certificate is for 127.0.0.1, too

	for name, proxyURL := range map[string]string{
		"http":   plain.URL,
		"https":  secure.URL,
		"socks5": "socks5://" + socksServer(t, "me", secret, &tunnels),
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, hello)
			u, err := url.Parse(proxyURL)
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword("me", secret)
			dial, err := h1.ProxyDial(u, nil, secureTLS)
			if err != nil {
				t.Fatal(err)
			}
			tr := s.transport(t, func(o *h1.Options) { o.Dial = dial })
			for range 2 {
				if _, body := fetch(t, tr, get("/")); body != "hello" {
					t.Errorf("body %q", body)
				}
			}
			if st := tr.Stats(); st.Dials != 1 || st.Reuses != 1 {
				t.Errorf("stats %+v", st)
			}
			tr.CloseIdle()

			u.User = url.UserPassword("me", secret+"wrong")
			if dial, err = h1.ProxyDial(u, nil, secureTLS); err != nil {
				t.Fatal(err)
			}
			_, err = s.transport(t, func(o *h1.Options) { o.Dial = dial }).Do(context.Background(), get("/"))
			e := asError(t, err)
			if e.Phase != h1.PhaseDial || strings.Contains(e.Error(), secret) || !strings.Contains(e.Error(), u.Host) {
				t.Errorf("phase %v, error %v", e.Phase, e)
			}
		})
	}
}

// The check of idle connections has to see through TLS within TLS.
func TestIdleCheckThroughAnHTTPSProxy(t *testing.T) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	var tunnels sync.WaitGroup
	t.Cleanup(tunnels.Wait)
	p := newServer(t, connectHandler(t, "a:b", &tunnels))
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("a", "b")
	dial, err := h1.ProxyDial(u, nil, p.trust())
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{}, 2)
	tr := newTransport(t, rawServer(t, func(_ int, c *rawConn) {
		c.request()
		c.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood" + evil)
		sent <- struct{}{}
		c.gone()
	}), func(o *h1.Options) { o.Dial = dial })
	for range 2 {
		if _, body := fetch(t, tr, get("/")); body != "good" {
			t.Errorf("body %q", body)
		}
		wait(t, sent, "the server's bytes")
	}
	if st := tr.Stats(); st.Dials != 2 || st.Reuses != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestProxyURLsThatAreRefused(t *testing.T) {
	for name, raw := range map[string]string{"scheme": "ftp://user:pa55word@host", "host": "http://user:pa55word@/x"} {
		t.Run(name, func(t *testing.T) {
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h1.ProxyDial(u, nil, nil); err == nil || strings.Contains(err.Error(), "pa55word") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestProxyDialIsBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, scheme := range []string{"http", "https", "socks5"} {
		t.Run(scheme, func(t *testing.T) {
			dial, err := h1.ProxyDial(&url.URL{Scheme: scheme, Host: l.Addr().String()}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			tr := newTransport(t, h1.Options{Address: "192.0.2.1:6443", Dial: dial, DialTimeout: 30 * time.Millisecond})
			_, err = tr.Do(context.Background(), get("/"))
			if e := asError(t, err); e.Phase != h1.PhaseDial || !e.Timeout() {
				t.Errorf("phase %v, timeout %v, error %v", e.Phase, e.Timeout(), e)
			}
		})
	}
}
