package proxy

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResponseHeadersOfTheHopStayBehind(t *testing.T) {
	for name, c := range map[string]struct{ in, want http.Header }{
		"end to end": {
			http.Header{"Content-Type": {"a/b"}, "Set-Cookie": {"a", "b"}, "Audit-Id": {"x"}, "Www-Authenticate": {"Basic"}},
			http.Header{"Content-Type": {"a/b"}, "Set-Cookie": {"a", "b"}, "Audit-Id": {"x"}, "Www-Authenticate": {"Basic"}},
		},
		"hop by hop": {
			http.Header{"Connection": {"close"}, "Keep-Alive": {"timeout=5"}, "Proxy-Authenticate": {"Basic"}, "Proxy-Connection": {"x"},
				"Te": {"x"}, "Trailer": {"X-T"}, "Transfer-Encoding": {"chunked"}, "Upgrade": {"h2c"}, "X-A": {"b"}},
			http.Header{"X-A": {"b"}},
		},
		"named by Connection": {
			http.Header{"Connection": {"x-one, close", "X-TWO"}, "X-One": {"1"}, "X-Two": {"2"}, "X-Three": {"3"}},
			http.Header{"X-Three": {"3"}},
		},
		"nothing": {http.Header{}, http.Header{}},
	} {
		got := http.Header{}
		copyHeader(got, c.in)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: - want + got:\n%s", name, diff)
		}
	}
}

func TestUpgradeProtocols(t *testing.T) {
	upgrade := []string{"keep-alive, Upgrade"}
	for _, c := range []struct {
		name string
		in   http.Header
		want string
	}{
		{"websocket", http.Header{"Connection": upgrade, "Upgrade": {"websocket"}}, "websocket"},
		{"in another case", http.Header{"Connection": {"UPGRADE"}, "Upgrade": {"WebSocket"}}, "WebSocket"},
		{"SPDY", http.Header{"Connection": upgrade, "Upgrade": {"SPDY/3.1"}}, "SPDY/3.1"},
		{"the one that passes, of a list", http.Header{"Connection": upgrade, "Upgrade": {"h2c , websocket,foo"}}, "websocket"},
		{"the one that passes, of several fields", http.Header{"Connection": upgrade, "Upgrade": {"h2c", "SPDY/3.1"}}, "SPDY/3.1"},
		{"h2c", http.Header{"Connection": upgrade, "Upgrade": {"h2c"}}, ""},
		{"another version", http.Header{"Connection": upgrade, "Upgrade": {"SPDY/3"}}, ""},
		{"TLS", http.Header{"Connection": upgrade, "Upgrade": {"TLS/1.0, HTTP/1.1"}}, ""},
		{"no Connection", http.Header{"Upgrade": {"websocket"}}, ""},
		{"another Connection", http.Header{"Connection": {"xupgrade"}, "Upgrade": {"websocket"}}, ""},
		{"no Upgrade", http.Header{"Connection": upgrade}, ""},
	} {
		r := &http.Request{ProtoMajor: 1, ProtoMinor: 1, Header: c.in}
		if got := upgradeProtocol(r); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if r.ProtoMinor = 0; upgradeProtocol(r) != "" {
			t.Errorf("%s: HTTP/1.0 has no upgrades", c.name)
		}
	}
}

// FuzzConnectionHeader wants no field to pass that a Connection header names,
// and every other end-to-end field to pass unchanged.
func FuzzConnectionHeader(f *testing.F) {
	f.Add("close, X-A", "X-A")
	f.Add("x-a;q=1", "X-A")
	f.Add(" ,\tX-A\t,", "x-a")
	f.Add("", "Upgrade")
	f.Fuzz(func(t *testing.T, connection, name string) {
		name = http.CanonicalHeaderKey(name)
		got := http.Header{}
		copyHeader(got, http.Header{"Connection": {connection}, name: {"value"}, "X-Stays-A1b2": {"value"}})
		if got["Connection"] != nil {
			t.Errorf("Connection: %q passes", connection)
		}
		_, passes := got[name]
		if name != "X-Stays-A1b2" && passes == (hopByHop(name) || names(connection, name)) {
			t.Errorf("Connection: %q, %s: passes %t", connection, name, passes)
		}
	})
}

// names is a slow second opinion on whether a Connection header lists a name.
func names(connection, name string) bool {
	token := ""
	for i := 0; i <= len(connection); i++ {
		if i < len(connection) && connection[i] != ',' {
			token += string(connection[i])
			continue
		}
		for len(token) > 0 && (token[0] == ' ' || token[0] == '\t') {
			token = token[1:]
		}
		for len(token) > 0 && (token[len(token)-1] == ' ' || token[len(token)-1] == '\t') {
			token = token[:len(token)-1]
		}
		if equalASCII(token, name) {
			return true
		}
		token = ""
	}
	return false
}

func equalASCII(a, b string) bool {
	lower := func(c byte) byte {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) || a[i] >= 0x80 {
			return false
		}
	}
	return true
}
