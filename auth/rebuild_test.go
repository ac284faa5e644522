package auth

import (
	"crypto/tls"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
)

var asAlice = func() impersonation {
	set, err := newImpersonation(rest.ImpersonationConfig{
		UserName: "alice", UID: "u1", Groups: []string{"dev", "ops"}, Extra: map[string][]string{"Scopes/x": {"a", "b"}},
	})
	if err != nil {
		panic(err)
	}
	return set
}()

func TestRebuild(t *testing.T) {
	alice := http.Header{
		"Impersonate-User":             {"alice"},
		"Impersonate-Uid":              {"u1"},
		"Impersonate-Group":            {"dev", "ops"},
		"Impersonate-Extra-Scopes%2fx": {"a", "b"},
		"Authorization":                {"Bearer T"},
	}
	cases := map[string]struct {
		in       http.Header
		as       impersonation
		opts     RebuildOptions
		noToken  bool
		want     http.Header
		injected bool
	}{
		"the lease's credential is injected": {
			in:   http.Header{"Accept": {"*/*"}},
			want: http.Header{"Accept": {"*/*"}, "Authorization": {"Bearer T"}}, injected: true,
		},
		"a client's own credential wins": {
			in:   http.Header{"Authorization": {"Basic own"}},
			want: http.Header{"Authorization": {"Basic own"}},
		},
		"of two credentials of the client the first passes, alone": {
			in:   http.Header{"Authorization": {"", "Bearer one", "Bearer two"}},
			want: http.Header{"Authorization": {"Bearer one"}},
		},
		"a blank credential of the client is none": {
			in:   http.Header{"Authorization": {"", " \t"}},
			want: http.Header{"Authorization": {"Bearer T"}}, injected: true,
		},
		"a credential in another case is the client's": {
			in:   http.Header{"authorization": {"Bearer own"}},
			want: http.Header{"Authorization": {"Bearer own"}},
		},
		"no credential is sent to an http server, impersonation is": {
			in: http.Header{}, as: asAlice[:1], opts: RebuildOptions{SchemeHTTP: true},
			want: http.Header{"Impersonate-User": {"alice"}},
		},
		"a client's own credential is sent to an http server": {
			in: http.Header{"Authorization": {"Bearer own"}}, opts: RebuildOptions{SchemeHTTP: true},
			want: http.Header{"Authorization": {"Bearer own"}},
		},
		"an anonymous user injects nothing": {
			in: http.Header{}, noToken: true, want: http.Header{},
		},
		"hop-by-hop headers and what Connection names are removed": {
			in: http.Header{
				"Connection": {"keep-alive, X-Hop", "x-other,TE"}, "Keep-Alive": {"5"}, "Proxy-Connection": {"x"},
				"Proxy-Authorization": {"Basic x"}, "Proxy-Anything": {"x"}, "Te": {"trailers, deflate"}, "Trailer": {"X"},
				"Transfer-Encoding": {"chunked"}, "Upgrade": {"h2c"}, "Http2-Settings": {"AAMAAA"}, "X-Hop": {"1"}, "X-Other": {"2"},
				"x-hop": {"3"}, "X-Stays": {"4"},
			},
			want: http.Header{"Te": {"trailers"}, "X-Stays": {"4"}, "Authorization": {"Bearer T"}}, injected: true,
		},
		"what the transport writes itself is removed": {
			in:   http.Header{"Host": {"evil"}, "Content-Length": {"5"}, "Expect": {"100-continue"}, "content-length": {"6"}},
			want: http.Header{"Authorization": {"Bearer T"}}, injected: true,
		},
		"TE other than trailers is removed": {
			in:   http.Header{"Te": {"deflate"}},
			want: http.Header{"Authorization": {"Bearer T"}}, injected: true,
		},
		"Connection cannot remove the injected credential": {
			in: http.Header{"Connection": {"close, Authorization, Impersonate-User, impersonate-group"}}, as: asAlice,
			want: alice, injected: true,
		},
		"Connection cannot remove the client's own credential or impersonation": {
			in: http.Header{
				"Connection":    {"Authorization, Impersonate-User, Impersonate-Group"},
				"Authorization": {"Bearer own"}, "Impersonate-User": {"bob"}, "Impersonate-Group": {"x"},
			},
			want: http.Header{"Authorization": {"Bearer own"}, "Impersonate-User": {"bob"}, "Impersonate-Group": {"x"}},
		},
		"an upgrade keeps its protocol under our own Connection": {
			in:   http.Header{"Connection": {"Upgrade, X-Hop"}, "Upgrade": {"websocket"}, "X-Hop": {"1"}, "Sec-Websocket-Key": {"k"}},
			opts: RebuildOptions{Upgrade: true},
			want: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"k"}, "Authorization": {"Bearer T"}}, injected: true,
		},
		"configured impersonation is added": {in: http.Header{}, as: asAlice, want: alice, injected: true},
		"a client's Impersonate-User replaces the configured set": {
			in: http.Header{"Impersonate-User": {"bob", "root"}, "Impersonate-Group": {"x", "y"}}, as: asAlice,
			want: http.Header{"Impersonate-User": {"bob"}, "Impersonate-Group": {"x", "y"}, "Authorization": {"Bearer T"}}, injected: true,
		},
		"a client's group, uid or extra alone is not added to the configured set": {
			in: http.Header{
				"Impersonate-User": {""}, "Impersonate-Group": {"system:masters"}, "Impersonate-Uid": {"0"},
				"Impersonate-Extra-Scopes": {"all"}, "impersonate-group": {"system:masters"}, "Impersonate-Anything": {"1"},
			},
			as: asAlice, want: alice, injected: true,
		},
		"without configured impersonation the client's passes": {
			in: http.Header{"impersonate-user": {"bob"}, "Impersonate-Group": {"x"}, "IMPERSONATE-GROUP": {"y"}, "Impersonate-Extra-Foo_bar": {"1"}},
			want: http.Header{
				"Impersonate-User": {"bob"}, "Impersonate-Group": {"x", "y"}, "Impersonate-Extra-Foo_bar": {"1"}, "Authorization": {"Bearer T"},
			}, injected: true,
		},
		"underscore spellings are dropped": {
			in: http.Header{
				"Impersonate_user": {"root"}, "Impersonate_Group": {"system:masters"}, "X_Remote_User": {"root"}, "X-Remote_user": {"root"},
				"X_Forwarded_For": {"6.6.6.6"}, "Transfer_Encoding": {"chunked"}, "Content_Length": {"1"}, "User_Agent": {"x"}, "X_Own": {"stays"},
			},
			want: http.Header{"X_Own": {"stays"}, "Authorization": {"Bearer T"}}, injected: true,
		},
		"front proxy identity is dropped": {
			in:   http.Header{"X-Remote-User": {"root"}, "x-remote-group": {"system:masters"}, "X-Remote-Extra-Foo": {"1"}},
			want: http.Header{"Authorization": {"Bearer T"}}, injected: true,
		},
		"names that are no token are dropped": {
			in:   http.Header{"": {"x"}, "X\r\nImpersonate-User": {"root"}, "Bad Name": {"x"}, "Impersonate-User ": {"root"}},
			want: http.Header{"Authorization": {"Bearer T"}}, injected: true,
		},
		"the peer is appended to X-Forwarded-For": {
			in: http.Header{"X-Forwarded-For": {"1.2.3.4", "5.6.7.8"}}, opts: RebuildOptions{PeerIP: "127.0.0.1"},
			want: http.Header{"X-Forwarded-For": {"1.2.3.4, 5.6.7.8, 127.0.0.1"}, "Authorization": {"Bearer T"}}, injected: true,
		},
		"without a peer X-Forwarded-For is left alone": {
			in:   http.Header{"X-Forwarded-For": {"1.2.3.4"}},
			want: http.Header{"X-Forwarded-For": {"1.2.3.4"}, "Authorization": {"Bearer T"}}, injected: true,
		},
		"the default user agent is for clients without one": {
			in: http.Header{"User-Agent": {""}}, opts: RebuildOptions{DefaultUserAgent: "kuberelay/1"},
			want: http.Header{"User-Agent": {"kuberelay/1"}, "Authorization": {"Bearer T"}}, injected: true,
		},
		"a client's user agent stays": {
			in: http.Header{"User-Agent": {"curl/8"}}, opts: RebuildOptions{DefaultUserAgent: "kuberelay/1"},
			want: http.Header{"User-Agent": {"curl/8"}, "Authorization": {"Bearer T"}}, injected: true,
		},
		"the rest passes untouched": {
			in: http.Header{
				"Accept-Encoding": {"br"}, "Cookie": {"a=b"}, "Origin": {"http://x"}, "Via": {"1.1 x"}, "Forwarded": {"for=1"},
				"X-Real-Ip": {"1.2.3.4"}, "Upgrade-Insecure-Requests": {"1"}, "Audit-Id": {"x"}, "X-Custom": {"1", "2"},
			},
			want: http.Header{
				"Accept-Encoding": {"br"}, "Cookie": {"a=b"}, "Origin": {"http://x"}, "Via": {"1.1 x"}, "Forwarded": {"for=1"},
				"X-Real-Ip": {"1.2.3.4"}, "Upgrade-Insecure-Requests": {"1"}, "Audit-Id": {"x"}, "X-Custom": {"1", "2"},
				"Authorization": {"Bearer T"},
			}, injected: true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			lease := leaseOf("T", c.as)
			if c.noToken {
				lease.headers().authorization = nil
			}
			before := deepCopy(c.in)
			got := http.Header{"Stale": {"of another request"}, "Authorization": {"Bearer stale"}}
			if injected := Rebuild(got, c.in, lease, c.opts); injected != c.injected {
				t.Errorf("injected = %t, want %t", injected, c.injected)
			}
			// Of names in several spellings the values come in any order.
			slices.Sort(got["Impersonate-Group"])
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, c.in); diff != "" {
				t.Errorf("the client's headers were changed:\n%s", diff)
			}
		})
	}
}

