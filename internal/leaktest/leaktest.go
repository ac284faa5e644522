// Package leaktest finds goroutines that tests of packages with gossip leave
// behind.
package leaktest

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main runs the tests and fails them for each goroutine that is left. memberlist
// ends without waiting for the probe that is under way; that one gets until its
// deadline, which is seconds, and no other.
func Main(m *testing.M) { goleak.VerifyTestMain(patient{m}) }

type patient struct{ m *testing.M }

// probeTimeout is longer than memberlist's probes wait: their interval, a
// second, times what a node in doubt of itself takes, three.
const probeTimeout = 10 * time.Second

// Run implements [goleak.TestingM].
func (p patient) Run() int {
	code := p.m.Run()
	limit := time.Now().Add(probeTimeout)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for probing() && time.Now().Before(limit) {
		<-tick.C
	}
	return code
}

// probing says whether a probe of memberlist's is under way.
func probing() bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Contains(stacks, []byte("memberlist.(*Memberlist).probeNode"))
}
