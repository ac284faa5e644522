package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kuberelay/kuberelay/internal/joined"
	"github.com/kuberelay/kuberelay/internal/strict"
)

// Problems are everything that is wrong with a configuration, in the order of its
// file.
type Problems = strict.Problems

// problems collects what is wrong.
type problems strict.Problems

// add records err, if there is one, as a problem of field, and as several if a
// package's Validate joined them.
func (p *problems) add(field string, err error) {
	for _, err := range joined.Errors(err) {
		*p = append(*p, &strict.Problem{Path: field, Err: err})
	}
}

// addFields is add for a package whose errors begin with the name of a field of
// its own, such as "interval: ".
func (p *problems) addFields(field string, err error) {
	for _, err := range joined.Errors(err) {
		at := field
		if m := fieldName.FindStringSubmatch(err.Error()); m != nil {
			at, err = field+"."+m[1], &trimmed{err, m[0]}
		}
		*p = append(*p, &strict.Problem{Path: at, Err: err})
	}
}

var fieldName = regexp.MustCompile(`^([a-z][a-zA-Z0-9]*(?:\[\d+\])?(?:\.[a-z][a-zA-Z0-9]*(?:\[\d+\])?)*): `)

// trimmed is an error without a prefix of its text.
type trimmed struct {
	err    error
	prefix string
}

func (t *trimmed) Error() string { return strings.TrimPrefix(t.err.Error(), t.prefix) }
func (t *trimmed) Unwrap() error { return t.err }

// orNil returns p as an error.
func (p problems) orNil() error { return strict.Problems(p).OrNil() }

// names are those of one kind of thing, with the index of the first that has it.
type names struct {
	kind  string
	index map[string]int
}

// name of things that are referred to, counted and logged: they become labels
// of metrics and parts of paths.
var wellFormed = regexp.MustCompile(`^[a-zA-Z0-9][-a-zA-Z0-9_.@]*$`)

const maxName = 253

// addNames records the names of a list's elements and what is wrong with them.
func (p *problems) addNames(kind, list string, all []string) names {
	n := names{kind: kind, index: make(map[string]int, len(all))}
	for i, name := range all {
		first, taken := n.index[name]
		field := fmt.Sprintf("%s[%d].name", list, i)
		switch {
		case name == "":
			p.add(field, errors.New("is missing"))
			continue
		case taken:
			p.add(field, fmt.Errorf("%q is the name of %s[%d] already: names must differ", name, list, first))
			continue
		case len(name) > maxName || !wellFormed.MatchString(name):
			p.add(field, fmt.Errorf("%q: want letters, digits, -, _, . and @, beginning with a letter or digit, at most %d of them", shorten(name), maxName))
		}
		n.index[name] = i
	}
	return n
}

// addReference records a reference that is missing, or to what is not there.
func (p *problems) addReference(field, name string, to names) {
	if name == "" {
		p.add(field, fmt.Errorf("is missing: want the name of a %s", to.kind))
		return
	}
	p.addDangling(field, name, to)
}

// addDangling records a reference to what is not there.
func (p *problems) addDangling(field, name string, to names) {
	if _, ok := to.index[name]; ok || name == "" {
		return
	}
	err := fmt.Errorf("there is no %s %q", to.kind, shorten(name))
	if near := nearest(name, to); near != "" {
		err = fmt.Errorf("%w: did you mean %s?", err, near)
	}
	p.add(field, err)
}

// nearest returns the name that a misspelt one most probably means. Among very
// many it does not search.
func nearest(name string, in names) string {
	const many = 1000
	if len(in.index) > many {
		return ""
	}
	candidates := make([]string, 0, len(in.index))
	for candidate := range in.index {
		candidates = append(candidates, candidate)
	}
	slices.Sort(candidates)
	return strict.Nearest(name, candidates)
}

func shorten(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func oneOf(value string, allowed ...string) error {
	switch {
	case slices.Contains(allowed, value):
		return nil
	case value == "":
		return errors.New("is missing: want " + strings.Join(allowed, ", "))
	}
	return fmt.Errorf("%q: want %s", shorten(value), strings.Join(allowed, ", "))
}
