package daemon

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/auth"
)

// credential is a configured credential in use.
type credential struct {
	config auth.CredentialConfig
	live   *auth.Credential
	log    *zap.Logger

	expires atomic.Int64 // Unix seconds; 0: never, or not known
	failing atomic.Bool  // the last refresh failed

	cancel context.CancelFunc
	work   sync.WaitGroup
}

func (d *Daemon) openCredential(c auth.CredentialConfig) (*credential, error) {
	opened := &credential{config: c, log: d.log.Named("credential")}
	var err error
	opened.live, err = auth.OpenCredential(auth.CredentialOptions{
		Config: c,
		Log:    opened.log,
		OnRefresh: func(name, result string) {
			if failing := result != "ok"; opened.failing.Swap(failing) != failing {
				text := "the credential " + name + " can be had again"
				if failing {
					text = "the credential " + name + " cannot be refreshed"
				}
				d.events.Add(admin.Event{Kind: admin.EventCredential, Text: text})
			}
			d.metrics.CredentialRefresh(name, result)
		},
		OnExpiry: func(name string, t time.Time) {
			unix := int64(0)
			if !t.IsZero() {
				unix = t.Unix()
			}
			opened.expires.Store(unix)
			d.metrics.CredentialExpiry(name, t)
		},
		Post: d.post,
	})
	return opened, err
}

func (c *credential) status() admin.CredentialStatus {
	s := admin.CredentialStatus{Name: c.config.Name}
	if unix := c.expires.Load(); unix != 0 {
		s.ExpiresAt = time.Unix(unix, 0)
	}
	if c.failing.Load() {
		s.Error = "the last refresh failed; the log says why"
	}
	return s
}

// ownCredential names the credential of a cluster's kubeconfig, in logs and
// metrics: no configured one can have that name. kuberelay proxy has only this
// one.
func (d *Daemon) ownCredential(cluster string) string {
	if d.options.ConfigFile == "" {
		return cluster
	}
	return "kubeconfig/" + cluster
}

// dropTokensOf forgets the service account tokens of a cluster whose connection
// parameters have changed: they may lead to another cluster now.
func (d *Daemon) dropTokensOf(cluster string) {
	p := d.parts.Load()
	if p == nil {
		return // nothing has been fetched yet
	}
	for _, c := range p.credentials {
		if c.config.ServiceAccountToken != nil && c.config.ServiceAccountToken.Cluster == cluster {
			c.live.Drop()
		}
	}
}

// start begins to watch its files.
func (c *credential) start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(ctx)
	c.work.Go(func() {
		if err := c.live.Run(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("credential watch ended", zap.String("credential", c.config.Name), zap.Error(err))
		}
	})
}

// close stops it. Leases that were handed out stay valid until they expire.
func (c *credential) close() {
	if c.cancel != nil {
		c.cancel()
	}
	c.work.Wait()
	c.live.Close()
}

// post sends a POST to a path of a cluster with a credential of the
// configuration in force: how one credential asks for another.
func (d *Daemon) post(ctx context.Context, cluster, credential, path string, body []byte) (auth.Answer, error) {
	p := d.parts.Load()
	on, with := p.cluster(cluster), p.credential(credential)
	switch {
	case on == nil:
		return auth.Answer{}, fmt.Errorf("there is no cluster %q", cluster)
	case with == nil:
		return auth.Answer{}, fmt.Errorf("there is no credential %q", credential)
	}
	return on.path.Post(ctx, with.live, path, body)
}
