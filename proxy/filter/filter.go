package filter

import (
	"fmt"
	"net"
	"strings"
)

// Filter is a compiled Config. It is immutable and safe for concurrent use.
type Filter struct {
	disabled      bool
	acceptHosts   []matcher
	acceptPaths   []matcher
	rejectPaths   []matcher
	rejectMethods []matcher
}

// PatternError says which pattern of a Config is not a regular expression.
type PatternError struct {
	List    string // the Config's field, in the configuration file's spelling
	Pattern string // as it was given
	Err     error  // of package regexp
}

// Error begins with the words of kubectl proxy.
func (e *PatternError) Error() string {
	return fmt.Sprintf("Error compiling re: %v (in %s, where every comma separates two patterns)", e.Err, e.List)
}

// Unwrap returns the error of package regexp.
func (e *PatternError) Unwrap() error { return e.Err }

// New compiles c. The error is a *[PatternError].
func New(c Config) (*Filter, error) {
	f := &Filter{disabled: c.Disabled}
	if c.Disabled {
		return f, nil
	}
	for _, list := range []struct {
		name     string
		patterns []string
		into     *[]matcher
	}{
		{"acceptPaths", c.AcceptPaths, &f.acceptPaths},
		{"rejectPaths", c.RejectPaths, &f.rejectPaths},
		{"acceptHosts", c.AcceptHosts, &f.acceptHosts},
		{"rejectMethods", c.RejectMethods, &f.rejectMethods},
	} {
		for _, p := range list.patterns {
			m, err := compile(p)
			if err != nil {
				return nil, &PatternError{List: list.name, Pattern: p, Err: err}
			}
			*list.into = append(*list.into, m)
		}
	}
	return f, nil
}

// Rule is the part of a filter that a request breaks.
type Rule string

// The rules, in the order in which a filter looks at them.
const (
	Path   Rule = "path"
	Method Rule = "method"
	Host   Rule = "host"
)

// Broken returns the first rule that a request breaks, "" for one that passes:
// no reject list matches, and the accept lists match both its path and its host.
// The path is the decoded one without a listener's API prefix; the host is as in
// [net/http.Request.Host], port included.
func (f *Filter) Broken(method, path, host string) Rule {
	switch {
	case f.disabled:
		return ""
	case matchAny(f.rejectPaths, path):
		return Path
	case matchAny(f.rejectMethods, method):
		return Method
	case !matchAny(f.acceptPaths, path):
		return Path
	case !f.acceptsHost(host):
		return Host
	}
	return ""
}

// AllowedHost reports whether a request to host passes the host list alone,
// for what a listener serves beside the API.
func (f *Filter) AllowedHost(host string) bool {
	return f.disabled || f.acceptsHost(host)
}

// acceptsHost tries the host name without its port. The port is whatever
// follows, even none or a word, and a header that cannot be split is taken
// whole: kubectl's rules. Where brackets enclose the name, kubectl loses them
// together with the port, so that its own default never matches [::1]:8001
// (kubernetes#77496); here both spellings are tried.
func (f *Filter) acceptsHost(host string) bool {
	if strings.IndexByte(host, ':') < 0 {
		return matchAny(f.acceptHosts, host)
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		return matchAny(f.acceptHosts, host)
	}
	if host[0] == '[' && matchAny(f.acceptHosts, host[:len(name)+2]) {
		return true
	}
	return matchAny(f.acceptHosts, name)
}

func matchAny(list []matcher, s string) bool {
	for i := range list {
		if list[i].match(s) {
			return true
		}
	}
	return false
}
