package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// server is a running Prometheus.
type server struct {
	*process
	url string
}

func startPrometheus(ctx context.Context, dir, rules string, targets ...string) (*server, error) {
	rules, err := filepath.Abs(rules)
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
- {job_name: kuberelay, static_configs: [{targets: [%s]}]}
`, rules, strings.Join(targets, ", "))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := start(ctx, dir, "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address="+address)
	if err != nil {
		return nil, fmt.Errorf("%w (Debian's package is prometheus)", err)
	}
	return &server{p, "http://" + address}, nil
}

// sample is one series of an instant query.
type sample struct {
	Metric map[string]string
	Value  [2]any // when, and the number as text
}

// query asks for the value of an expression now.
func (s *server) query(ctx context.Context, text string) (samples []sample, err error) {
	var result struct{ Result []sample }
	err = s.api(ctx, "/api/v1/query?query="+url.QueryEscape(text), &result)
	return result.Result, err
}

func (s *server) api(ctx context.Context, path string, data any) error {
	a, err := get(ctx, s.url+path, "")
	if err != nil {
		return err
	}
	envelope := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal([]byte(a.body), &envelope); err != nil {
		return fmt.Errorf("%d %s: %w", a.code, a.body, err)
	}
	if envelope.Status != "success" {
		return errors.New(envelope.Error)
	}
	return nil
}

// await waits until an expression has a value.
func (s *server) await(ctx context.Context, text string) error {
	err := until(ctx, 30*time.Second, func() error {
		samples, err := s.query(ctx, text)
		if err == nil && len(samples) == 0 {
			err = fmt.Errorf("%s has no value", text)
		}
		return err
	})
	if err != nil {
		return s.said(err)
	}
	return nil
}

// check asks everything, and says all that is wrong.
func (s *server) check(ctx context.Context, expressions []expression) error {
	// The last scrapes and evaluations, of all the traffic.
	if err := s.await(ctx, `ALERTS{alertname="KuberelayUpstreamDown"} and on () cluster:kuberelay_upstreams_usable:sum`); err != nil {
		return err
	}
	var problems []error
	asked := map[string]bool{}
	ask := func(where, text string, shows bool) {
		samples, err := s.query(ctx, text)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: %s: %w", where, text, err))
		case shows && !anyNumber(samples):
			problems = append(problems, fmt.Errorf("%s: %s: no value", where, text))
		}
		asked[text] = true
	}
	for _, e := range expressions {
		ask(e.where, e.text, e.shows)
		for _, selected := range e.selectors() {
			if !asked[selected] {
				ask(e.where, selected, true)
			}
		}
	}
	rules, err := s.health(ctx)
	problems = append(problems, err)
	if err := errors.Join(problems...); err != nil {
		return err
	}
	fmt.Printf("Prometheus evaluated %d rules, and answered %d expressions of rules and dashboard with their selectors: %d in all\n", rules, len(expressions), len(asked))
	return nil
}

// anyNumber tells whether there is anything to draw.
func anyNumber(samples []sample) bool {
	for _, s := range samples {
		if text, ok := s.Value[1].(string); ok && text != "NaN" {
			return true
		}
	}
	return false
}

// health returns how many rules Prometheus has evaluated, and what it says is
// wrong with them.
func (s *server) health(ctx context.Context) (n int, err error) {
	var loaded struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := s.api(ctx, "/api/v1/rules", &loaded); err != nil {
		return 0, err
	}
	var problems []string
	for _, g := range loaded.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" {
				problems = append(problems, fmt.Sprintf("rule %s is %s: %s", r.Name, r.Health, r.LastError))
			}
		}
	}
	if n == 0 {
		problems = append(problems, "Prometheus has loaded no rules")
	}
	if len(problems) > 0 {
		return n, errors.New(strings.Join(problems, "\n"))
	}
	return n, nil
}
