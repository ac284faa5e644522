package health

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestClusterIdentity(t *testing.T) {
	const namespace = `{"kind":"PartialObjectMetadata","metadata":{"name":"kube-system","uid":"6d5c3a3e-3f0c-4d3e-9f43-6f7f2a1b0c11","labels":{}}}`
	for _, test := range []struct {
		name string
		code int
		body string
		want string // "" means unknown
	}{
		{"of a cluster", 200, namespace, "6d5c3a3e-3f0c-4d3e-9f43-6f7f2a1b0c11"},
		{"forbidden", 403, `{"kind":"Status"}`, ""},
		{"credential refused", 401, "", ""},
		{"not found", 404, "", ""},
		{"of a web page", 200, "<html>", ""},
		{"of another object", 200, `{"metadata":{"name":"default","uid":"u"}}`, ""},
		{"without a uid", 200, `{"metadata":{"name":"kube-system"}}`, ""},
		{"with a uid that is none", 200, `{"metadata":{"name":"kube-system","uid":"a\nb"}}`, ""},
		{"cut", 200, `{"metadata":{"name":"kube-system","uid":"u"},"x":"` + strings.Repeat("x", maxIdentityBody) + `"}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/prefix/api/v1/namespaces/kube-system" || !strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadata") || r.Header.Get("Authorization") != "Bearer t" {
					t.Errorf("request for %s with %v", r.URL, r.Header)
				}
				w.WriteHeader(test.code)
				io.WriteString(w, test.body)
			})
			p := prober(t, HTTPProberOptions{Authorize: func(_ context.Context, _ Target, h http.Header) error { h.Set("Authorization", "Bearer t"); return nil }})
			got, err := p.ClusterIdentity(t.Context(), s.target(t, "/prefix"))
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if (test.want == "") != errors.Is(err, ErrIdentityUnknown) || (test.want != "" && err != nil) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestClusterIdentityOfAnUnreachableServerIsUnknown(t *testing.T) {
	l := listen(t, nil)
	l.Close()
	u := &url.URL{Scheme: "https", User: url.UserPassword("u", "hunter2"), Host: l.Addr().String()}
	uid, err := prober(t, HTTPProberOptions{}).ClusterIdentity(t.Context(), Target{ID: "a", URL: u})
	if uid != "" || !errors.Is(err, ErrIdentityUnknown) {
		t.Errorf("got %q, %v", uid, err)
	}
	if strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v", err)
	}
}

func FuzzNamespaceUID(f *testing.F) {
	f.Add([]byte(`{"metadata":{"name":"kube-system","uid":"u"}}`))
	f.Add([]byte(`{"metadata":{"name":"kube-system","uid":"\u0000"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if uid, ok := namespaceUID(body); ok != (uid != "") || (ok && !checkName([]byte(uid))) {
			t.Errorf("%q, %v", uid, ok)
		}
	})
}
