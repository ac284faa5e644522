package auth

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// source is where a user's credential comes from: fixed, as the kubeconfig or a
// token file had it when last read, or fetched on demand from a plugin.
type source struct {
	kind     string                                     // for people: "exec plugin aws", "token file /run/token"
	identity identity                                   // of everything that decides the credential
	fetch    func(context.Context) (*credential, error) // nil: fixed
	timeout  time.Duration                              // of one fetch

	// tokenFile is the path of a fixed source that is read from a file.
	tokenFile string

	// Guarded by keeper.mu.
	credential *credential // nil: not fetched yet
	call       *call       // a fetch under way
	failures   int         // in a row
	retryAt    time.Time   // no fetch before
	err        error       // of the last fetch
}

// credential is what a source gives. It is immutable.
type credential struct {
	authorization Secret // the header's whole value
	plainHTTP     bool   // may go to an http:// server
	certificate   *tls.Certificate
	validity      validity
	bound         Bound
}

// anonymousSource is the kind of an anonymous user's source.
const anonymousSource = "no credential"

// newSource picks the credential of c as client-go does: token file, token and
// basic auth before a client certificate, that before an exec plugin; an auth
// provider works beside a certificate; user info of the URL is the last. For an
// http:// server no plugin is run: its credential would not be sent. An exec
// plugin becomes a source by plugin.
func newSource(c *rest.Config, server *url.URL, certificate *tls.Certificate, plugin func(*rest.Config) (*source, error)) (*source, error) {
	hasToken := c.BearerToken != "" || c.BearerTokenFile != ""
	plugins := server.Scheme == "https"
	switch {
	case c.ExecProvider != nil && c.AuthProvider != nil:
		return nil, errors.New("the user has both exec and auth-provider: remove one")
	case hasToken && c.Username != "":
		return nil, errors.New("the user has both a token and a user name: remove one")
	case c.BearerTokenFile != "":
		return tokenFileSource(c.BearerTokenFile, c.BearerToken)
	case c.BearerToken != "":
		return tokenSource(c.BearerToken)
	case c.Username != "":
		return basicSource("user name and password", c.Username, c.Password, false)
	case c.AuthProvider != nil && plugins:
		return providerSource(c)
	case c.ExecProvider != nil && plugins && certificate == nil:
		return plugin(c)
	case server.User != nil:
		password, _ := server.User.Password()
		return basicSource("user info of the server URL", server.User.Username(), password, true)
	case certificate != nil:
		return &source{kind: "client certificate", credential: &credential{}}, nil
	default:
		return &source{kind: anonymousSource, credential: &credential{}}, nil
	}
}

func tokenSource(token string) (*source, error) {
	bearer, err := bearerCredential(token)
	if err != nil {
		return nil, fmt.Errorf("the user's token: %w", err)
	}
	return &source{kind: "token", identity: identify("token", token), credential: bearer}, nil
}

func basicSource(kind, user, password string, plainHTTP bool) (*source, error) {
	value := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	return &source{
		kind:       kind,
		identity:   identify("basic", value),
		credential: &credential{authorization: NewSecret(value), plainHTTP: plainHTTP},
	}, nil
}

var (
	errEmptyToken   = errors.New("it is empty")
	errInvalidToken = errors.New("it holds a space or a control character")
)

// bearerCredential checks token and returns it as a credential that says when
// it expires, if it is a JWT, but can be used for ever.
func bearerCredential(token string) (*credential, error) {
	token = strings.TrimSpace(token)
	if token == "" {
		return nil, errEmptyToken
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, errInvalidToken
	}
	return &credential{
		authorization: NewSecret("Bearer " + token),
		validity:      validity{expiry: jwtExpiry(token)},
	}, nil
}

// daemonLeeway is maxLeeway of a daemon.
const daemonLeeway = 30 * time.Second

// withheld returns c, fetched now, so that it is not handed out in the last
// part of its lifetime: a tenth, at most leeway. A credential without an expiry,
// or already expired by our clock, is returned unchanged; so is any without
// leeway.
func (c *credential) withheld(now time.Time, leeway time.Duration) *credential {
	expiry := earliest(c.validity.expiry, certificateExpiry(c.certificate)).Round(0)
	lifetime := expiry.Sub(now.Round(0))
	if leeway == 0 || expiry.IsZero() || lifetime <= 0 {
		return c
	}
	next := *c
	next.validity.until = earliest(c.validity.until, expiry.Add(-min(leeway, lifetime/10)))
	return &next
}
