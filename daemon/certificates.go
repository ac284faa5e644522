package daemon

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/filestate"
	"github.com/kuberelay/kuberelay/proxy"
)

// certificates are a listener's certificate and the authority of its clients'
// certificates, read again when their files change.
type certificates struct {
	files   config.ListenerTLS
	current atomic.Pointer[tlsState]
}

// authority is a digest of the authorities that client certificates are
// verified with; zero: clients are not asked for certificates.
type authority [sha256.Size]byte

// tlsState is one reading of the files.
type tlsState struct {
	config    *tls.Config
	authority authority
	seen      filestate.State
	trouble   string // why the current files cannot be used; "": they are in use
}

func openCertificates(files config.ListenerTLS) (*certificates, error) {
	c := &certificates{files: files}
	state, err := c.read()
	if err != nil {
		return nil, err
	}
	c.current.Store(state)
	return c, nil
}

func (c *certificates) authority() authority { return c.current.Load().authority }

// paths are the files that there are.
func (c *certificates) paths() []string {
	paths := []string{c.files.CertFile, c.files.KeyFile}
	if c.files.ClientCAFile != "" {
		paths = append(paths, c.files.ClientCAFile)
	}
	return paths
}

func (c *certificates) read() (*tlsState, error) {
	s := &tlsState{seen: filestate.Look(c.paths())}
	pair, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", c.files.CertFile, c.files.KeyFile, err)
	}
	s.config = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		// HTTP/1.1 alone: an upgrade needs it, and a connection carries one
		// request at a time, of one client.
		NextProtos: []string{"http/1.1"},
		// A resumed session would carry a client's certificate past a change
		// of the authority (CVE-2025-68121).
		SessionTicketsDisabled: true,
	}
	if c.files.ClientCAFile == "" {
		return s, nil
	}
	pem, err := os.ReadFile(c.files.ClientCAFile)
	if err != nil {
		return nil, err
	}
	s.config.ClientCAs = x509.NewCertPool()
	if !s.config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client CA file %s: there is no PEM certificate in it", c.files.ClientCAFile)
	}
	s.config.ClientAuth = tls.VerifyClientCertIfGiven
	s.authority = sha256.Sum256(pem)
	return s, nil
}

// refresh reads the files again if they have changed. changed reports whether
// clients' certificates are now verified with another authority.
func (c *certificates) refresh() (changed bool, err error) {
	old := c.current.Load()
	look := filestate.Look(c.paths())
	if old.seen.Unchanged(&look) {
		return false, nil
	}
	now, err := c.read()
	if err != nil {
		kept := *old
		kept.trouble = err.Error()
		c.current.Store(&kept) // seen is the old one: it is tried again
		if kept.trouble == old.trouble {
			return false, nil
		}
		return false, err
	}
	if now.same(old) {
		now.config = old.config // what is written again is no news
	}
	c.current.Store(now)
	return now.authority != old.authority, nil
}

// same reports whether what was read is what other was read from.
func (s *tlsState) same(other *tlsState) bool {
	mine, theirs := &s.config.Certificates[0], &other.config.Certificates[0]
	return s.authority == other.authority && slices.EqualFunc(mine.Certificate, theirs.Certificate, bytes.Equal)
}

// news reports whether s serves something else than before, or again without
// trouble.
func (s *tlsState) news(before *tlsState) bool {
	return s.trouble == "" && (s.config != before.config || before.trouble != "")
}

// refreshCertificates reads the listeners' certificates again, and ends what
// was identified by an authority that is no longer in use.
func (d *Daemon) refreshCertificates() {
	for _, l := range d.parts.Load().listeners {
		s := l.now.Load()
		if s.tls == nil {
			continue
		}
		before := s.tls.current.Load()
		changed, err := s.tls.refresh()
		name := zap.String("listener", s.config.Name)
		switch {
		case err != nil:
			d.log.Error("the listener's certificate files cannot be used, the old ones stay", name, zap.Error(err))
		case s.tls.current.Load().news(before):
			d.log.Info("the listener's certificate was read again", name)
		}
		if changed {
			d.endCertificates(s.config.Name)
		}
	}
}

// endCertificates ends what is open at a listener for clients that were
// identified by certificate: their authority is no longer in use.
func (d *Daemon) endCertificates(listener string) {
	d.registry.Review(func(c *proxy.Caller) error {
		if c.Listener == listener && strings.Contains(c.Identity.Method(), string(identify.Certificate)) {
			return proxy.NewEndedError(proxy.CloseRemoved, "the authority of clients' certificates was replaced")
		}
		return nil
	})
}
