package health

import (
	"bytes"
	"net/http"
	"strings"
)

const (
	maxChecks    = 32
	maxCheckName = 100
)

// interpret reads an HTTP answer to a probe; credential is whether the probe
// carried one.
func interpret(path string, code int, body []byte, credential bool) Result {
	r := Result{Code: code}
	name := strings.TrimPrefix(path, "/")
	switch {
	case code >= 200 && code < 300:
		r.Kind = Pass
	case code == http.StatusUnauthorized && !credential:
		// It answers, and clients may well have a credential that it accepts.
		r.Kind, r.Note = Pass, name+" needs a credential and the probe has none, treated as ready"
	case code == http.StatusUnauthorized:
		r.Kind = Credential
		r.Err = errCredentialRefused
	case code == http.StatusForbidden:
		// The server authenticates and authorises; hardened clusters bind
		// nobody to system:public-info-viewer.
		r.Kind, r.Note = Pass, name+" forbidden, treated as ready"
	case code == http.StatusNotFound:
		r.Kind, r.Note = Pass, name+" not found (a gateway?), treated as ready"
	default:
		r.Kind = NotReady
		r.FailedChecks = failedChecks(body)
	}
	return r
}

// failedChecks returns the names of the failing checks in the body of a failed
// /readyz, /livez or /healthz: lines such as "[-]etcd failed: reason withheld".
// Names that no check of an API server could have are left out, because names end
// up in logs.
func failedChecks(body []byte) []string {
	var names []string
	for line := range bytes.Lines(body) {
		rest, ok := bytes.CutPrefix(line, []byte("[-]"))
		if !ok {
			continue
		}
		name, _, ok := bytes.Cut(rest, []byte(" "))
		if !ok || !checkName(name) {
			continue
		}
		if names = append(names, string(name)); len(names) == maxChecks {
			break
		}
	}
	return names
}

func checkName(b []byte) bool {
	if len(b) == 0 || len(b) > maxCheckName {
		return false
	}
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("-_./:", c) >= 0:
		default:
			return false
		}
	}
	return true
}
