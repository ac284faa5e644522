package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthentication "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	clientauthenticationbeta "k8s.io/client-go/pkg/apis/clientauthentication/v1beta1"

	"github.com/kuberelay/kuberelay/proxy"
)

const (
	// askURL is answered by a listener that goes by the peer's uid.
	askURL = "http://kuberelay" + proxy.CredentialPath

	// credentialTimeout is for a process of this machine; kubectl waits.
	credentialTimeout = 10 * time.Second

	// maxCredential bounds the answer.
	maxCredential = 64 << 10

	// execInfo is the variable through which client-go says what it wants.
	execInfo = "KUBERNETES_EXEC_INFO"
)

func newCredential(s streams) *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:   "credential --socket=PATH",
		Short: "Get a token for kubectl, as its exec plugin",
		Long: `Gets a token that holds for some minutes, and prints it as client-go's exec
plugins do. kuberelay on the Unix socket knows by the user ID of this process
which client it is; nothing else proves it, and nothing is stored.

kuberelay kubeconfig writes kubeconfigs that call it.`,
		Example:               "# What kubectl gets\nCOMMAND --socket=/run/kuberelay/api.sock",
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args:                  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if socket == "" {
				return &usageError{cmd, errors.New("--socket is missing")}
			}
			version, err := wantedVersion(os.Getenv(execInfo))
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), credentialTimeout)
			defer cancel()
			c, err := fetchCredential(ctx, socket)
			if err != nil {
				return err
			}
			return json.NewEncoder(s.out).Encode(c.as(version))
		},
	}
	cmd.Flags().StringVar(&socket, "socket", "", "Path of the Unix socket of a listener that identifies by uid.")
	return cmd
}

// wantedVersion is the protocol's version that client-go asks for: the
// apiVersion of the ExecCredential in the environment.
func wantedVersion(info string) (string, error) {
	if info == "" {
		return clientauthentication.SchemeGroupVersion.String(), nil
	}
	var asked metav1.TypeMeta
	if err := json.Unmarshal([]byte(info), &asked); err != nil {
		return "", fmt.Errorf("%s is no ExecCredential: %w", execInfo, err)
	}
	v1, beta := clientauthentication.SchemeGroupVersion.String(), clientauthenticationbeta.SchemeGroupVersion.String()
	if asked.APIVersion != v1 && asked.APIVersion != beta {
		return "", fmt.Errorf("%s asks for apiVersion %q: want %s or %s in the kubeconfig's exec section", execInfo, asked.APIVersion, v1, beta)
	}
	return asked.APIVersion, nil
}

// credential is what the socket answers. It has no String: nothing but as may
// print it.
type credential struct {
	token   string
	expires time.Time
}

// expiryLeeway is how long before its end a token is not used any more:
// client-go sends one to the last moment, and it must still hold on arrival.
const expiryLeeway = 30 * time.Second

// as is the answer to client-go, in a version of the protocol.
func (c credential) as(version string) any {
	at := metav1.NewTime(c.expires.Add(-expiryLeeway))
	if version == clientauthenticationbeta.SchemeGroupVersion.String() {
		return &clientauthenticationbeta.ExecCredential{
			TypeMeta: metav1.TypeMeta{APIVersion: version, Kind: "ExecCredential"},
			Status:   &clientauthenticationbeta.ExecCredentialStatus{Token: c.token, ExpirationTimestamp: &at},
		}
	}
	return &clientauthentication.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: version, Kind: "ExecCredential"},
		Status:   &clientauthentication.ExecCredentialStatus{Token: c.token, ExpirationTimestamp: &at},
	}
}

// fetchCredential asks the process behind the socket.
func fetchCredential(ctx context.Context, socket string) (credential, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, askURL, nil)
	if err != nil {
		return credential{}, err
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return credential{}, unreachable(socket, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxCredential+1))
	switch {
	case err != nil:
		return credential{}, unreachable(socket, err)
	case len(body) > maxCredential:
		return credential{}, fmt.Errorf("%s does not answer as kuberelay does: more than %d bytes", socket, maxCredential)
	case response.StatusCode != http.StatusOK:
		return credential{}, notGiven(socket, response.StatusCode, body)
	}
	return parseCredential(socket, body)
}

// parseCredential reads an answer. Its errors have nothing of it.
func parseCredential(socket string, body []byte) (credential, error) {
	var answer proxy.MintedToken
	err := json.Unmarshal(body, &answer)
	if err != nil || answer.Token == "" || answer.ExpirationTimestamp.IsZero() ||
		strings.ContainsFunc(answer.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return credential{}, fmt.Errorf("%s does not answer as kuberelay does: no token with an expiry; is another program listening there?", socket)
	}
	return credential{answer.Token, answer.ExpirationTimestamp}, nil
}

// unreachable says why the socket gave no answer, and what to do.
func unreachable(socket string, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody answers on %s: is kuberelay running? (%w)", socket, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("you may not connect to %s: its listener's socketMode decides, ask the operator (%w)", socket, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: no answer within %v", socket, credentialTimeout)
	}
	return fmt.Errorf("%s: %w", socket, err)
}

// notGiven words an answer that is no token.
func notGiven(socket string, code int, body []byte) error {
	var s metav1.Status
	reason := ""
	if err := json.Unmarshal(body, &s); err == nil && s.Kind == "Status" && s.Message != "" {
		reason = ": " + printable(s.Message)
	}
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("user ID %d is not a client of kuberelay on %s, or is refused: ask the operator (HTTP status %d%s)", os.Getuid(), socket, code, reason)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return fmt.Errorf("%s gives no tokens: want the socket of a shared listener that identifies by uid (HTTP status %d%s)", socket, code, reason)
	}
	return fmt.Errorf("%s: HTTP status %d%s", socket, code, reason)
}
