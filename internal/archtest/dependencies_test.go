package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// required finds the modules of a go.mod.
	required = regexp.MustCompile(`(?m)^(?:require)?\s+(\S+\.\S+) v\S+`)
	// reason finds the modules in the table of reasons.
	reason = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| \\S")
	// major is the suffix by which a module's later versions differ.
	major = regexp.MustCompile(`/v[0-9]+$`)
)

// A dependency is taken on purpose: with its reason, in one line, where a
// review sees it.
func TestEveryDependencyHasItsReason(t *testing.T) {
	const adr = "docs/adr/0001-dependencies.md"
	text, err := os.ReadFile(filepath.Join(root, adr))
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]bool{}
	for _, m := range reason.FindAllStringSubmatch(string(text), -1) {
		reasons[m[1]] = true
	}
	used := map[string]bool{}
	for module, where := range dependencies(t) {
		name := major.ReplaceAllString(module, "")
		used[name] = true
		if !reasons[name] {
			t.Errorf("%s imports %s, and %s does not say why", where, name, adr)
		}
	}
	for name := range reasons {
		if !used[name] {
			t.Errorf("%s has a reason for %s, which nothing imports", adr, name)
		}
	}
}

// dependencies returns the modules that the root module's files import, each
// with one file that does.
func dependencies(t *testing.T) map[string]string {
	t.Helper()
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for _, m := range required.FindAllStringSubmatch(string(gomod), -1) {
		modules = append(modules, m[1])
	}
	if len(modules) == 0 {
		t.Fatal("no required module found in go.mod")
	}
	found := map[string]string{}
	for _, s := range goFiles(t) {
		for _, spec := range s.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			longest := ""
			for _, m := range modules {
				if (path == m || strings.HasPrefix(path, m+"/")) && len(m) > len(longest) {
					longest = m
				}
			}
			if longest != "" {
				found[longest] = s.at(spec.Pos())
			}
		}
	}
	return found
}
