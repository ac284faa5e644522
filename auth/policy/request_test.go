package policy

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/endpoints/request"
)

func TestParseReadsWhatKubernetesReads(t *testing.T) {
	for _, test := range []struct {
		name, method, path, query string
		want                      request.RequestInfo
	}{
		{"an escaped subresource is that subresource", "GET", "/api/v1/namespaces/a/pods/web/%65xec", "command=sh", request.RequestInfo{
			IsResourceRequest: true, Path: "/api/v1/namespaces/a/pods/web/exec", Verb: "get", APIPrefix: "api", APIVersion: "v1",
			Namespace: "a", Resource: "pods", Subresource: "exec", Name: "web", Parts: []string{"pods", "web", "exec"},
		}},
		{"so is one with a slash behind it", "GET", "/api/v1/namespaces/a/pods/web/exec/", "", request.RequestInfo{
			IsResourceRequest: true, Path: "/api/v1/namespaces/a/pods/web/exec/", Verb: "get", APIPrefix: "api", APIVersion: "v1",
			Namespace: "a", Resource: "pods", Subresource: "exec", Name: "web", Parts: []string{"pods", "web", "exec"},
		}},
		{"a list of one name has that name", "GET", "/apis/apps/v1/deployments", "watch=1&fieldSelector=metadata.name%3Dweb", request.RequestInfo{
			IsResourceRequest: true, Path: "/apis/apps/v1/deployments", Verb: "watch", APIPrefix: "apis", APIGroup: "apps", APIVersion: "v1",
			Resource: "deployments", Name: "web", Parts: []string{"deployments"}, FieldSelector: "metadata.name=web",
		}},
		{"a namespace is in itself", "HEAD", "/api/v1/namespaces/a", "", request.RequestInfo{
			IsResourceRequest: true, Path: "/api/v1/namespaces/a", Verb: "get", APIPrefix: "api", APIVersion: "v1",
			Namespace: "a", Resource: "namespaces", Name: "a", Parts: []string{"namespaces", "a"},
		}},
		{"discovery is no resource", "HEAD", "/apis/apps/v1", "", request.RequestInfo{
			Path: "/apis/apps/v1", Verb: "head", APIPrefix: "apis",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse(test.method, test.path, test.query, true)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(Request{Info: &test.want, Upgrade: true}, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestParseRefusesWhatCannotBeDecidedOn(t *testing.T) {
	for _, test := range []struct{ name, method, path, query, reason string }{
		{"a path that is not canonical", "GET", "/api//v1/pods", "", "empty segment"},
		{"no method", "", "/api/v1/pods", "", "method"},
		{"a method with a space", "GET /x", "/api/v1/pods", "", "method"},
		{"a method that is not ASCII", "GÉT", "/api/v1/pods", "", "method"},
		{"a space in the query", "GET", "/api/v1/pods", "a=b c", "space or a control character"},
		{"a line feed in the query", "GET", "/api/v1/pods", "a=b\n", "space or a control character"},
		{"a fragment", "GET", "/api/v1/pods", "a=b#c", `"#"`},
		{"more parameters than some servers read", "GET", "/api/v1/pods", strings.Repeat("&", 1000), "more than 1000 parameters"},
		{"a watch of nothing", "GET", "/api/v1/watch", "token=canary", "ends where"},
		{"a proxy of nothing", "GET", "/api/v1/proxy/", "token=canary", "ends where"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse(test.method, test.path, test.query, false)
			var refused *PathError
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, test.reason) {
				t.Fatalf("got %v, want a PathError because of %s", err, test.reason)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the query is in the error: %v", err)
			}
		})
	}
}

func TestVerbIsWhatThePolicyHasToAllow(t *testing.T) {
	const (
		pod     = "/api/v1/namespaces/a/pods/web"
		vm      = "/apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachineinstances/vm"
		account = "/api/v1/namespaces/a/serviceaccounts/default"
	)
	for _, test := range []struct {
		name, method, path, query string
		upgrade                   bool
		want                      string
	}{
		{"reading is get", "GET", pod, "", false, "get"},
		{"so is asking for the head of it", "HEAD", pod, "", false, "get"},
		{"without a name it is list", "GET", "/api/v1/pods", "", false, "list"},
		{"and watch", "GET", "/api/v1/pods", "watch=true", false, "watch"},
		{"watch by path", "GET", "/api/v1/watch/pods", "", false, "watch"},
		{"deleting many", "DELETE", "/api/v1/namespaces/a/pods", "", false, "deletecollection"},
		{"a method that Kubernetes does not have", "PROPFIND", pod, "", false, ""},
		{"a method in lower case", "get", pod, "", false, ""},
		{"OPTIONS of a resource", "OPTIONS", pod, "", false, ""},
		{"a path that is no resource has its method", "HEAD", "/version", "", false, "head"},
		{"whatever that is", "PROPFIND", "/version", "", false, ""},
		{"create is no method", "CREATE", "/version", "", false, ""},

		{"exec by GET", "GET", pod + "/exec", "", false, "create"},
		{"exec by WebSocket", "GET", pod + "/exec", "", true, "create"},
		{"exec by SPDY", "POST", pod + "/exec", "", true, "create"},
		{"attach", "GET", pod + "/attach", "", true, "create"},
		{"port-forward", "GET", pod + "/portforward", "", true, "create"},
		{"proxy of a pod", "GET", pod + "/proxy/a", "", false, "create"},
		{"proxy of a pod, deleting", "DELETE", pod + "/proxy/a", "", false, "create"},
		{"proxy of a pod, with a method of its own", "PROPFIND", pod + "/proxy/a", "", false, "create"},
		{"proxy of a service", "GET", "/api/v1/namespaces/a/services/web/proxy/", "", false, "create"},
		{"proxy of a node", "GET", "/api/v1/nodes/n/proxy/run/a/b/c", "", false, "create"},
		{"proxy, as it was", "GET", "/api/v1/proxy/nodes/n/run", "", false, "create"},
		{"proxy in another group", "GET", "/apis/cluster.karmada.io/v1alpha1/clusters/m/proxy/api", "", false, "create"},
		{"exec below watch", "GET", "/api/v1/watch/namespaces/a/pods/web/exec", "", true, "create"},

		{"reading ephemeral containers", "GET", pod + "/ephemeralcontainers", "", false, "create"},
		{"adding them", "PATCH", pod + "/ephemeralcontainers", "", false, "patch"},
		{"asking for a token", "POST", account + "/token", "", false, "create"},
		{"reading one", "GET", account + "/token", "", false, "create"},
		{"a token of another group", "GET", "/apis/example.org/v1/namespaces/a/serviceaccounts/default/token", "", false, "get"},

		{"a log", "GET", pod + "/log", "follow=true", true, "get"},
		{"a log of another group", "GET", "/apis/example.org/v1/namespaces/a/pods/web/log", "", true, "create"},
		{"a watch by WebSocket", "GET", "/api/v1/pods", "watch=true", true, "watch"},
		{"a console", "GET", vm + "/console", "", true, "create"},
		{"a console, only asked about", "GET", vm + "/console", "", false, "get"},
		{"an upgrade of a list", "GET", "/api/v1/pods", "", true, "create"},
		{"an upgrade of a path that is no resource", "GET", "/version", "", true, "create"},
		{"an upgrade by deleting", "DELETE", pod, "", true, "create"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Parse(test.method, test.path, test.query, test.upgrade)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Verb(); got != test.want {
				t.Errorf("%s %s needs %q, want %q", test.method, test.path, got, test.want)
			}
		})
	}
}
