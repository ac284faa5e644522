package strict_test

import (
	"testing"

	"github.com/kuberelay/kuberelay/internal/strict"
)

func TestPositions(t *testing.T) {
	const text = `title: a
env:
  A: x
  "b.c": y
dishes:
- name: soup
  parts: [p,
    q]
- {more: [{name: z}]}
sink:
  depth: 1
`
	d, err := strict.Decode([]byte(text), &menu{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]int{
		"":                       {1, 1},
		"title":                  {1, 1},
		"title.deeper":           {1, 1},
		"missing":                {1, 1},
		"env.A":                  {3, 3},
		`env["b.c"]`:             {4, 3},
		"env.missing":            {2, 1},
		"dishes":                 {5, 1},
		"dishes[0]":              {6, 3},
		"dishes[0].hot":          {6, 3},
		"dishes[0].parts":        {7, 3},
		"dishes[0].parts[1]":     {8, 5},
		"dishes[1].more[0].name": {9, 12},
		"dishes[2].name":         {5, 1},
		"dishes.name":            {5, 1},
		"dishes[x]":              {5, 1},
		"dishes[0":               {6, 3},
		"sink.depth":             {11, 3},
	} {
		if line, column := d.Position(path); [2]int{line, column} != want {
			t.Errorf("Position(%q) = %d, %d, want %v", path, line, column, want)
		}
	}
	for path, want := range map[string]bool{
		"": true, "title": true, "seats": false, "dishes[1].more[0]": true, "dishes[2]": false, "title.x": false,
	} {
		if got := d.Has(path); got != want {
			t.Errorf("Has(%q) = %v, want %v", path, got, want)
		}
	}
}

func TestNoDocumentHasNoPlaces(t *testing.T) {
	empty, _ := strict.Decode(nil, &menu{})
	for _, d := range []*strict.Document{empty, nil} {
		if line, column := d.Position("title"); line != 0 || column != 0 || d.Has("") {
			t.Errorf("Position() = %d, %d, Has() = %v, want nothing", line, column, d.Has(""))
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"name", "match", "grants", "limits", "allowImpersonation", "uid"}
	for name, want := range map[string]string{
		"naem": "name", "Name": "name", "matches": "match", "grant": "grants", "limit": "limits", "id": "uid",
		"allowedImpersonations": "allowImpersonation", "ALLOWIMPERSONATION": "allowImpersonation",
		"colour": "", "x": "", "": "",
	} {
		if got := strict.Nearest(name, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
