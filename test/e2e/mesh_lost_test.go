package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"
)

// revision of the whole cluster, which every list has, grows with whatever other
// tests write meanwhile.
var revision = regexp.MustCompile(`"resourceVersion":"[0-9]+"`)

// answers are what one request after another was answered with.
type answers struct {
	mu    sync.Mutex
	count map[string]int // by path and answer, without what is each request's own
}

// ask sends 200 requests a second for things that do not change, half of them
// refused, until stop is closed. A list would change with every write to etcd:
// it has the resourceVersion.
func (a *answers) ask(r *relay, stop <-chan struct{}) {
	paths := []string{"/api/v1/namespaces/default", "/apis/apps/v1", "/version", "/api/v1/nodes", "/api/v1/persistentvolumes", "/metrics"}
	tick := time.NewTicker(time.Second / 200)
	defer tick.Stop()
	var requests sync.WaitGroup
	defer requests.Wait()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		requests.Go(func() {
			path := paths[i%len(paths)]
			code, header, body, err := r.request(http.MethodGet, path, "")
			for _, own := range []string{"Audit-Id", "Date", "Content-Length", "X-Kubernetes-Pf-Flowschema-Uid", "X-Kubernetes-Pf-Prioritylevel-Uid"} {
				header.Del(own)
			}
			body = revision.ReplaceAll(body, nil)
			answer := fmt.Sprintf("%s: HTTP %d %v %s %v", path, code, header, body, err)
			a.mu.Lock()
			a.count[answer]++
			a.mu.Unlock()
		})
	}
}

// TestMeshLost takes all gossip from all nodes at once, in the middle of a load
// and of forgeries, and gives it back: not one request's answer differs.
func TestMeshLost(t *testing.T) {
	t.Parallel()
	m := startCuttable(t)
	phase := func(during func()) *answers {
		a := &answers{count: make(map[string]int)}
		stop := make(chan struct{})
		var nodes sync.WaitGroup
		for _, n := range m.nodes {
			nodes.Go(func() { a.ask(n.byToken(m.alice), stop) })
		}
		during()
		close(stop)
		nodes.Wait()
		return a
	}
	held := func(d time.Duration) { <-time.NewTimer(d).C }
	whole := phase(func() { held(3 * time.Second) })
	lost := phase(func() {
		end := m.forge()
		held(5 * time.Second)
		for i := range m.nodes {
			m.network.cut(gossipLink(i))
		}
		for _, n := range m.nodes {
			others := make(map[string]string)
			for i := range m.nodes {
				if i != n.index {
					others[nodeName(i)] = "dead"
				}
			}
			n.awaitPeers(others, 30*time.Second)
		}
		held(2 * time.Second)
		for i := range m.nodes {
			m.network.mend(gossipLink(i))
		}
		m.awaitWhole(20 * time.Second)
		held(2 * time.Second)
		t.Logf("forged meanwhile: %v", end())
		m.awaitWhole(20 * time.Second)
	})
	n := 0
	for answer, times := range lost.count {
		if n += times; whole.count[answer] == 0 {
			t.Errorf("%d times, with gossip lost, an answer that there is not with it: %.500s", times, answer)
		}
	}
	if len(lost.count) != len(whole.count) || n < 1000 {
		t.Errorf("%d answers of %d kinds, want at least 1000, of %d", n, len(lost.count), len(whole.count))
	}
	t.Logf("%d answers while gossip was lost and came back, of the same %d kinds", n, len(whole.count))
}
