package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/gossip"
)

// intents are the decisions of operators: drained upstreams and revoked
// clients. With a file, they outlive the process.
type intents struct {
	path string // empty: they do not
	log  *zap.Logger

	mu    sync.Mutex
	state intentState // guarded by mu
}

// intentState is the file's content.
type intentState struct {
	Version  int               `json:"version"` // 1
	Drained  []drainedUpstream `json:"drained"`
	Revoked  []revocation      `json:"revoked"`
	Recorded time.Time         `json:"recorded"` // when it was written
	// Mesh holds all decisions that the peers know, in the form that gossip has
	// them.
	Mesh []gossip.Intent `json:"mesh,omitempty"`
}

type drainedUpstream struct {
	Cluster  string    `json:"cluster"`
	Upstream string    `json:"upstream"`
	Since    time.Time `json:"since"`
}

type revocation struct {
	Client string    `json:"client"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until it is lifted
	Reason string    `json:"reason,omitempty"`
}

// maxStateFile bounds what is read: some hundred bytes for each decision.
const maxStateFile = 16 << 20

// openIntents reads the file, if there is one. A file that cannot be read is an
// error: a restart must not let revoked clients back in.
func openIntents(path string, log *zap.Logger) (*intents, error) {
	i := &intents{path: path, log: log, state: intentState{Version: 1}}
	if path == "" {
		return i, nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return i, nil
	case err != nil:
		return nil, fmt.Errorf("stateFile: %w", err)
	case info.Size() > maxStateFile || !info.Mode().IsRegular():
		return nil, fmt.Errorf("stateFile %s: it is not one of kuberelay's: remove it, or name another", path)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("stateFile %s has mode %04o: who can write it can lift a revocation; chmod 600 it", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("stateFile: %w", err)
	}
	i.state = intentState{}
	if err := json.Unmarshal(raw, &i.state); err != nil {
		return nil, fmt.Errorf("stateFile %s cannot be read (%w): it says which clients are revoked; restore it, or remove it if none is", path, err)
	}
	if i.state.Version != 1 {
		return nil, fmt.Errorf("stateFile %s has version %d, which this kuberelay does not know: upgrade it, or remove the file", path, i.state.Version)
	}
	return i, nil
}

// errNotKept: the decision is in force but will be lost at restart.
var errNotKept = errors.New("it is in force, but cannot be kept over a restart")

// change applies edit to a copy of the state. A change that takes something
// away from clients is in force whether or not it can be written; one that
// gives them something is not, since the file would take it back.
func (i *intents) change(takesAway bool, edit func(*intentState)) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	next := i.state
	next.Drained, next.Revoked = slices.Clone(next.Drained), slices.Clone(next.Revoked)
	edit(&next)
	now := time.Now()
	next.Recorded = now.UTC()
	next.Revoked = slices.DeleteFunc(next.Revoked, func(r revocation) bool { return !r.Until.IsZero() && !now.Before(r.Until) })
	err := i.write(&next)
	switch {
	case err == nil:
		i.state = next
		return nil
	case takesAway:
		i.state = next
		return fmt.Errorf("%w: stateFile: %w", errNotKept, err)
	}
	return fmt.Errorf("stateFile: %w", err)
}

// write puts the state into a new file and renames that into place, so that
// the old one or the new one is there, whatever happens.
func (i *intents) write(s *intentState) error {
	if i.path == "" {
		return nil
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(i.path), "."+filepath.Base(i.path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n')) // CreateTemp's mode is 0600
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), i.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// keep remembers all decisions that the peers know.
func (i *intents) keep(mesh []gossip.Intent) error {
	return i.change(true, func(s *intentState) { s.Mesh = mesh })
}

// meshed are the decisions that keep was given last, by this process or an
// earlier one.
func (i *intents) meshed() []gossip.Intent {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state.Mesh
}

// snapshot is the current state.
func (i *intents) snapshot() intentState {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state
}

func (i *intents) drain(cluster, upstream string, on bool) error {
	if i.isDrained(cluster, upstream) == on {
		return nil
	}
	return i.change(on, func(s *intentState) {
		s.Drained = slices.DeleteFunc(s.Drained, func(d drainedUpstream) bool { return d.Cluster == cluster && d.Upstream == upstream })
		if on {
			s.Drained = append(s.Drained, drainedUpstream{cluster, upstream, time.Now().UTC()})
		}
	})
}

func (i *intents) revoke(client string, until time.Time, reason string) error {
	return i.change(true, func(s *intentState) {
		s.Revoked = slices.DeleteFunc(s.Revoked, func(r revocation) bool { return r.Client == client })
		s.Revoked = append(s.Revoked, revocation{client, time.Now().UTC(), until.UTC(), reason})
	})
}

func (i *intents) unrevoke(client string) error {
	if _, revoked := i.revocations()[client]; !revoked {
		return nil
	}
	return i.change(false, func(s *intentState) {
		s.Revoked = slices.DeleteFunc(s.Revoked, func(r revocation) bool { return r.Client == client })
	})
}

// isDrained says whether an upstream is drained.
func (i *intents) isDrained(cluster, upstream string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.ContainsFunc(i.state.Drained, func(d drainedUpstream) bool { return d.Cluster == cluster && d.Upstream == upstream })
}

// revocations maps each revoked client to the end of its revocation; the zero
// time: it lasts until it is lifted.
func (i *intents) revocations() map[string]time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Collect(func(yield func(string, time.Time) bool) {
		for _, r := range i.state.Revoked {
			if !yield(r.Client, r.Until) {
				return
			}
		}
	})
}

// tell logs, at start, what still holds.
func (i *intents) tell() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, r := range i.state.Revoked {
		fields := []zap.Field{zap.String("client", r.Client), zap.Time("since", r.Since), zap.String("reason", r.Reason)}
		if !r.Until.IsZero() {
			fields = append(fields, zap.Time("until", r.Until))
		}
		i.log.Warn("the client is revoked", fields...)
	}
	for _, d := range i.state.Drained {
		i.log.Warn("the API server is drained", zap.String("cluster", d.Cluster), zap.String("upstream", d.Upstream), zap.Time("since", d.Since))
	}
}
