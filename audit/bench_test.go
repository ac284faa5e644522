package audit

import (
	"io"
	"testing"
)

type nowhere struct{ io.Writer }

func (nowhere) Close() error { return nil }

// BenchmarkWrite is what an event costs besides the system call.
func BenchmarkWrite(b *testing.B) {
	l, err := Open(Config{File: "-nowhere"}, Options{open: func(string) (*file, error) { return &file{w: nowhere{io.Discard}}, nil }})
	if err != nil {
		b.Fatal(err)
	}
	for name, e := range map[string]*Event{"typical": typicalEvent(), "full": fullEvent()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := l.Write(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestAnEventCostsOneAllocationAtMost(t *testing.T) {
	l := openOn(t, nowhere{io.Discard}, Options{OnEvent: func(Stage) {}})
	for name, e := range map[string]*Event{"typical": typicalEvent(), "full": fullEvent()} {
		if n := testing.AllocsPerRun(1000, func() { check(t, l.Write(e)) }); n > 1 {
			t.Errorf("the %s event: %v allocations, want 1 at most", name, n)
		}
	}
}
