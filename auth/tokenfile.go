package auth

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// tokenFileGrace is how long the last token is used after its file cannot
	// be read any more, and in a daemon what any other file gave. client-go has
	// no limit.
	tokenFileGrace = 60 * time.Second
	// maxTokenFile bounds what is read; kube-apiserver's own limit on all
	// headers together is 1 MiB.
	maxTokenFile = 1 << 20
)

// tokenFileSource reads path. When that fails, inline is used: as in client-go
// the file wins while it can be read.
func tokenFileSource(path, inline string) (*source, error) {
	bearer, err := readToken(path)
	if err != nil && inline != "" {
		bearer, err = bearerCredential(inline)
	}
	if err != nil {
		return nil, err
	}
	kind := "token file " + path
	return &source{
		kind:       kind,
		identity:   identify(kind, bearer.authorization.Reveal()),
		credential: bearer,
		tokenFile:  path,
	}, nil
}

// readToken reads a bearer token. Its errors name the file and nothing of what
// is in it.
func readToken(path string) (*credential, error) {
	raw, err := readBounded(path, maxTokenFile)
	if err != nil {
		return nil, err
	}
	c, err := bearerCredential(string(raw))
	if err != nil {
		return nil, fmt.Errorf("token file %s: %w", path, err)
	}
	return c, nil
}

// readBounded reads a whole file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	err = errors.Join(err, f.Close())
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return raw, err
}
