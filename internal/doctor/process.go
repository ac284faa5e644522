package doctor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/config"
)

// process examines the kuberelay that runs with this configuration, and tells
// whether one does.
func (d *doctor) process(ctx context.Context, cfg *config.Configuration) (running bool, all []Finding) {
	f := &findings{of: "process"}
	if cfg.Admin.ControlSocket == "" {
		f.warn("process", "write admin.controlSocket into it: drain, revoke and reload need it, too", "the configuration names no control socket, so a process cannot be asked")
		return false, f.list
	}
	ctx, cancel := d.step(ctx)
	defer cancel()
	s, err := ask(ctx, cfg.Admin.ControlSocket)
	switch {
	case errors.Is(err, admin.ErrNotRunning):
		f.warn("process", "start it: systemctl start kuberelay, or kuberelay serve", "%v", err)
		return false, f.list
	case err != nil:
		f.fail("process", "look at its log: journalctl -u kuberelay", "%v", err)
		return true, f.list
	}
	f.ok("process", "kuberelay %s has run for %s", s.Version, duration.HumanDuration(time.Duration(s.UptimeSeconds)*time.Second))
	if s.Version != d.options.Version && d.options.Version != "" {
		f.warn("process", "restart it after an upgrade", "it is %s, this program %s", s.Version, d.options.Version)
	}
	d.inForce(f, cfg, s)
	for _, c := range s.Clusters {
		if !c.Ready {
			f.fail("served", "see the findings of the cluster", "cluster %s: %s", c.Name, c.Reason)
		}
	}
	for _, c := range s.Credentials {
		if c.Error != "" {
			f.fail("credentials", "see the findings of the credential, and the log", "credential %s: %s", c.Name, c.Error)
		}
	}
	return true, append(f.list, peers(s)...)
}

// inForce compares the file with what the process goes by.
func (d *doctor) inForce(f *findings, cfg *config.Configuration, s admin.Status) {
	if s.Config == nil {
		return
	}
	if r := s.Config.LastReload; r != nil && !r.OK {
		f.fail("in-force", "correct it, then kuberelay reload", "the last reload was refused: %s", strings.Join(strings.Split(strings.TrimSpace(r.Error), "\n"), "; "))
		return
	}
	same := s.Config.Hash == cfg.Hash()
	if s.Config.FileHash != "" {
		raw, err := os.ReadFile(d.options.File)
		if err != nil {
			return // which was said
		}
		sum := sha256.Sum256(raw)
		same = s.Config.FileHash == hex.EncodeToString(sum[:])
	}
	if !same {
		f.warn("in-force", "kuberelay reload puts it into force, or says what is wrong", "%s is not what is in force (loaded by the process: %s)", d.options.File, s.Config.File)
		return
	}
	f.ok("in-force", "%s is what is in force", d.options.File)
}

// peers is what the process says of the others: packets both ways are something
// that only it can see.
func peers(s admin.Status) []Finding {
	var all []Finding
	for _, p := range s.Peers {
		if p.Self {
			continue
		}
		f := &findings{of: "peer " + p.Name}
		switch {
		case p.State == admin.PeerLeft:
			continue
		case p.State != admin.PeerAlive:
			f.fail("gossip", "is it running, and is its gossip port open both ways, TCP and UDP?", "it is %s", p.State)
		case p.UDP == admin.UDPBlocked:
			f.fail("gossip", "open its gossip port for UDP, both ways", "it is reached over TCP only")
		default:
			f.ok("gossip", "%s is %s", p.Address, p.State)
		}
		if s.Config != nil && p.ConfigHash != "" && s.Config.Hash != "" && p.ConfigHash != s.Config.Hash {
			f.warn("same-configuration", "bring the same file to all hosts", "it goes by another configuration")
		}
		all = append(all, f.list...)
	}
	if s.Isolated {
		f := &findings{of: "peers"}
		f.fail("isolation", "look for what is between this host and the API servers", "%s", s.IsolatedReason)
		all = append(all, f.list...)
	}
	return all
}
