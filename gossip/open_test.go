package gossip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// failing is a resolver that has an error to give until mended.
type failing struct {
	names
	mu  sync.Mutex
	err error
}

func (r *failing) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	r.mu.Lock()
	err := r.err
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return r.names.LookupNetIP(ctx, network, host)
}

func (r *failing) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// troubled starts a node that cannot listen, and checks that it says so.
func troubled(t *testing.T, because string, settings ...setting) *node {
	t.Helper()
	core, logs := observer.New(zap.ErrorLevel)
	n := unstarted(t, append(settings, func(_ *Config, o *Options) { o.Log = zap.New(core) })...)
	if err := n.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
	within(t, 5*time.Second, "word of it", func() bool { return strings.Contains(n.Trouble(), because) })
	within(t, 5*time.Second, "a line", func() bool { return logs.FilterMessageSnippet("gossip does not run").Len() == 1 })
	if got := n.metric("running", ""); got != 0 {
		t.Errorf("the metric says that it runs: %v", got)
	}
	return n
}

func (n *node) recovers() {
	n.t.Helper()
	within(n.t, 10*time.Second, "the peer", func() bool { return n.totals().alive == 1 })
	if n.Trouble() != "" || n.metric("running", "") != 1 {
		n.t.Errorf("it is among its peers, and says %q", n.Trouble())
	}
}

func TestATakenAddressIsTriedAgain(t *testing.T) {
	peer := start(t)
	taken, err := net.Listen("tcp", netip.AddrPortFrom(newIP(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	n := troubled(t, "cannot listen on TCP "+address, at(address), peersOf(peer))
	i, err := n.Intend(Intent{Kind: Drain, Target: upstreamA, On: true})
	if err != nil {
		t.Fatal(err)
	}
	n.see(upstreamA, StateDown)
	if err := n.Reload(n.config, false); err != nil {
		t.Errorf("a reload meanwhile: %v", err)
	}
	if err := n.Start(t.Context()); err == nil {
		t.Error("it was started twice")
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	n.recovers()
	within(t, 3*time.Second, "what it saw and decided meanwhile", func() bool {
		told := peer.toldIntents()
		return len(told) == 1 && told[0].Counter == i.Counter && peer.states(upstreamA)[n.name] == StateDown
	})
}

func TestAnAddressThatComesLaterIsWaitedFor(t *testing.T) {
	peer := start(t)
	t.Run("that a name server does not tell", func(t *testing.T) {
		resolver := &failing{err: &net.DNSError{Err: "server misbehaving", Name: "me.example.org", IsTemporary: true}}
		ip := newIP()
		resolver.names.hosts = map[string][]netip.Addr{"me.example.org": {ip}}
		n := troubled(t, "server misbehaving", peersOf(peer), at(netip.AddrPortFrom(ip, 0).String()), func(c *Config, o *Options) {
			c.AdvertiseAddress, o.Resolver = "me.example.org:7946", resolver
			c.BindAddress = netip.AddrPortFrom(ip, 7946).String()
		})
		resolver.fail(nil)
		n.recovers()
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
		within(t, 5*time.Second, "its death", func() bool { return peer.totals().alive == 0 })
	})
	t.Run("of an interface that is not up yet", func(t *testing.T) {
		var mu sync.Mutex
		var there []candidate
		ip := newIP()
		n := troubled(t, "it has none", peersOf(peer), func(c *Config, o *Options) {
			c.BindAddress = netip.AddrPortFrom(netip.IPv4Unspecified(), 17946).String()
			o.host = func() ([]candidate, error) {
				mu.Lock()
				defer mu.Unlock()
				return there, nil
			}
		})
		mu.Lock()
		there = []candidate{{ip: ip, nic: "eth0", private: true}}
		mu.Unlock()
		n.recovers()
	})
}

func TestANodeThatCannotListenIsStopped(t *testing.T) {
	n := troubled(t, "192.0.2.1", at("192.0.2.1:7946"))
	began := time.Now()
	if err := n.Leave(t.Context()); err != nil {
		t.Errorf("Leave: %v", err)
	}
	if err := n.Stop(); err != nil { // main_test looks for what is left
		t.Errorf("Stop: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("that took %v", took)
	}
}

// TestWhatNoTimeMendsIsAnError: a person has to.
func TestWhatNoTimeMendsIsAnError(t *testing.T) {
	two := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
	for name, set := range map[string]setting{
		"a name with two addresses": func(c *Config, o *Options) {
			c.AdvertiseAddress, o.Resolver = "two.example.org", &names{hosts: map[string][]netip.Addr{"two.example.org": two}}
		},
		"two addresses to choose from": func(c *Config, o *Options) {
			c.BindAddress = "0.0.0.0:7946"
			o.host = func() ([]candidate, error) {
				return []candidate{{ip: two[0], private: true}, {ip: two[1], private: true}}, nil
			}
		},
		"an address that is not allowed": func(c *Config, _ *Options) { c.AllowedCIDRs = []string{"192.0.2.0/24"} },
	} {
		t.Run(name, func(t *testing.T) {
			n := unstarted(t, set)
			if err := n.Start(t.Context()); err == nil {
				t.Error("no error")
			}
		})
	}
	t.Run("a start that is called off", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n := unstarted(t, func(c *Config, o *Options) { c.AdvertiseAddress, o.Resolver = "slow.example.org", sluggish{} })
		if err := n.Start(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// TestASlowNameServerHoldsTheStartUpForAMoment: others wait for Start.
func TestASlowNameServerHoldsTheStartUpForAMoment(t *testing.T) {
	n := unstarted(t, func(c *Config, o *Options) { c.AdvertiseAddress, o.Resolver = "slow.example.org", sluggish{} })
	began := time.Now()
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*firstOpening {
		t.Errorf("Start took %v, want %v at most", took, firstOpening)
	}
	within(t, time.Second, "word of it", func() bool { return strings.Contains(n.Trouble(), "slow.example.org") })
}
