package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/config"
)

// site is a cluster while it is examined.
type site struct {
	config     config.Cluster
	kubeconfig *auth.Kubeconfig
	endpoint   *auth.Endpoint
	lease      *auth.Lease // of the kubeconfig's user; nil if it cannot be had
	userAgent  string
	timeout    time.Duration
	answers    []*server // that can be asked, in order
}

// server is one API server of a site.
type server struct {
	id         string // host:port
	url        *url.URL
	serverName string // that its certificate is verified for
	ready      bool   // it answered, and took the credential
	discovered bool   // the cluster names it, and nobody else
}

// clusters examines all clusters. The sites are those that can be asked.
func (d *doctor) clusters(ctx context.Context, clusters []config.Cluster) ([]Finding, map[string]*site) {
	var mu sync.Mutex
	sites := make(map[string]*site)
	found := each(clusters, func(c config.Cluster) []Finding {
		found, s := d.cluster(ctx, c)
		if s != nil {
			mu.Lock()
			sites[c.Name] = s
			mu.Unlock()
		}
		return found
	})
	return found, sites
}

func closeAll(sites map[string]*site) {
	for _, s := range sites {
		s.kubeconfig.Close()
	}
}

// cluster examines one: its kubeconfig, its servers, then what needs one that
// answers.
func (d *doctor) cluster(ctx context.Context, c config.Cluster) ([]Finding, *site) {
	f := &findings{of: "cluster " + c.Name}
	k, err := auth.OpenKubeconfig(auth.KubeconfigOptions{Load: c.Connection.Load, Files: c.Connection.Files, Name: c.Name})
	if err != nil {
		f.fail("kubeconfig", "correct it: kubectl config view shows what kubectl makes of it", "%v", err)
		return f.list, nil
	}
	s := &site{config: c, kubeconfig: k, endpoint: k.Endpoint(), userAgent: auth.UserAgent(d.options.Version) + " doctor", timeout: d.options.Timeout}
	d.kubeconfig(ctx, f, s)
	servers, err := s.servers()
	if err != nil {
		f.fail("servers", "correct the URL", "%v", err)
		return f.list, s
	}
	examine := func(target *server) []Finding { return d.server(ctx, s, target) }
	list := slices.Concat(f.list, each(servers, examine))
	for _, target := range servers {
		if target.ready {
			s.answers = append(s.answers, target)
		}
	}
	f.list = nil
	if len(s.answers) == 0 {
		return list, s
	}
	more := d.discovery(ctx, f, s, servers)
	d.groups(ctx, f, s)
	return slices.Concat(list, f.list, each(more, examine)), s
}

// kubeconfig examines the connection and its user's credential.
func (d *doctor) kubeconfig(ctx context.Context, f *findings, s *site) {
	switch e := s.endpoint; {
	case e.TLS == nil:
		f.warn("kubeconfig", "use https: no credential is sent in clear text", "%s is not encrypted", e.URL.Redacted())
	case e.TLS.InsecureSkipVerify:
		f.warn("kubeconfig", "put the cluster's certificate-authority-data into the kubeconfig", "the certificate of %s is not verified (insecure-skip-tls-verify)", e.URL.Redacted())
	default:
		f.ok("kubeconfig", "leads to %s", e.URL.Redacted())
	}
	ctx, cancel := context.WithTimeout(ctx, credentialTimeout)
	defer cancel()
	lease, err := s.kubeconfig.Lease(ctx)
	if err != nil {
		f.fail("credential", "the kubeconfig's user needs a credential that can be had without a terminal: if it is a plugin's, run that by hand", "%v", err)
		return
	}
	s.lease = lease
	what := describe(lease)
	if what == "" {
		f.warn("credential", "give the kubeconfig a user: health checks and discovery need one on most clusters", "the kubeconfig's user has none: probes are anonymous")
		return
	}
	d.validity(f, what, lease.Expiry(), s.lasting(lease.Expiry()))
}

// servers are those that the kubeconfig and the configuration name.
func (s *site) servers() ([]*server, error) {
	var all []*server
	add := func(u *url.URL) {
		id := hostPort(u)
		for _, other := range all {
			if other.id == id {
				return
			}
		}
		all = append(all, &server{id: id, url: u, serverName: u.Hostname()})
	}
	add(s.endpoint.URL)
	for _, value := range s.config.Servers {
		u, err := config.ParseServer(value)
		if err != nil {
			return nil, err
		}
		add(u)
	}
	return all, nil
}

// answer is an HTTP answer, read.
type answer struct {
	code int
	body []byte
	date string
	tls  *tls.ConnectionState
}

// maxAnswer bounds what is read of one.
const maxAnswer = 8 << 20

// errNoServer is that nobody can be asked.
var errNoServer = errors.New("no API server of the cluster answers")

// ask sends a request to the first server that answers, with a lease of another
// credential, or with the kubeconfig's own if that is nil.
func (s *site) ask(ctx context.Context, other *auth.Lease, method, path string, body []byte) (answer, error) {
	err := errNoServer
	for _, target := range s.answers {
		var a answer
		if a, err = s.askOne(ctx, target, other, method, path, body); err == nil {
			return a, nil
		}
	}
	return answer{}, err
}

func (s *site) askOne(ctx context.Context, target *server, other *auth.Lease, method, path string, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, target.url.Scheme+"://"+target.url.Host+target.url.EscapedPath()+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("User-Agent", s.userAgent)
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	transport := &http.Transport{Proxy: s.endpoint.Proxy, DisableKeepAlives: true, TLSClientConfig: s.tls(target, other)}
	lease := other
	if lease == nil {
		lease = s.lease
	}
	if lease != nil && target.url.Scheme == "https" && !lease.Authorization().IsEmpty() {
		r.Header.Set("Authorization", lease.Authorization().Reveal())
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	read, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	return answer{response.StatusCode, read, response.Header.Get("Date"), response.TLS}, nil
}

// tls is what a server is verified with, and the client certificate of whoever
// asks.
func (s *site) tls(target *server, other *auth.Lease) *tls.Config {
	if s.endpoint.TLS == nil || target.url.Scheme != "https" {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c := s.endpoint.TLS.Clone()
	if c.ServerName == "" {
		c.ServerName = target.serverName
	}
	if other != nil { // not as the kubeconfig's user
		c.Certificates, c.GetClientCertificate = nil, nil
		if own := other.Certificate(); own != nil {
			c.Certificates = []tls.Certificate{*own}
		}
	}
	return c
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "http" {
		return u.Host + ":80"
	}
	return u.Host + ":443"
}
