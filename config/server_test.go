package config

import (
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

func TestParseServer(t *testing.T) {
	for _, tc := range []struct {
		name, value, want string
	}{
		{"an address and a port", "https://10.0.0.11:6443", "https://10.0.0.11:6443"},
		{"a name without a port", "https://api.example.org", "https://api.example.org"},
		{"an empty path", "https://api.example.org/", "https://api.example.org"},
		{"IPv6", "https://[2001:db8::1]:6443", "https://[2001:db8::1]:6443"},
		{"http", "http://localhost:8080", "http://localhost:8080"},
		{"a scheme in capitals", "HTTPS://h", "https://h"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u, err := ParseServer(tc.value)
			if err != nil {
				t.Fatalf("ParseServer(%q): %v", tc.value, err)
			}
			if u.String() != tc.want {
				t.Errorf("ParseServer(%q) = %s, want %s", tc.value, u, tc.want)
			}
		})
	}
}

func TestParseServerRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, value, problem string
	}{
		{"nothing", "", "does not begin with https://"},
		{"an address without a scheme", "10.0.0.1:6443", "first path segment in URL cannot contain colon"},
		{"a name without a scheme", "localhost:6443", "does not begin with https://"},
		{"another scheme", "ftp://h", "does not begin with https://"},
		{"no host", "https://:6443", "no host"},
		{"no host at all", "https://", "no host"},
		{"an empty port", "https://h:", "port"},
		{"port zero", "https://h:0", "port"},
		{"a port too large", "https://h:65536", "port"},
		{"a port that is a word", "https://h:x", "port"},
		{"a path", "https://h/k8s/clusters/c-1", "more than a host and port"},
		{"a query", "https://h?x=1", "more than a host and port"},
		{"an empty query", "https://h?", "more than a host and port"},
		{"a fragment", "https://h#x", "more than a host and port"},
		{"an unclosed bracket", "https://[::1", "missing ']'"},
		{"a user", "https://admin@h", "user or password"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u, err := ParseServer(tc.value)
			if err == nil {
				t.Fatalf("ParseServer(%q) = %v, want an error", tc.value, u)
			}
			if !strings.Contains(err.Error(), tc.problem) || strings.Contains(err.Error(), "\n") {
				t.Errorf("ParseServer(%q): %q, want one line with %q", tc.value, err, tc.problem)
			}
		})
	}
}

func TestParseServerErrorsHoldNoPassword(t *testing.T) {
	for _, value := range []string{
		"https://admin:hunter2@h", "https://admin:hunter2@h:x", "admin:hunter2@h:6443",
		"https://hunter2@[::1", "https://a:hunter2@b@h/", "ftp://:hunter2@h", "://hunter2@h",
	} {
		if _, err := ParseServer(value); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseServer(%q): %v, want an error without the password", value, err)
		}
		if _, err := kubeconfigServer(&rest.Config{Host: value}); err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("kubeconfigServer(%q): %v, want no password in it", value, err)
		}
	}
}

// Whatever is accepted has a host, and nothing that could reach an API server
// beside scheme and host.
func FuzzParseServer(f *testing.F) {
	for _, seed := range []string{"https://h:1", "http://[::1]:8080/", "https://u:p@h", "h:1", "https://h/%2e", "https://h?#"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		u, err := ParseServer(value)
		if err != nil {
			return
		}
		if u.Hostname() == "" || u.String() != u.Scheme+"://"+u.Host {
			t.Errorf("ParseServer(%q) = %#v, want scheme and host alone", value, u)
		}
		again, err := ParseServer(u.String())
		if err != nil || again.String() != u.String() {
			t.Errorf("ParseServer(%q) = %v, %v, want what it came from", u, again, err)
		}
	})
}
