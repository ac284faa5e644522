package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// load is a mixed load of single requests that nobody repeats.
type load struct {
	relay     *relay
	namespace string
	run       string // label value of everything this run creates

	mu      sync.Mutex
	reads   []sample
	creates []sample
}

// sample is one request's end.
type sample struct {
	id         int
	start      time.Time
	took       time.Duration
	code       int
	retryAfter string
	body       string
	err        error
}

func (s sample) String() string {
	return fmt.Sprintf("#%d at %s after %v: HTTP %d Retry-After %q %v %.200s",
		s.id, s.start.Format("15:04:05.000"), s.took, s.code, s.retryAfter, s.err, s.body)
}

// readPaths are the kinds of reads in the mix: quorum and cached, core and
// named groups, one object and lists, and discovery.
func (l *load) readPath(i int) string {
	paths := []string{
		"/api/v1/namespaces/" + l.namespace + "/configmaps?limit=10",
		"/api/v1/namespaces/default",
		"/apis/apps/v1/deployments?resourceVersion=0",
		"/api/v1/pods?resourceVersion=0",
		"/apis/apps/v1",
		"/version",
	}
	return paths[i%len(paths)]
}

const createEvery = 5 // one request in five is a create

// start sends rate requests a second for the given time. The returned func
// waits for the last answer.
func (l *load) start(rate int, duration time.Duration) (wait func()) {
	stop := make(chan struct{})
	time.AfterFunc(duration, func() { close(stop) })
	return l.startUntil(rate, stop)
}

// startUntil sends rate requests a second until stop is closed: a request is
// begun when it is due, however long others take.
func (l *load) startUntil(rate int, stop <-chan struct{}) (wait func()) {
	var requests sync.WaitGroup
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			requests.Go(func() { l.one(i) })
		}
	}()
	return func() {
		<-done
		requests.Wait()
	}
}

// awaitRequests waits until n requests were answered.
func (l *load) awaitRequests(n int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		l.mu.Lock()
		answered := len(l.reads) + len(l.creates)
		l.mu.Unlock()
		if answered >= n {
			return
		}
	}
}

func (l *load) one(i int) {
	method, path, body := http.MethodGet, l.readPath(i), ""
	if i%createEvery == 0 {
		method, path = http.MethodPost, "/api/v1/namespaces/"+l.namespace+"/configmaps"
		body = fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"load-","labels":{"run":%q,"id":"%d"}}}`, l.run, i)
	}
	s := sample{id: i, start: time.Now()}
	var header http.Header
	var answer []byte
	s.code, header, answer, s.err = l.relay.request(method, path, body)
	s.took = time.Since(s.start)
	s.retryAfter = header.Get("Retry-After")
	if s.code >= 400 {
		s.body = string(answer)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if method == http.MethodPost {
		l.creates = append(l.creates, s)
	} else {
		l.reads = append(l.reads, s)
	}
}

// checkReads fails the test for every read that did not succeed.
func (l *load) checkReads(t *testing.T) {
	t.Helper()
	failed := 0
	for _, s := range l.reads {
		if s.err != nil || s.code != http.StatusOK {
			t.Errorf("read failed: %v", s)
			failed++
		}
	}
	slowest := slices.MaxFunc(l.reads, func(a, b sample) int { return int(a.took - b.took) })
	t.Logf("%d reads, %d failed, the slowest took %v", len(l.reads), failed, slowest.took)
}

// slowestRead is how long any read took at most.
func (l *load) slowestRead() sample {
	return slices.MaxFunc(l.reads, func(a, b sample) int { return int(a.took - b.took) })
}

// checkCreates holds the creates to what the cluster has: none twice, each
// confirmed one there, and each other one reported as lost, by 502 or 504
// without Retry-After. It returns how many were reported lost.
func (l *load) checkCreates(t *testing.T) (lost int) {
	t.Helper()
	code, _, body, err := l.relay.request(http.MethodGet, "/api/v1/namespaces/"+l.namespace+"/configmaps?labelSelector=run%3D"+l.run, "")
	if err != nil || code != http.StatusOK {
		t.Fatalf("list what was created: HTTP %d %v %s", code, err, body)
	}
	var list struct {
		Items []struct {
			Metadata struct{ Labels map[string]string }
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatal(err)
	}
	objects := make(map[string]int)
	for _, item := range list.Items {
		objects[item.Metadata.Labels["id"]]++
	}
	for _, s := range l.creates {
		n := objects[fmt.Sprint(s.id)]
		switch {
		case n > 1:
			t.Errorf("create #%d was made %d times", s.id, n)
		case s.code == http.StatusCreated && n != 1:
			t.Errorf("create #%d was confirmed and is not there", s.id)
		case s.code == http.StatusCreated:
		case (s.code == http.StatusBadGateway || s.code == http.StatusGatewayTimeout) && s.retryAfter == "" && strings.Contains(s.body, `"kind":"Status"`):
			lost++
		default:
			t.Errorf("create not confirmed and not reported as lost: %v", s)
		}
	}
	t.Logf("%d creates, %d confirmed, %d reported as possibly lost; %d objects", len(l.creates), len(l.creates)-lost, lost, len(list.Items))
	return lost
}
