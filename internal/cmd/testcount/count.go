package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// slow is how long a test has to run to get a line of its own: a package whose
// tests take minutes is to show that it moves.
const slow = 5 * time.Second

// event is one line of go test -json, see go doc test2json and go help
// buildjson.
type event struct {
	Action      string
	Package     string
	Test        string
	ImportPath  string // of build-output and build-fail
	FailedBuild string
	Output      string
	Elapsed     float64 // seconds
}

// key is a test, or a package where the name is empty.
type key struct{ pkg, test string }

// counter counts tests. A test that has subtests is not counted itself, unless
// it failed and none of them did.
type counter struct {
	out                     io.Writer
	lastLine                string // what a test printed last, and where
	passed, failed, skipped int

	output map[key]*strings.Builder // of what has not ended well
	builds map[string]*strings.Builder
	parent map[key]bool // has subtests
	broken map[key]bool // has failed, or a subtest has
	tests  map[string]int
}

func newCounter(out io.Writer) *counter {
	return &counter{
		out:    out,
		output: map[key]*strings.Builder{},
		builds: map[string]*strings.Builder{},
		parent: map[key]bool{},
		broken: map[key]bool{},
		tests:  map[string]int{},
	}
}

// read counts the events of r. A line that is none is printed as it is. At each
// tick it says where the tests are.
func (c *counter) read(r io.Reader, tick <-chan time.Time) error {
	lines := make(chan string)
	failed := make(chan error, 1)
	go func() {
		defer close(lines)
		for in := bufio.NewReader(r); ; {
			line, err := in.ReadString('\n')
			if line != "" {
				lines <- line
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	began := time.Now()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				if err := <-failed; err != io.EOF {
					return err
				}
				return nil
			}
			c.line(line)
		case now := <-tick:
			fmt.Fprintf(c.out, "     … after %v: %s\n", now.Sub(began).Round(time.Second), cmp.Or(c.lastLine, "compiling"))
		}
	}
}

func (c *counter) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		fmt.Fprint(c.out, line)
		return
	}
	c.event(e)
}

func (c *counter) event(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		write(c.builds, e.ImportPath, e.Output)
	case "output":
		write(c.output, k, e.Output)
		if text := strings.TrimSpace(e.Output); text != "" {
			c.lastLine = fmt.Sprintf("%s: %.120s", e.Package, text)
		}
	case "pass", "fail", "skip":
		if e.Test != "" {
			c.testEnded(k, e)
		} else {
			c.packageEnded(k, e)
		}
	}
}

func write[K comparable](to map[K]*strings.Builder, k K, s string) {
	if to[k] == nil {
		to[k] = &strings.Builder{}
	}
	to[k].WriteString(s)
}

func (c *counter) testEnded(k key, e event) {
	above := key{k.pkg, path.Dir(k.test)}
	if above.test != "." {
		c.parent[above] = true
	}
	switch {
	case e.Action == "fail":
		if !c.broken[k] { // Otherwise the subtest that failed is counted.
			c.failed++
			c.tests[k.pkg]++
		}
		fmt.Fprintf(c.out, "--- FAIL: %s %s (%.2fs)\n%s", k.pkg, k.test, e.Elapsed, c.take(k))
		for a := k; a.test != "."; a.test = path.Dir(a.test) {
			c.broken[a] = true
		}
		c.broken[key{k.pkg, ""}] = true
	case e.Action == "skip":
		c.skipped++
		c.tests[k.pkg]++
		fmt.Fprintf(c.out, "--- SKIP: %s %s\n%s", k.pkg, k.test, c.take(k))
	case !c.parent[k]:
		c.passed++
		c.tests[k.pkg]++
	}
	if took := seconds(e.Elapsed); e.Action == "pass" && above.test == "." && took >= slow {
		fmt.Fprintf(c.out, "     %s %s (%s)\n", k.pkg, k.test, took.Round(100*time.Millisecond))
	}
	c.take(k)
}

func (c *counter) packageEnded(k key, e event) {
	defer c.forget(k.pkg)
	took := seconds(e.Elapsed).Round(10 * time.Millisecond)
	switch e.Action {
	case "pass":
		fmt.Fprintf(c.out, "ok   %s  %d tests  %s\n", k.pkg, c.tests[k.pkg], took)
	case "fail":
		fmt.Fprintf(c.out, "FAIL %s  %s\n", k.pkg, took)
		if c.broken[k] {
			return
		}
		// It did not build, or its process ended badly outside of a test.
		c.failed++
		if b := c.builds[e.FailedBuild]; b != nil {
			fmt.Fprint(c.out, b)
		}
		for _, of := range slices.SortedFunc(maps.Keys(c.output), func(a, b key) int { return strings.Compare(a.test, b.test) }) {
			if of.pkg == k.pkg {
				fmt.Fprint(c.out, c.output[of])
			}
		}
	}
}

// forget drops what is kept of a package.
func (c *counter) forget(pkg string) {
	maps.DeleteFunc(c.output, func(k key, _ *strings.Builder) bool { return k.pkg == pkg })
}

// take returns a test's output and drops it.
func (c *counter) take(k key) string {
	text := c.output[k]
	delete(c.output, k)
	if text == nil {
		return ""
	}
	return text.String()
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// summary prints the counts and reports whether all is well.
func (c *counter) summary() bool {
	fmt.Fprintf(c.out, "%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
	return c.failed == 0 && c.passed > 0
}
