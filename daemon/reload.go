package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/auth/limit"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/filestate"
	"github.com/kuberelay/kuberelay/proxy"
)

// reloadState is the configuration file in force, and how the last attempt to
// replace it ended. It is immutable.
type reloadState struct {
	hash   string // of the file in force
	loaded time.Time
	at     time.Time // of the last attempt; zero: none
	err    error     // why it was refused
}

// update is a listener that is to serve something else.
type update struct {
	listener *listener
	serving  *serving
}

var errStopping = errors.New("kuberelay is stopping")

var errNoFile = errors.New("there is no configuration file to load: it was given as flags")

// Reload reads the configuration file again and puts it into force, as a whole
// or not at all; it returns what changed, for people. What has not changed goes
// on undisturbed. What a client has open and would not be allowed now is cut.
// The audit log and the certificates of listeners are opened again in any case.
// A key ring that would cut off a peer is refused.
func (d *Daemon) Reload(ctx context.Context) (changed []string, err error) {
	return d.reload(ctx, false)
}

// reload is Reload. With force, it may cut off peers.
func (d *Daemon) reload(ctx context.Context, force bool) (changed []string, err error) {
	if d.options.Load == nil {
		return nil, errNoFile
	}
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.stopped {
		return nil, errStopping
	}
	hash := hashFile(d.options.ConfigFile)
	defer func() { d.noteReload(hash, err) }()

	old := d.parts.Load()
	// It may have been rotated: then the file of this name is another one.
	reopened := old.audit.Reopen()
	if reopened != nil {
		d.log.Error("cannot reopen the audit log", zap.Error(reopened))
	}
	d.refreshCertificates()
	cfg, err := d.options.Load()
	if err != nil {
		return nil, err
	}
	if changed, err = d.replace(ctx, cfg, old, force); err == nil && reopened != nil && cfg.Audit == old.config.Audit {
		changed = append(changed, reopened.Error()) // no reason to refuse the rest
	}
	return changed, err
}

// replace puts a configuration into force.
func (d *Daemon) replace(ctx context.Context, cfg *config.Configuration, old *parts, force bool) ([]string, error) {
	next, err := d.build(cfg, old)
	if err != nil {
		return nil, err
	}
	for i, l := range next.fresh.listeners {
		if err := l.open(ctx); err != nil {
			next.fresh.listeners = next.fresh.listeners[:i]
			next.fresh.close()
			return nil, err
		}
	}
	if err := d.mesh.reload(old.config, cfg, force); err != nil {
		next.fresh.close()
		return nil, err
	}
	d.needRestart(old.config, cfg)
	for _, c := range next.fresh.clusters {
		c.start(d.background)
	}
	for _, c := range next.fresh.credentials {
		c.start(d.background)
	}
	d.publishing.Lock()
	d.parts.Store(next)
	next.access.Revoked = d.intents.revocations() // the current ones: operators do not wait for a reload
	d.publish(next.access)
	d.publishing.Unlock()
	d.mesh.learn()
	for _, u := range next.updates {
		if err := u.listener.update(u.serving); err != nil {
			d.log.Warn("the mode of a listener's socket cannot be changed", zap.String("listener", u.serving.config.Name), zap.Error(err))
		}
	}
	for _, l := range next.fresh.listeners {
		l.serve()
	}
	limits := make(map[string]limit.Config, len(cfg.Clients))
	for i := range cfg.Clients {
		limits[cfg.Clients[i].Name] = cfg.Clients[i].Limits
	}
	d.tallies.apply(limits)
	if old.config.Log.Level != cfg.Log.Level {
		_ = d.setLogLevel(cfg.Log.Level) // validated with the configuration
	}
	changed := slices.Concat(next.fresh.names, differences(old.config, cfg))
	d.retire(old, next)
	return changed, nil
}

// publish puts another generation of access into force, and ends what that does
// not allow. It returns how much that was. d.publishing is held.
func (d *Daemon) publish(a *proxy.Access) (cut int) {
	d.access.Store(a)
	d.tellRevoked()
	now := time.Now()
	return d.registry.Review(func(c *proxy.Caller) error { return a.Review(c, now) })
}

