package auth

import (
	"errors"
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
