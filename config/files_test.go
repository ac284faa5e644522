package config

import (
	"os"
	"strings"
	"testing"
)

// problemsOf loads what is installed after a change to its directory, and
// returns the problems without the directory's name.
func problemsOf(t *testing.T, spoil func(directory string), change ...func(string) string) string {
	t.Helper()
	directory, file := installed(t, change...)
	if spoil != nil {
		spoil(directory)
	}
	_, err := Load(file)
	return strings.ReplaceAll(text(err), directory, "")
}

func TestFilesThatAreNamed(t *testing.T) {
	remove := func(name string) func(string) {
		return func(directory string) {
			if err := os.Remove(directory + name); err != nil {
				t.Error(err)
			}
		}
	}
	open := func(name string, mode os.FileMode) func(string) {
		return func(directory string) {
			if err := os.Chmod(directory+name, mode); err != nil {
				t.Error(err)
			}
		}
	}
	fill := func(name, content string) func(string) {
		return func(directory string) { write(t, directory+name, content) }
	}
	for _, tc := range []struct {
		name  string
		spoil func(string)
		want  []string // parts of each line
	}{
		{"a kubeconfig that is missing", remove("prod.kubeconfig"), []string{"config.yaml:9: clusters[0].kubeconfig.path: stat prod.kubeconfig: no such file or directory"}},
		{"a kubeconfig that others can read", open("prod.kubeconfig", 0o644), []string{"config.yaml:9: clusters[0].kubeconfig.path: prod.kubeconfig can be read or written by others (mode 0644)"}},
		{"a kubeconfig that is none", fill("prod.kubeconfig", "token: very-secret: x"), []string{"config.yaml:9: clusters[0].kubeconfig: prod.kubeconfig is not a valid kubeconfig: check it with kubectl config view --kubeconfig=prod.kubeconfig"}},
		{"a kubeconfig without the context", fill("prod.kubeconfig", strings.Replace(kubeconfigYAML, "- {name: prod,", "- {name: dev,", 1)), []string{`kubeconfig prod.kubeconfig has no context "prod"`}},
		{"a token file that is missing", remove("prod.token"), []string{"credentials[0].tokenFile: stat prod.token: no such file or directory"}},
		{"a token file that the group can read", open("prod.token", 0o640), []string{"credentials[0].tokenFile: prod.token can be read or written by others (mode 0640)"}},
		{"a key that others can read", open("tls.key", 0o604), []string{
			"credentials[1].clientCertificate.keyFile: tls.key can be read or written by others (mode 0604)",
			"listeners[0].tls.keyFile: tls.key can be read or written by others (mode 0604)",
		}},
		{"a certificate that others can read", open("tls.crt", 0o644), nil},
		{"a certificate that is missing", remove("tls.crt"), []string{
			"credentials[1].clientCertificate", "clients[0].match[3].oidc.caFile", "listeners[0].tls.certFile: cannot be used: open tls.crt", "listeners[0].tls.clientCAFile: open tls.crt",
		}},
		{"a certificate of another key", func(directory string) {
			certificate, _ := keyPair(t)
			write(t, directory+"tls.crt", certificate)
		}, []string{"credentials[1].clientCertificate", "listeners[0].tls.certFile: cannot be used: tls: private key does not match public key"}},
		{"a certificate that is none", fill("tls.crt", "-"), []string{
			"credentials[1].clientCertificate", "clients[0].match[3].oidc.caFile", "listeners[0].tls.certFile: cannot be used", "listeners[0].tls.clientCAFile: tls.crt holds no certificate in PEM",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := problemsOf(t, tc.spoil)
			lines := strings.Split(got, "\n")
			if got == "" {
				lines = nil
			}
			if len(lines) != len(tc.want) {
				t.Fatalf("problems:\n%s\nwant %d", got, len(tc.want))
			}
			for i, want := range tc.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("problem %q, want %q in it", lines[i], want)
				}
			}
			if strings.Contains(got, "secret") {
				t.Errorf("problems repeat what is in a file:\n%s", got)
			}
		})
	}
}

func TestUnknownUnixUser(t *testing.T) {
	const nobody = "no-such-user-of-this-machine"
	got := problemsOf(t, nil, replace(t, "uid: 1003", "unixUser: "+nobody))
	if !strings.Contains(got, "clients[1].match[0].unixUser: ") || !strings.Contains(got, nobody) || strings.Contains(got, "\n") {
		t.Errorf("problems:\n%s\nwant one of the user", got)
	}
	if _, err := Parse([]byte(strings.Replace(minimal, "uid: 2", "unixUser: "+nobody, 1)), "c.yaml"); err != nil {
		t.Errorf("Parse() = %v, want no lookup", err)
	}
}

func TestPluginThatIsNotThere(t *testing.T) {
	got := problemsOf(t, nil, replace(t, "command: sh", "command: /no/such/plugin"))
	if !strings.Contains(got, "credentials[2].exec.command: ") || strings.Contains(got, "\n") {
		t.Errorf("problems:\n%s\nwant one of the plugin", got)
	}
}

func TestServerOverHTTPBesideTheKubeconfigs(t *testing.T) {
	got := problemsOf(t, nil, replace(t, "https://10.0.0.12:6443", "http://10.0.0.12:6443"))
	if want := "config.yaml:11: clusters[0].servers[1]: is reached over http, the kubeconfig's server over https: its credential is never sent over http"; got != want {
		t.Errorf("problems:\n%s\nwant\n%s", got, want)
	}
}
