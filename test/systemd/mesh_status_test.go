package systemd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// status is what kuberelay status prints, as far as it is of interest here.
type status struct {
	Node     string
	Isolated bool
	Config   struct{ Hash string }
	Clusters []struct {
		Upstreams []struct {
			ID       string
			Draining bool
		}
	}
	Clients []struct {
		Name    string
		Revoked bool
	}
	Peers []struct {
		Name, Address, State, UDP, Version, ConfigHash string
		Self                                           bool
	}
	Events []event
}

type event struct {
	At                           time.Time
	Kind, Upstream, Client, Text string
}

// server is the name of the i-th API server for the hosts.
func server(i int) string { return fmt.Sprintf("%s:%d", outside, apiPort+i) }

func (h *host) status() (s status, err error) {
	out, err := h.try("kuberelay status --output=json")
	if err != nil {
		return s, fmt.Errorf("host %d: %w\n%s", h.index, err, out)
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// differs says where hosts see others in another state than alive, or than
// the one that is given; empty if nowhere. One that is alive also has to be
// reached by packets, and to have the same configuration and version.
func differs(hosts []*host, states map[string]string) string {
	for _, h := range hosts {
		s, err := h.status()
		if err != nil {
			return err.Error()
		}
		var others []string
		for _, p := range s.Peers {
			if p.Self {
				continue
			}
			others = append(others, p.Name)
			want := "alive"
			if other := states[p.Name]; other != "" {
				want = other
			}
			if p.State != want || want == "alive" && (p.UDP != "ok" || p.ConfigHash != s.Config.Hash || p.Version != "v0.0.1") {
				return fmt.Sprintf("host %d (configuration %s): %+v, want %s", h.index, s.Config.Hash, p, want)
			}
		}
		slices.Sort(others)
		want := slices.DeleteFunc([]string{"bastion-1", "bastion-2", "bastion-3"}, func(name string) bool { return name == h.name })
		if s.Node != h.name || s.Isolated || !slices.Equal(others, want) {
			return fmt.Sprintf("host %d: node %s, isolated %v, peers %v, want %s, false, %v", h.index, s.Node, s.Isolated, others, h.name, want)
		}
	}
	return ""
}

// awaitPeers waits until all see all others alive, in kuberelay's words and in
// systemd's.
func awaitPeers(t *testing.T, hosts []*host) {
	t.Helper()
	hosts[0].await("all to see each other", time.Minute, func() string { return differs(hosts, nil) })
	for _, h := range hosts {
		h.awaitStatusLine("3/3 API servers ready, 2/2 peers")
	}
}

// awaitStatusLine waits until systemctl status has a line with the text.
func (h *host) awaitStatusLine(text string) {
	h.t.Helper()
	h.await("systemctl status to tell", 15*time.Second, func() string {
		if out, err := h.try("systemctl --no-pager status kuberelay"); err != nil || !strings.Contains(out, `Status: "`+text+`"`) {
			return fmt.Sprintf("%v, want %s\n%s", err, text, out)
		}
		return ""
	})
}

// decided says where something else is in force than these decisions; empty if
// nowhere.
func decided(hosts []*host, drained, revoked []string) string {
	for _, h := range hosts {
		s, err := h.status()
		if err != nil {
			return err.Error()
		}
		var isDrained, isRevoked []string
		for _, u := range s.Clusters[0].Upstreams {
			if u.Draining {
				isDrained = append(isDrained, u.ID)
			}
		}
		for _, c := range s.Clients {
			if c.Revoked {
				isRevoked = append(isRevoked, c.Name)
			}
		}
		if !slices.Equal(isDrained, drained) || !slices.Equal(isRevoked, revoked) {
			return fmt.Sprintf("host %d: drained %v, revoked %v, want %v and %v", h.index, isDrained, isRevoked, drained, revoked)
		}
	}
	return ""
}

func awaitDecided(t *testing.T, hosts []*host, drained, revoked []string) {
	t.Helper()
	hosts[0].await("the decisions to hold", 15*time.Second, func() string { return decided(hosts, drained, revoked) })
}

// happened is when the latest event of a kind that concerns somebody, with a
// text, was on the host. All hosts have one clock.
func (h *host) happened(kind, of, text string) time.Time {
	h.t.Helper()
	s, err := h.status()
	must(h.t, err)
	for _, e := range s.Events {
		if e.Kind == kind && strings.Contains(e.Upstream+" "+e.Client+" "+e.Text, of) && strings.Contains(e.Text, text) {
			return e.At
		}
	}
	h.t.Fatalf("host %d has no event %s of %s %q: %+v", h.index, kind, of, text, s.Events)
	return time.Time{}
}

// holdsWithinASecond compares when a decision came into force on the first of
// the hosts, where it was made, and on the others.
func holdsWithinASecond(t *testing.T, hosts []*host, kind, of, text string) (decided time.Time) {
	t.Helper()
	decided = hosts[0].happened(kind, of, text)
	for _, h := range hosts[1:] {
		var at time.Time
		h.await("the decision to come", 15*time.Second, func() string {
			s, err := h.status()
			if err != nil {
				return err.Error()
			}
			for _, e := range s.Events {
				if e.Kind == kind && (e.Upstream == of || e.Client == of) && strings.Contains(e.Text, text) && !e.At.Before(decided) {
					at = e.At
					return ""
				}
			}
			return fmt.Sprintf("no event %s of %s: %+v", kind, of, s.Events[:min(len(s.Events), 3)])
		})
		t.Logf("%s %s: on host %d %v after host %d", of, text, h.index, at.Sub(decided).Round(time.Millisecond), hosts[0].index)
		if at.Sub(decided) > holdsWithin {
			t.Errorf("%s %s on host %d after %v, want %v at most", of, text, h.index, at.Sub(decided), holdsWithin)
		}
	}
	return decided
}
