package static

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// New returns a handler for GET and HEAD of the files below dir, whose names
// follow prefix in the request's path; prefix ends in a slash. Directories
// answer with their index.html or a listing, as http.FileServer's do.
//
// Unlike kubectl proxy's it refuses other methods (405, a Kubernetes Status),
// and knows neither files whose name or directory begins with a dot, nor
// anything that a symbolic link reaches outside dir, nor devices and pipes:
// these are 404.
//
// The handler is never nil. The error is for the operator's log: dir is not
// there, or not a directory, and until it is, every file is 404.
func New(dir, prefix string) (http.Handler, error) {
	files := http.FileServer(tree(dir))
	return http.StripPrefix(prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			methodNotAllowed(w, r.Method)
		case hidden(r.URL.Path):
			http.NotFound(w, r)
		default:
			files.ServeHTTP(w, r)
		}
	})), check(dir)
}

func check(dir string) error {
	switch info, err := os.Stat(dir); {
	case err != nil:
		return fmt.Errorf("static file directory: %w", err)
	case !info.IsDir():
		return fmt.Errorf("static file directory %s is not a directory", dir)
	}
	return nil
}

func methodNotAllowed(w http.ResponseWriter, method string) {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure,
		Message:  fmt.Sprintf("static files can be read with GET and HEAD, not with %s", method),
		Reason:   metav1.StatusReasonMethodNotAllowed,
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{
			{Type: "StaticFilesReadOnly", Message: "the path is below the static prefix of this listener"},
		}},
		Code: http.StatusMethodNotAllowed,
	}
	body, err := json.Marshal(status)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Allow", "GET, HEAD")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusMethodNotAllowed)
	_, _ = w.Write(append(body, '\n')) // A client that is gone needs no answer.
}

// tree is the directory that is served. It is opened anew for each file, so
// that it may appear, or be replaced by a build, while the proxy runs.
type tree string

// Open opens name, a cleaned path that begins with a slash, for http.FileServer.
func (t tree) Open(name string) (http.File, error) {
	rel := "." + name
	root, err := os.OpenRoot(string(t))
	if err != nil {
		return nil, notExist(name)
	}
	defer root.Close()
	// Opening a pipe would wait for its other end, hence the look beforehand.
	switch info, err := root.Stat(rel); {
	case errors.Is(err, fs.ErrPermission):
		return nil, err
	case err != nil, !info.IsDir() && !info.Mode().IsRegular():
		return nil, notExist(name)
	}
	f, err := root.Open(rel)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

// notExist stands for every error that must not tell what lies outside the
// tree; http.FileServer makes it 404.
func notExist(name string) error {
	return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// hidden reports whether an element of the path begins with a dot. That
// includes "." and "..", which no link that this package makes has.
func hidden(path string) bool {
	return strings.HasPrefix(path, ".") || strings.Contains(path, "/.")
}

// file leaves hidden entries out of a directory's listing, in both forms that
// an http.File can be asked for it.
type file struct{ *os.File }

func (f file) ReadDir(n int) ([]fs.DirEntry, error) {
	entries, err := f.File.ReadDir(n)
	return visible(entries), err
}

func (f file) Readdir(n int) ([]fs.FileInfo, error) {
	entries, err := f.File.Readdir(n)
	return visible(entries), err
}

func visible[E interface{ Name() string }](entries []E) []E {
	return slices.DeleteFunc(entries, func(e E) bool { return hidden(e.Name()) })
}
