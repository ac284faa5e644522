package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// tokenRequestTimeout bounds one request for a token.
	tokenRequestTimeout = 20 * time.Second
	// defaultTokenTTL and minTokenTTL are kube-apiserver's.
	defaultTokenTTL = time.Hour
	minTokenTTL     = 10 * time.Minute
)

// tokenRequest is authentication.k8s.io/v1's, as far as it is used here, see
// https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
type tokenRequest struct {
	APIVersion string              `json:"apiVersion"`
	Kind       string              `json:"kind"`
	Spec       tokenRequestSpec    `json:"spec"`
	Status     *tokenRequestStatus `json:"status,omitempty"`
}

type tokenRequestSpec struct {
	Audiences         []string `json:"audiences"`
	ExpirationSeconds int64    `json:"expirationSeconds"`
}

type tokenRequestStatus struct {
	Token               string    `json:"token"`
	ExpirationTimestamp time.Time `json:"expirationTimestamp"`
}

// serviceAccount asks for the tokens of a service account.
type serviceAccount struct {
	config ServiceAccountToken
	post   func(ctx context.Context, cluster, credential, path string, body []byte) (Answer, error)
}

// tokenRequestSource is a service account's tokens.
func tokenRequestSource(o *CredentialOptions) *source {
	a := &serviceAccount{config: *o.Config.ServiceAccountToken, post: o.Post}
	if a.config.TTL == 0 {
		a.config.TTL = defaultTokenTTL
	}
	c := &a.config
	parts := []string{"service account", c.Credential, c.Cluster, c.Namespace, c.ServiceAccount, strconv.FormatInt(int64(c.TTL), 10)}
	return &source{
		kind:     fmt.Sprintf("token of service account %s/%s in cluster %q", c.Namespace, c.ServiceAccount, c.Cluster),
		identity: identify(append(parts, c.Audiences...)...),
		fetch:    a.fetch,
		timeout:  tokenRequestTimeout,
	}
}

// fetch asks for a token. Its errors hold nothing of the answer's body.
func (a *serviceAccount) fetch(ctx context.Context) (*credential, error) {
	body, err := json.Marshal(&tokenRequest{
		APIVersion: "authentication.k8s.io/v1",
		Kind:       "TokenRequest",
		Spec:       tokenRequestSpec{Audiences: a.config.Audiences, ExpirationSeconds: int64(a.config.TTL / time.Second)},
	})
	if err != nil {
		return nil, err
	}
	path := "/api/v1/namespaces/" + url.PathEscape(a.config.Namespace) + "/serviceaccounts/" + url.PathEscape(a.config.ServiceAccount) + "/token"
	answer, err := a.post(ctx, a.config.Cluster, a.config.Credential, path, body)
	if err != nil {
		return nil, fmt.Errorf("asking with credential %q: %w", a.config.Credential, err)
	}
	if err := a.verdict(answer.Status); err != nil {
		return nil, err
	}
	c, err := tokenRequestCredential(answer.Body, time.Now())
	if err != nil {
		return nil, err
	}
	c.bound = Bound{a.config.Cluster, answer.Generation}
	return c, nil
}

// verdict says what a status code that is no success means for the operator.
func (a *serviceAccount) verdict(status int) error {
	switch c := &a.config; status {
	case http.StatusOK, http.StatusCreated:
		return nil
	case http.StatusUnauthorized:
		return fmt.Errorf("the cluster does not accept credential %q (401)", c.Credential)
	case http.StatusForbidden:
		return fmt.Errorf("credential %q may not ask for it (403): it needs the verb create on serviceaccounts/token for %q in namespace %q", c.Credential, c.ServiceAccount, c.Namespace)
	case http.StatusNotFound:
		return fmt.Errorf("there is no such service account (404): create it, and allow credential %q the verb create on serviceaccounts/token for it", c.Credential)
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return fmt.Errorf("the cluster does not accept the request (%d): check ttl and audiences", status)
	default:
		return fmt.Errorf("the cluster answered %d", status)
	}
}

// tokenRequestCredential reads the answer that came at now.
func tokenRequestCredential(answer []byte, now time.Time) (*credential, error) {
	var r tokenRequest
	switch err := json.Unmarshal(answer, &r); {
	case err != nil || r.Kind != "TokenRequest" || !strings.HasPrefix(r.APIVersion, "authentication.k8s.io/"):
		return nil, fmt.Errorf("the answer (%d bytes) is not a TokenRequest of authentication.k8s.io", len(answer))
	case r.Status == nil || r.Status.Token == "":
		return nil, errors.New("the answer has no token")
	case r.Status.ExpirationTimestamp.IsZero():
		return nil, errors.New("the answer does not say when the token expires")
	}
	c, err := bearerCredential(r.Status.Token)
	if err != nil {
		return nil, fmt.Errorf("its token: %w", err)
	}
	if expiry := r.Status.ExpirationTimestamp; !expiry.After(now) {
		return nil, expired("token", expiry)
	}
	c.validity = validFor(now, r.Status.ExpirationTimestamp)
	return c, nil
}
