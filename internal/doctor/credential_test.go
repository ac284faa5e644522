package doctor

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

const (
	reviewPath = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
	whoamiPath = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews"
)

// reviews answers SelfSubjectAccessReviews, allowing all but some, and remembers
// what was asked.
type reviews struct {
	denied []string

	mu    sync.Mutex
	asked []string // guarded by mu
}

func (v *reviews) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review struct {
		Kind string `json:"kind"`
		Spec struct {
			ResourceAttributes attributes `json:"resourceAttributes"`
		} `json:"spec"`
	}
	if json.NewDecoder(r.Body).Decode(&review) != nil || review.Kind != "SelfSubjectAccessReview" || r.Header.Get("Authorization") != "Bearer "+canary {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a := review.Spec.ResourceAttributes
	text := fmt.Sprintf("%s %s in %q", a.Verb, a.resource(), a.Namespace) + " " + a.Name
	v.mu.Lock()
	v.asked = append(v.asked, text)
	v.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"kind":"SelfSubjectAccessReview","status":{"allowed":%v}}`, !slices.Contains(v.denied, a.Name))
}

// questions are what was asked, sorted.
func (v *reviews) questions() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(slices.Values(v.asked))
}

func brokered(t *testing.T, v *reviews) (*fakeapi.Server, *folder) {
	s := fakeapi.New(t, fakeapi.Options{})
	s.Handle(whoamiPath, fakeapi.Token(canary, fakeapi.Text(201, `{"kind":"SelfSubjectReview","status":{"userInfo":{"username":"system:serviceaccount:kube-system:broker"}}}`)))
	s.Handle(reviewPath, v)
	return s, newFolder(t, s)
}

func TestWhatGrantsNeedIsAsked(t *testing.T) {
	v := &reviews{}
	_, f := brokered(t, v)
	found := f.examine(
		"impersonate: {user: alice, groups: [dev]}}]}", "impersonate: {user: alice, groups: [dev], uid: u1, extra: {team: [red]}}}], allowImpersonation: {users: [alice-admin], groups: [ops, dev]}}\n"+
			`- {name: ci, match: [{uid: 1002}], grants: [{cluster: prod, credential: broker, policy: p, impersonate: {user: "system:serviceaccount:team:deploy", groups: [dev]}}]}`)
	if got := first(t, found, "impersonation"); got.Verdict != OK ||
		got.Text != "cluster prod lets it impersonate all that grants name: UID u1, extra team=red, group dev, group ops, service account team/deploy, user alice, and 1 more" {
		t.Errorf("%+v", got)
	}
	if got := first(t, found, "identity"); got.Text != "cluster prod knows it as system:serviceaccount:kube-system:broker" {
		t.Errorf("%+v", got)
	}
	want := []string{
		`impersonate groups in "" dev`,
		`impersonate groups in "" ops`,
		`impersonate serviceaccounts in "team" deploy`,
		`impersonate uids.authentication.k8s.io in "" u1`,
		`impersonate userextras.authentication.k8s.io/team in "" red`,
		`impersonate users in "" alice`,
		`impersonate users in "" alice-admin`,
	}
	if d := cmp.Diff(want, v.questions()); d != "" {
		t.Error(d)
	}
}

func TestWhatTheClusterDoesNotAllowIsNamed(t *testing.T) {
	_, f := brokered(t, &reviews{denied: []string{"dev"}})
	got := first(t, f.examine(), "impersonation")
	want := Finding{"credential broker", "impersonation", Failed, "cluster prod does not let it impersonate group dev, as alice needs",
		"let it: kubectl create clusterrole NAME --verb=impersonate --resource=groups --resource-name=dev, and bind that to it"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTroubleWithACredential(t *testing.T) {
	for name, tc := range map[string]struct {
		trouble  func(s *fakeapi.Server, f *folder)
		replace  []string
		check    string
		text, do string
		verdict  Verdict
	}{
		"the API server refuses it":      {func(s *fakeapi.Server, _ *folder) { s.Handle(whoamiPath, fakeapi.Text(401, "")) }, nil, "identity", "refuses it (401)", "renew it", Failed},
		"the API server does not answer": {func(s *fakeapi.Server, _ *folder) { s.Handle(whoamiPath, fakeapi.Hangup()) }, nil, "identity", "EOF", "renew it", Failed},
		"it may not ask about itself":    {func(s *fakeapi.Server, _ *folder) { s.Handle(reviewPath, fakeapi.Text(403, "")) }, nil, "impersonation", "does not say whether it may impersonate group dev (403)", "system:basic-user", Warning},
		"its file is empty":              {func(_ *fakeapi.Server, f *folder) { write(f.t, f.path("token"), "") }, nil, "credential", "", "", Failed},
		"its plugin fails":               {nil, []string{"tokenFile: DIR/token", "exec: {command: /bin/false}"}, "credential", "cannot be had", "run the plugin by hand", Failed},
		"its plugin hangs":               {nil, []string{"tokenFile: DIR/token", "exec: {command: /bin/sleep, args: ['1000'], timeout: 1s}"}, "credential", "cannot be had", "run the plugin by hand", Failed},
		"its service account is missing": {nil, []string{"- {name: broker, tokenFile: DIR/token}", "- {name: other, tokenFile: DIR/token}\n" +
			"- {name: broker, serviceAccountToken: {credential: other, cluster: prod, namespace: team, serviceAccount: gone}}"}, "credential", "cannot be had", "credential other", Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := brokered(t, &reviews{})
			if tc.trouble != nil {
				tc.trouble(s, f)
			}
			var ofCredential []Finding
			for _, one := range f.examine(tc.replace...) {
				if one.Of == "credential broker" {
					ofCredential = append(ofCredential, one)
				}
			}
			got := first(t, ofCredential, tc.check)
			if got.Verdict != tc.verdict || !strings.Contains(got.Text, tc.text) || !strings.Contains(got.Do, tc.do) {
				t.Errorf("%+v, want %s with %q and %q", got, tc.verdict, tc.text, tc.do)
			}
		})
	}
}

// The reviews are made as the credential, and with nothing of the kubeconfig's
// user: its client certificate would win.
func TestAReviewIsNotMadeAsTheProbe(t *testing.T) {
	s, f := brokered(t, &reviews{})
	certificate, key := s.CA.ClientCertificate(t, "probe")
	write(t, f.path("probe.crt"), string(certificate))
	write(t, f.path("probe.key"), string(key))
	kubeconfig, err := os.ReadFile(f.path("kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, f.path("kubeconfig"), strings.ReplaceAll(string(kubeconfig), "token: "+canary, "client-certificate: probe.crt, client-key: probe.key"))
	broker, brokerKey := s.CA.ClientCertificate(t, "broker")
	write(t, f.path("broker.crt"), string(broker))
	write(t, f.path("broker.key"), string(brokerKey))
	s.Handle(reviewPath, fakeapi.Text(201, `{"kind":"SelfSubjectAccessReview","status":{"allowed":true}}`))
	s.Handle(whoamiPath, fakeapi.Text(201, "{}"))
	found := f.examine("tokenFile: DIR/token}", "clientCertificate: {certFile: DIR/broker.crt, keyFile: DIR/broker.key}}\n- {name: token, tokenFile: DIR/token}",
		"impersonate: {user: alice, groups: [dev]}}]}", "impersonate: {user: alice}}]}\n- {name: bob, match: [{uid: 1002}], grants: [{cluster: prod, credential: token, policy: p, impersonate: {user: bob}}]}")
	users := map[string]int{}
	for _, r := range s.Requests(reviewPath) {
		users[r.User]++
	}
	if d := cmp.Diff(map[string]int{"broker": 1, "": 1}, users); d != "" {
		t.Errorf("the reviews were made as %s; %+v", d, found)
	}
	for _, r := range s.Requests("GET /readyz") {
		if r.User != "probe" {
			t.Errorf("the probe was made as %q", r.User)
		}
	}
	if got := first(t, found, "credential"); !strings.Contains(got.Text, "a client certificate") {
		t.Errorf("%+v", got)
	}
}

func TestReviewsAreBounded(t *testing.T) {
	v := &reviews{}
	_, f := brokered(t, v)
	var users []string
	for i := range 3 * maxReviews {
		users = append(users, fmt.Sprintf("u%d", i))
	}
	found := f.examine("impersonate: {user: alice, groups: [dev]}}]}", "impersonate: {user: alice}}], allowImpersonation: {users: ["+strings.Join(users, ", ")+"]}}")
	asked := len(v.questions())
	if got := first(t, found, "impersonation"); got.Verdict != Warning || !strings.Contains(got.Text, "only 100 of 301") || asked != maxReviews {
		t.Errorf("%d reviews, %+v", asked, got)
	}
}

func TestOnlyWhatNobodyRenewsIsSaidToExpireSoon(t *testing.T) {
	path := write(t, t.TempDir()+"/token", "x")
	soon := time.Now().Add(10 * 24 * time.Hour)
	long := time.Now().Add(-300 * 24 * time.Hour)
	for name, tc := range map[string]struct {
		c       auth.CredentialConfig
		expires time.Time
		written time.Time
		want    bool
	}{
		"a token for a year":                 {auth.CredentialConfig{TokenFile: path}, soon, long, true},
		"one that is written anew each hour": {auth.CredentialConfig{TokenFile: path}, time.Now().Add(time.Hour), time.Now(), false},
		"a certificate for a year":           {auth.CredentialConfig{ClientCertificate: &auth.CertificateFiles{CertFile: path}}, soon, long, true},
		"what a plugin brings":               {auth.CredentialConfig{Exec: &auth.ExecConfig{}}, soon, long, false},
		"a file that is gone":                {auth.CredentialConfig{TokenFile: path + ".gone"}, soon, long, false},
	} {
		if err := os.Chtimes(path, tc.written, tc.written); err != nil {
			t.Fatal(err)
		}
		if got := lasting(tc.c, tc.expires); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestTheKubeconfigsCertificateExpires(t *testing.T) {
	s := fakeapi.New(t, fakeapi.Options{})
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		left, age time.Duration // of the certificate, and of the file
		inline    bool
		want      Verdict
		text      string
	}{
		"it has expired":                    {left: -time.Minute, age: 300 * day, want: Failed, text: "a client certificate, expired "},
		"though it was written just now":    {left: -time.Minute, want: Failed, text: "a client certificate, expired "},
		"in the kubeconfig itself":          {left: -time.Minute, inline: true, want: Failed, text: "a client certificate, expired "},
		"it does soon":                      {left: 10 * day, age: 300 * day, want: Warning, text: "a client certificate, expires in 9d"},
		"soon, in an old kubeconfig":        {left: 10 * day, age: 300 * day, inline: true, want: Warning, text: "a client certificate, expires in 9d"},
		"it is written anew every few days": {left: 10 * day, age: day, want: OK, text: "a client certificate, expires in 9d"},
		"it lasts":                          {left: 20 * day, age: 300 * day, want: OK, text: "a client certificate, expires in 19d"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t, s)
			certificate, key := s.CA.ClientCertificateUntil(t, time.Now().Add(tc.left), "probe")
			user := "client-certificate: probe.crt, client-key: probe.key"
			if tc.inline {
				encode := base64.StdEncoding.EncodeToString
				user = "client-certificate-data: " + encode(certificate) + ", client-key-data: " + encode(key)
			}
			kubeconfig, err := os.ReadFile(f.path("kubeconfig"))
			if err != nil {
				t.Fatal(err)
			}
			written := time.Now().Add(-tc.age)
			for name, content := range map[string]string{
				"probe.crt": string(certificate), "probe.key": string(key),
				"kubeconfig": strings.ReplaceAll(string(kubeconfig), "token: "+canary, user),
			} {
				if err := os.Chtimes(write(t, f.path(name), content), written, written); err != nil {
					t.Fatal(err)
				}
			}
			cluster := config.DefaultCluster("prod", config.KubeconfigConnection(auth.KubeconfigRef{Path: f.path("kubeconfig")}))
			if got := first(t, examine(t, cluster), "credential"); got.Verdict != tc.want || !strings.Contains(got.Text, tc.text) {
				t.Errorf("%+v, want %s with %q", got, tc.want, tc.text)
			}
		})
	}
}

func TestCredentialsThatNoGrantNamesAreNotReviewed(t *testing.T) {
	cfg := &config.Configuration{Clusters: []config.Cluster{{Name: "a"}, {Name: "b"}}, Clients: []config.Client{
		{Name: "x", Grants: []config.Grant{{Cluster: "b", Credential: "c"}}},
	}}
	if got := uses(cfg, "c"); len(got) != 1 || got[0].cluster != "b" || len(got[0].whom) != 0 {
		t.Errorf("%+v, want cluster b with nobody to impersonate", got)
	}
	if got := uses(cfg, "other"); got != nil {
		t.Errorf("%+v, want none", got)
	}
}
