package proxy

import "testing"

func TestHostname(t *testing.T) {
	for hostport, want := range map[string]string{
		"localhost":            "localhost",
		"LocalHost:8001":       "localhost",
		"relay.example.org.":   "relay.example.org",
		"127.0.0.1:8001":       "127.0.0.1",
		"[::1]:8001":           "::1",
		"[::1]":                "::1",
		"::1":                  "", // which colon begins the port?
		"":                     "",
		":8001":                "",
		"localhost:http":       "",
		"localhost:80:80":      "",
		"[::1":                 "",
		"evil.example:8001@x":  "",
		"localhost:8001/../..": "",
	} {
		if got := hostname(hostport); got != want {
			t.Errorf("hostname(%q) = %q, want %q", hostport, got, want)
		}
	}
}

func TestDefaultHosts(t *testing.T) {
	for address, want := range map[string]int{"unix:///run/x.sock": 0, "127.0.0.1:8001": 3, "192.0.2.1:8443": 4, "[2001:db8::1]:8443": 4, "Relay.example.org:8443": 4, ":8443": 3, "systemd:x": 3} {
		if got := DefaultHosts(address); len(got) != want {
			t.Errorf("DefaultHosts(%q) = %q, want %d", address, got, want)
		}
	}
	if hosts := DefaultHosts("Relay.example.org:8443"); hosts[3] != "relay.example.org" {
		t.Errorf("the listener's own name is %q, want it in lower case", hosts[3])
	}
}

func TestCutCluster(t *testing.T) {
	for escaped, want := range map[string][2]string{
		"/api/v1/pods":                       {"root", "/api/v1/pods"},
		"/clusters/b/api/v1/pods":            {"b", "/api/v1/pods"},
		"/clusters/b":                        {"b", "/"},
		"/clusters/b/":                       {"b", "/"},
		"/clusters/":                         {"", "/"},
		"/clusters":                          {"root", "/clusters"},
		"/clusters/../api":                   {"..", "/api"},
		"/clusters/b/clusters/c/api":         {"b", "/clusters/c/api"},
		"/api/v1/namespaces/x/pods/clusters": {"root", "/api/v1/namespaces/x/pods/clusters"},
	} {
		cluster, rest := clusterOf("root", escaped)
		if cluster != want[0] || rest != want[1] {
			t.Errorf("%q is for %q at %q, want %q at %q", escaped, cluster, rest, want[0], want[1])
		}
	}
}
