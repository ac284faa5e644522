// Notices prints the licences of what kuberelay is linked with: for each module
// of which a package is in the program, and for Go's standard library, the files
// that its root has for that. Run it with the root of kuberelay's module.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// legal are the names under which licences and notices are found.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-]|$)`)

// module is one of go list's; its directory has its files.
type module struct {
	Path, Version, Dir string
	Main               bool
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: notices ROOT")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, root string) error {
	modules, err := linked(ctx, root)
	if err != nil {
		return err
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	modules = append(modules, module{Path: "Go's standard library", Version: runtime.Version(), Dir: strings.TrimSpace(string(goroot))})
	fmt.Fprintln(w, "kuberelay is linked with the following, under the licences that stand there.\nThe source of each module: go mod download MODULE@VERSION.")
	for _, m := range modules {
		if err := write(w, m); err != nil {
			return err
		}
	}
	return nil
}

// linked returns the modules with packages in the program, sorted by path.
func linked(ctx context.Context, root string) ([]module, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Module", "./cmd/kuberelay")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	found := map[string]module{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ Module *module }
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read go list: %w", err)
		}
		if p.Module != nil && !p.Module.Main {
			found[p.Module.Path] = *p.Module
		}
	}
	var all []module
	for _, m := range found {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// write appends the licences of a module. One without any is an error: it could
// not be shipped.
func write(w io.Writer, m module) error {
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return fmt.Errorf("%s %s: %w", m.Path, m.Version, err)
	}
	fmt.Fprintf(w, "\n%s\n%s %s\n", strings.Repeat("=", 80), m.Path, m.Version)
	n := 0
	for _, e := range entries {
		if !e.Type().IsRegular() || !legal.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.Dir, e.Name()))
		if err != nil {
			return fmt.Errorf("%s %s: %w", m.Path, m.Version, err)
		}
		fmt.Fprintf(w, "\n%s:\n\n%s\n", e.Name(), strings.TrimSpace(string(text)))
		n++
	}
	if n == 0 {
		return fmt.Errorf("%s %s has no licence in %s", m.Path, m.Version, m.Dir)
	}
	return nil
}
