package auth

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

func TestValidateNamesEveryField(t *testing.T) {
	account := func(change func(*ServiceAccountToken)) CredentialConfig {
		a := devAccount()
		change(a)
		return CredentialConfig{Name: "x", ServiceAccountToken: a}
	}
	for name, c := range map[string]struct {
		config CredentialConfig
		fields []string
	}{
		"a token file":                   {CredentialConfig{Name: "x", TokenFile: "/t"}, nil},
		"a certificate":                  {CredentialConfig{Name: "x", ClientCertificate: &CertificateFiles{"/c", "/k"}}, nil},
		"a plugin":                       {CredentialConfig{Name: "x", Exec: &ExecConfig{Command: "aws", Env: map[string]string{"A": "b=c"}}}, nil},
		"a kubeconfig":                   {CredentialConfig{Name: "x", Kubeconfig: &KubeconfigRef{Path: "/k"}}, nil},
		"a service account":              {account(func(a *ServiceAccountToken) { a.TTL = 10 * time.Minute }), nil},
		"nothing":                        {CredentialConfig{}, []string{"name", ""}},
		"two sources":                    {CredentialConfig{Name: "x", TokenFile: "/t", Exec: &ExecConfig{Command: "aws"}}, []string{"exec"}},
		"a certificate without files":    {CredentialConfig{Name: "x", ClientCertificate: &CertificateFiles{}}, []string{"clientCertificate.certFile", "clientCertificate.keyFile"}},
		"a plugin without command":       {CredentialConfig{Name: "x", Exec: &ExecConfig{Timeout: -1}}, []string{"exec.command", "exec.timeout"}},
		"a variable with =":              {CredentialConfig{Name: "x", Exec: &ExecConfig{Command: "aws", Env: map[string]string{"A=B": "c"}}}, []string{"exec.env"}},
		"a NUL in value and argument":    {CredentialConfig{Name: "x", Exec: &ExecConfig{Command: "aws", Args: []string{"a\x00"}, Env: map[string]string{"A": "\x00"}}}, []string{"exec.args", "exec.env"}},
		"a kubeconfig without path":      {CredentialConfig{Name: "x", Kubeconfig: &KubeconfigRef{Context: "y"}}, []string{"kubeconfig.path"}},
		"a short time":                   {account(func(a *ServiceAccountToken) { a.TTL = 599 * time.Second }), []string{"serviceAccountToken.ttl"}},
		"a negative time":                {account(func(a *ServiceAccountToken) { a.TTL = -time.Hour }), []string{"serviceAccountToken.ttl"}},
		"an empty audience":              {account(func(a *ServiceAccountToken) { a.Audiences = []string{""} }), []string{"serviceAccountToken.audiences"}},
		"a namespace that leads away":    {account(func(a *ServiceAccountToken) { a.Namespace = ".." }), []string{"serviceAccountToken.namespace"}},
		"an account that leads away":     {account(func(a *ServiceAccountToken) { a.ServiceAccount = "../../secrets/x?" }), []string{"serviceAccountToken.serviceAccount"}},
		"an account with nothing else":   {CredentialConfig{Name: "x", ServiceAccountToken: &ServiceAccountToken{}}, []string{"serviceAccountToken.cluster", "serviceAccountToken.credential", "serviceAccountToken.namespace", "serviceAccountToken.serviceAccount"}},
		"a namespace longer than a name": {account(func(a *ServiceAccountToken) { a.Namespace = strings.Repeat("n", 64) }), []string{"serviceAccountToken.namespace"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.config.Validate()
			var got []string
			if joined, ok := err.(interface{ Unwrap() []error }); ok {
				for _, one := range joined.Unwrap() {
					var problem *ConfigError
					if !errors.As(one, &problem) || problem.Field != "" && !strings.HasPrefix(one.Error(), problem.Field+": ") {
						t.Fatalf("%v does not begin with its field", one)
					}
					got = append(got, problem.Field)
				}
			}
			if diff := cmp.Diff(sorted(c.fields), sorted(got)); diff != "" || (err == nil) != (c.fields == nil) {
				t.Errorf("%v: fields (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestSecretFilesOfACredential(t *testing.T) {
	f := newCredentialFixture(t)
	files := f.issue(newAuthority(t), "alice", time.Now().Add(time.Hour))
	f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{ClientCertificate: files.CertFile, ClientKey: "key", TokenFile: f.put("token", "tok")}))
	for name, c := range map[string]struct {
		config CredentialConfig
		want   []string
	}{
		"a token file":                      {CredentialConfig{TokenFile: "/t"}, []string{"/t"}},
		"the key of a certificate":          {CredentialConfig{ClientCertificate: &CertificateFiles{"/c", "/k"}}, []string{"/k"}},
		"a kubeconfig and what it names":    {CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}, []string{f.path, filepath.Join(f.dir, "token"), filepath.Join(f.dir, "key")}},
		"a kubeconfig that cannot be read":  {CredentialConfig{Kubeconfig: &KubeconfigRef{Path: "/nonexistent"}}, []string{"/nonexistent"}},
		"none of a plugin":                  {CredentialConfig{Exec: &ExecConfig{Command: "aws"}}, nil},
		"none of a service account's token": {CredentialConfig{ServiceAccountToken: devAccount()}, nil},
	} {
		if diff := cmp.Diff(c.want, c.config.Files()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSecretFileOfOthersIsRefused(t *testing.T) {
	dir := t.TempDir()
	create := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(name, target string) string {
		path := filepath.Join(dir, name)
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	systemd := filepath.Join(dir, "systemd")
	credential := create("systemd/token", 0o440)
	t.Setenv("CREDENTIALS_DIRECTORY", link("credentials", systemd))
	public := create("public", 0o644)
	for name, c := range map[string]struct{ path, want string }{
		"the owner's":                            {create("mine", 0o600), ""},
		"read-only":                              {create("frozen", 0o400), ""},
		"through a symlink":                      {link("link", filepath.Join(dir, "mine")), ""},
		"a group's":                              {create("group", 0o640), "(mode 0640): run chmod 600 " + filepath.Join(dir, "group")},
		"everybody's":                            {public, "(mode 0644): run chmod 600 "},
		"everybody's through a symlink":          {link("public-link", public), "(mode 0644)"},
		"others can write it":                    {create("writable", 0o602), "(mode 0602)"},
		"a directory":                            {dir, "is no regular file"},
		"a device":                               {os.DevNull, "is no regular file"},
		"missing":                                {filepath.Join(dir, "missing"), "no such file"},
		"systemd's, for a group":                 {credential, ""},
		"systemd's, through its link":            {filepath.Join(dir, "credentials", "token"), ""},
		"systemd's, through a link to it":        {link("to-credential", credential), ""},
		"systemd's, for everybody":               {create("systemd/open", 0o444), "(mode 0444)"},
		"a link in systemd's that leads outside": {link("systemd/out", filepath.Join(dir, "group")), "(mode 0640)"},
		"beside systemd's":                       {create("systemd-not/token", 0o440), "(mode 0440)"},
		"by a path that goes through systemd's":  {systemd + "/../group", "(mode 0640)"},
	} {
		err := CheckSecretFile(c.path)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
