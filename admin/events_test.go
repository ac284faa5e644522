package admin

import (
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestEventsKeepTheLatestFirst(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	for name, n := range map[string]int{"none": 0, "one": 1, "as many as fit": maxEvents, "one more": maxEvents + 1, "many": 3*maxEvents + 7} {
		t.Run(name, func(t *testing.T) {
			var e Events
			var want []Event
			for i := range n {
				event := Event{At: at.Add(time.Duration(i) * time.Second), Kind: EventState, Text: "DOWN"}
				e.Add(event)
				if i >= n-maxEvents {
					want = append([]Event{event}, want...)
				}
			}
			got := e.Latest()
			if len(want) != len(got) || n > 0 && cmp.Diff(want, got) != "" {
				t.Errorf("%d events, want %d: %s", len(got), len(want), cmp.Diff(want, got))
			}
		})
	}
}

func TestEventsAreBounded(t *testing.T) {
	var e Events
	before := time.Now()
	e.Add(Event{Kind: EventState, Text: strings.Repeat("é", maxEventText)[1:]})
	got := e.Latest()[0]
	if len(got.Text) > maxEventText+8 || !strings.HasSuffix(got.Text, "é …") || !utf8.ValidString(got.Text) {
		t.Errorf("%d bytes, %q", len(got.Text), got.Text)
	}
	if got.At.Before(before) || got.At.After(time.Now()) {
		t.Errorf("at %v, want now", got.At)
	}
}

func TestNoEventsAreFineToUse(t *testing.T) {
	var e *Events
	e.Add(Event{Kind: EventState})
	if got := e.Latest(); got != nil {
		t.Errorf("%v, want nothing", got)
	}
}

func TestEventsMayComeFromAnywhere(t *testing.T) {
	var e Events
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range maxEvents {
				e.Add(Event{Kind: EventState})
				_ = e.Latest()
			}
		})
	}
	work.Wait()
	if n := len(e.Latest()); n != maxEvents {
		t.Errorf("%d events, want %d", n, maxEvents)
	}
}
