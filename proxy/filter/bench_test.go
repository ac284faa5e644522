package filter_test

import (
	"testing"

	"github.com/kuberelay/kuberelay/proxy/filter"
)

func BenchmarkAllowed(b *testing.B) {
	for _, bench := range []struct{ name, path, host string }{
		{"list", "/api/v1/namespaces/default/pods", "127.0.0.1:8001"},
		{"pod", "/api/v1/namespaces/kube-system/pods/coredns-5d78c9869d-abcde", "localhost:8001"},
		{"group", "/apis/apps/v1/namespaces/default/deployments/web", "[::1]:8001"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			f := mustNew(b, filter.DefaultConfig())
			b.ReportAllocs()
			for b.Loop() {
				if f.Broken("GET", bench.path, bench.host) != "" {
					b.Fatal("refused")
				}
			}
		})
	}
}
