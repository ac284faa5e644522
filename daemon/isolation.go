package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
)

// isolatedFor is how long most peers must reach what this host does not before
// that is an event: of a server that dies, some host is the first to know.
const isolatedFor = 5 * time.Second

// isolation is what was said of the upstreams that most peers reach and this
// host does not.
type isolation struct {
	since map[string]time.Time
	told  []string
}

// look takes in which upstreams these are now, and returns those that have been
// so for a while, and whether they are others than before.
func (i *isolation) look(now time.Time, upstreams []string) (lasting []string, changed bool) {
	since := make(map[string]time.Time, len(upstreams))
	for _, u := range upstreams {
		since[u] = now
		if before, was := i.since[u]; was {
			since[u] = before
		}
		if now.Sub(since[u]) >= isolatedFor {
			lasting = append(lasting, u)
		}
	}
	slices.Sort(lasting)
	i.since = since
	changed = !slices.Equal(lasting, i.told)
	i.told = lasting
	return lasting, changed
}

// watchIsolation says in the log and as an event when this host seems to be cut
// off from API servers, until ctx ends.
func (m *mesh) watchIsolation(ctx context.Context) {
	if m == nil {
		return
	}
	var seen isolation
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if keys, changed := seen.look(now, m.gossip.Isolated()); changed {
				m.sayIsolated(m.named(keys))
			}
		}
	}
}

func (m *mesh) sayIsolated(upstreams []string) {
	text := "most peers reach no API server any more that this host does not"
	if len(upstreams) > 0 {
		text = isolatedReason(upstreams)
		m.log.Warn("this host seems cut off: most peers reach API servers that it does not", zap.Strings("upstreams", upstreams))
	} else {
		m.log.Info("this host does not seem cut off any more")
	}
	m.daemon.events.Add(admin.Event{Kind: admin.EventIsolated, Text: text})
}

func isolatedReason(upstreams []string) string {
	return "most peers reach API servers that this host does not (" + strings.Join(upstreams, ", ") + "): look at this host's network"
}

// named are the upstreams of these identities, for people, sorted.
func (m *mesh) named(keys []string) []string {
	var names []string
	k := m.known.Load()
	for _, key := range keys {
		for _, p := range k.upstreams[key] {
			names = append(names, fmt.Sprintf("%s of cluster %s", p.id, p.cluster.config.Name))
		}
	}
	slices.Sort(names)
	return names
}
