package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// errNoSource is the error of a credential without a source.
var errNoSource = errors.New("it has no source: give it one of " + strings.Join(sourceFields, ", "))

// sourceFields are the fields of [CredentialConfig] of which one is set.
var sourceFields = []string{"tokenFile", "clientCertificate", "exec", "kubeconfig", "serviceAccountToken"}

// ConfigError is a problem with a field of a [CredentialConfig].
type ConfigError struct {
	Field string // its path within the credential ("exec.command"); "": the credential as a whole
	Err   error
}

func (e *ConfigError) Error() string {
	if e.Field == "" {
		return e.Err.Error()
	}
	return e.Field + ": " + e.Err.Error()
}

func (e *ConfigError) Unwrap() error { return e.Err }

// Validate returns all that is wrong with c, each a [*ConfigError], joined with
// [errors.Join], or nil. It reads no file, and does not know whether what c
// refers to exists.
func (c CredentialConfig) Validate() error {
	var errs []error
	problem := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{Field: field, Err: fmt.Errorf(format, args...)})
	}
	if c.Name == "" {
		problem("name", "it is missing")
	}
	set := slices.DeleteFunc(slices.Clone(sourceFields), func(field string) bool { return !c.has(field) })
	switch len(set) {
	case 0:
		errs = append(errs, &ConfigError{Err: errNoSource})
	case 1:
	default:
		problem(set[1], "a credential has one source, and this has %s: make each a credential of its own", strings.Join(set, " and "))
	}
	if f := c.ClientCertificate; f != nil {
		require(problem, "clientCertificate.certFile", f.CertFile)
		require(problem, "clientCertificate.keyFile", f.KeyFile)
	}
	if e := c.Exec; e != nil {
		e.validate(problem)
	}
	if k := c.Kubeconfig; k != nil {
		require(problem, "kubeconfig.path", k.Path)
	}
	if a := c.ServiceAccountToken; a != nil {
		a.validate(problem)
	}
	return errors.Join(errs...)
}

// has reports whether a field of sourceFields is set.
func (c CredentialConfig) has(field string) bool {
	switch field {
	case "tokenFile":
		return c.TokenFile != ""
	case "clientCertificate":
		return c.ClientCertificate != nil
	case "exec":
		return c.Exec != nil
	case "kubeconfig":
		return c.Kubeconfig != nil
	default:
		return c.ServiceAccountToken != nil
	}
}

// A report adds a problem of a field.
type report func(field, format string, args ...any)

func require(problem report, field, value string) {
	if value == "" {
		problem(field, "it is missing")
	}
}

func (e *ExecConfig) validate(problem report) {
	require(problem, "exec.command", e.Command)
	for name := range e.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			problem("exec.env", "%q is not the name of a variable", name)
		}
		if strings.ContainsRune(e.Env[name], 0) {
			problem("exec.env", "the value of %q holds a NUL character", name)
		}
	}
	if slices.ContainsFunc(e.Args, func(a string) bool { return strings.ContainsRune(a, 0) }) {
		problem("exec.args", "an argument holds a NUL character")
	}
	if e.Timeout < 0 {
		problem("exec.timeout", "%s is negative: leave it out for %s", e.Timeout, daemonExecTimeout)
	}
}

func (a *ServiceAccountToken) validate(problem report) {
	require(problem, "serviceAccountToken.credential", a.Credential)
	require(problem, "serviceAccountToken.cluster", a.Cluster)
	// The names become parts of a path, which must not lead elsewhere.
	if wrong := validation.IsDNS1123Label(a.Namespace); len(wrong) > 0 {
		problem("serviceAccountToken.namespace", "%q is not a namespace: %s", a.Namespace, wrong[0])
	}
	if wrong := validation.IsDNS1123Subdomain(a.ServiceAccount); len(wrong) > 0 {
		problem("serviceAccountToken.serviceAccount", "%q is not a service account's name: %s", a.ServiceAccount, wrong[0])
	}
	if a.TTL != 0 && a.TTL < minTokenTTL {
		problem("serviceAccountToken.ttl", "%s is less than %s, the least that an API server grants", a.TTL, minTokenTTL)
	}
	if slices.Contains(a.Audiences, "") {
		problem("serviceAccountToken.audiences", "one of them is empty")
	}
}
