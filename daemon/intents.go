package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/gossip"
)

// intents are the decisions of operators: drained upstreams and revoked
// clients. With a file, they outlive the process.
type intents struct {
	path  string // empty: they do not
	log   *zap.Logger
	stale chan struct{} // cap 1: the file is to be written

	mu     sync.Mutex
	state  intentState // guarded by mu; its slices are not changed
	behind bool        // guarded by mu: the file may say something else
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
	// Pending are decisions of this host's that they are yet to be told: gossip
	// is off, or nobody has been there. Counter is that of the decision that
	// each replaces.
	Pending []gossip.Intent `json:"pending,omitempty"`
}

type drainedUpstream struct {
	Cluster  string    `json:"cluster"`
	Upstream string    `json:"upstream"`
	Since    time.Time `json:"since"`
	Key      string    `json:"key,omitempty"` // by which peers knew it when it was drained
}

type revocation struct {
	Client string    `json:"client"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until it is lifted
	Reason string    `json:"reason,omitempty"`
}

// maxStateFile bounds what is read and written: up to a kilobyte for each
// decision.
const maxStateFile = 64 << 20

// openIntents reads the file, if there is one. A file that cannot be read is an
// error: a restart must not let revoked clients back in.
func openIntents(path string, log *zap.Logger) (*intents, error) {
	i := &intents{path: path, log: log, stale: make(chan struct{}, 1), state: intentState{Version: 1}}
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
// gives them something is not, since the file would take it back. A file that
// could not be written is written later.
func (i *intents) change(takesAway bool, edit func(*intentState)) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	next := i.state.clone()
	edit(&next)
	next.forgetEnded(time.Now())
	if next.equal(i.state) && !i.behind {
		return nil
	}
	err := i.write(&next)
	if err == nil || takesAway {
		i.state = next
	}
	if i.behind = err != nil; i.behind {
		i.signal()
	}
	switch {
	case err == nil:
		return nil
	case takesAway:
		return fmt.Errorf("%w: stateFile: %w", errNotKept, err)
	}
	return fmt.Errorf("stateFile: %w", err)
}

// settle takes in what the peers know, and what they are yet to be told: it is
// in force at once, and written soon.
func (i *intents) settle(mesh, pending []gossip.Intent, k *known) {
	i.mu.Lock()
	defer i.mu.Unlock()
	next := i.state.clone()
	next.Mesh, next.Pending = mesh, pending
	now := time.Now()
	next.follow(k, now)
	next.forgetEnded(now)
	if next.equal(i.state) {
		return
	}
	i.state, i.behind = next, true
	i.signal()
}

func (i *intents) signal() {
	select {
	case i.stale <- struct{}{}:
	default:
	}
}

// writeAgainAfter is how long a file that could not be written is left alone.
const writeAgainAfter = 5 * time.Second

// keepWriting writes the file, whenever it says something else than what
// holds, until ctx ends. What has changed meanwhile is one write.
func (i *intents) keepWriting(ctx context.Context) {
	again := time.NewTimer(writeAgainAfter)
	defer again.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-i.stale:
		case <-again.C:
		}
		err := i.flush()
		if err != nil && !failed {
			i.log.Warn("decisions cannot be kept over a restart; it is tried again", zap.Error(err))
		}
		if failed = err != nil; failed {
			again.Reset(writeAgainAfter)
		}
	}
}

// flush writes the file, if it may say something else than what holds.
func (i *intents) flush() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.behind {
		return nil
	}
	if err := i.write(&i.state); err != nil {
		return fmt.Errorf("stateFile: %w", err)
	}
	i.behind = false
	return nil
}

// write puts the state into a new file and renames that into place, so that
// the old one or the new one is there, whatever happens.
func (i *intents) write(s *intentState) error {
	if i.path == "" {
		return nil
	}
	s.Recorded = time.Now().UTC()
	raw, err := json.MarshalIndent(s, "", "  ")
	switch {
	case err != nil:
		return err
	case len(raw) >= maxStateFile:
		return fmt.Errorf("there are too many decisions: their file would be larger than %d bytes, and could not be read", maxStateFile)
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
	return syncDirectory(filepath.Dir(i.path))
}

// syncDirectory has a rename outlive a loss of power. Not all filesystems can.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	defer directory.Close()
	if err := directory.Sync(); !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// meshed are the decisions that the peers know, as of this process or the one
// before.
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

// drain takes an upstream out of use, or back into it. The keys are those by
// which peers know it.
func (i *intents) drain(cluster, upstream string, on bool, keys ...string) error {
	return i.change(on, func(s *intentState) {
		is := func(d drainedUpstream) bool { return d.Cluster == cluster && d.Upstream == upstream }
		for _, key := range keys {
			s.pend(gossip.Intent{Kind: gossip.Drain, Target: key, On: on})
		}
		if !on {
			s.Drained = slices.DeleteFunc(s.Drained, is)
			return
		}
		if !slices.ContainsFunc(s.Drained, is) {
			s.Drained = append(s.Drained, drainedUpstream{cluster, upstream, time.Now().UTC(), slices.Concat(keys, []string{""})[0]})
		}
	})
}

func (i *intents) revoke(client string, until time.Time, reason string) error {
	until = until.Truncate(time.Millisecond).UTC() // as peers have it
	return i.change(true, func(s *intentState) {
		s.Revoked = slices.DeleteFunc(s.Revoked, func(r revocation) bool { return r.Client == client })
		s.Revoked = append(s.Revoked, revocation{client, time.Now().UTC(), until, reason})
		s.pend(gossip.Intent{Kind: gossip.Revoke, Target: gossip.ClientID(client), On: true, Until: until, Reason: reason})
	})
}

func (i *intents) unrevoke(client string) error {
	return i.change(false, func(s *intentState) {
		s.Revoked = slices.DeleteFunc(s.Revoked, func(r revocation) bool { return r.Client == client })
		s.pend(gossip.Intent{Kind: gossip.Revoke, Target: gossip.ClientID(client)})
	})
}

// isDrained says whether an upstream is drained.
func (i *intents) isDrained(cluster, upstream string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.ContainsFunc(i.state.Drained, func(d drainedUpstream) bool { return d.Cluster == cluster && d.Upstream == upstream })
}

// keyOf is the key by which peers knew an upstream when it was drained; empty if
// it is not drained, or was before there were keys.
func (i *intents) keyOf(cluster, upstream string) string {
	for _, d := range i.snapshot().Drained {
		if d.Cluster == cluster && d.Upstream == upstream {
			return d.Key
		}
	}
	return ""
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
