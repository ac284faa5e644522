package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/config"
)

// DefaultTimeout is what each step of a check gets that asks over the network.
const DefaultTimeout = 5 * time.Second

// expirySoon is when a certificate, or a credential that nothing renews,
// should be renewed.
const expirySoon = 14 * 24 * time.Hour

// Options say what to examine.
type Options struct {
	// File is the configuration file. Empty: Config is examined.
	File string
	// Config is a configuration without a file, of a command line: of it, the
	// clusters are examined.
	Config *config.Configuration
	// Version is this program's, for its User-Agent, and to compare with that
	// of the process that runs.
	Version string
	// Timeout is for each step of a check that asks over the network. Zero
	// means DefaultTimeout.
	Timeout time.Duration
}

// doctor is one examination.
type doctor struct {
	options Options
	now     func() time.Time
}

// Run examines everything, and returns what it found in an order that depends on
// the configuration alone. When ctx ends, so do the checks, as if nobody had
// answered.
func Run(ctx context.Context, o Options) []Finding {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	d := &doctor{options: o, now: time.Now}
	if o.File == "" {
		found, sites := d.clusters(ctx, o.Config.Clusters)
		closeAll(sites)
		return found
	}
	found, cfg := d.file()
	if cfg == nil {
		return found
	}
	host := make(chan []Finding, 1)
	go func() { host <- d.host(ctx, cfg) }()
	clusters, sites := d.clusters(ctx, cfg.Clusters)
	defer closeAll(sites)
	credentials := d.credentials(ctx, cfg, sites)
	found = append(found, clusters...)
	found = append(found, credentials...)
	return append(found, <-host...)
}

// file reads the configuration file. A file that is right but names others that
// cannot be used is returned with what is wrong, for the other checks.
func (d *doctor) file() ([]Finding, *config.Configuration) {
	f := &findings{of: "configuration " + d.options.File}
	cfg, err := config.Load(d.options.File)
	if err == nil {
		f.ok("configuration", "is valid: %s, %s, %s", count(len(cfg.Clusters), "cluster"), count(len(cfg.Clients), "client"), count(len(cfg.Listeners), "listener"))
		for _, warning := range cfg.Warnings(d.now()) {
			f.warn("configuration", "change it, unless it is meant so", "%s", warning)
		}
		return f.list, cfg
	}
	do := "correct it; kuberelay check says when it is right"
	if errors.Is(err, os.ErrPermission) {
		do = "run this as the user that kuberelay runs as, or as root"
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		for _, p := range problems {
			f.fail("configuration", do, "%v", p)
		}
	} else {
		f.fail("configuration", do, "%v", err)
	}
	data, err := os.ReadFile(d.options.File)
	if err != nil {
		return f.list, nil // as was said
	}
	cfg, err = config.Parse(data, d.options.File)
	if err != nil {
		return f.list, nil // as was said
	}
	return f.list, cfg
}

// host examines this machine and the process on it.
func (d *doctor) host(ctx context.Context, cfg *config.Configuration) []Finding {
	running, found := d.process(ctx, cfg)
	all := append(d.files(cfg), d.listeners(ctx, cfg, running)...)
	if !running {
		all = append(all, d.gossip(ctx, cfg.Gossip.BindAddress, cfg.Gossip.Peers)...)
	}
	return append(all, found...)
}

// step is a context for one step of a check.
func (d *doctor) step(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.options.Timeout)
}

// ask is how the process is asked for its status.
func ask(ctx context.Context, socket string) (admin.Status, error) {
	client := admin.NewClient(socket)
	defer client.Close()
	return client.Status(ctx)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// until says how far away a time is.
func (d *doctor) until(t time.Time) string {
	left := t.Sub(d.now())
	if left < 0 {
		return "expired " + duration.HumanDuration(-left) + " ago"
	}
	return "expires in " + duration.HumanDuration(left)
}
