package auth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/pkg/apis/clientauthentication"
	"k8s.io/client-go/pkg/apis/clientauthentication/install"
	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	clientauthenticationv1beta1 "k8s.io/client-go/pkg/apis/clientauthentication/v1beta1"
	"k8s.io/client-go/rest"
)

// execCodecs encode and decode client.authentication.k8s.io ExecCredentials.
var execCodecs = func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	return serializer.NewCodecFactory(scheme)
}()

// execGroup returns the API version a kubeconfig asks its plugin to speak.
func execGroup(apiVersion string) (schema.GroupVersion, error) {
	for _, gv := range []schema.GroupVersion{clientauthenticationv1.SchemeGroupVersion, clientauthenticationv1beta1.SchemeGroupVersion} {
		if apiVersion == gv.String() {
			return gv, nil
		}
	}
	return schema.GroupVersion{}, fmt.Errorf("exec plugin: invalid apiVersion %q", apiVersion)
}

// execInfo returns KUBERNETES_EXEC_INFO for an interactive and another run.
func execInfo(c *rest.Config, group schema.GroupVersion) (map[bool]string, error) {
	var cluster *clientauthentication.Cluster
	if c.ExecProvider.ProvideClusterInfo {
		var err error
		if cluster, err = rest.ConfigToExecCluster(c); err != nil {
			return nil, err
		}
	}
	info := make(map[bool]string, 2)
	for _, interactive := range []bool{false, true} {
		data, err := runtime.Encode(execCodecs.LegacyCodec(group), &clientauthentication.ExecCredential{
			Spec: clientauthentication.ExecCredentialSpec{Interactive: interactive, Cluster: cluster},
		})
		if err != nil {
			return nil, fmt.Errorf("encoding KUBERNETES_EXEC_INFO: %w", err)
		}
		info[interactive] = string(data)
	}
	return info, nil
}

// decodeExecCredential reads a plugin's output. Its errors do not quote the
// output, which is made of secrets.
func decodeExecCredential(stdout []byte, group schema.GroupVersion) (*clientauthentication.ExecCredentialStatus, error) {
	answer := &clientauthentication.ExecCredential{}
	_, kind, err := execCodecs.UniversalDecoder(group).Decode(stdout, nil, answer)
	if err != nil || kind.Version == runtime.APIVersionInternal { // it names no version
		return nil, fmt.Errorf("its output (%d bytes) is not an ExecCredential of %s", len(stdout), group)
	}
	if kind.GroupVersion() != group {
		return nil, fmt.Errorf("it is configured to use API version %s, and returned version %s", group, kind.GroupVersion())
	}
	if answer.Status == nil {
		return nil, errors.New("it didn't return a status field")
	}
	return answer.Status, nil
}

// execCredential checks what a plugin returned at now.
func execCredential(s *clientauthentication.ExecCredentialStatus, now time.Time) (*credential, error) {
	hasCertificate := s.ClientCertificateData != ""
	switch {
	case hasCertificate != (s.ClientKeyData != ""):
		return nil, errors.New("it returned only certificate or key, not both")
	case s.Token == "" && !hasCertificate:
		return nil, errors.New("it didn't return a token or cert/key pair")
	}
	c := &credential{}
	if s.Token != "" {
		bearer, err := bearerCredential(s.Token)
		if err != nil {
			return nil, fmt.Errorf("its token: %w", err)
		}
		c = bearer
	}
	hint := c.validity.expiry // of the token itself
	if hasCertificate {
		pair, err := keyPair([]byte(s.ClientCertificateData), []byte(s.ClientKeyData))
		if err != nil {
			return nil, err
		}
		c.certificate = pair
		expiry := certificateExpiry(pair)
		if !expiry.After(now) {
			return nil, expired("certificate", expiry)
		}
		hint = earliest(hint, expiry)
	}
	c.validity = validity{}
	switch {
	case s.ExpirationTimestamp != nil:
		expiry := s.ExpirationTimestamp.Time
		if !expiry.After(now) {
			return nil, expired("credential", expiry)
		}
		c.validity = validFor(now, expiry)
	case hint.After(now):
		// The plugin names no expiry, the credential does: renew it in time, but
		// do not withhold it, as that clock need not be ours.
		c.validity = validFor(now, hint)
		c.validity.until = time.Time{}
	}
	return c, nil
}

func expired(what string, at time.Time) error {
	return fmt.Errorf("it returned a %s that expired at %s: check this machine's clock", what, at.UTC().Format(time.RFC3339))
}

// certificateExpiry returns the leaf's NotAfter, zero for no certificate.
func certificateExpiry(c *tls.Certificate) time.Time {
	if c == nil || c.Leaf == nil {
		return time.Time{}
	}
	return c.Leaf.NotAfter
}

// earliest returns the earlier of two times of which zero means unknown.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
