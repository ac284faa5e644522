package policy

import "testing"

// typical is a policy of the size that teams have.
func typical(tb testing.TB) *Policy {
	return mustCompile(tb,
		Rule{Verbs: list("get"), NonResourceURLs: list("/version", "/healthz", "/livez", "/readyz", "/api", "/api/*", "/apis", "/apis/*", "/openapi/*")},
		Rule{Verbs: list("get", "list", "watch"), APIGroups: list("", "apps", "batch"), Resources: list("pods/log", "pods/status", "services", "configmaps", "deployments", "jobs"), Namespaces: list("team-a", "team-b")},
		Rule{Verbs: list("*"), APIGroups: list("example.org"), Resources: list("*")},
		Rule{Verbs: list("get", "list", "watch"), APIGroups: list(""), Resources: list("pods"), Namespaces: list("team-a", "team-b")},
	)
}

func TestDecidingAllocatesNothing(t *testing.T) {
	p := typical(t)
	for _, line := range []string{"GET /api/v1/namespaces/team-b/pods/web", "GET /api/v1/namespaces/team-b/pods/web/exec upgrade", "GET /openapi/v3"} {
		r := mustParse(t, line)
		if n := testing.AllocsPerRun(100, func() { p.Decide(r) }); n != 0 {
			t.Errorf("%s: %v allocations", line, n)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	p, r := typical(b), mustParse(b, "GET /api/v1/namespaces/team-b/pods/web")
	b.ReportAllocs()
	for b.Loop() {
		if !p.Decide(r).Allowed {
			b.Fatal("denied")
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, query := range map[string]string{"get": "/web", "list": ""} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse("GET", "/api/v1/namespaces/team-b/pods"+query, "limit=500&resourceVersion=0", false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCanonical(b *testing.B) {
	for name, path := range map[string]string{
		"plain": "/api/v1/namespaces/team-b/pods/web", "escaped": "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode", "tail": podProxy + "a/b/../%2e/c%2Fd",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := Canonical(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
