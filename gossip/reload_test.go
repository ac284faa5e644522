package gossip

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// withKeys is n's configuration with other keys.
func withKeys(n *node, files ...string) Config {
	c := n.config
	c.SecretKeyFiles = files
	return c
}

func TestTheKeyIsChangedWithoutLosingAPeer(t *testing.T) {
	nodes := startMesh(t, 3)
	before := nodes[0].Snapshot().KeyIDs[0]
	file := keyFile(t, NewKey())
	fresh, err := loadKeys([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	after := fresh[0].id()
	old := func(n *node) string { return keyFile(n.t, meshKey()) }

	steps := []struct {
		what  string
		files func(*node) []string
		want  []string
	}{
		{"add", func(n *node) []string { return []string{old(n), file} }, []string{before, after}},
		{"switch", func(n *node) []string { return []string{file, old(n)} }, []string{after, before}},
		{"remove", func(n *node) []string { return []string{file} }, []string{after}},
	}
	for _, step := range steps {
		for _, n := range nodes {
			if err := n.Reload(withKeys(n, step.files(n)...), false); err != nil {
				t.Fatalf("%s on %s: %v", step.what, n.name, err)
			}
			if got := n.Snapshot().KeyIDs; !slices.Equal(got, step.want) {
				t.Errorf("%s: keys %v, want %v", step.what, got, step.want)
			}
		}
		for _, n := range nodes {
			within(t, 5*time.Second, "the peers' keys", func() bool {
				for _, p := range n.Snapshot().Peers {
					if !slices.Equal(p.KeyIDs, step.want) {
						return false
					}
				}
				return true
			})
		}
		// Longer than a death takes to be noticed.
		stays(t, 700*time.Millisecond, "all members after "+step.what, func() bool { return whole(nodes) })
	}
	for _, n := range nodes {
		if n.metric("peer_events_total", eventFailed) != 0 {
			t.Errorf("%s saw a peer fail", n.name)
		}
	}
	nodes[0].see(upstreamA, StateDown)
	within(t, 3*time.Second, "news under the new key", func() bool {
		return len(nodes[1].observed(upstreamA)) == 1 && len(nodes[2].observed(upstreamA)) == 1
	})
}

func TestKeysThatWouldCutAPeerOffAreRefused(t *testing.T) {
	nodes := startMesh(t, 2)
	n := nodes[0]
	file := keyFile(t, NewKey())
	old := keyFile(t, meshKey())
	peer := nodes[1].name
	within(t, 5*time.Second, "the peer's keys", func() bool { return len(n.peer(peer).KeyIDs) == 1 })
	before := n.Snapshot().KeyIDs

	err := n.Reload(withKeys(n, file, old), false)
	if err == nil || !strings.Contains(err.Error(), "cannot become the first one: "+peer) {
		t.Errorf("switching to a key that the peer lacks: %v", err)
	}
	if err := n.Reload(withKeys(n, old, file), false); err != nil {
		t.Errorf("adding a key: %v", err)
	}
	within(t, 5*time.Second, "the key's being known", func() bool { return len(nodes[1].peer(n.name).KeyIDs) == 2 })
	err = n.Reload(withKeys(n, file), false)
	if err == nil || !strings.Contains(err.Error(), peer+" still encrypts with a key that this would remove") {
		t.Errorf("removing the key that the peer uses: %v", err)
	}
	if err := n.Reload(withKeys(n, old), false); err != nil {
		t.Errorf("taking the addition back: %v", err)
	}
	if got := n.Snapshot().KeyIDs; !slices.Equal(got, before) {
		t.Errorf("the keys are %v, want %v", got, before)
	}
	if !whole(nodes) {
		t.Error("a member is lost")
	}
	if err := n.Reload(withKeys(n, file), true); err != nil {
		t.Errorf("forced: %v", err)
	}
	within(t, 10*time.Second, "what was to be expected", func() bool { return n.totals().alive == 0 })
}

func TestRemovingAKeyFromTheMiddleOfTheRing(t *testing.T) {
	n := unstarted(t)
	var files []string
	for range 4 {
		files = append(files, keyFile(t, NewKey()))
	}
	for name, keep := range map[string][]int{
		"none": {0, 1, 2, 3}, "second": {0, 2, 3}, "third": {0, 1, 3}, "last": {0, 1, 2}, "two": {0, 3}, "all others": {0}, "first": {1, 2, 3}, "other order": {3, 1},
	} {
		if err := n.Reload(withKeys(n, files...), true); err != nil {
			t.Fatal(err)
		}
		var kept []string
		for _, i := range keep {
			kept = append(kept, files[i])
		}
		if err := n.Reload(withKeys(n, kept...), true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want, err := loadKeys(kept)
		if err != nil {
			t.Fatal(err)
		}
		ring := n.keyring.GetKeys()
		if len(ring) != len(want) || !slices.Equal(ring[0], want[0].raw()) {
			t.Errorf("%s: %d keys in the ring, want %d, or another is the first", name, len(ring), len(want))
		}
		for _, k := range want {
			if !slices.ContainsFunc(ring, func(raw []byte) bool { return slices.Equal(raw, k.raw()) }) {
				t.Errorf("%s: %v is not in the ring", name, k)
			}
		}
	}
}

func TestWhatAReloadCannotChange(t *testing.T) {
	n := unstarted(t)
	for name, change := range map[string]func(*Config){
		"bindAddress":      func(c *Config) { c.BindAddress = "127.0.0.9:7" },
		"advertiseAddress": func(c *Config) { c.AdvertiseAddress = "127.0.0.9:7" },
		"nodeName":         func(c *Config) { c.NodeName = "other" },
		"label":            func(c *Config) { c.Label = "other" },
	} {
		c := n.config
		change(&c)
		if err := n.Reload(c, true); err == nil || !strings.Contains(err.Error(), name+" needs a restart") {
			t.Errorf("%s: %v", name, err)
		}
	}
	same := n.config
	same.Label = DefaultLabel
	if err := n.Reload(same, false); err != nil {
		t.Errorf("the default label written out: %v", err)
	}
	bad := n.config
	bad.Peers = []string{"exec:"}
	if err := n.Reload(bad, false); err == nil {
		t.Error("an invalid configuration was taken")
	}
	gone := withKeys(n, n.config.SecretKeyFiles[0]+".gone")
	if err := n.Reload(gone, false); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("a key file that is not there: %v", err)
	}
}

func unwrapAll(err error) error {
	for {
		next, ok := err.(interface{ Unwrap() error })
		if !ok || os.IsNotExist(err) {
			return err
		}
		err = next.Unwrap()
	}
}

func TestAReloadFindsNewPeersAtOnce(t *testing.T) {
	slow := func(_ *Config, o *Options) { o.Profile.RejoinInterval = time.Hour }
	n, other := start(t, slow), start(t, slow)
	c := n.config
	c.Peers = []string{net.JoinHostPort(other.ip.String(), portOf(other))}
	if err := n.Reload(c, false); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "the new peer", func() bool { return n.totals().alive == 1 })
}
