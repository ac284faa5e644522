package gossip

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// all returns everything that r holds, in an order of its own.
func (r *replica) all() message {
	raw, _ := r.message("", func(string) bool { return true })
	m, err := decode(raw)
	if err != nil {
		return message{}
	}
	return m
}

func (r *replica) merge(m message) {
	now := time.Now()
	for _, rec := range m.records {
		for _, e := range rec.entries {
			r.mergeEntry(rec.node, rec.epoch, e, now)
		}
	}
	for _, d := range m.decisions {
		r.mergeDecision(d, now)
	}
}

func replicaOf(messages ...message) *replica {
	r := newReplica()
	for _, m := range messages {
		r.merge(m)
	}
	return r
}

// randomMessage draws from so few nodes, epochs, sequences and bodies that most
// draws are in conflict.
func randomMessage(random *rand.Rand) message {
	var m message
	states := []State{StateReady, StateDown, StateDegraded}
	for range random.IntN(6) {
		r := record{node: fmt.Sprintf("n%d", random.IntN(3)), epoch: 1 + random.Uint64N(3)}
		for range 1 + random.IntN(3) {
			e := entry{key: entryKey{kindObservation, fmt.Sprintf("upstrea%d", random.IntN(3))}, seq: 1 + random.Uint64N(4)}
			e.body = encodeObservation(Observation{State: states[random.IntN(3)]})
			if random.IntN(4) == 0 {
				e.key, e.body = entryKey{kind: kindBeacon}, ""
			}
			r.entries = append(r.entries, e)
		}
		m.records = append(m.records, r)
	}
	for range random.IntN(4) {
		m.decisions = append(m.decisions, encodeIntent(Intent{
			Kind: []IntentKind{Drain, Revoke}[random.IntN(2)], Target: []string{upstreamA, upstreamB}[random.IntN(2)],
			On: random.IntN(2) == 0, Counter: 1 + random.Uint64N(3), By: fmt.Sprintf("n%d", random.IntN(3)),
		}))
	}
	return m
}

var messageOptions = cmp.AllowUnexported(message{}, record{}, entry{}, entryKey{}, decision{}, decisionKey{})

func TestMergeIsAJoin(t *testing.T) {
	const rounds = 600
	for seed := range uint64(rounds) {
		random := rand.New(rand.NewPCG(seed, 1))
		a, b, c := randomMessage(random), randomMessage(random), randomMessage(random)

		once := replicaOf(a, b, c).all()
		check := func(law string, other message) {
			t.Helper()
			if diff := cmp.Diff(once, other, messageOptions); diff != "" {
				t.Fatalf("seed %d: merging is not %s:\n%s", seed, law, diff)
			}
		}
		check("commutative", replicaOf(c, a, b).all())
		check("commutative", replicaOf(b, c, a).all())
		check("associative", replicaOf(a, replicaOf(b, c).all()).all())
		check("associative", replicaOf(replicaOf(a, b).all(), c).all())
		check("idempotent", replicaOf(a, b, c, b, a, a).all())
		check("idempotent", replicaOf(once, once).all())

		// Nor does it matter how the parts are cut into messages.
		var parts []message
		for _, m := range []message{a, b, c} {
			for _, r := range m.records {
				for _, e := range r.entries {
					parts = append(parts, message{records: []record{{r.node, r.epoch, []entry{e}}}})
				}
			}
			for _, d := range m.decisions {
				parts = append(parts, message{decisions: []decision{d}})
			}
		}
		random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		check("independent of the parts", replicaOf(parts...).all())
	}
}

// What a message changes in a replica is news exactly if it changes something:
// otherwise nodes would send each other the same for ever.
func TestOnlyWhatChangesTheReplicaIsNew(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 2))
		r := replicaOf(randomMessage(random), randomMessage(random))
		for _, rec := range randomMessage(random).records {
			for _, e := range rec.entries {
				before := r.all()
				result := r.mergeEntry(rec.node, rec.epoch, e, time.Now())
				changed := !cmp.Equal(before, r.all(), messageOptions)
				if changed != (result == mergedNew) {
					t.Fatalf("seed %d: merging %v gave %v, and changed the replica: %v", seed, e, result, changed)
				}
			}
		}
	}
}

func TestANewRunReplacesEverythingOfTheOneBefore(t *testing.T) {
	r := newReplica()
	now := time.Now()
	observe := func(epoch, seq uint64, upstream string, state State) merged {
		return r.mergeEntry("a", epoch, entry{entryKey{kindObservation, upstream}, seq, encodeObservation(Observation{State: state})}, now)
	}
	observe(1, 5, "upstream", StateDown)
	observe(1, 6, "upstrea2", StateDown)
	if got := observe(2, 1, "upstream", StateReady); got != mergedNew {
		t.Errorf("the new run's first word: %v", got)
	}
	if got := observe(1, 7, "upstrea2", StateDown); got != mergedOlder {
		t.Errorf("the old run's last word: %v", got)
	}
	if facts := r.nodes["a"].facts; len(facts) != 1 {
		t.Errorf("%d facts, want the new run's one", len(facts))
	}
}

