package apigroups

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type answer struct {
	body   string
	status int
	err    error
}

// cluster answers a Get from a table and records what was asked.
type cluster struct {
	mu      sync.Mutex
	answers map[string]answer
	asked   []string
	accepts []string
}

func (c *cluster) get(ctx context.Context, path, accept string) ([]byte, int, error) {
	if _, ok := ctx.Deadline(); !ok {
		return nil, 0, errors.New("a request without deadline")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, path)
	c.accepts = append(c.accepts, accept)
	a := c.answers[path]
	return []byte(a.body), a.status, a.err
}

func healthy() *cluster {
	return &cluster{answers: map[string]answer{
		"/api": {body: coreDoc, status: 200}, "/apis": {body: groupsDoc, status: 200},
		apiServicesPath: {body: apiServicesDoc, status: 200},
	}}
}

func TestRefreshReadsDiscoveryAndAPIServices(t *testing.T) {
	table, c := New(), healthy()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := table.Refresh(ctx, c.get); err != nil {
		t.Fatal(err)
	}
	if g, r := table.Lookup("example.org", "widgets"); g != "example.org" || r != "widgets" {
		t.Errorf("widgets are %q, %q", g, r)
	}
	if !table.Aggregated("stats.example.org", "v1") {
		t.Error("stats.example.org is not aggregated")
	}
	if !strings.Contains(c.accepts[0], "as=APIGroupDiscoveryList") {
		t.Errorf("Accept of %s is %q", c.asked[0], c.accepts[0])
	}
}

func TestRefreshKeepsTheTableWhereTheClusterWillNotTell(t *testing.T) {
	for name, c := range map[string]struct {
		path    string
		answer  answer
		wantErr string // "" = silent
	}{
		"discovery forbidden":         {path: "/apis", answer: answer{status: 403}},
		"too old for the Accept":      {path: "/api", answer: answer{status: 406}},
		"plain discovery":             {path: "/apis", answer: answer{status: 200, body: `{"kind":"APIGroupList"}`}},
		"not answered":                {path: "/api", answer: answer{err: errors.New("connection refused")}, wantErr: "get /api: connection refused"},
		"server error":                {path: "/apis", answer: answer{status: 500}, wantErr: "get /apis: HTTP 500"},
		"credential refused":          {path: "/api", answer: answer{status: 401}, wantErr: "get /api: HTTP 401"},
		"cut off in the middle":       {path: "/apis", answer: answer{status: 200, body: groupsDoc[:100]}, wantErr: "parse discovery document"},
		"a list that is no discovery": {path: "/apis", answer: answer{status: 200, body: `[]`}, wantErr: "parse discovery document"},
	} {
		t.Run(name, func(t *testing.T) {
			table, cl := New(), healthy()
			cl.answers[c.path] = c.answer
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := table.Refresh(ctx, cl.get)
			if c.wantErr == "" && err != nil {
				t.Errorf("error %v, want none", err)
			}
			if c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)) {
				t.Errorf("error %v, want %q", err, c.wantErr)
			}
			if _, r := table.Lookup("batch", "jobs"); r != "jobs" {
				t.Errorf("the built-in batch/jobs became %q", r)
			}
			if !table.Aggregated("stats.example.org", "v1") {
				t.Error("the APIService list was not read")
			}
		})
	}
}

func TestRefreshKeepsWhatWasLearnedWhenAPIServicesAreForbidden(t *testing.T) {
	table, c := New(), healthy()
	c.answers[apiServicesPath] = answer{status: 403}
	table.Learn("stats.example.org", "v1")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := table.Refresh(ctx, c.get); err != nil {
		t.Fatal(err)
	}
	if !table.Aggregated("stats.example.org", "v1") {
		t.Error("the learned group was forgotten")
	}
}

func TestRunRefreshesOnTimeAndBacksOffAfterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		table, c := New(), healthy()
		ok := c.answers["/api"]
		c.answers["/api"] = answer{err: errors.New("no route")}
		failures := make(chan time.Duration, 10)
		start := time.Now()
		done := make(chan error, 1)
		go func() {
			done <- table.Run(ctx, c.get, time.Minute, func(error) { failures <- time.Since(start) })
		}()

		<-time.After(50 * time.Second) // virtual: tries at 0, 5, 15, 35 s, each ± 10 %
		if len(failures) != 4 {
			t.Fatalf("%d tries in 50 s, want 4", len(failures))
		}
		<-failures
		if second := <-failures; second < 4500*time.Millisecond || second > 5500*time.Millisecond {
			t.Errorf("second try after %v, want 5 s ± 10 %%", second)
		}

		c.mu.Lock()
		c.answers["/api"], c.asked = ok, nil
		c.mu.Unlock()
		<-time.After(10 * time.Minute) // virtual
		c.mu.Lock()
		if n := len(c.asked) / 3; n < 8 || n > 11 {
			t.Errorf("%d refreshes in ten minutes, want one a minute ± 10 %%", n)
		}
		c.mu.Unlock()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
}
