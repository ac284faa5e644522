package auth

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sharedLease(authorization string) *Lease {
	carried := &leaseHeaders{}
	if authorization != "" {
		carried.authorization = []string{authorization}
	}
	return &Lease{headers: func() *leaseHeaders { return carried }}
}

func TestRebuildSharedKeepsWhatARequestIs(t *testing.T) {
	in := http.Header{
		"Accept": {"application/json"}, "Content-Type": {"application/json"}, "User-Agent": {"kubectl"}, "Traceparent": {"00-a-b-01"},
		"Kubectl-Command": {"get"}, "X-Stream-Protocol-Version": {"v4.channel.k8s.io", "v3.channel.k8s.io"}, "X-Custom": {"1", "2"}, "Te": {"trailers"},
		"Sec-Websocket-Protocol": {"v5.channel.k8s.io"},
	}
	got := http.Header{"Old": {"x"}}
	RebuildShared(got, in, sharedLease("Bearer lease"), SharedOptions{PeerIP: "192.0.2.1", As: mustAs(t, Impersonation{User: "alice", Groups: []string{"a", "b"}})})
	want := in.Clone()
	want["Authorization"] = []string{"Bearer lease"}
	want["Impersonate-User"] = []string{"alice"}
	want["Impersonate-Group"] = []string{"a", "b"}
	want["X-Forwarded-For"] = []string{"192.0.2.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestRebuildSharedDropsWhoCallsAndHowItCame(t *testing.T) {
	for _, name := range []string{
		"Authorization", "AUTHORIZATION", "Authorization_", "Proxy-Authorization", "Proxy_Authorization", "Cookie", "cookie", "Cookie2",
		"Impersonate-User", "impersonate-user", "Impersonate_User", "Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-Scopes", "Impersonate_Extra_x", "Impersonate-New",
		"X-Remote-User", "X_Remote_User", "x-remote-group", "X-Remote-Extra-A",
		"X-Forwarded-For", "X_Forwarded_For", "X-Forwarded-User", "X-Forwarded-Uri", "Forwarded", "Via", "X-Real-Ip", "X-Original-Url",
		"X-Http-Method-Override", "X-HTTP-Method", "X_Http_Method_Override", "X-Method-Override", "Audit-Id", "audit_id",
		"Connection", "Keep-Alive", "Proxy-Connection", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Host", "Content-Length", "Expect", "bad name", "",
	} {
		t.Run(name, func(t *testing.T) {
			got := http.Header{}
			RebuildShared(got, http.Header{name: {"canary"}}, sharedLease(""), SharedOptions{})
			if name == "Authorization_" { // nothing reads that as Authorization
				return
			}
			if len(got) > 0 {
				t.Errorf("passed on as %v", got)
			}
		})
	}
}

func TestConnectionCannotNameWhatIsSetHere(t *testing.T) {
	got := http.Header{}
	RebuildShared(got, http.Header{"Connection": {"close, Authorization, Impersonate-User, impersonate-group, X-Custom, User-Agent, X-Forwarded-For"}, "X-Custom": {"1"}, "User-Agent": {"curl"}},
		sharedLease("Bearer lease"), SharedOptions{PeerIP: "192.0.2.1", DefaultUserAgent: "kuberelay", As: mustAs(t, Impersonation{User: "alice", Groups: []string{"dev"}})})
	want := http.Header{
		"Authorization": {"Bearer lease"}, "Impersonate-User": {"alice"}, "Impersonate-Group": {"dev"},
		"X-Forwarded-For": {"192.0.2.1"}, "User-Agent": {"kuberelay"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestBearerSubprotocolsAreTakenOut(t *testing.T) {
	const bearer = "base64url.bearer.authorization.k8s.io.Y2FuYXJ5"
	for name, c := range map[string]struct {
		in   http.Header
		want []string
	}{
		"beside another":               {http.Header{"Sec-Websocket-Protocol": {bearer + ", v5.channel.k8s.io"}}, []string{"v5.channel.k8s.io"}},
		"in a header of its own":       {http.Header{"Sec-Websocket-Protocol": {bearer, "v5.channel.k8s.io, v4.channel.k8s.io"}}, []string{"v5.channel.k8s.io, v4.channel.k8s.io"}},
		"in capitals":                  {http.Header{"Sec-Websocket-Protocol": {strings.ToUpper(bearer) + ",v5.channel.k8s.io"}}, []string{"v5.channel.k8s.io"}},
		"in another spelling of it":    {http.Header{"sec-websocket-PROTOCOL": {bearer + ", a"}}, []string{"a"}},
		"with an underscore":           {http.Header{"Sec_Websocket_Protocol": {bearer + ", a"}}, []string{"a"}},
		"alone":                        {http.Header{"Sec-Websocket-Protocol": {bearer}}, nil},
		"not there":                    {http.Header{"Sec-Websocket-Protocol": {"v5.channel.k8s.io"}}, []string{"v5.channel.k8s.io"}},
		"hidden in a longer name":      {http.Header{"Sec-Websocket-Protocol": {"x" + bearer + ", a"}}, []string{"a"}},
		"twice, and nothing else left": {http.Header{"Sec-Websocket-Protocol": {bearer + "," + bearer, bearer}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := http.Header{}
			RebuildShared(got, c.in, sharedLease("Bearer lease"), SharedOptions{Upgrade: "websocket"})
			if diff := cmp.Diff(c.want, got["Sec-Websocket-Protocol"]); diff != "" {
				t.Errorf("subprotocols (-want +got):\n%s", diff)
			}
			for _, values := range got {
				if strings.Contains(strings.ToLower(strings.Join(values, " ")), "bearer.authorization") {
					t.Errorf("the token is still there: %v", got)
				}
			}
			if got.Get("Upgrade") != "websocket" || got.Get("Connection") != "Upgrade" {
				t.Errorf("Upgrade %q, Connection %q", got.Get("Upgrade"), got.Get("Connection"))
			}
		})
	}
}

func TestRebuildSharedSendsNoCredentialInClearText(t *testing.T) {
	got := http.Header{}
	RebuildShared(got, http.Header{}, sharedLease("Bearer lease"), SharedOptions{SchemeHTTP: true, As: mustAs(t, Impersonation{User: "alice"})})
	if diff := cmp.Diff(http.Header{"Impersonate-User": {"alice"}}, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestRebuildSharedFallsBackToTheLeasesOwnImpersonation(t *testing.T) {
	carried := &leaseHeaders{impersonation: impersonation{{impersonateUser, []string{"of-the-kubeconfig"}}, {impersonateGroup, []string{"g"}}}}
	lease := &Lease{headers: func() *leaseHeaders { return carried }}
	got := http.Header{}
	RebuildShared(got, http.Header{}, lease, SharedOptions{})
	if got.Get("Impersonate-User") != "of-the-kubeconfig" {
		t.Errorf("headers %v, want the kubeconfig's impersonation", got)
	}
	RebuildShared(got, http.Header{}, lease, SharedOptions{As: mustAs(t, Impersonation{User: "alice"})})
	if diff := cmp.Diff(http.Header{"Impersonate-User": {"alice"}}, got); diff != "" {
		t.Errorf("the grant's replaces it whole (-want +got):\n%s", diff)
	}
}

// FuzzRebuildShared: whatever one header a client sends, the identity that goes
// upstream is the lease's and the grant's, and nothing in it says otherwise.
func FuzzRebuildShared(f *testing.F) {
	for _, name := range []string{"Impersonate-Group", "impersonate_user", "Connection", "X-Remote-User", "Sec-Websocket-Protocol", "Authorization", "Te"} {
		f.Add(name, "Impersonate-User, Authorization", "trailers")
	}
	as, err := NewAs(Impersonation{User: "alice", Groups: []string{"dev"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, first, second string) {
		got := http.Header{}
		RebuildShared(got, http.Header{name: {first, second}, "Connection": {first}}, sharedLease("Bearer lease"), SharedOptions{As: as})
		for sent, values := range got {
			switch plain := strings.ReplaceAll(strings.ToLower(sent), "_", "-"); {
			case sent == "Authorization" && len(values) == 1 && values[0] == "Bearer lease":
			case sent == "Impersonate-User" && len(values) == 1 && values[0] == "alice":
			case sent == "Impersonate-Group" && len(values) == 1 && values[0] == "dev":
			case plain == "authorization", strings.HasPrefix(plain, "impersonate-"), strings.HasPrefix(plain, "x-remote-"),
				strings.HasPrefix(plain, "x-forwarded-"), plain == "cookie", plain == "connection", plain == "upgrade", plain == "transfer-encoding":
				t.Errorf("%q: %q goes upstream as %q: %q", name, first, sent, values)
			}
		}
		if len(got["Authorization"]) != 1 || len(got["Impersonate-User"]) != 1 || len(got["Impersonate-Group"]) != 1 {
			t.Errorf("the identity is not whole: %v", got)
		}
	})
}
