package daemon_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// arrived are the requests with a mark that reached any API server.
func (r *team) arrived(mark string) []fakeapi.Request {
	all := r.seen(mark)
	return append(all, slices.DeleteFunc(r.Other.Requests(), func(q fakeapi.Request) bool { return q.Header.Get(markHeader) != mark })...)
}

// asAlice and asBob are what the API servers are to receive of each.
func asAlice() http.Header {
	return http.Header{"Authorization": {"Bearer " + brokerToken}, "Impersonate-User": {"alice"}, "Impersonate-Group": {"dev", "qa"}}
}

func asBob() http.Header {
	return http.Header{"Authorization": {"Bearer " + brokerToken}, "Impersonate-User": {"bob"}, "Impersonate-Group": {"ops"}}
}

// identityOf are the fields of a request that say who makes it, in whatever
// spelling.
func identityOf(h http.Header) http.Header {
	found := http.Header{}
	for name, values := range h {
		if plain := plainName(name); plain == "authorization" || strings.HasPrefix(plain, "impersonate-") || strings.HasPrefix(plain, "x-remote-") {
			found[name] = values
		}
	}
	return found
}

// plainName is a field's name as the most careless server reads it.
func plainName(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// neverUpstream are the fields that never reach an API server; a name that
// ends in "-" is a prefix.
var neverUpstream = []string{
	"cookie", "cookie2", "x-remote-", "forwarded", "via", "proxy-", "x-real-ip", "x-original-", "x-client-ip", "x-forwarded-",
	"http2-settings", "keep-alive", "trailer", "expect", "x-http-method", "x-http-method-override", "x-method-override", "origin",
}

// checkArrived holds one request that an API server received to what every one
// has to be: made as the client, with nothing of its own about who it is.
func checkArrived(t testing.TB, q fakeapi.Request, who http.Header) {
	t.Helper()
	if got := identityOf(q.Header); !sameFields(got, who) {
		t.Errorf("%s %s arrived as %v, want %v", q.Method, q.Target, got, who)
	}
	for name, values := range q.Header {
		plain := plainName(name)
		if plain == "audit-id" && name != "Audit-Id" {
			t.Errorf("%s %s arrived with %s: %q", q.Method, q.Target, name, values)
		}
		for _, never := range neverUpstream {
			if plain != never && (!strings.HasSuffix(never, "-") || !strings.HasPrefix(plain, never)) {
				continue
			}
			if name != "X-Forwarded-For" || !slices.Equal(values, []string{"127.0.0.1"}) { // the peer's own
				t.Errorf("%s %s arrived with %s: %q", q.Method, q.Target, name, values)
			}
		}
		if strings.Contains(strings.ToLower(strings.Join(values, ",")), "bearer.authorization") {
			t.Errorf("%s %s arrived with the client's token in %s: %q", q.Method, q.Target, name, values)
		}
	}
	if id := q.Header["Audit-Id"]; len(id) != 1 || uuid.Validate(id[0]) != nil {
		t.Errorf("%s %s arrived with Audit-Id %q", q.Method, q.Target, id)
	}
	if upgrade := q.Header.Get("Upgrade"); upgrade != "" && upgrade != "websocket" && upgrade != "SPDY/3.1" {
		t.Errorf("%s %s arrived with Upgrade: %s", q.Method, q.Target, upgrade)
	}
	if connection := q.Header["Connection"]; len(connection) > 0 && !slices.Equal(connection, []string{"Upgrade"}) {
		t.Errorf("%s %s arrived with Connection: %q", q.Method, q.Target, connection)
	}
	if len(q.Trailer) > 0 {
		t.Errorf("%s %s arrived with trailers %v", q.Method, q.Target, q.Trailer)
	}
}

func sameFields(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for name, values := range a {
		if !slices.Equal(values, b[name]) {
			return false
		}
	}
	return true
}