func TestAReplicaIsBounded(t *testing.T) {
	r := newReplica()
	now := time.Now()
	beacon := entry{entryKey{kind: kindBeacon}, 1, ""}
	for i := range maxNodes + 10 {
		r.mergeEntry(fmt.Sprintf("n%d", i), 1, beacon, now)
	}
	if got := r.mergeEntry("another", 1, beacon, now); got != mergedFull || len(r.nodes) != maxNodes {
		t.Errorf("node beyond the bound: %v, %d nodes", got, len(r.nodes))
	}
	if got := r.mergeEntry("n1", 2, beacon, now); got != mergedNew {
		t.Errorf("a known node's word, when there is no room for others: %v", got)
	}
	for i := range maxEntries + 10 {
		r.mergeEntry("n2", 1, entry{entryKey{kindObservation, fmt.Sprintf("%08d", i)}, 1, ""}, now)
	}
	if got := len(r.nodes["n2"].facts); got != maxEntries {
		t.Errorf("%d facts of one node, want %d", got, maxEntries)
	}
}

func TestAFullReplicaFitsIntoOneMessage(t *testing.T) {
	r := newReplica()
	now := time.Now()
	for i := range maxDecisions {
		r.mergeDecision(encodeIntent(Intent{
			Kind: Revoke, Target: fmt.Sprintf("%016x", i), On: true, Counter: maxSequence - 1, By: longName('b'), Reason: longText(maxReason), At: now, Until: now,
		}), now)
	}
	for i := range 40 {
		name := fmt.Sprintf("n%d", i)
		for j := range maxEntries {
			r.mergeEntry(name, 1, entry{entryKey{kindObservation, fmt.Sprintf("%08d", j)}, 1, encodeObservation(Observation{State: StateDown, Reason: longText(100)})}, now)
		}
	}
	raw, complete := r.message("n7", func(string) bool { return true })
	if complete || len(raw) > maxState {
		t.Errorf("%d bytes, complete: %v", len(raw), complete)
	}
	m, err := decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.decisions) != maxDecisions || len(m.records) == 0 || m.records[0].node != "n7" {
		t.Errorf("%d decisions and %d records, the first of %s", len(m.decisions), len(m.records), m.records[0].node)
	}
}

func TestFactsExpire(t *testing.T) {
	start := time.Now()
	const ttl = time.Minute
	for name, c := range map[string]struct {
		alive bool
		gone  time.Duration // after start; 0: never seen
		now   time.Duration
		want  bool
	}{
		"of a node that is there, never":                   {alive: true, now: 100 * time.Hour, want: true},
		"of a node that has just gone, not yet":            {gone: time.Hour, now: time.Hour + 59*time.Second, want: true},
		"of a node that has gone, after the time to live":  {gone: time.Hour, now: time.Hour + time.Minute, want: false},
		"of a node that was never there, after that too":   {now: time.Minute, want: false},
		"of a node that was never there, and not at once":  {now: time.Second, want: true},
		"of a node that went before its word came, so too": {gone: -time.Hour, now: 59 * time.Second, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica()
			r.mergeEntry("a", 1, entry{entryKey{kind: kindBeacon}, 1, ""}, start)
			// Hearing it again makes it no younger.
			r.mergeEntry("a", 1, entry{entryKey{kind: kindBeacon}, 1, ""}, start.Add(c.now))
			r.expire(start.Add(c.now), ttl, func(string) (time.Time, bool) {
				if c.gone == 0 {
					return time.Time{}, c.alive
				}
				return start.Add(c.gone), c.alive
			})
			if _, ok := r.nodes["a"]; ok != c.want {
				t.Errorf("kept: %v, want %v", ok, c.want)
			}
		})
	}
}

func TestDecisionsExpire(t *testing.T) {
	start := time.Now()
	for name, c := range map[string]struct {
		intent Intent
		now    time.Duration
		want   bool
	}{
		"one that holds, never":              {Intent{On: true}, 1000 * time.Hour, true},
		"one with an end, not at once":       {Intent{On: true, Until: start.Add(time.Hour)}, 2 * time.Hour, true},
		"one with an end, a day after it":    {Intent{On: true, Until: start.Add(time.Hour)}, 26 * time.Hour, false},
		"one taken back, not for six days":   {Intent{}, 6 * 24 * time.Hour, true},
		"one taken back, after seven days":   {Intent{}, 7 * 24 * time.Hour, false},
		"one taken back that would have end": {Intent{Until: start.Add(time.Hour)}, 26 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.intent.Kind, c.intent.Target, c.intent.By, c.intent.Counter = Drain, upstreamA, "a", 1
			c.intent.At = start
			r := newReplica()
			r.mergeDecision(encodeIntent(c.intent), start.Add(c.now-time.Hour)) // it came a moment ago
			r.expire(start.Add(c.now), time.Minute, func(string) (time.Time, bool) { return time.Time{}, false })
			if got := len(r.decisions) == 1; got != c.want {
				t.Errorf("kept: %v, want %v", got, c.want)
			}
		})
	}
}

func TestMessagesLeaveOutWhoIsNotThere(t *testing.T) {
	r := newReplica()
	for _, name := range []string{"here", "gone"} {
		r.mergeEntry(name, 1, entry{entryKey{kind: kindBeacon}, 1, ""}, time.Now())
	}
	raw, complete := r.message("here", func(n string) bool { return n == "here" })
	m, err := decode(raw)
	if err != nil || !complete {
		t.Fatal(err, complete)
	}
	names := slices.Collect(func(yield func(string) bool) {
		for _, rec := range m.records {
			yield(rec.node)
		}
	})
	if !slices.Equal(names, []string{"here"}) {
		t.Errorf("facts of %v were sent", names)
	}
}
