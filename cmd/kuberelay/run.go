package main

import (
	"context"
	"errors"
	"os"
	"syscall"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
)

// program is a daemon and what a process does around it.
type program struct {
	config  *config.Configuration
	options daemon.Options
	log     *zap.Logger
	// served is called once all listeners are bound.
	served func(*daemon.Daemon) error
	// manager is told what the process does.
	manager serviceManager
	// reloads says that SIGHUP reloads, and does not end the process.
	reloads bool
}

// run runs a daemon until a signal ends it or it fails. A daemon that had to
// cut requests off has ended as it was told to.
func (p *program) run() error {
	signals, stop := notify(p.reloads)
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	d, err := daemon.New(p.config, p.options)
	if err != nil {
		return err
	}
	started := make(chan struct{})
	go func() {
		defer close(started)
		err = d.Start(ctx)
	}()
	if s := p.await(signals, started); s != nil {
		cancel()
		<-started
		p.log.Info("told to stop before it served", zap.Stringer("signal", s))
		return p.end(d, signals)
	}
	if err == nil {
		err = p.served(d)
	}
	if err != nil {
		cancel()
		return errors.Join(err, d.Stop(ctx))
	}
	p.manager.ready(d)
	for {
		select {
		case err = <-d.Failed():
		case s := <-signals:
			if p.reload(s) {
				p.manager.reload(func() { _, _ = d.Reload(ctx) }) // it is logged
				continue
			}
			p.log.Info("shutting down: requests in flight may finish, a second signal cuts them off",
				zap.Stringer("signal", s), zap.Duration("grace", p.config.Grace))
		}
		return errors.Join(err, p.end(d, signals))
	}
}

// await waits for the start's end, or returns the signal that came before it.
func (p *program) await(signals <-chan os.Signal, started <-chan struct{}) os.Signal {
	for {
		select {
		case <-started:
			return nil
		case s := <-signals:
			if !p.reload(s) { // else what is started is what the file says
				return s
			}
		}
	}
}

func (p *program) reload(s os.Signal) bool { return p.reloads && s == syscall.SIGHUP }

// end stops the daemon within the grace time, or with the process at the next
// signal.
func (p *program) end(d *daemon.Daemon, signals <-chan os.Signal) error {
	p.manager.stopping(p.config.Grace)
	grace, cancel := context.WithTimeout(context.Background(), p.config.Grace)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- d.Stop(grace) }()
	for {
		select {
		case err := <-stopped:
			if err != nil {
				p.log.Warn("the grace period ended with requests in flight", zap.Error(err))
			}
			return nil
		case s := <-signals:
			if !p.reload(s) {
				return interrupted{s}
			}
		}
	}
}
