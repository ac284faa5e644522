package health

import (
	"fmt"
	"strings"
	"time"
)

// Config is how upstreams are probed. A zero field takes its default.
type Config struct {
	// Path is what is requested, with an optional query; default /readyz. It
	// is appended to the path of the upstream's URL.
	Path string `yaml:"path"`

	// Interval is the time between two probes of a READY upstream, ±20 %;
	// default 2s. While a state is in transition it is at most 500ms; a DOWN
	// upstream is probed more and more rarely, down to every 10s.
	Interval time.Duration `yaml:"interval"`

	// Timeout bounds one probe from dialling to the end of the answer; default 2s.
	Timeout time.Duration `yaml:"timeout"`

	// UnhealthyThreshold is how many failed samples in a row make an upstream
	// DOWN; default 3. One that refuses connections or is unreachable is DOWN
	// after two.
	UnhealthyThreshold int `yaml:"unhealthyThreshold"`

	// HealthyThreshold is how many passing probes in a row make it READY again;
	// default 2. One is enough for a first verdict and when no other upstream
	// is usable.
	HealthyThreshold int `yaml:"healthyThreshold"`
}

// DefaultConfig returns the defaults written at the fields of [Config].
func DefaultConfig() Config {
	return Config{
		Path:               "/readyz",
		Interval:           2 * time.Second,
		Timeout:            2 * time.Second,
		UnhealthyThreshold: 3,
		HealthyThreshold:   2,
	}
}

// Validate reports the first field that cannot be meant. Zero fields are valid.
func (c Config) Validate() error {
	switch {
	case c.Path != "" && !strings.HasPrefix(c.Path, "/"):
		return fmt.Errorf("path: %q must start with /", c.Path)
	case c.Interval < 0:
		return fmt.Errorf("interval: %s must not be negative", c.Interval)
	case c.Interval > 0 && c.Interval < 100*time.Millisecond:
		return fmt.Errorf("interval: %s is below the minimum of 100ms", c.Interval)
	case c.Timeout < 0:
		return fmt.Errorf("timeout: %s must not be negative", c.Timeout)
	case c.UnhealthyThreshold < 0:
		return fmt.Errorf("unhealthyThreshold: %d must not be negative", c.UnhealthyThreshold)
	case c.HealthyThreshold < 0:
		return fmt.Errorf("healthyThreshold: %d must not be negative", c.HealthyThreshold)
	}
	return nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Path == "" {
		c.Path = d.Path
	}
	if c.Interval <= 0 {
		c.Interval = d.Interval
	}
	if c.Timeout <= 0 {
		c.Timeout = d.Timeout
	}
	if c.UnhealthyThreshold <= 0 {
		c.UnhealthyThreshold = d.UnhealthyThreshold
	}
	if c.HealthyThreshold <= 0 {
		c.HealthyThreshold = d.HealthyThreshold
	}
	return c
}
