package gossip

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Whatever a peer sends, it is refused, or it means the same after it was
// passed on, and every fact in it can be read and sent on by itself.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{wireVersion})
	f.Add(sample.encode())
	f.Add(sample.encode()[:40])
	f.Add([]byte("\x02hello"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := decode(raw)
		if err != nil {
			return
		}
		again, err := decode(m.encode())
		if err != nil || !cmp.Equal(m, again, messageOptions) {
			t.Fatalf("not the same after it was passed on: %v\n%s", err, cmp.Diff(m, again, messageOptions))
		}
		for _, r := range m.records {
			for _, e := range r.entries {
				if n := len(message{records: []record{{r.node, r.epoch, []entry{e}}}}.encode()); n > maxMessage {
					t.Fatalf("an entry has %d bytes by itself", n)
				}
				e.asObservation(r.node)
			}
		}
		for _, d := range m.decisions {
			if n := len(message{decisions: []decision{d}}.encode()); n > maxMessage {
				t.Fatalf("a decision has %d bytes by itself", n)
			}
			if _, err := d.intent(); err != nil {
				t.Fatalf("a decision that was taken cannot be read: %v", err)
			}
		}
		// A replica that has taken it twice holds what it held after once.
		r := replicaOf(m)
		once := r.all()
		r.merge(m)
		if !cmp.Equal(once, r.all(), messageOptions) {
			t.Fatalf("merging it twice changes the replica:\n%s", cmp.Diff(once, r.all(), messageOptions))
		}
		r.expire(time.Now(), 0, func(string) (time.Time, bool) { return time.Time{}, false })
	})
}

func FuzzSeed(f *testing.F) {
	for _, text := range []string{"10.0.0.1:7946", "bastion", "[fd00::1]:1", "_g._tcp.example.org", "exec:list --all", ":1", "exec:"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSeed(text)
		if err != nil {
			return
		}
		set := 0
		for _, is := range []bool{s.address.IsValid(), s.host != "", s.srv != "", len(s.command) > 0} {
			if is {
				set++
			}
		}
		if set != 1 {
			t.Fatalf("%q is %d kinds of peer: %+v", text, set, s)
		}
	})
}
