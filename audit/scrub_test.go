package audit

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// scrubbed returns e's requestURI as a reader of the log sees it.
func scrubbed(t *testing.T, e *Event) string {
	t.Helper()
	l := line{b: []byte(`"`)}
	l.uri(e, maxURI)
	var s string
	if err := json.Unmarshal(append(l.b, '"'), &s); err != nil {
		t.Fatalf("%v in %s", err, l.b)
	}
	return s
}

func TestSecretsAreTakenOutOfTheURI(t *testing.T) {
	pods := &ObjectRef{Resource: "pods"}
	exec := &ObjectRef{Resource: "pods", Namespace: "proxy", Name: "proxy", Subresource: "exec"}
	proxy := &ObjectRef{Resource: "services", Name: "web", Subresource: "proxy"}
	for name, tc := range map[string]struct {
		object    *ObjectRef
		verb      string
		uri, want string
	}{
		"no query":                 {uri: "/api/v1/pods", want: "/api/v1/pods"},
		"an empty query":           {uri: "/api/v1/pods?", want: "/api/v1/pods?"},
		"an access token":          {pods, "list", "/api/v1/pods?watch=true&access_token=S3&limit=1", "/api/v1/pods?watch=true&access_token=[redacted]&limit=1"},
		"other names of secrets":   {pods, "", "/?token=S3&id_token=S3&code=S3&password=S3&secret=S3&key=S3&authorization=S3", "/?token=[redacted]&id_token=[redacted]&code=[redacted]&password=[redacted]&secret=[redacted]&key=[redacted]&authorization=[redacted]"},
		"names with more in them":  {pods, "", "/?client_secret=S3&X-Amz-Security-Token=S3&X-Amz-Signature=S3&api.key=S3&token[]=S3", "/?client_secret=[redacted]&X-Amz-Security-Token=[redacted]&X-Amz-Signature=[redacted]&api.key=[redacted]&token[]=[redacted]"},
		"upper case":               {pods, "", "/?Access_TOKEN=S3", "/?Access_TOKEN=[redacted]"},
		"an encoded name":          {pods, "", "/?%74ok%65n=S3&toke%6E=S3&%54oken=S3&%zztoken=S3", "/?%74ok%65n=[redacted]&toke%6E=[redacted]&%54oken=[redacted]&%zztoken=[redacted]"},
		"a name that is too long":  {pods, "", "/?" + strings.Repeat("a", 65) + "=S3", "/?" + strings.Repeat("a", 65) + "=[redacted]"},
		"a value with an =":        {pods, "", "/?token=S3=S3&a=b=c", "/?token=[redacted]&a=b=c"},
		"a question mark in it":    {pods, "", "/?a=b?token=S3&token=S3?S3", "/?a=b?token=S3&token=[redacted]"},
		"semicolons":               {pods, "", "/?a=b;token=S3;c=d", "/?a=b;token=[redacted];c=d"},
		"a secret without a value": {pods, "", "/?token&token=&a", "/?token&token=&a"},

		"exec keeps its command, whatever the names": {
			exec, "create",
			"/api/v1/namespaces/proxy/pods/proxy/exec?command=sh&command=-c&command=echo+token%3D1&container=web&tty=true&stdin=true",
			"/api/v1/namespaces/proxy/pods/proxy/exec?command=sh&command=-c&command=echo+token%3D1&container=web&tty=true&stdin=true",
		},
		"what goes through a proxy has none": {proxy, "create", "/api/v1/namespaces/a/services/web/proxy/login?user=S3&p=S3", "/api/v1/namespaces/a/services/web/proxy/login?[redacted]"},
		"nor in the form of old servers":     {&ObjectRef{Resource: "nodes"}, "proxy", "/api/v1/proxy/nodes/n?a=S3", "/api/v1/proxy/nodes/n?[redacted]"},
		"nor before the path is understood":  {nil, "get", "/api/v1/nodes/n/proxy/?a=S3", "/api/v1/nodes/n/proxy/?[redacted]"},
		"nor where it ends so":               {nil, "get", "/api/v1/nodes/n/proxy?a=S3", "/api/v1/nodes/n/proxy?[redacted]"},
		"nor where it is encoded":            {nil, "get", "/api/v1/nodes/n%2F%70rOxy%5cx?a=S3", "/api/v1/nodes/n%2F%70rOxy%5cx?[redacted]"},
		"a kube-proxy is no proxy":           {nil, "get", "/a/kube-proxy/proxyx/pro/xy?a=b", "/a/kube-proxy/proxyx/pro/xy?a=b"},

		"user information of an absolute URI":   {uri: "http://u:S3@127.0.0.1:8001/api?a=b", want: "http://[redacted]@127.0.0.1:8001/api?a=b"},
		"of one that has two at signs":          {uri: "http://u:S3@S3@h/a@b", want: "http://[redacted]@h/a@b"},
		"of an authority":                       {uri: "u:S3@h:443", want: "[redacted]@h:443"},
		"of a path that could be one":           {uri: "//u:S3@h/a", want: "//[redacted]@h/a"},
		"an at sign in a path is none":          {uri: "/a@b//c@d", want: "/a@b//c@d"},
		"the asterisk of OPTIONS is not a path": {uri: "*", want: "*"},
	} {
		t.Run(name, func(t *testing.T) {
			got := scrubbed(t, &Event{RequestURI: tc.uri, Object: tc.object, Verb: tc.verb})
			if got != tc.want {
				t.Errorf("requestURI = %s, want %s", got, tc.want)
			}
		})
	}
}

