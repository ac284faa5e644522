package filter

import "strings"

// The defaults of kubectl proxy's flags, as the comma-separated lists that its
// command line takes. [SplitList] turns them into a Config's lists.
const (
	DefaultAcceptHosts   = `^localhost$,^127\.0\.0\.1$,^\[::1\]$`
	DefaultAcceptPaths   = `^.*`
	DefaultRejectPaths   = `^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach`
	DefaultRejectMethods = `^$`
)

// What to tell the operator of a filter that protects less than the default,
// in kubectl's words. See [Config.Relaxed] and [Config.Disabled].
const (
	RelaxedWarning  = "Request filter has been relaxed, your proxy may be vulnerable to attacks, please be cautious"
	DisabledWarning = "Request filter disabled, your proxy is vulnerable to XSRF attacks, please be cautious"
)

// Config is one listener's filter. Each list holds regular expressions in
// Go's RE2 syntax, searched anywhere in their subject unless anchored, and
// case-sensitive. The zero Config accepts nothing; [DefaultConfig] is
// kubectl's.
type Config struct {
	// AcceptHosts are tried on the requested host, without its port. A host
	// that none matches is refused; an empty list refuses every request. This
	// is what stops DNS rebinding, and it looks at the name that was asked
	// for, not at the client's address.
	AcceptHosts []string `yaml:"acceptHosts"`
	// AcceptPaths are tried on the decoded path, without the listener's API
	// prefix and without the query. An empty list refuses every request.
	AcceptPaths []string `yaml:"acceptPaths"`
	// RejectPaths are tried like AcceptPaths and win over them. An empty list
	// refuses nothing, so that exec and attach become reachable.
	RejectPaths []string `yaml:"rejectPaths"`
	// RejectMethods are tried on the request's method. An empty list refuses
	// nothing.
	RejectMethods []string `yaml:"rejectMethods"`
	// Disabled lets every request through, whatever the lists say; they are
	// not even compiled. Not for a listener that a browser can reach.
	Disabled bool `yaml:"disabled"`
}

// DefaultConfig returns the filter of a kubectl proxy that was given no flags.
func DefaultConfig() Config {
	return Config{
		AcceptHosts:   SplitList(DefaultAcceptHosts),
		AcceptPaths:   SplitList(DefaultAcceptPaths),
		RejectPaths:   SplitList(DefaultRejectPaths),
		RejectMethods: SplitList(DefaultRejectMethods),
	}
}

// Relaxed reports whether c, though not disabled, lacks a reject list that
// kubectl's default has; [RelaxedWarning] is then due (kubernetes#139081).
func (c Config) Relaxed() bool {
	return !c.Disabled && (len(c.RejectPaths) == 0 || len(c.RejectMethods) == 0)
}

// SplitList splits a list as it stands on kubectl proxy's command line: at
// every comma, even one inside a pattern such as a{1,2}, without trimming.
// The empty string is the empty list, not a list of one empty pattern.
func SplitList(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
