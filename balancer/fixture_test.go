package balancer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pass lets time go by, and all that falls due in it happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// newTestPool returns a pool of members a, b, c…, one for each class.
func newTestPool(policy Policy, classes ...Class) *Pool[string] {
	c := DefaultConfig()
	c.Policy = policy
	p := NewPool[string](c, Options{})
	p.Set(testMembers(classes...))
	return p
}

func testMembers(classes ...Class) []Member[string] {
	var members []Member[string]
	for i, class := range classes {
		id := string(rune('a' + i))
		members = append(members, Member[string]{ID: id, Value: "https://" + id, Class: class})
	}
	return members
}

func mustPick(t *testing.T, p *Pool[string], r Request) Attempt[string] {
	t.Helper()
	a, ok := p.Pick(r)
	if !ok {
		t.Fatalf("Pick(%+v) found nothing among %+v", r, p.Status())
	}
	return a
}

// picked returns the ID that a request gets, which it gives back at once.
func picked(t *testing.T, p *Pool[string], r Request) string {
	t.Helper()
	a := mustPick(t, p, r)
	a.Report(Neutral)
	a.Done()
	return a.ID()
}

// report sends requests to one member of many, whatever the policy says.
func report(t *testing.T, p *Pool[string], id string, outcomes ...Outcome) {
	t.Helper()
	for _, o := range outcomes {
		a := attemptAt(t, p, id)
		a.Report(o)
		a.Done()
	}
}

func attemptAt(t *testing.T, p *Pool[string], id string) Attempt[string] {
	t.Helper()
	var others []string
	for _, m := range p.Status() {
		if m.ID != id {
			others = append(others, m.ID)
		}
	}
	return mustPick(t, p, Request{Key: "fixture", Tried: others})
}

func times(n int, o Outcome) []Outcome {
	outcomes := make([]Outcome, n)
	for i := range outcomes {
		outcomes[i] = o
	}
	return outcomes
}

func status(t *testing.T, p *Pool[string], id string) MemberStatus {
	t.Helper()
	for _, m := range p.Status() {
		if m.ID == id {
			return m
		}
	}
	t.Fatalf("%s is not in the pool", id)
	return MemberStatus{}
}

// classOf is the class of a member, which the status does not show.
func classOf(p *Pool[string], id string) Class {
	return find(p.current.Load().entries, id).class
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