func TestRebuildReportsACertificateLease(t *testing.T) {
	lease := &Lease{certificate: &tls.Certificate{}}
	dst := http.Header{}
	if !Rebuild(dst, http.Header{}, lease, RebuildOptions{}) {
		t.Error("a request over a client certificate is made with the lease's credential")
	}
	if Rebuild(dst, http.Header{"Authorization": {"Bearer own"}}, lease, RebuildOptions{}) {
		t.Error("a request with the client's own Authorization is not")
	}
	if len(dst) != 1 {
		t.Errorf("headers = %v", dst)
	}
	if Rebuild(dst, http.Header{}, nil, RebuildOptions{}) || len(dst) != 0 {
		t.Errorf("without a lease nothing is injected, got %v", dst)
	}
}

func TestRebuildSendsUserInfoOfAnHTTPServer(t *testing.T) {
	lease := leaseOf("T", nil)
	lease.headers().plainHTTP = true
	dst := http.Header{}
	if !Rebuild(dst, http.Header{}, lease, RebuildOptions{SchemeHTTP: true}) || dst.Get("Authorization") != "Bearer T" {
		t.Errorf("headers = %v, want the credential", dst)
	}
}

func TestRebuildIsDeterministicForSpellings(t *testing.T) {
	in := http.Header{"authorization": {"Bearer a"}, "AUTHORIZATION": {"Bearer b"}, "Impersonate-user": {"a"}, "IMPERSONATE-USER": {"b"}}
	for range 50 {
		dst := http.Header{}
		Rebuild(dst, in, leaseOf("T", nil), RebuildOptions{})
		if dst.Get("Authorization") != "Bearer b" || dst.Get("Impersonate-User") != "b" || len(dst) != 2 {
			t.Fatalf("headers = %v, want the same choice each time", dst)
		}
	}
}

