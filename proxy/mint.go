package proxy

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/limit"
)

// CredentialPath is where a POST gets a [MintedToken]: kuberelay credential does.
// No Kubernetes API begins with its first segment.
const CredentialPath = "/kuberelay/v1/credential"

// MintedToken is the answer of [CredentialPath], as JSON, to a client whose
// process's uid is its evidence.
type MintedToken struct {
	// Token is the bearer token.
	Token string `json:"token"`
	// ExpirationTimestamp is when it ends, in UTC.
	ExpirationTimestamp time.Time `json:"expirationTimestamp"`
	// Client is the name of the client that it stands for.
	Client string `json:"client"`
}

// byUID is the one kind of evidence for which a token is made: a token must
// not be good for another one.
var byUID = identify.NewAccepted([]identify.Method{identify.UID})

// mint gives a client that is known by its process's uid a token for ten
// minutes, which a TLS listener accepts from processes of the same uid.
func (v *visit) mint() {
	shared := v.h.o.Shared
	switch {
	case shared.Mint == nil || v.peer == nil || !v.peer.Unix:
		v.deny(deniedBadPath, answer{
			code: http.StatusNotFound, reason: metav1.StatusReasonNotFound, cause: "Path",
			message: "tokens are made on Unix sockets that identify by uid",
		})
		return
	case v.r.Method != http.MethodPost:
		v.w.Header().Set("Allow", http.MethodPost)
		v.deny(deniedMethod, answer{
			code: http.StatusMethodNotAllowed, reason: metav1.StatusReasonMethodNotAllowed, cause: "Method",
			message: "a token is made by POST",
		})
		return
	}
	if !v.accepted().Has(identify.UID) {
		v.deny(deniedUnauthenticated, answerUnauthenticated(errNoUID))
		return
	}
	client, ok := v.identify(byUID)
	if !ok {
		return
	}
	if err := client.Limiter.Admit(limit.Short); err != nil {
		v.deny(deniedLimit, answerLimit(err))
		return
	}
	defer client.Limiter.Done(limit.Short)
	uid, known := v.identity.UID()
	if !known { // a token is for the user that was the evidence
		v.deny(deniedUnauthenticated, answerUnauthenticated(errNoUID))
		return
	}
	token, expires := shared.Mint(client.Name, uid)
	body, err := json.Marshal(MintedToken{Token: token, ExpirationTimestamp: expires.UTC(), Client: client.Name})
	if err != nil { // strings and a time always marshal
		v.deny(deniedBadPath, answerBadRequest("the token cannot be encoded"))
		return
	}
	if !v.audit(answer{code: http.StatusOK}) {
		return
	}
	h := v.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set(auditIDHeader, v.auditID)
	v.w.WriteHeader(http.StatusOK)
	_, _ = v.w.Write(body) // the client may be gone
}

var errNoUID = errors.New("the user ID of the connecting process is not known")
