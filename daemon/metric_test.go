package daemon_test

import (
	"bufio"
	"net/http"
	"strconv"
	"strings"
)

// awaitMetric waits until a series that begins with name has the value.
func (r *relay) awaitMetric(name, value string) {
	r.t.Helper()
	r.await(name+" is "+value, func() bool {
		resp, err := http.Get("http://" + r.Daemon.AdminAddr().String() + "/metrics")
		if err != nil {
			r.t.Fatal(err)
		}
		for line := range strings.Lines(readAll(r.t, resp)) {
			if strings.HasPrefix(line, name) && strings.HasSuffix(line, " "+value+"\n") {
				return true
			}
		}
		return false
	})
}

// metric is the value of one series of /metrics.
func (r *relay) metric(series string) (n int) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), "GET", "http://"+r.Daemon.AdminAddr().String()+"/metrics", http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if count, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			if n, err = strconv.Atoi(count); err != nil {
				r.t.Fatal(err)
			}
			return n
		}
	}
	r.t.Fatalf("/metrics has no series %s", series)
	return 0
}
