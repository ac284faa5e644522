package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	identityPath    = "/api/v1/namespaces/kube-system"
	identityTimeout = 5 * time.Second
	maxIdentityBody = 1 << 20
	// Only the metadata is needed (Kubernetes API concepts, "Receiving
	// resources as PartialObjectMetadata").
	identityAccept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
)

// ErrIdentityUnknown is wrapped by every error of [HTTPProber.ClusterIdentity].
// An unknown identity is no sign of another cluster.
var ErrIdentityUnknown = errors.New("cluster identity unknown")

// ClusterIdentity returns the UID of the target's kube-system namespace, the
// usual identity of a cluster. It takes at most 5s. Every error wraps
// [ErrIdentityUnknown]: the credential may not read it, or the server does not
// answer.
func (p *HTTPProber) ClusterIdentity(ctx context.Context, t Target) (uid string, err error) {
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	a := p.get(ctx, t, identityPath, identityAccept, maxIdentityBody, false)
	if a.err != nil {
		_, reason := classify(a.err)
		return "", fmt.Errorf("%w: %s: %s", ErrIdentityUnknown, address(t.URL), reason)
	}
	if a.code != http.StatusOK {
		return "", fmt.Errorf("%w: %s answers HTTP %d to %s", ErrIdentityUnknown, address(t.URL), a.code, identityPath)
	}
	uid, ok := namespaceUID(a.body)
	if !ok {
		return "", fmt.Errorf("%w: %s does not answer %s with a namespace", ErrIdentityUnknown, address(t.URL), identityPath)
	}
	return uid, nil
}

// namespaceUID reads metadata.uid of the kube-system namespace.
func namespaceUID(body []byte) (string, bool) {
	var object struct {
		Metadata struct {
			Name string `json:"name"`
			UID  string `json:"uid"`
		} `json:"metadata"`
	}
	if json.Unmarshal(body, &object) != nil || object.Metadata.Name != "kube-system" {
		return "", false
	}
	uid := object.Metadata.UID
	if len(uid) > maxCheckName || !checkName([]byte(uid)) {
		return "", false
	}
	return uid, true
}
