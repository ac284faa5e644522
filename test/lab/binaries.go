package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Paths are the programs that a lab runs.
type Paths struct {
	Etcd      string
	APIServer string
	Kubectl   string
	Kwok      string
	// Stages are the files that tell kwok how nodes and pods live. They come
	// with its module.
	Stages []string
}

// KubernetesVersion is the version of the API servers and of kubectl.
const KubernetesVersion = "v1.37.2"

// Binaries returns the lab's programs. What is missing is built from the tool
// modules beside this package, which takes several minutes the first time, and
// kept under the user's cache directory by the hash of those modules' go.mod
// and go.sum. Progress is written to progress, a line every 15 s. Processes
// that need the same programs wait for the one that builds them.
func Binaries(ctx context.Context, progress io.Writer) (Paths, error) {
	source, err := sourceDir()
	if err != nil {
		return Paths{}, err
	}
	key, err := cacheKey(source)
	if err != nil {
		return Paths{}, err
	}
	cache, err := CacheDir()
	if err != nil {
		return Paths{}, err
	}
	dir := filepath.Join(cache, key)
	paths := pathsIn(dir)
	if _, err := os.Stat(dir); err == nil {
		return paths, nil
	}
	unlock, err := lockFile(ctx, dir+".lock", func() {
		fmt.Fprintln(progress, "waiting for another process that builds the lab's programs…")
	})
	if err != nil {
		return Paths{}, err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return paths, nil
	}
	if err := buildAll(ctx, source, dir, progress); err != nil {
		return Paths{}, err
	}
	return paths, nil
}

// CacheDir is the directory of what labs keep for this user: kuberelay-lab in
// the user's cache directory, as os.UserCacheDir knows it. It is created when
// missing.
func CacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for the lab's files: %w", err)
	}
	dir := filepath.Join(cache, "kuberelay-lab")
	return dir, os.MkdirAll(dir, 0o700)
}

func pathsIn(dir string) Paths {
	bin := filepath.Join(dir, "bin")
	p := Paths{
		Etcd:      filepath.Join(bin, "etcd"),
		APIServer: filepath.Join(bin, "kube-apiserver"),
		Kubectl:   filepath.Join(bin, "kubectl"),
		Kwok:      filepath.Join(bin, "kwok"),
	}
	for _, f := range stageFiles {
		p.Stages = append(p.Stages, filepath.Join(dir, "stages", filepath.Base(f)))
	}
	return p
}

// sourceDir is the directory of this package, where the tool modules are. The
// compiler knows it; with -trimpath it is searched from the working directory
// upwards.
func sourceDir() (string, error) {
	isSource := func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "components", "go.mod"))
		return err == nil
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) && isSource(filepath.Dir(file)) {
		return filepath.Dir(file), nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		for _, candidate := range []string{dir, filepath.Join(dir, "test", "lab")} {
			if isSource(candidate) {
				return candidate, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find test/lab/components/go.mod: not in %s nor above it: run in kuberelay's source tree", wd)
		}
	}
}

// cacheKey is a hash of all that decides about the programs.
func cacheKey(source string) (string, error) {
	h := sha256.New()
	for _, dir := range []string{componentsDir, kwokDir} {
		for _, name := range []string{"go.mod", "go.sum"} {
			b, err := os.ReadFile(filepath.Join(source, dir, name))
			if err != nil {
				return "", err
			}
			h.Write(b)
		}
	}
	fmt.Fprintln(h, runtime.GOOS, runtime.GOARCH, versionFlags(), stageFiles, kwokFixes)
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}
