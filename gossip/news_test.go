package gossip

import (
	"bytes"
	"fmt"
	"testing"
)

// drain takes packets of a size until nothing waits, and counts what was sent.
func drain(q *queue, limit int) map[string]int {
	sent := map[string]int{}
	for range 10_000 {
		taken := q.take(3, limit)
		if len(taken) == 0 {
			break
		}
		for _, raw := range taken {
			sent[string(raw)]++
		}
	}
	return sent
}

func TestEachPieceOfNewsIsSentOftenEnough(t *testing.T) {
	for nodes, want := range map[int]int{1: 4, 2: 4, 9: 4, 10: 8, 20: 8, 99: 8, 100: 12} {
		q := newQueue(func() int { return nodes })
		for i := range 50 {
			q.add(fmt.Sprint(i), fmt.Appendf(nil, "%02d", i))
		}
		for raw, n := range drain(q, 100) {
			if n != want {
				t.Errorf("with %d nodes, %s was sent %d times, want %d", nodes, raw, n, want)
			}
		}
	}
}

// memberlist's own queue loses one of two here.
func TestNewsOfOneLengthThatComesWhenTheQueueWasEmptyIsNotLost(t *testing.T) {
	q := newQueue(func() int { return 3 })
	q.add("a", []byte("a1"))
	q.take(3, 100)
	q.add("b", []byte("b1"))
	sent := drain(q, 100)
	if sent["a1"] != 3 || sent["b1"] != 4 {
		t.Errorf("sent %v, want a1 three times more and b1 four times", sent)
	}
}

func TestNewerNewsTakesThePlaceOfOlder(t *testing.T) {
	q := newQueue(func() int { return 3 })
	q.add("a", []byte("a1"))
	q.take(3, 100)
	q.add("a", []byte("a2"))
	if sent := drain(q, 100); sent["a1"] != 0 || sent["a2"] != 4 {
		t.Errorf("sent %v", sent)
	}
}

func TestWhatWasSentLeastGoesFirstAndPacketsAreFilled(t *testing.T) {
	q := newQueue(func() int { return 3 })
	q.add("old", bytes.Repeat([]byte("o"), 40))
	q.take(3, 100)
	q.add("large", bytes.Repeat([]byte("l"), 80))
	q.add("small", bytes.Repeat([]byte("s"), 10))
	taken := q.take(3, 100)
	if len(taken) != 2 || taken[0][0] != 's' || taken[1][0] != 'l' {
		t.Errorf("took %q, want the two new ones", taken)
	}
	if got := q.take(3, 60); len(got) != 2 || got[0][0] != 's' || got[1][0] != 'o' {
		t.Errorf("took %q, want what fits", got)
	}
	if got := q.take(3, 12); len(got) != 0 {
		t.Errorf("took %q where nothing fits", got)
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	q := newQueue(func() int { return 3 })
	pruned := 0
	for i := range 3 * maxQueued {
		pruned += q.add(fmt.Sprint(i), []byte("x"))
	}
	if q.len() > maxQueued || q.len()+pruned != 3*maxQueued {
		t.Errorf("%d wait and %d were pruned", q.len(), pruned)
	}
	q.clear()
	if q.len() != 0 || q.take(3, 100) != nil {
		t.Error("something is left")
	}
}
