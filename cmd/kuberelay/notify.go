package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/health"
	"github.com/kuberelay/kuberelay/internal/joined"
	sdnotify "github.com/kuberelay/kuberelay/internal/notify"
)

// serviceManager tells systemd, if that has started the process, what the
// process does. A message that does not arrive is no reason to end.
type serviceManager struct {
	to   *sdnotify.Manager // nil: there is none
	log  *zap.Logger
	stop context.CancelFunc // ends what is told again and again
}

// ready says that all listeners are bound, and from then on how the daemon is.
func (m *serviceManager) ready(d *daemon.Daemon) {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.failed(m.to.Ready())
	p := pulse{d}
	go m.to.Run(ctx, sdnotify.Watch{Status: p.sentence, Check: p.check, Failed: m.hangs})
}

// reload brackets a reload that a signal has asked for. One that kuberelay
// reload asked for, as the unit's ExecReload= does, is waited for there.
func (m *serviceManager) reload(reload func()) {
	m.failed(m.to.Reloading())
	reload()
	m.failed(m.to.Ready())
}

// stopping says that the process ends, and has the grace time for it.
func (m *serviceManager) stopping(grace time.Duration) {
	if m.stop != nil {
		m.stop()
	}
	m.failed(m.to.Stopping(grace))
	m.failed(m.to.Status(fmt.Sprintf("Stopping: requests in flight have %v to end", grace)))
}

// died leaves the reason where systemctl status shows it.
func (m *serviceManager) died(err error) {
	if _, told := errors.AsType[interrupted](err); err != nil && !told {
		m.failed(m.to.Status(message(joined.Errors(err)[0])))
	}
}

func (m *serviceManager) failed(err error) {
	if err != nil {
		m.log.Warn("the service manager cannot be told", zap.Error(err))
	}
}

// hangs logs that the watchdog's check begins to fail, or passes again.
func (m *serviceManager) hangs(err error) {
	if err == nil {
		m.log.Info("the listeners answer again")
		return
	}
	m.log.Error("no listener answers: the service manager kills this process and starts it again, unless that is over soon", zap.Error(err))
}

// pulse tells whether a daemon lives: whether its data path answers, not whether
// its clusters do. Those do not come back with a restart.
type pulse struct {
	daemon interface {
		Status() admin.Status
		Addr(listener string) net.Addr
	}
}

// sentence is the status in few words.
func (p pulse) sentence() string {
	s := p.daemon.Status()
	var ready, all int
	for _, c := range s.Clusters {
		for _, u := range c.Upstreams {
			all++
			if u.State == health.Ready.String() {
				ready++
			}
		}
	}
	text := fmt.Sprintf("%d/%d API servers ready", ready, all)
	if len(s.Clusters) > 1 {
		text += fmt.Sprintf(" in %d clusters", len(s.Clusters))
	}
	alive, peers := 0, 0
	for _, peer := range s.Peers {
		switch {
		case peer.Self:
			continue
		case peer.State == admin.PeerAlive:
			alive++
		}
		peers++
	}
	if peers > 0 {
		text += fmt.Sprintf(", %d/%d peers", alive, peers)
	}
	if s.Config != nil && s.Config.LastReload != nil && !s.Config.LastReload.OK {
		text += "; the last reload was refused, see kuberelay status"
	}
	return text
}

// check asks each listener, until one answers. One is enough: a listener with as
// many connections as it may have takes no more, and is not dead. To know the
// listeners takes the locks that requests need; if those are held for ever, so
// is this check.
func (p pulse) check(ctx context.Context) error {
	listeners := p.daemon.Status().Listeners
	answers := make(chan error, len(listeners))
	for _, l := range listeners {
		address := p.daemon.Addr(l.Name)
		if address == nil { // a reload has just taken it away
			answers <- fmt.Errorf("listener %s is gone", l.Name)
			continue
		}
		go func() { answers <- sdnotify.Answers(ctx, address) }()
	}
	var errs []error
	for range listeners {
		err := <-answers
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
