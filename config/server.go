package config

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/client-go/rest"
)

// ParseServer parses the URL of an API server: https://HOST[:PORT], or http
// for a cluster that is itself reached over http. A path, query, fragment or
// user has no meaning there and is refused. The result has scheme and host
// only. The error quotes the value without anything that may be a password.
func ParseServer(value string) (*url.URL, error) {
	u, err := url.Parse(value)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the wrapper's text repeats the value
		}
		return nil, serverError(value, err.Error())
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, serverError(value, "it does not begin with https://")
	case u.User != nil:
		return nil, serverError(value, "it holds a user or password, which belong in the kubeconfig")
	case u.Hostname() == "":
		return nil, serverError(value, "it has no host")
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r > '~' }):
		return nil, serverError(value, "its host is not written in ASCII")
	case u.Port() == "" && strings.HasSuffix(u.Host, ":"), u.Port() != "" && !validPort(u.Port()):
		return nil, serverError(value, "its port is not a number from 1 to 65535")
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return nil, serverError(value, "it has more than a host and port")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// kubeconfigServer returns the server of c, a kubeconfig's or --server's, which
// may have a path. Where its scheme is missing it is client-go's default: https
// with TLS options, else http. What cannot be parsed at all is a *[url.Error],
// by which the command line knows it.
func kubeconfigServer(c *rest.Config) (*url.URL, error) {
	shown := withoutUser(c.Host)
	const what = "server %q of the kubeconfig or of --server: want https://HOST[:PORT]"
	_, err := url.Parse(c.Host)
	if parse, ok := errors.AsType[*url.Error](err); ok {
		return nil, &url.Error{Op: parse.Op, URL: shown, Err: fmt.Errorf("%w ("+what+")", parse.Err, shown)}
	}
	u, _, err := rest.DefaultServerUrlFor(c)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return nil, fmt.Errorf(what, shown)
	}
	return u, nil
}

func serverError(value, problem string) error {
	return fmt.Errorf("%q: %s: want https://HOST[:PORT]", withoutUser(value), problem)
}

// withoutUser replaces what may be a user and password, for URLs that may be
// too broken to parse.
func withoutUser(value string) string {
	at := strings.LastIndexByte(value, '@')
	if at < 0 {
		return value
	}
	start := 0
	if i := strings.Index(value, "://"); i >= 0 && i < at {
		start = i + len("://")
	}
	return value[:start] + "..." + value[at:]
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
