package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// TestNoSecretIsEverShown goes through the life of each kind of credential,
// with trouble, and looks for the secret in all that can be seen of it: logs at
// debug level, errors, hooks, and the values printed in every way.
func TestNoSecretIsEverShown(t *testing.T) {
	inBase64 := base64.StdEncoding.EncodeToString([]byte("u:" + canary))[:20]
	status := &clientauthenticationv1.ExecCredentialStatus{Token: canary, ExpirationTimestamp: &metav1.Time{Time: time.Now().Add(time.Hour)}}
	users := map[string]func(*fixture) clientcmdapi.AuthInfo{
		"token": func(*fixture) clientcmdapi.AuthInfo { return clientcmdapi.AuthInfo{Token: canary} },
		"token file": func(f *fixture) clientcmdapi.AuthInfo {
			return clientcmdapi.AuthInfo{TokenFile: f.put("token", canary)}
		},
		"basic": func(*fixture) clientcmdapi.AuthInfo {
			return clientcmdapi.AuthInfo{Username: "u", Password: canary}
		},
		"plugin": func(f *fixture) clientcmdapi.AuthInfo {
			user := pluginUser("print", map[string]string{pluginOutEnv: f.put("out", answer(t, status)), "SECRET": canary})
			user.Exec.Args = []string{"--secret=" + canary}
			return user
		},
		"failing plugin": func(*fixture) clientcmdapi.AuthInfo {
			user := pluginUser("fail", map[string]string{"SECRET": canary})
			user.Exec.Args = []string{"--secret=" + canary}
			return user
		},
		"oidc": func(*fixture) clientcmdapi.AuthInfo {
			return oidcUser("https://issuer.invalid", "kube-"+t.Name(), "", canary)
		},
	}
	for name, user := range users {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, clientcmdapi.NewConfig())
			config := kubeconfig("https://u:"+canary+"@127.0.0.1:1", user(f))
			config.Clusters["c"].ProxyURL = "http://egress:" + canary + "@127.0.0.1:1"
			f.write(config)
			k, err := OpenKubeconfig(f.options())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(k.Close)
			f.Kubeconfig = k

			var seen []string
			see := func(values ...any) {
				for _, v := range values {
					seen = append(seen, fmt.Sprintf("%v|%+v|%#v|%s|%q", v, v, v, v, v))
					if raw, err := json.Marshal(v); err == nil {
						seen = append(seen, string(raw))
					}
				}
			}
			carried := false
			ask := func() {
				l, err := k.Lease(t.Context())
				see(l, err, errors.Unwrap(err))
				dst := http.Header{}
				Rebuild(dst, nil, l, RebuildOptions{})
				carried = carried || l != nil && dst.Get("Authorization") == l.Authorization().Reveal()
				again, err := k.Refused(t.Context(), l)
				see(again, err, errors.Unwrap(err))
			}
			ask()
			f.put("config", "users: ["+canary)
			f.put("token", " ")
			f.put("out", canary)
			f.reload(t.Context(), true)
			ask()
			k.Close()
			ask()
			see(k, k.Endpoint().URL, f.refreshed())
			for _, e := range f.logs.All() {
				see(e.Message)
				for _, field := range e.ContextMap() {
					see(field)
				}
			}
			if len(f.logs.All()) == 0 {
				t.Error("nothing was logged: the test looks at nothing")
			}
			if works := name != "failing plugin" && name != "oidc"; carried != works {
				t.Errorf("the credential was carried by a request: %t, want %t", carried, works)
			}
			for _, s := range seen {
				if strings.Contains(s, canary) || strings.Contains(s, inBase64) {
					t.Errorf("shows the secret: %s", s)
				}
			}
		})
	}
}
