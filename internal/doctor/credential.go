package doctor

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/config"
)

// credentialTimeout is for a plugin, which may ask somebody itself. It is a
// little more than a plugin's own default timeout.
const credentialTimeout = 25 * time.Second

// describe says what a lease holds, without any of it; "" if nothing.
func describe(l *auth.Lease) string {
	switch certificate := l.Certificate() != nil; {
	case !l.Authorization().IsEmpty() && certificate:
		return "a token and a client certificate"
	case !l.Authorization().IsEmpty():
		return "a token"
	case certificate:
		return "a client certificate"
	}
	return ""
}

// opened are the credentials of a configuration, and the clusters they are for.
type opened struct {
	d     *doctor
	sites map[string]*site
	live  map[string]*auth.Credential
}

// credentials examines the credentials that grants name: whether they can be
// had, and whether the cluster lets them do what the grants need.
func (d *doctor) credentials(ctx context.Context, cfg *config.Configuration, sites map[string]*site) []Finding {
	o := &opened{d: d, sites: sites, live: make(map[string]*auth.Credential)}
	broken := make(map[string]error)
	for _, c := range cfg.Credentials {
		live, err := auth.OpenCredential(auth.CredentialOptions{Config: c, Post: o.post})
		if err != nil {
			broken[c.Name] = err
			continue
		}
		defer live.Close()
		o.live[c.Name] = live
	}
	return each(cfg.Credentials, func(c auth.CredentialConfig) []Finding {
		f := &findings{of: "credential " + c.Name}
		if err := broken[c.Name]; err != nil {
			f.fail("credential", "correct what the configuration says of it", "%v", err)
			return f.list
		}
		lease := o.lease(ctx, f, c)
		if lease == nil {
			return f.list
		}
		for _, use := range uses(cfg, c.Name) {
			if s := sites[use.cluster]; s != nil {
				o.allowed(ctx, f, s, lease, use)
			}
		}
		return f.list
	})
}

// lease gets the credential as the daemon would.
func (o *opened) lease(ctx context.Context, f *findings, c auth.CredentialConfig) *auth.Lease {
	timeout := credentialTimeout
	if c.Exec != nil && c.Exec.Timeout > 0 {
		timeout = c.Exec.Timeout + time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	lease, err := o.live[c.Name].Lease(ctx)
	if err != nil {
		do := "see that its files hold what they should"
		switch {
		case c.Exec != nil:
			do = "run the plugin by hand, as the user and with the environment that kuberelay has"
		case c.ServiceAccountToken != nil:
			do = fmt.Sprintf("does the service account exist, and may credential %s create tokens for it (verb create on serviceaccounts/token)?", c.ServiceAccountToken.Credential)
		}
		f.fail("credential", do, "it cannot be had: %v", err)
		return nil
	}
	what, expires := describe(lease), lease.Expiry()
	if leaf := leaf(lease); leaf != nil && expires.IsZero() {
		expires = leaf.NotAfter
	}
	o.d.validity(f, what, expires, lasting(c, expires))
	return lease
}

// validity says what a credential is, and how long yet. Nothing renews one that
// is lasting.
func (d *doctor) validity(f *findings, what string, expires time.Time, lasting bool) {
	switch left := expires.Sub(d.now()); {
	case expires.IsZero():
		f.ok("credential", "%s", what)
	case left < 0:
		f.fail("credential", "renew it: API servers refuse it", "%s, %s", what, d.until(expires))
	case left < expirySoon && lasting:
		f.warn("credential", "renew it in time: nothing does by itself", "%s, %s", what, d.until(expires))
	default:
		f.ok("credential", "%s, %s", what, d.until(expires))
	}
}

func leaf(l *auth.Lease) *x509.Certificate {
	c := l.Certificate()
	if c == nil || len(c.Certificate) == 0 {
		return nil
	}
	parsed, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return nil
	}
	return parsed
}

// lasting says that a credential is not renewed by a plugin or the cluster, nor
// by something that writes its file every few days.
func lasting(c auth.CredentialConfig, expires time.Time) bool {
	path := c.TokenFile
	if c.ClientCertificate != nil {
		path = c.ClientCertificate.CertFile
	}
	return path != "" && old(path, expires)
}

// lasting is that for the kubeconfig's user.
func (s *site) lasting(expires time.Time) bool {
	c, err := s.config.Connection.Load()
	if err != nil || c.ExecProvider != nil || c.AuthProvider != nil {
		return false
	}
	var files []string
	switch {
	case len(c.CertData) == 0 && c.CertFile != "":
		files = []string{c.CertFile}
	case c.BearerTokenFile != "":
		files = []string{c.BearerTokenFile}
	case s.config.Connection.Files != nil:
		files = s.config.Connection.Files()
	}
	return len(files) == 0 || slices.ContainsFunc(files, func(path string) bool { return old(path, expires) })
}

// old says that a file was written long before what is in it expires.
func old(path string, expires time.Time) bool {
	info, err := os.Stat(path)
	return err == nil && expires.Sub(info.ModTime()) > expirySoon
}

// post is how one credential asks for another.
func (o *opened) post(ctx context.Context, cluster, credential, path string, body []byte) (auth.Answer, error) {
	s, with := o.sites[cluster], o.live[credential]
	switch {
	case s == nil:
		return auth.Answer{}, fmt.Errorf("cluster %s cannot be asked", cluster)
	case with == nil:
		return auth.Answer{}, fmt.Errorf("credential %s cannot be had", credential)
	}
	lease, err := with.Lease(ctx)
	if err != nil {
		return auth.Answer{}, err
	}
	a, err := s.ask(ctx, lease, http.MethodPost, path, body)
	return auth.Answer{Body: a.body, Status: a.code, Generation: s.endpoint.Generation}, err
}

// whoami asks as whom the cluster knows a credential, "" if it does not say.
// Only that it refuses the credential is an error.
func (s *site) whoami(ctx context.Context, lease *auth.Lease) (string, error) {
	a, err := s.ask(ctx, lease, http.MethodPost, "/apis/authentication.k8s.io/v1/selfsubjectreviews",
		[]byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`))
	if err != nil {
		return "", err
	}
	if a.code == http.StatusUnauthorized {
		return "", errors.New("the API server refuses it (401)")
	}
	var review struct {
		Status struct {
			UserInfo struct {
				Username string `json:"username"`
			} `json:"userInfo"`
		} `json:"status"`
	}
	_ = json.Unmarshal(a.body, &review) // a cluster that does not know the question says nothing
	return strings.ToValidUTF8(review.Status.UserInfo.Username, "?"), nil
}
