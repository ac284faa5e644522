package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/internal/endpoints"
)

// discoveryTimeout bounds one lookup.
const discoveryTimeout = 10 * time.Second

// firstDiscovery is the first delay after which a failed lookup is repeated.
const firstDiscovery = 2 * time.Second

var errUnverified = errors.New("the kubeconfig verifies no certificate, so that no address can be trusted with the credential")

// discover reads the API servers' addresses from the cluster, at intervals
// until ctx ends. A lookup that is forbidden or fails changes nothing and is
// logged at debug level only.
func (c *cluster) discover(ctx context.Context) error {
	interval := c.config.Discovery.Interval
	retry := firstDiscovery
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		wait := interval
		if err := c.lookup(ctx); err != nil {
			c.log.Debug("API servers cannot be discovered", zap.Error(err))
			wait = min(retry, interval)
			retry = min(2*retry, interval)
		} else {
			retry = firstDiscovery
		}
		timer.Reset(wait)
	}
}

func (c *cluster) lookup(ctx context.Context) error {
	if !verifies(c.kubeconfig.Endpoint()) {
		return errUnverified
	}
	bounded, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	body, status, err := c.path.Get(bounded, endpoints.Path, "application/json")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("GET %s: HTTP %d", endpoints.Path, status)
	}
	found, err := endpoints.Parse(body)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return nil // an empty answer never takes servers away
	}
	c.mu.Lock()
	same := slices.Equal(found, c.discovered)
	c.discovered = found
	c.mu.Unlock()
	if same {
		return nil
	}
	c.log.Info("API servers discovered", zap.Strings("addresses", found))
	return c.update()
}
