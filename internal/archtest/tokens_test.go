package archtest

import (
	"go/ast"
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
				// Those under test/ need root and network namespaces, which not every
				// machine has; there, a skip is counted as one.
				case s.test && !strings.HasPrefix(s.path, "test/") && slices.Contains([]string{"t.Skip", "t.Skipf", "t.SkipNow", "b.Skip", "f.Skip"}, callee):
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
	files := 0
	err := walk(func(path, text string, _ bool) error {
		files++
		for _, m := range marks {
			if i := m.in(text); i >= 0 {
				t.Errorf("%s:%d: %q: %s", path, 1+strings.Count(text[:i], "\n"), m.text, m.why)
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

// in returns the first place of m in text, or -1.
func (m mark) in(text string) int {
	for from := 0; ; {
		i := strings.Index(text[from:], m.text)
		if i < 0 {
			return -1
		}
		i += from
		if !m.root || i == 0 || !strings.ContainsRune(pathCharacters, rune(text[i-1])) {
			return i
		}
		from = i + 1
	}
}

const pathCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

func TestMarksAreFound(t *testing.T) {
	path := mark{text: "/x/", root: true}
	for text, want := range map[string]int{
		"see /x/y": 4, "/x/": 0, "a/x/y": -1, "a/x/y (/x/y)": 7, "\"/x/y\"": 1, "/y/x": -1,
	} {
		if got := path.in(text); got != want {
			t.Errorf("%q found in %q at %d, want %d", path.text, text, got, want)
		}
	}
}
