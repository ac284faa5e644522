package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// withToken stands between the load generator and the origin, as a proxy does.
func withToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+token)
		next.ServeHTTP(w, r)
	})
}

func TestTheLoadGeneratorKnowsRightAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		handler http.Handler
		path    string
		size    int
		wrong   string // part of the error
	}{
		"get":          {withToken(originHandler()), smallPath, smallSize, ""},
		"list":         {withToken(originHandler()), listPath, listSize, ""},
		"no token":     {originHandler(), smallPath, smallSize, "401"},
		"no such path": {withToken(originHandler()), "/x", smallSize, "404"},
		"wrong size":   {withToken(originHandler()), smallPath, smallSize - 1, "1024 bytes"},
		"cut short": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1024")
			_, _ = io.WriteString(w, "half")
		}), "/", 1024, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(tc.handler)
			defer s.Close()
			c, err := dialClient(s.Listener.Addr().String(), tc.path, tc.size)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.conn.Close() }()
			now := time.Now()
			c.work(now, now.Add(50*time.Millisecond))
			l := sum([]*client{c}, 50*time.Millisecond)
			if tc.wrong == "" && (l.Errors != 0 || l.Requests < 2 || l.P50 <= 0 || l.P99 < l.P50 || l.Max < l.P99) {
				t.Errorf("load %+v", l)
			}
			if tc.wrong != "" && (l.Errors != 1 || l.Requests != 0 || !strings.Contains(l.First, tc.wrong)) {
				t.Errorf("load %+v, want an error with %q", l, tc.wrong)
			}
		})
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	m := func(round int, proxy, workload string, cpu float64) measurement {
		return measurement{Round: round, Proxy: proxy, Workload: workload, CPU: cpu, load: load{Requests: 1, Seconds: 1}}
	}
	r := result{
		Proxies: []proxyInfo{{Name: "kubectl"}, {Name: "kuberelay", PeakRSS: 61 << 20}},
		Measurements: []measurement{
			m(1, "kubectl", "get", 100), m(1, "kuberelay", "get", 50), m(1, "kuberelay", "list", 900), m(1, "kubectl", "list", 1000),
			m(2, "kuberelay", "get", 120), m(2, "kubectl", "get", 200), m(2, "kubectl", "list", 1000), m(2, "kuberelay", "list", 700),
			m(3, "kubectl", "get", 100), m(3, "kuberelay", "get", 55), m(3, "kubectl", "list", 1000), m(3, "kuberelay", "list", 800),
		},
	}
	r.summarise()
	want := []ratio{
		{"get", "kubectl", spread{Median: 0.55, Min: 0.5, Max: 0.6}},
		{"list", "kubectl", spread{Median: 0.8, Min: 0.7, Max: 0.9}},
	}
	if diff := cmp.Diff(want, r.Ratios, cmp.AllowUnexported(ratio{}, spread{})); diff != "" {
		t.Error(diff)
	}
	err := r.check(config{maxRatio: 0.6, maxRSS: 60})
	if err == nil || strings.Contains(err.Error(), "get:") || !strings.Contains(err.Error(), "list: kuberelay needs 0.80") ||
		!strings.Contains(err.Error(), "61.0 MiB") {
		t.Errorf("check says %v", err)
	}
	if err := r.check(config{maxRatio: 0.8, maxRSS: 61}); err != nil {
		t.Errorf("check says %v", err)
	}
	var table strings.Builder
	r.print(&table)
	if !strings.Contains(table.String(), "get: kuberelay / kubectl = 0.55 (0.50–0.60)") {
		t.Errorf("table:\n%s", &table)
	}
	file := filepath.Join(t.TempDir(), "r.json")
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), `"cpuMicrosecondsPerRequest": 120`) {
		t.Errorf("%v\n%s", err, b)
	}
}

func TestCPUTimeIsThatOfAllThreads(t *testing.T) {
	pid := os.Getpid()
	before, err := cpuTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	busy := make(chan struct{})
	start := time.Now()
	go func() {
		defer close(busy)
		for time.Since(start) < 10*time.Second {
			if now, err := cpuTime(pid); err != nil || now > before {
				return
			}
		}
	}()
	<-busy
	after, err := cpuTime(pid)
	if err != nil || after <= before {
		t.Errorf("%v after %v, %v", after, before, err)
	}
	if rss, err := peakRSS(pid); err != nil || rss < 1<<20 || rss > 1<<34 {
		t.Errorf("peak memory %d, %v", rss, err)
	}
}

func TestFlags(t *testing.T) {
	c, err := parseFlags([]string{"-rounds", "2", "-with", "haproxy,nginx", "-check"})
	if err != nil || c.rounds != 2 || !c.check || len(c.with) != 2 || c.maxRatio != 0.6 || c.maxRSS != 60 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, args := range [][]string{{"-rounds", "0"}, {"extra"}, {"-duration", "1ms"}} {
		if _, err := parseFlags(args); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