// tellRevoked updates the metric of revoked clients.
func (d *Daemon) tellRevoked() { d.metrics.Revoked(len(d.access.Load().Revoked)) }

// retire ends what the new parts have not taken over.
func (d *Daemon) retire(old, next *parts) {
	for _, l := range old.listeners {
		if !slices.Contains(next.listeners, l) {
			l.retire(next.config.Grace)
		}
	}
	for _, c := range old.clusters {
		if !slices.Contains(next.clusters, c) {
			d.work.Go(func() { d.retireCluster(c, next.config.Grace) })
		}
	}
	for _, c := range old.credentials {
		if next.credentials[c.config.Name] == c {
			continue
		}
		d.work.Go(func() {
			c.close()
			if d.parts.Load().credential(c.config.Name) == nil {
				d.metrics.CredentialExpiry(c.config.Name, time.Time{}) // no alert about what is gone
			}
		})
	}
	if old.audit != next.audit {
		_ = old.audit.Close() // earlier requests write to the new one
	}
}

// retireCluster lets a cluster that was replaced or removed finish: watches
// end, so that they begin anew, and the rest gets the grace time.
func (d *Daemon) retireCluster(c *cluster, grace time.Duration) {
	ctx, cancel := context.WithTimeout(d.background, grace)
	defer cancel()
	d.registry.LeaveCluster(ctx, c.path)
	poll(ctx, 50*time.Millisecond, func() bool { return !d.registry.Uses(c.path) })
	if now := d.parts.Load().cluster(c.config.Name); now == nil || now.config.Kubeconfig != c.config.Kubeconfig {
		// What is still open leads to a cluster that is not configured any more.
		d.registry.EndCluster(c.path, proxy.NewEndedError(proxy.CloseRemoved, "the cluster was removed from the configuration, or is another one now"))
	}
	c.close()
	if d.parts.Load().cluster(c.config.Name) == nil {
		d.metrics.SetUpstreams(c.config.Name, nil)
	}
}

// noteReload records how an attempt ended, and logs it.
func (d *Daemon) noteReload(hash string, err error) {
	now := time.Now()
	state := *d.reloads.Load()
	state.at, state.err = now, err
	if err == nil {
		state.hash, state.loaded = hash, now
	}
	d.reloads.Store(&state)
	d.metrics.Reload(err == nil, now)
	d.mesh.describe()
	if err != nil {
		d.events.Add(admin.Event{Kind: admin.EventReload, Text: "the configuration file was refused: " + err.Error()})
		d.log.Error("the configuration file is refused, the one before stays in force",
			zap.String("file", d.options.ConfigFile), zap.Error(err))
		return
	}
	d.events.Add(admin.Event{Kind: admin.EventReload, Text: "the configuration file was loaded"})
	d.log.Info("the configuration file was loaded", zap.String("file", d.options.ConfigFile))
}

func (d *Daemon) setLogLevel(level string) error {
	parsed, err := zapcore.ParseLevel(level)
	if err != nil {
		return err
	}
	if d.options.Level != nil {
		d.options.Level.SetLevel(parsed)
	}
	return nil
}

// hashFile is the SHA-256 of a file in hex; "" if it cannot be read.
func hashFile(path string) string {
	if path == "" {
		return ""
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// filePoll is how often the configuration file and certificates are checked.
const filePoll = time.Second

// watchFiles loads the configuration file when it has changed and then stayed
// the same for one check.
func (d *Daemon) watchFiles(ctx context.Context) {
	tick := time.NewTicker(filePoll)
	defer tick.Stop()
	files := []string{d.options.ConfigFile}
	seen := filestate.Look(files)
	for changing := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d.reloading.Lock()
		d.refreshCertificates()
		d.reloading.Unlock()
		if d.options.Load == nil {
			continue
		}
		now := filestate.Look(files)
		switch {
		case !seen.Same(&now):
			seen, changing = now, true
		case changing:
			changing = false
			if state := d.reloads.Load(); state.err == nil && hashFile(d.options.ConfigFile) == state.hash {
				continue // rewritten as it was, or loaded already on request
			}
			_, _ = d.Reload(ctx) // noteReload has logged it
		}
	}
}
