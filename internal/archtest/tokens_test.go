package archtest

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestCodeIsFinished(t *testing.T) {
	for _, s := range goFiles(t) {
		synctest := slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` })
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				switch callee := call(n); {
				case callee == "panic" && !s.test:
					t.Errorf("%s: product code returns errors, it does not panic", s.at(n.Pos()))
				case callee == "time.Sleep" && s.test && !synctest:
					t.Errorf("%s: a test waits for an event, or sleeps in a synctest bubble", s.at(n.Pos()))
				case callee == "os.Exit" && s.file.Name.Name != "main" && !s.test:
					t.Errorf("%s: only a command ends the process", s.at(n.Pos()))
				case s.test && slices.Contains([]string{"t.Skip", "t.Skipf", "t.SkipNow", "b.Skip", "f.Skip"}, callee):
					t.Errorf("%s: a test that is skipped shows nothing", s.at(n.Pos()))
				}
			case *ast.KeyValueExpr:
				if ident(n.Key) == "InsecureSkipVerify" && ident(n.Value) == "true" {
					t.Errorf("%s: TLS is verified, in tests too", s.at(n.Pos()))
				}
			}
			return true
		})
	}
}

// call names the function that c calls: f, or x.f.
func call(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x := ident(f.X); x != "" {
			return x + "." + f.Sel.Name
		}
	}
	return ""
}

func ident(e ast.Expr) string {
	if i, ok := e.(*ast.Ident); ok {
		return i.Name
	}
	return ""
}

func TestTreeHoldsNothingForeign(t *testing.T) {
	pattern := regexp.MustCompile(foreign)
	marks := regexp.MustCompile(strings.Join(unfinished, "|"))
	swallowed := regexp.MustCompile(`\|\| tr` + `ue\b`)
	files := 0
	err := walk(func(path, text string, _ bool) error {
		files++
		number := 0
		for line := range strings.Lines(text) {
			number++
			switch {
			case pattern.MatchString(line):
				t.Errorf("%s:%d: belongs to somebody's machine or to one registry: %q", path, number, pattern.FindString(line))
			case marks.MatchString(line):
				t.Errorf("%s:%d: unfinished: %q", path, number, marks.FindString(line))
			case swallowed.MatchString(line):
				t.Errorf("%s:%d: a script that ignores an error", path, number)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 30 {
		t.Errorf("only %d files found: this test looks at the wrong tree", files)
	}
}
