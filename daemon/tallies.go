package daemon

import (
	"sync"

	"github.com/kuberelay/kuberelay/auth/limit"
	"github.com/kuberelay/kuberelay/proxy"
)

// tally is what is counted of a client across configurations.
type tally struct {
	limiter *limit.Limiter
	config  limit.Config
	seen    proxy.Seen
}

// tallies are those of the clients, by name. The zero value is ready.
type tallies struct {
	mu     sync.Mutex
	byName map[string]*tally // guarded by mu
}

// of returns the tally of a client. Its limits stay what they were until apply.
func (t *tallies) of(client string, c limit.Config) *tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.byName[client]; known != nil {
		return known
	}
	if t.byName == nil {
		t.byName = make(map[string]*tally)
	}
	made := &tally{limiter: limit.New(c), config: c}
	t.byName[client] = made
	return made
}

// apply sets the limits of the clients, and forgets those that are no longer
// configured.
func (t *tallies) apply(limits map[string]limit.Config) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for client, known := range t.byName {
		c, configured := limits[client]
		switch {
		case !configured:
			delete(t.byName, client)
		case c != known.config:
			known.limiter.Set(c)
			known.config = c
		}
	}
}
