package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// module is the path of the root module.
const module = "github.com/kuberelay/kuberelay"

// root is the repository's, seen from this package.
const root = "../.."

// source is one Go file of the root module.
type source struct {
	path string // below the root, with slashes
	pkg  string // the folder of path
	test bool
	file *ast.File
	text string
	fset *token.FileSet
}

// at is a position as editors take it.
func (s source) at(p token.Pos) string {
	return s.path + ":" + strings.TrimPrefix(s.fset.Position(p).String(), s.fset.Position(p).Filename+":")
}

// sources parses the Go files of the root module.
var sources = sync.OnceValues(func() ([]source, error) {
	var all []source
	fset := token.NewFileSet()
	err := walk(func(path, text string, nested bool) error {
		if nested || filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{
			path: path,
			pkg:  filepath.ToSlash(filepath.Dir(path)),
			test: strings.HasSuffix(path, "_test.go"),
			file: file,
			text: text,
			fset: fset,
		})
		return nil
	})
	return all, err
})

// goFiles returns the Go files of the root module, and fails if there are
// suspiciously few.
func goFiles(t *testing.T) []source {
	t.Helper()
	all, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d Go files found from %s: these tests look at the wrong tree", len(all), root)
	}
	return all
}

// walk calls visit with each text file of the repository. Files of modules
// below the root's, and those under test/, are nested.
func walk(visit func(path, text string, nested bool) error) error {
	modules := map[string]bool{}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if skipped[d.Name()] {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && rel != "." {
				modules[rel] = true
			}
			return nil
		}
		if !d.Type().IsRegular() || skipped[d.Name()] || d.Name() == "go.sum" || strings.HasSuffix(d.Name(), ".tmp") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !utf8.Valid(text) || len(text) > 1<<20 {
			return nil
		}
		return visit(rel, string(text), strings.HasPrefix(rel, "test/") || below(modules, rel))
	})
}

// skipped hold nothing that somebody wrote: folders, and the file .git of a
// worktree.
var skipped = map[string]bool{".git": true, "bin": true, "dist": true, ".cache": true, "fuzz": true}

func below(modules map[string]bool, path string) bool {
	for m := range modules {
		if strings.HasPrefix(path, m+"/") {
			return true
		}
	}
	return false
}
