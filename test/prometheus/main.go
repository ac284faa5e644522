// Command prometheus runs every expression of the alerting and recording rules
// and of the Grafana dashboard against a real Prometheus that scrapes a real
// kuberelay: make rules.
//
// It starts three small API servers, two peers of kuberelay serve in front of
// them and a Prometheus with the rules of deploy/prometheus, makes traffic of every kind
// (successes, refusals, a dead server, a reload, streams that are cut), and
// then asks. Each expression has to be valid, each panel to show something,
// and each series that a rule names to exist: a misspelt label value is no
// error to Prometheus, and an alert on it would never fire. All of it ends by
// itself after a minute.
//
// It needs the programs prometheus and promtool (Debian package prometheus),
// and the folder deploy in the current directory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// patience bounds the whole run.
const patience = 3 * time.Minute

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "prometheus check:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	flags := flag.NewFlagSet("prometheus", flag.ContinueOnError)
	kuberelay := flags.String("kuberelay", "bin/kuberelay", "the `binary` to check")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dir, err := os.MkdirTemp("", "kuberelay-prometheus-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	expressions, err := readExpressions("deploy/prometheus/kuberelay.rules.yml", "deploy/grafana/kuberelay.json")
	if err != nil {
		return err
	}
	servers := startAPIServers(3)
	defer servers.stop()
	relays, err := startRelays(ctx, *kuberelay, dir, servers)
	defer func() {
		for _, r := range relays {
			r.stop()
		}
	}()
	if err != nil {
		return err
	}
	prom, err := startPrometheus(ctx, dir, "deploy/prometheus/kuberelay.rules.yml", relays[0].admin, relays[1].admin)
	if err != nil {
		return err
	}
	defer prom.stop()
	if err := prom.await(ctx, "count(kuberelay_gossip_peers == 1) == 2"); err != nil {
		return err
	}
	if err := makeTraffic(ctx, relays[0], servers); err != nil {
		return err
	}
	if err := checkMetrics(ctx, relays[0].admin); err != nil {
		return err
	}
	return prom.check(ctx, expressions)
}
