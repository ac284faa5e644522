package limit

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidateNamesTheField(t *testing.T) {
	for _, test := range []struct {
		name string
		c    Config
		want []string
	}{
		{"the defaults", DefaultConfig(), nil},
		{"no limits", Config{}, nil},
		{"a burst without a rate", Config{Burst: 5}, nil},
		{"less than one a second", Config{RequestsPerSecond: 0.1, Burst: 1}, nil},
		{"all negative", Config{-1, -2, -3, -4, -5}, []string{
			"requestsPerSecond: -1 is negative; 0 is no limit",
			"burst: -2 is negative; 0 is no limit",
			"maxInFlight: -3 is negative; 0 is no limit",
			"maxWatches: -4 is negative; 0 is no limit",
			"maxUpgrades: -5 is negative; 0 is no limit",
		}},
		{"a rate that nothing can use", Config{RequestsPerSecond: 50}, []string{
			"burst: with requestsPerSecond of 50 it has to be 1 or more: no request could ever be made",
		}},
		{"no number", Config{RequestsPerSecond: math.NaN(), Burst: 1}, []string{"requestsPerSecond: it has to be a number; 0 is no limit"}},
		{"infinity", Config{RequestsPerSecond: math.Inf(1), Burst: 1}, []string{"requestsPerSecond: it has to be a number; 0 is no limit"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			if err := test.c.Validate(); err != nil {
				for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
					var problem *FieldError
					if !errors.As(one, &problem) {
						t.Fatalf("not a FieldError: %v", one)
					}
					got = append(got, problem.Error())
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestExceededSaysWhichLimitAndWhatToDo(t *testing.T) {
	for want, e := range map[string]Exceeded{
		"client over its limit of 40 requests in flight; try again in 1 s, or ask for a higher maxInFlight":        {"maxInFlight", 40, 1},
		"client over its limit of 200 watches and followed logs; try again in 5 s, or ask for a higher maxWatches": {"maxWatches", 200, 5},
		"client over its limit of 10 upgraded connections; try again in 5 s, or ask for a higher maxUpgrades":      {"maxUpgrades", 10, 5},
		"client over its limit of 0.5 requests a second; try again in 2 s, or ask for a higher requestsPerSecond":  {"requestsPerSecond", 0.5, 2},
	} {
		if got := e.Error(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