// The parameters that the API server and kubelet read, from the types
// ListOptions, GetOptions, CreateOptions, UpdateOptions, PatchOptions,
// DeleteOptions, PodLogOptions, PodExecOptions and PodPortForwardOptions.
func TestParametersOfTheAPIStay(t *testing.T) {
	for _, name := range []string{
		"allowWatchBookmarks", "command", "container", "continue", "dryRun", "exclude", "fieldManager", "fieldSelector", "fieldValidation",
		"follow", "force", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential", "insecureSkipTLSVerifyBackend",
		"labelSelector", "limit", "limitBytes", "orphanDependents", "path", "ports", "pretty", "previous", "propagationPolicy",
		"resourceVersion", "resourceVersionMatch", "sendInitialEvents", "shardSelector", "sinceSeconds", "sinceTime", "stderr", "stdin",
		"stdout", "stream", "tailLines", "timeout", "timeoutSeconds", "timestamps", "tty", "verbose", "watch",
	} {
		if looksSecret(name) {
			t.Errorf("%s is taken for a secret", name)
		}
	}
}

// Cutting comes after scrubbing: a secret that would not have fitted is not
// what is left of it.
func TestLongURIsAreScrubbedBeforeTheyAreCut(t *testing.T) {
	pad := strings.Repeat("a", maxURI-20)
	got := scrubbed(t, &Event{RequestURI: "/" + pad + "?token=S3CRET&x=" + pad, Object: &ObjectRef{}})
	if strings.Contains(got, "S3") || !strings.HasSuffix(got, cut) || len(got) > maxURI {
		t.Errorf("requestURI has %d bytes and ends in %q", len(got), got[len(got)-30:])
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("/api/v1/pods", "watch=true&access_token=x&a=b")
	f.Add("//u:p@h/", "%74oken=x;y&&=&token")
	f.Fuzz(func(t *testing.T, path, query string) {
		if len(path)+len(query) > 1000 || !utf8.ValidString(path) || !utf8.ValidString(query) || strings.Contains(path, "?") {
			return
		}
		got := scrubbed(t, &Event{RequestURI: path + "?" + query, Object: &ObjectRef{}})
		gotPath, gotQuery, _ := strings.Cut(got, "?")
		if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") && gotPath != path {
			t.Errorf("path = %q, want %q", gotPath, path)
		}
		// As API servers parse it: pairs that are malformed do not count.
		before, _ := url.ParseQuery(query)
		after, _ := url.ParseQuery(gotQuery)
		for name, values := range after {
			if looksSecret(url.QueryEscape(name)) {
				for _, v := range values {
					if v != "" && v != redacted {
						t.Errorf("%s = %q is in %q", name, v, got)
					}
				}
			} else if !slices.Equal(values, before[name]) {
				t.Errorf("%s = %q, want %q", name, values, before[name])
			}
		}
		for name := range before {
			if _, kept := after[name]; !kept {
				t.Errorf("%q is missing in %q", name, got)
			}
		}
	})
}
