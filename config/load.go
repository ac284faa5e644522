package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/internal/strict"
)

// What a configuration file must say of itself.
const (
	APIVersion = "kuberelay/v1alpha1"
	Kind       = "Configuration"
)

// File is a configuration file: what a [Configuration] is written as.
type File struct {
	// APIVersion is kuberelay/v1alpha1.
	APIVersion string `yaml:"apiVersion"`

	// Kind is Configuration.
	Kind string `yaml:"kind"`

	Configuration
}

// DefaultConfiguration returns what a file says that has neither clusters nor
// listeners.
func DefaultConfiguration() Configuration {
	return Configuration{Log: DefaultLog(), Audit: audit.DefaultConfig(), Grace: DefaultGrace}
}

// Load reads, completes and checks the configuration file at path and the files
// that it names. It contacts nobody and runs no plugin. A file that somebody
// other than its reader and root may write is refused.
//
// The error is [Problems]: everything that is wrong, each problem with path and
// line.
func Load(path string) (*Configuration, error) {
	data, err := read(path)
	if err != nil {
		return nil, Problems{{File: path, Err: err}}
	}
	return parse(data, path, true)
}

// Parse is [Load] for a file that was read already. It reads no other file, and
// so leaves unchecked what is in them; it looks up no Unix user.
func Parse(data []byte, path string) (*Configuration, error) { return parse(data, path, false) }

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", cause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", cause(err))
	}
	if err := checkWritable(path, info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, strict.MaxSize+1)) // strict.Decode refuses what is larger
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", cause(err))
	}
	return data, nil
}

// cause takes the operation and path off an error of package os: they stand
// before it already.
func cause(err error) error {
	if wrapped, ok := errors.AsType[*os.PathError](err); ok {
		return wrapped.Err
	}
	return err
}

func parse(data []byte, path string, withFiles bool) (*Configuration, error) {
	file := File{Configuration: DefaultConfiguration()}
	document, err := strict.Decode(data, &file)
	var found Problems
	if err != nil && !errors.As(err, &found) {
		return nil, err
	}
	if document.Has("") { // it is YAML
		if other := file.version(document); other != nil {
			found = Problems{other}
		} else {
			found = append(found, file.check(document, found, withFiles)...)
		}
	}
	for _, p := range found {
		p.File = path
	}
	found.Sort()
	if len(found) > 0 {
		return nil, found
	}
	return &file.Configuration, nil
}

// check completes the configuration and returns what is wrong with its values.
// What follows from the problems that were found before is left out.
func (f *File) check(document *strict.Document, before Problems, withFiles bool) Problems {
	var p problems
	if f.Kind != Kind {
		p.add("kind", fmt.Errorf("%q: want %s", f.Kind, Kind))
	}
	c := &f.Configuration
	c.complete()
	c.validate(withFiles, &p)
	c.checkPaths(&p)
	if withFiles {
		c.checkFiles(&p)
	}
	kept := p.without(before)
	for _, problem := range kept {
		problem.Line, problem.Column = document.Position(problem.Path)
	}
	return kept
}

// version refuses a file of another version, which has other fields: whatever
// else is said of it may be wrong.
func (f *File) version(document *strict.Document) *strict.Problem {
	if f.APIVersion == APIVersion {
		return nil
	}
	err := fmt.Errorf("%q: want %s, the only one that this program knows", shorten(f.APIVersion), APIVersion)
	if f.APIVersion == "" {
		err = errors.New("is missing: want " + APIVersion)
	}
	line, column := document.Position("apiVersion")
	return &strict.Problem{Line: line, Column: column, Path: "apiVersion", Err: err}
}

// without returns the problems that are not about a field that could not even
// be decoded, about what it is a part of, or about a part of it.
func (p problems) without(before Problems) Problems {
	undecoded, holders := make(map[string]bool), make(map[string]bool)
	for _, b := range before {
		undecoded[b.Path] = true
		for path := b.Path; path != ""; path = parent(path) {
			holders[path] = true
		}
	}
	follows := func(path string) bool {
		if holders[path] {
			return true
		}
		for ; path != ""; path = parent(path) {
			if undecoded[path] {
				return true
			}
		}
		return false
	}
	return slices.DeleteFunc(Problems(p), func(problem *strict.Problem) bool { return follows(problem.Path) })
}

// parent returns the path of what a field is a part of, "" at the top.
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}
