package config

import (
	"errors"
	"os"
	"reflect"
	"testing"
	"time"
)

// Any file is either refused, with a line for each problem, or means the same
// each time it is read.
func FuzzConfiguration(f *testing.F) {
	for _, name := range []string{"testdata/example.yaml", "testdata/bad.yaml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(minimal))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := Parse(data, "c.yaml")
		if err != nil {
			problems, ok := errors.AsType[Problems](err)
			if !ok {
				t.Fatalf("error %v, want Problems", err)
			}
			for _, p := range problems {
				if p.File != "c.yaml" || p.Line < 1 {
					t.Errorf("problem without a place: %v", p)
				}
			}
			return
		}
		second, err := Parse(data, "c.yaml")
		if err != nil {
			t.Fatalf("read again: %v", err)
		}
		for i := range first.Clusters {
			first.Clusters[i].Connection, second.Clusters[i].Connection = Connection{}, Connection{}
		}
		if !reflect.DeepEqual(first, second) {
			t.Errorf("read again it differs: %+v, %+v", first, second)
		}
		first.Warnings(time.Now())
	})
}
