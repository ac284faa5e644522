package policy

import (
	"bufio"
	"errors"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// FuzzParse wants that whatever is accepted, the API server reads as Parse
// did; that nothing which cleans paths on the way to it makes another request
// of it; and that a read-only policy lets nothing pass that is not reading.
func FuzzParse(f *testing.F) {
	const pod = "/api/v1/namespaces/a/pods/web"
	for _, path := range []string{
		"/", "/version", "/healthz/", "/api/v1", "/apis/apps/v1/", "/api/v1/watch", "/api/v1/watch/pods", "/api/v1/proxy/nodes/n/run",
		"/api/v1/namespaces/a/status", "/api/v1/namespaces/a/finalize/x", "/api/v1/namespaces/status/pods/web",
		pod, pod + "/%65xec", pod + "/exec/", pod + "%2Fexec", pod + "/p%2fexec", "/api/v1/namespaces/a%2F..%2Fb/secrets",
		"/api/v1/namespaces/../secrets", "/api/v1/namespaces/%2e%2e/secrets", "//api/v1/pods", "/api/v1/pods//", "/api/v1/pods/",
		pod + "#x", pod + `\x`, pod + "%5cx", pod + "%00", pod + "%0a", pod + "%", pod + "%C3%BC", pod + "%252e%252e", pod + ";x", pod + "/..;/x",
		pod + "/proxy/..%2f..%2fexec", pod + "/proxy/a/../b", pod + "/proxy/a//../../exec", pod + "/proxy/%252e%252e/exec", pod + `/proxy/a\..\..`,
		pod + "/proxy/%2e%2e;x/", pod + "/proxy/a%2fb%5c..", pod + "/proxy/\xff%ff", "/api/v1/nodes/n/proxy/run/a/b/c",
		"/%61pi/v1/nodes/n/proxy/a//b", "/api/v1/namespaces/a/services/https:web:443/proxy/%2f/",
	} {
		f.Add("GET", path, "", false)
	}
	for _, query := range []string{
		"watch=true", "watch=0", "watch=FALSE", "watch&watch=0", "watch=1;x", "%77atch=1", "limit=x&watch=1", "a=b#c", "fieldSelector=metadata.name%3Dweb",
		"fieldSelector=metadata.name=..", "fieldSelector=&fieldSelector=metadata.name=a", "labelSelector=%", "?", "&&", "a=b c", "a\r\nb",
	} {
		f.Add("GET", "/api/v1/pods", query, true)
		f.Add("DELETE", "/apis/apps/v1/namespaces/a/deployments", query, false)
	}
	for _, method := range []string{"HEAD", "POST", "PUT", "PATCH", "OPTIONS", "CONNECT", "get", "PRI", "", "G T", "GET\n", "ÄT"} {
		f.Add(method, pod, "", false)
		f.Add(method, "/version", "", true)
	}
	readOnly, err := Compile(Config{Name: "read-only", Rules: []Rule{
		{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
		{Verbs: []string{"get", "head", "options"}, NonResourceURLs: []string{"*"}},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, query string, upgrade bool) {
		r, err := Parse(method, path, query, upgrade)
		var refused *PathError
		if err != nil {
			if !errors.As(err, &refused) || refused.Reason == "" {
				t.Fatalf("not a PathError: %v", err)
			}
			return
		}
		target := path
		if query != "" {
			target += "?" + query
		}
		read, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: kubernetes\r\n\r\n")))
		if err != nil {
			t.Fatalf("accepted, and cannot be read: %v", err)
		}
		upstream := requestInfo(t, read)
		if diff := cmp.Diff(upstream, r.Info); diff != "" {
			t.Fatalf("%s %s: upstream's reading -, ours +:\n%s", method, target, diff)
		}
		holdReadOnly(t, readOnly, &r, upstream)
		holdCleaned(t, path, read, upstream)
	})
}

// requestInfo reads a request as an API server does that has it from the wire.
func requestInfo(t *testing.T, read *http.Request) *request.RequestInfo {
	t.Helper()
	factory := request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	info, err := factory.NewRequestInfo(read)
	if err != nil {
		t.Fatalf("accepted, and the API server refuses it: %v", err)
	}
	return info
}

// holdReadOnly fails if a policy of nothing but reading allows what changes
// something, or may.
func holdReadOnly(t *testing.T, readOnly *Policy, r *Request, info *request.RequestInfo) {
	t.Helper()
	d := readOnly.Decide(r)
	if d.Reason() == "" {
		t.Fatal("no reason is given")
	}
	if !d.Allowed {
		return
	}
	of := info.Resource + "/" + info.Subresource
	switch {
	case info.IsResourceRequest && !slices.Contains(list("get", "list", "watch"), info.Verb),
		!info.IsResourceRequest && !slices.Contains(list("get", "head", "options"), info.Verb),
		slices.Contains(list("exec", "attach", "portforward", "proxy"), info.Subresource),
		info.APIGroup == "" && (of == "pods/ephemeralcontainers" || of == "serviceaccounts/token"),
		r.Upgrade && of != "pods/log" && info.Verb != "watch":
		t.Fatalf("a read-only policy allows %+v, upgrade %v", info, r.Upgrade)
	}
}

var (
	escape     = regexp.MustCompile("%[0-9A-Fa-f]{2}")
	dot        = regexp.MustCompile("%2[Ee]")
	parameters = regexp.MustCompile(";[^/]*")
)

func unescape(s string) string {
	return escape.ReplaceAllStringFunc(s, func(e string) string {
		c, _ := strconv.ParseUint(e[1:], 16, 8)
		return string([]byte{byte(c)})
	})
}

func slashes(s string) string { return strings.ReplaceAll(s, `\`, "/") }

// unparametered takes ";x=y" off all segments, as servlet containers do.
func unparametered(s string) string { return parameters.ReplaceAllString(s, "") }

// holdCleaned fails if something that cleans paths would make another request
// of the one that the API server has read. What it hands on is decoded again
// by the API server if it did not decode it.
func holdCleaned(t *testing.T, escaped string, read *http.Request, want *request.RequestInfo) {
	t.Helper()
	head, tail := cutProxyTail(escaped)
	for name, cleaned := range map[string]string{
		"cleaned":                                 unescape(clean(escaped)),
		"cleaned with its encoded dots":           unescape(clean(dot.ReplaceAllString(escaped, "."))),
		"decoded and cleaned":                     clean(unescape(escaped)),
		"decoded twice":                           clean(unescape(unescape(escaped))),
		"cleaned with backslashes":                unescape(clean(slashes(escaped))),
		"decoded and cleaned with backslashes":    clean(slashes(unescape(escaped))),
		"decoded twice, cleaned with backslashes": clean(slashes(unescape(unescape(escaped)))),
	} {
		other := *read
		url := *read.URL
		other.URL, url.Path = &url, cleaned
		got := requestInfo(t, &other)
		if tail == "" {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s, %q is another request, read -, cleaned +:\n%s", name, escaped, diff)
			}
			continue
		}
		if !strings.HasPrefix(cleaned+"/", unescape(head)) {
			t.Fatalf("%s, %q leads out of %q: %q", name, escaped, head, cleaned)
		}
		if got.Subresource != "proxy" || got.Resource != want.Resource || got.Name != want.Name || got.Namespace != want.Namespace || got.Verb != want.Verb {
			t.Fatalf("%s, %q is another request: %+v", name, escaped, got)
		}
	}
	if cleaned := clean(unparametered(unescape(unescape(escaped)))); tail != "" && !strings.HasPrefix(cleaned+"/", clean(unparametered(unescape(head)))) {
		t.Fatalf("%q leads out of %q when parameters are taken off: %q", escaped, head, cleaned)
	}
}

// clean is path.Clean that keeps a slash at the end.
func clean(p string) string {
	c := path.Clean(p)
	if strings.HasSuffix(p, "/") && c != "/" {
		c += "/"
	}
	return c
}
