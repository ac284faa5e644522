package proxy

import (
	"errors"
	"testing"
)

// TestLeaveClusterEndsWatchesOfTheOneThatWasReplaced, and none of the one that
// has its name and servers now: they have just begun anew.
func TestLeaveClusterEndsWatchesOfTheOneThatWasReplaced(t *testing.T) {
	var r Registry
	before, now := &Cluster{Name: "a"}, &Cluster{Name: "a"}
	told := map[*Cluster][]error{}
	for _, c := range []*Cluster{before, now} {
		for _, id := range []string{"1", "2"} {
			f := fly(&r, &Upstream{Cluster: "a", ID: id}, true)
			f.cluster = c
			f.streaming(true, func(err error) { told[c] = append(told[c], err) })
			tunnel := fly(&r, &Upstream{Cluster: "a", ID: id}, true)
			tunnel.cluster = c
			tunnel.streaming(true, nil) // it has no frames, and goes on
		}
	}
	r.LeaveCluster(t.Context(), before)
	if len(told[before]) != 2 || len(told[now]) != 0 {
		t.Fatalf("told %d watches of the old cluster and %d of the new one, want 2 and 0", len(told[before]), len(told[now]))
	}
	for _, err := range told[before] {
		if ended, ok := errors.AsType[*EndedError](err); !ok || ended.Reason != CloseReload {
			t.Errorf("ended with %v, want the reason %s", err, CloseReload)
		}
	}
}
