package strict

import (
	"reflect"
	"slices"
	"strings"
)

// field is one that can be written.
type field struct {
	name  string
	index []int // as of reflect.Value.FieldByIndex
}

// fields are those of one struct type.
type fields struct {
	list   []field
	byName map[string]int // index into list
}

func (f *fields) add(name string, index []int) {
	f.byName[name] = len(f.list)
	f.list = append(f.list, field{name, index})
}

// names are the names of all fields, in the order of the struct.
func (f *fields) names() []string {
	names := make([]string, len(f.list))
	for i := range f.list {
		names[i] = f.list[i].name
	}
	return names
}

// fieldsOf returns the fields of a struct type, with those of embedded structs
// and the siblings of its structs.
func fieldsOf(t reflect.Type) *fields {
	f := &fields{byName: map[string]int{}}
	f.collect(t, nil)
	return f
}

func (f *fields) collect(t reflect.Type, index []int) {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(slices.Clip(index), i)
		name := Name(sf)
		if sf.Anonymous && sf.Type.Kind() == reflect.Struct {
			f.collect(sf.Type, at)
			continue
		}
		if name == "" || Sibling(sf) {
			continue
		}
		f.add(name, at)
		if sf.Type.Kind() != reflect.Struct {
			continue
		}
		for j := range sf.Type.NumField() {
			if inner := sf.Type.Field(j); Sibling(inner) {
				f.add(Name(inner), append(slices.Clip(at), j))
			}
		}
	}
}

// Name returns the name under which a field is written, empty for one that
// cannot be written.
func Name(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" || !f.IsExported() {
		return ""
	}
	return name
}

// Sibling reports whether a field is written beside the struct that holds it.
func Sibling(f reflect.StructField) bool { return f.Tag.Get("strict") == "sibling" }

// Nearest returns the one of the names that a misspelt one most probably means,
// or "" if none is near.
func Nearest(name string, names []string) string {
	best, bestDistance := "", max(1, len(name)/3)
	for _, candidate := range names {
		if strings.EqualFold(candidate, name) {
			return candidate
		}
		if d := distance(name, candidate, bestDistance); d < bestDistance || d == bestDistance && best == "" {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// distance is the number of letters to add, drop, replace or swap with their
// neighbour to make b of a (the optimal string alignment), or limit+1 if it is
// above limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	a, b = strings.ToLower(a), strings.ToLower(b)
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit+1)
}
