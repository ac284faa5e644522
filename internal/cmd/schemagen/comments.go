package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"github.com/kuberelay/kuberelay/internal/strict"
)

// module is the path of this one, which begins those of its packages.
const module = "github.com/kuberelay/kuberelay/"

// comments are those of the structs of the packages that were read.
type comments struct {
	root string
	// quote stands around the names of fields in a description.
	quote string
	// types and fields are by the path of a package, a type's name and, for
	// fields, their own.
	types, fields map[string]string
	read          map[string]bool
}

func newComments(root, quote string) *comments {
	return &comments{root: root, quote: quote, types: map[string]string{}, fields: map[string]string{}, read: map[string]bool{}}
}

// load reads the package of t.
func (c *comments) load(t reflect.Type) error {
	pkg := t.PkgPath()
	relative, ours := strings.CutPrefix(pkg, module)
	if !ours || c.read[pkg] {
		return nil
	}
	c.read[pkg] = true
	directory := filepath.Join(c.root, filepath.FromSlash(relative))
	entries, err := os.ReadDir(directory)
	if err != nil {
		return err
	}
	files := token.NewFileSet()
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, filepath.Join(directory, e.Name()), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		c.add(pkg, file)
	}
	return nil
}

func (c *comments) add(pkg string, file *ast.File) {
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.TYPE {
			continue
		}
		for _, spec := range group.Specs {
			named, isType := spec.(*ast.TypeSpec)
			if !isType {
				continue
			}
			doc := named.Doc
			if doc == nil {
				doc = group.Doc
			}
			key := pkg + "." + named.Name.Name
			c.types[key] = doc.Text()
			if s, isStruct := named.Type.(*ast.StructType); isStruct {
				c.addFields(key, s)
			}
		}
	}
}

// addFields records what is said of each field. One without a comment is under
// that of the field above it, if that mentions it.
func (c *comments) addFields(key string, s *ast.StructType) {
	above := ""
	for _, f := range s.Fields.List {
		text := f.Doc.Text()
		for _, name := range f.Names {
			if text == "" && regexp.MustCompile(`\b`+name.Name+`\b`).MatchString(above) {
				text = above
			}
			c.fields[key+"."+name.Name] = text
		}
		above = text
	}
}

// field returns the description of a field of t.
func (c *comments) field(t reflect.Type, f reflect.StructField) string {
	return c.description(c.fields[t.PkgPath()+"."+t.Name()+"."+f.Name], t)
}

// structure returns the description of a struct.
func (c *comments) structure(t reflect.Type) string {
	return c.description(c.types[t.PkgPath()+"."+t.Name()], t)
}

// description makes one paragraph of a comment, with the names of t's fields as
// the file spells them.
func (c *comments) description(comment string, t reflect.Type) string {
	text := strings.Join(strings.Fields(comment), " ")
	text = link.ReplaceAllString(text, "$1")
	for f := range t.Fields() {
		if strict.Name(f) == "" {
			continue
		}
		pattern := `\b` + f.Name + `\b`
		if f.Name == "TLS" { // Elsewhere than at its beginning the comment means the protocol.
			pattern = "^" + pattern
		}
		text = regexp.MustCompile(pattern).ReplaceAllString(text, c.quote+strict.Name(f)+c.quote)
	}
	return text
}

// link is a reference of a Go comment.
var link = regexp.MustCompile(`\[([A-Za-z.]+)\]`)
