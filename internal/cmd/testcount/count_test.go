package main

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCounter(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events string
		want   string
		ok     bool
	}{
		{
			name: "passing tests of two packages",
			events: `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestOne"}
{"Action":"output","Package":"a","Test":"TestOne","Output":"=== RUN   TestOne\n"}
{"Action":"pass","Package":"a","Test":"TestOne","Elapsed":0.1}
{"Action":"pass","Package":"a","Test":"TestTwo","Elapsed":6.25}
{"Action":"pass","Package":"a","Elapsed":6.5}
{"Action":"pass","Package":"b","Test":"TestOne","Elapsed":0}
{"Action":"pass","Package":"b","Elapsed":0.02}
{"Action":"skip","Package":"c","Elapsed":0}
`,
			want: "     a TestTwo (6.3s)\nok   a  2 tests  6.5s\nok   b  1 tests  20ms\n3 passed, 0 failed, 0 skipped\n",
			ok:   true,
		},
		{
			name: "a test with subtests is not counted beside them",
			events: `{"Action":"pass","Package":"a","Test":"TestX/one"}
{"Action":"pass","Package":"a","Test":"TestX/two/deep"}
{"Action":"pass","Package":"a","Test":"TestX/two"}
{"Action":"pass","Package":"a","Test":"TestX"}
{"Action":"pass","Package":"a","Elapsed":1}
`,
			want: "ok   a  2 tests  1s\n2 passed, 0 failed, 0 skipped\n",
			ok:   true,
		},
		{
			name: "a failing subtest is counted once and shown in full",
			events: `{"Action":"output","Package":"a","Test":"TestX","Output":"=== RUN   TestX\n"}
{"Action":"output","Package":"a","Test":"TestX/one","Output":"    x_test.go:1: wrong\n"}
{"Action":"fail","Package":"a","Test":"TestX/one","Elapsed":0.5}
{"Action":"pass","Package":"a","Test":"TestX/two"}
{"Action":"fail","Package":"a","Test":"TestX","Elapsed":0.5}
{"Action":"fail","Package":"a","Elapsed":1}
`,
			want: "--- FAIL: a TestX/one (0.50s)\n    x_test.go:1: wrong\n--- FAIL: a TestX (0.50s)\n=== RUN   TestX\nFAIL a  1s\n1 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a test that fails itself after its subtests passed is counted",
			events: `{"Action":"pass","Package":"a","Test":"TestX/one"}
{"Action":"fail","Package":"a","Test":"TestX"}
{"Action":"fail","Package":"a"}
`,
			want: "--- FAIL: a TestX (0.00s)\nFAIL a  0s\n1 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a package that does not build",
			events: `{"ImportPath":"a [a.test]","Action":"build-output","Output":"# a\n"}
{"ImportPath":"a [a.test]","Action":"build-output","Output":"./x.go:1:1: undefined: y\n"}
{"ImportPath":"a [a.test]","Action":"build-fail"}
{"Action":"start","Package":"a"}
{"Action":"output","Package":"a","Output":"FAIL\ta [build failed]\n"}
{"Action":"fail","Package":"a","Elapsed":0,"FailedBuild":"a [a.test]"}
`,
			want: "FAIL a  0s\n# a\n./x.go:1:1: undefined: y\nFAIL\ta [build failed]\n0 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a process that dies after its tests",
			events: `{"Action":"pass","Package":"a","Test":"TestX"}
{"Action":"output","Package":"a","Output":"goleak: Errors on successful test run\n"}
{"Action":"fail","Package":"a","Elapsed":0.3}
`,
			want: "FAIL a  300ms\ngoleak: Errors on successful test run\n1 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a process that dies in a test",
			events: `{"Action":"output","Package":"a","Test":"TestX","Output":"fatal error: all goroutines are asleep\n"}
{"Action":"fail","Package":"a","Elapsed":0.3}
`,
			want: "FAIL a  300ms\nfatal error: all goroutines are asleep\n0 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a skipped test is named with its reason",
			events: `{"Action":"output","Package":"a","Test":"TestX","Output":"    x_test.go:1: no network\n"}
{"Action":"skip","Package":"a","Test":"TestX"}
{"Action":"pass","Package":"a","Test":"TestY"}
{"Action":"pass","Package":"a"}
`,
			want: "--- SKIP: a TestX\n    x_test.go:1: no network\nok   a  2 tests  0s\n1 passed, 0 failed, 1 skipped\n",
			ok:   true,
		},
		{
			name:   "what is no event is printed",
			events: "go: downloading example.org/x v1.0.0\n{\"Action\":\"pass\",\"Package\":\"a\",\"Test\":\"TestX\"}\nno newline",
			want:   "go: downloading example.org/x v1.0.0\nno newline1 passed, 0 failed, 0 skipped\n",
			ok:     true,
		},
		{
			name: "nothing ran",
			want: "0 passed, 0 failed, 0 skipped\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			c := newCounter(&out)
			if err := c.read(strings.NewReader(tt.events), nil); err != nil {
				t.Fatal(err)
			}
			if ok := c.summary(); ok != tt.ok {
				t.Errorf("summary reports %v, want %v", ok, tt.ok)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTicksSayWhereTheTestsAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, feed := io.Pipe()
		var out strings.Builder
		done := make(chan error)
		go func() { done <- newCounter(&out).read(in, time.Tick(30*time.Second)) }()

		<-time.After(45 * time.Second)
		if _, err := io.WriteString(feed, `{"Action":"output","Package":"e2e","Output":"building etcd from Go modules\n"}`+"\n"); err != nil {
			t.Fatal(err)
		}
		<-time.After(30 * time.Second)
		feed.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := "     … after 30s: compiling\n     … after 1m0s: e2e: building etcd from Go modules\n"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
