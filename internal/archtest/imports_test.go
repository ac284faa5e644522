package archtest

import (
	"slices"
	"strings"
	"testing"
)

func TestImportsPointDownward(t *testing.T) {
	for _, s := range goFiles(t) {
		allowed, known := imports[s.pkg]
		if !known {
			t.Errorf("%s: package %s is not in the table of internal/archtest/rules_test.go; add it with the packages that it may import", s.path, s.pkg)
			continue
		}
		if s.test {
			allowed = append(slices.Clip(allowed), testImports...)
			allowed = append(allowed, s.pkg)
		}
		for _, spec := range s.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			pkg, ours := strings.CutPrefix(path, module+"/")
			if ours && !matches(allowed, pkg) {
				t.Errorf("%s: %s must not import %s; it may import %v", s.at(spec.Pos()), s.pkg, pkg, allowed)
			}
		}
	}
}

func TestBannedImports(t *testing.T) {
	for _, s := range goFiles(t) {
		for _, spec := range s.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			for _, b := range bans {
				if !b.hits(path) || s.test && !b.tests || !matches(b.in, s.pkg) || matches(b.except, s.pkg) {
					continue
				}
				t.Errorf("%s: %s must not import %s: %s", s.at(spec.Pos()), s.pkg, path, b.why)
			}
		}
	}
}

func (b ban) hits(path string) bool {
	return path == b.path || strings.HasSuffix(b.path, "/") && strings.HasPrefix(path, b.path)
}

// The table itself must not allow what the direction forbids: a cycle, which
// the compiler would find only once both edges are used.
func TestTableHasNoCycle(t *testing.T) {
	const visiting, done = 1, 2
	state := map[string]int{}
	var visit func(pkg string, path []string)
	visit = func(pkg string, path []string) {
		path = append(path, pkg)
		if state[pkg] == visiting {
			t.Errorf("the table allows a cycle: %s", strings.Join(path, " → "))
			return
		}
		if state[pkg] == done {
			return
		}
		state[pkg] = visiting
		for _, next := range imports[pkg] {
			if _, known := imports[next]; !known {
				t.Errorf("the table lets %s import %s, which is not in it", pkg, next)
			}
			visit(next, path)
		}
		state[pkg] = done
	}
	for pkg := range imports {
		visit(pkg, nil)
	}
}

// matches reports whether pkg is in list; "..." is everything.
func matches(list []string, pkg string) bool {
	return slices.Contains(list, pkg) || slices.Contains(list, "...")
}
