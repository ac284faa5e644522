package health

import (
	"strings"
	"testing"
	"time"
)

func TestConfigValidate(t *testing.T) {
	for _, test := range []struct {
		name   string
		config Config
		field  string // "" for valid
	}{
		{"zero means defaults", Config{}, ""},
		{"the defaults", DefaultConfig(), ""},
		{"a query may stand in the path", Config{Path: "/readyz?exclude=etcd"}, ""},
		{"a path without a slash", Config{Path: "readyz"}, "path"},
		{"a busy loop", Config{Interval: time.Millisecond}, "interval"},
		{"a negative interval", Config{Interval: -1}, "interval"},
		{"a negative timeout", Config{Timeout: -1}, "timeout"},
		{"a negative unhealthy threshold", Config{UnhealthyThreshold: -1}, "unhealthyThreshold"},
		{"a negative healthy threshold", Config{HealthyThreshold: -1}, "healthyThreshold"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.config.Validate()
			switch {
			case test.field == "" && err != nil:
				t.Errorf("got %v, want nil", err)
			case test.field != "" && (err == nil || !strings.HasPrefix(err.Error(), test.field+": ")):
				t.Errorf("got %v, want an error about %s", err, test.field)
			}
		})
	}
}

func TestZeroConfigIsTheDefault(t *testing.T) {
	if got := (Config{}).withDefaults(); got != DefaultConfig() {
		t.Errorf("got %+v", got)
	}
}

func TestNames(t *testing.T) {
	for s := Ready; s <= Misconfigured; s++ {
		if strings.HasPrefix(s.String(), "STATE") {
			t.Errorf("state %d has no name", s)
		}
	}
	for k := range resultKinds {
		if k.String() == "" {
			t.Errorf("kind %d has no name", k)
		}
	}
	if got := State(9).String() + " " + ResultKind(99).String(); got != "STATE(9) kind(99)" {
		t.Errorf("unknown values print as %q", got)
	}
}