func deepCopy(h http.Header) http.Header {
	c := make(http.Header, len(h))
	for k, v := range h {
		c[k] = slices.Clone(v)
	}
	return c
}

// canonicalSpelling is a name as a careless upstream could read it.
func canonicalSpelling(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}

func FuzzRebuild(f *testing.F) {
	f.Add("Authorization: Bearer own\nConnection: Authorization, X-Foo\nX-Foo: 1", true, false)
	f.Add("impersonate-group: system:masters\nImpersonate_User: root\nX-Remote-User: root", false, true)
	f.Add("Connection: upgrade\nUpgrade: websocket\nTe: trailers\nTransfer-Encoding: chunked", true, true)
	f.Add("Connection: close, Impersonate-User, Authorization\nImpersonate-User: \nImpersonate-Uid: 0", true, false)
	f.Fuzz(func(t *testing.T, raw string, configured, upgrade bool) {
		in := http.Header{}
		for line := range strings.SplitSeq(raw, "\n") {
			name, value, _ := strings.Cut(line, ":")
			in[name] = append(in[name], strings.TrimSpace(value)) // names as they are, not canonical
		}
		var as impersonation
		if configured {
			as = asAlice
		}
		before := deepCopy(in)
		lease := leaseOf("T", as)
		dst := http.Header{}
		injected := Rebuild(dst, in, lease, RebuildOptions{Upgrade: upgrade, PeerIP: "::1"})

		if diff := cmp.Diff(before, in); diff != "" {
			t.Fatalf("the client's headers were changed:\n%s", diff)
		}
		own, ownUser := clientSays(in, "authorization"), clientSays(in, "impersonate-user")
		auth := dst["Authorization"]
		switch {
		case len(auth) != 1:
			t.Fatalf("Authorization = %q, want one value", auth)
		case injected == (len(own) > 0):
			t.Fatalf("injected = %t though the client's credentials are %q", injected, own)
		case injected && auth[0] != "Bearer T":
			t.Fatalf("Authorization = %q, want the lease's", auth)
		case !injected && !slices.Contains(own, auth[0]):
			t.Fatalf("Authorization = %q, want one of the client's %q", auth, own)
		}
		for name := range dst {
			spelled := canonicalSpelling(name)
			switch {
			case strings.HasPrefix(spelled, "proxy-"), strings.HasPrefix(spelled, "x-remote-"),
				slices.Contains([]string{"keep-alive", "trailer", "transfer-encoding", "host", "content-length", "expect", "http2-settings"}, spelled):
				t.Fatalf("%q passes", name)
			case slices.Contains([]string{"authorization", "impersonate-user", "impersonate-group", "impersonate-uid", "connection", "upgrade", "te"}, spelled) &&
				name != http.CanonicalHeaderKey(spelled):
				t.Fatalf("%q passes in another spelling", name)
			}
		}
		if !upgrade && (dst["Connection"] != nil || dst["Upgrade"] != nil) {
			t.Fatalf("Connection = %q, Upgrade = %q without an upgrade", dst["Connection"], dst["Upgrade"])
		}
		if c := dst["Connection"]; c != nil && !slices.Equal(c, []string{"Upgrade"}) {
			t.Fatalf("Connection = %q", c)
		}
		if te := dst["Te"]; te != nil && !slices.Equal(te, []string{"trailers"}) {
			t.Fatalf("Te = %q", te)
		}
		if configured && len(ownUser) == 0 {
			got := http.Header{}
			for name, values := range dst {
				if strings.HasPrefix(canonicalSpelling(name), "impersonate-") {
					got[name] = values
				}
			}
			want := http.Header{}
			for _, h := range asAlice {
				want[h.name] = h.values
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("impersonation is not the configured one:\n%s", diff)
			}
		}
		if len(ownUser) > 0 && (len(dst[impersonateUser]) != 1 || !slices.Contains(ownUser, dst[impersonateUser][0])) {
			t.Fatalf("Impersonate-User = %q, want one of the client's %q", dst[impersonateUser], ownUser)
		}
	})
}

