package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

func devAccount() *ServiceAccountToken {
	return &ServiceAccountToken{Credential: "broker", Cluster: "prod", Namespace: "team", ServiceAccount: "dev"}
}

// tokenAnswer is an API server's answer to a TokenRequest.
func tokenAnswer(token string, expiry time.Time) []byte {
	return fmt.Appendf(nil, `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","metadata":{"name":"dev","creationTimestamp":null},`+
		`"spec":{"audiences":["api"],"expirationSeconds":3600,"boundObjectRef":null},"status":{"token":%q,"expirationTimestamp":%q}}`,
		token, expiry.UTC().Format(time.RFC3339))
}

func TestTokenRequestIsMadeAsTheAPIServerExpects(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*ServiceAccountToken)
		spec   string
	}{
		"with defaults":               {func(*ServiceAccountToken) {}, `{"audiences":null,"expirationSeconds":3600}`},
		"with a time and an audience": {func(a *ServiceAccountToken) { a.TTL, a.Audiences = 15*time.Minute, []string{"vault"} }, `{"audiences":["vault"],"expirationSeconds":900}`},
	} {
		t.Run(name, func(t *testing.T) {
			f := newCredentialFixture(t)
			var asked []string
			f.post = func(ctx context.Context, cluster, credential, path string, body []byte) ([]byte, int, error) {
				if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > tokenRequestTimeout {
					t.Errorf("the request is bound to %s", deadline)
				}
				asked = append(asked, cluster, credential, path, string(body))
				return tokenAnswer("tok", time.Now().Add(time.Hour)), http.StatusCreated, nil
			}
			account := devAccount()
			c.change(account)
			f.open(CredentialConfig{ServiceAccountToken: account})
			if len(asked) > 0 {
				t.Error("a token was asked for before it was needed")
			}
			if got := f.token(); got != "Bearer tok" {
				t.Errorf("token = %q", got)
			}
			f.token()
			want := []string{
				"prod", "broker", "/api/v1/namespaces/team/serviceaccounts/dev/token",
				`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":` + c.spec + `}`,
			}
			if diff := cmp.Diff(want, asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTokenIsRenewedByTheExpiryThatTheServerNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newCredentialFixture(t)
		n := 0
		f.post = func(context.Context, string, string, string, []byte) ([]byte, int, error) {
			n++
			// An hour was asked for.
			return tokenAnswer(fmt.Sprint("t", n), time.Now().Add(20*time.Minute)), http.StatusCreated, nil
		}
		f.open(CredentialConfig{ServiceAccountToken: devAccount()})
		defer f.Credential.Close()
		first := f.must()
		if got := time.Until(first.Expiry()); got != 20*time.Minute {
			t.Errorf("the lease holds %s, want the server's 20m", got)
		}
		advance(14 * time.Minute) // 70 %
		f.token()
		synctest.Wait()
		if n != 1 {
			t.Fatalf("%d requests at 70 %% of the lifetime, want 1", n)
		}
		advance(3*time.Minute + time.Second) // 85 %
		if f.must() != first {
			t.Error("the renewal made its first caller wait")
		}
		synctest.Wait()
		if got := f.token(); got != "Bearer t2" || n != 2 {
			t.Errorf("after the renewal: %q, %d requests", got, n)
		}
		second := f.must()
		third, err := f.Refused(t.Context(), second) // the service account was made anew, say
		if err != nil || third.Authorization().Reveal() != "Bearer t3" {
			t.Errorf("Refused = %v, %v", third, err)
		}
	})
}

func TestTokenRequestThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newCredentialFixture(t)
		f.post = func(ctx context.Context, _, _, _ string, _ []byte) ([]byte, int, error) {
			<-ctx.Done()
			return nil, 0, context.Cause(ctx)
		}
		f.open(CredentialConfig{ServiceAccountToken: devAccount()})
		defer f.Credential.Close()
		asked := time.Now()
		_, err := f.Credential.Lease(t.Context())
		if err == nil || !strings.Contains(err.Error(), "no answer within 20s") || time.Since(asked) != tokenRequestTimeout {
			t.Errorf("after %s: %v", time.Since(asked), err)
		}
	})
}

func TestTokenRequestFailuresSayWhatToDo(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	for want, c := range map[string]struct {
		answer string
		status int
		err    error
	}{
		`credential "broker" may not ask for it (403): it needs the verb create on serviceaccounts/token for "dev" in namespace "team"`: {canary, 403, nil},
		`there is no such service account (404): create it, and allow credential "broker" the verb create on serviceaccounts/token`:     {canary, 404, nil},
		`the cluster does not accept credential "broker" (401)`:                                                                         {canary, 401, nil},
		"the cluster does not accept the request (422): check ttl":                                                                      {canary, 422, nil},
		"the cluster answered 503":                                     {canary, 503, nil},
		"the cluster answered 302":                                     {string(tokenAnswer(canary, soon)), 302, nil},
		`asking with credential "broker": no upstream is usable`:       {"", 0, errors.New("no upstream is usable")},
		"is not a TokenRequest of authentication.k8s.io":               {canary, 201, nil},
		"(2 bytes) is not a TokenRequest":                              {"{}", 201, nil},
		"the answer has no token":                                      {string(tokenAnswer("", soon)), 201, nil},
		"the answer does not say when":                                 {strings.ReplaceAll(string(tokenAnswer(canary, soon)), "expirationTimestamp", "x"), 201, nil},
		"it returned a token that expired at 2001-02-03T04:05:06Z":     {string(tokenAnswer(canary, time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC))), 201, nil},
		"its token: it holds a space or a control character":           {string(tokenAnswer(canary+" x", soon)), 201, nil},
		`token of service account team/dev in cluster "prod": asking `: {"", 0, errors.New("x")},
	} {
		t.Run(want, func(t *testing.T) {
			f := newCredentialFixture(t)
			f.post = func(context.Context, string, string, string, []byte) ([]byte, int, error) {
				return []byte(c.answer), c.status, c.err
			}
			f.open(CredentialConfig{Name: "dev-sa", ServiceAccountToken: devAccount()})
			_, err := f.Credential.Lease(t.Context())
			if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), `credential "dev-sa": `) {
				t.Fatalf("error = %v, want %q in it", err, want)
			}
			if strings.Contains(err.Error(), canary) || !errors.Is(err, c.err) && c.err != nil {
				t.Errorf("the error quotes the answer, or hides its cause: %v", err)
			}
		})
	}
}

func FuzzTokenRequestAnswer(f *testing.F) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Add(tokenAnswer("tok", now.Add(time.Hour)))
	f.Add([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure"}`))
	f.Add([]byte(`{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","status":null}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		c, err := tokenRequestCredential(answer, now)
		if err != nil {
			return
		}
		var parsed struct{ Status struct{ Token string } }
		if err := json.Unmarshal(answer, &parsed); err != nil {
			t.Fatalf("accepted what is no JSON: %v", err)
		}
		header := c.authorization.Reveal()
		if header != "Bearer "+strings.TrimSpace(parsed.Status.Token) || strings.ContainsAny(header[len("Bearer "):], " \r\n\x00") {
			t.Errorf("header of %d bytes is not the token", len(header))
		}
		if v := c.validity; v.until.IsZero() || !v.expiry.After(now) || v.until.After(v.expiry) || v.renewAt.After(v.until) {
			t.Errorf("validity = %+v", v)
		}
	})
}
