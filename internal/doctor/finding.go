package doctor

import (
	"fmt"
	"sync"
)

// Verdict says how a check ended.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // it works, or may; somebody should know
	Failed  Verdict = "failed"
)

// Finding is the end of one check. A check that needs what another one found
// missing is not made, and has no finding.
type Finding struct {
	// Of is what was examined, such as "cluster prod, 10.0.0.11:6443".
	Of string `json:"of"`
	// Check is the check's name, a word fixed in the code, such as "tls".
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	// Text says what was found.
	Text string `json:"text"`
	// Do says what to do about it. Empty for OK.
	Do string `json:"do,omitempty"`
}

// findings collects what is found of one thing.
type findings struct {
	of   string
	list []Finding
}

func (f *findings) ok(check, format string, args ...any) {
	f.list = append(f.list, Finding{f.of, check, OK, fmt.Sprintf(format, args...), ""})
}

func (f *findings) warn(check, do, format string, args ...any) {
	f.list = append(f.list, Finding{f.of, check, Warning, fmt.Sprintf(format, args...), do})
}

func (f *findings) fail(check, do, format string, args ...any) {
	f.list = append(f.list, Finding{f.of, check, Failed, fmt.Sprintf(format, args...), do})
}

// maxAtOnce bounds how many things are examined at once.
const maxAtOnce = 16

// each examines several things at once, and returns what was found in their
// order.
func each[T any](things []T, examine func(T) []Finding) []Finding {
	found := make([][]Finding, len(things))
	slots := make(chan struct{}, maxAtOnce)
	var work sync.WaitGroup
	for i, thing := range things {
		work.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i] = examine(thing)
		})
	}
	work.Wait()
	var all []Finding
	for _, f := range found {
		all = append(all, f...)
	}
	return all
}