// clientSays returns the values of a header that are not blank, in any case of
// its name.
func clientSays(in http.Header, name string) (values []string) {
	for key := range maps.Keys(in) {
		if strings.EqualFold(key, name) && len(key) == len(name) {
			for _, v := range in[key] {
				if strings.TrimSpace(v) != "" {
					values = append(values, v)
				}
			}
		}
	}
	return values
}

func BenchmarkRebuild(b *testing.B) {
	lease := leaseOf(strings.Repeat("t", 900), nil)
	for name, in := range map[string]http.Header{
		"curl": {"Accept": {"*/*"}, "User-Agent": {"curl/8.5.0"}},
		"kubectl": {
			"Accept":          {"application/json;as=Table;v=v1;g=meta.k8s.io,application/json"},
			"Accept-Encoding": {"gzip"}, "User-Agent": {"kubectl/v1.37.2 (linux/amd64) kubernetes/abc"},
			"Kubectl-Command": {"kubectl get"}, "Kubectl-Session": {"d3f2"},
		},
		"browser": {
			"Accept": {"*/*"}, "Accept-Encoding": {"gzip"}, "Accept-Language": {"en"}, "Connection": {"keep-alive"}, "Cookie": {"a=b"},
			"Sec-Fetch-Dest": {"empty"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Site": {"same-origin"}, "User-Agent": {"Mozilla"},
			"Sec-Ch-Ua": {"x"}, "X-Custom": {"y"},
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			dst := make(http.Header, len(in)+4)
			for b.Loop() {
				Rebuild(dst, in, lease, RebuildOptions{PeerIP: "127.0.0.1", DefaultUserAgent: "kuberelay/1"})
			}
		})
	}
}
