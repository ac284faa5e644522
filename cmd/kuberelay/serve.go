package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
)

// serve runs a daemon until a signal ends it or it fails. The first line on out
// is kubectl proxy's, once the listener is bound: programs wait for it to learn
// the port. A daemon that had to cut requests off has ended as it was told to.
func serve(cfg *config.Configuration, log *zap.Logger, out io.Writer) error {
	signals, stop := notify()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	d, err := daemon.New(cfg, daemon.Options{Log: log, Version: version()})
	if err != nil {
		return err
	}
	started := make(chan struct{})
	go func() {
		defer close(started)
		err = d.Start(ctx)
	}()
	select {
	case <-started:
	case s := <-signals:
		cancel()
		<-started
		log.Info("told to stop before it served", zap.Stringer("signal", s))
		return end(d, cfg, log, signals)
	}
	if err == nil {
		_, err = fmt.Fprintf(out, "Starting to serve on %s\n", d.Addr(config.ProxyListener))
	}
	if err != nil {
		cancel()
		return errors.Join(err, d.Stop(ctx))
	}

	select {
	case err = <-d.Failed():
	case s := <-signals:
		log.Info("shutting down: requests in flight may finish, a second signal cuts them off",
			zap.Stringer("signal", s), zap.Duration("grace", cfg.Grace))
	}
	return errors.Join(err, end(d, cfg, log, signals))
}

// end stops the daemon within the grace time, or with the process at the next
// signal.
func end(d *daemon.Daemon, cfg *config.Configuration, log *zap.Logger, signals <-chan os.Signal) error {
	grace, cancel := context.WithTimeout(context.Background(), cfg.Grace)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- d.Stop(grace) }()
	select {
	case err := <-stopped:
		if err != nil {
			log.Warn("shut down", zap.Error(err))
		}
		return nil
	case s := <-signals:
		return interrupted{s}
	}
}
