package auth

import "time"

// CredentialConfig is one credential: a name and where it comes from. Exactly
// one of the other fields is set.
type CredentialConfig struct {
	// Name is what grants refer to.
	Name string `yaml:"name"`

	// TokenFile holds a bearer token. It is read again when it changes; when
	// it vanishes the last token is used for 60 s at most.
	TokenFile string `yaml:"tokenFile"`

	// ClientCertificate is a TLS client certificate.
	ClientCertificate *CertificateFiles `yaml:"clientCertificate"`

	// Exec is a client-go credential plugin of client.authentication.k8s.io/v1.
	Exec *ExecConfig `yaml:"exec"`

	// Kubeconfig is the user of a kubeconfig's context; the cluster that the
	// context names is not used. A user with an auth-provider is refused.
	Kubeconfig *KubeconfigRef `yaml:"kubeconfig"`

	// ServiceAccountToken is a token of a service account, asked for with
	// another credential through the TokenRequest API (KEP-1205).
	ServiceAccountToken *ServiceAccountToken `yaml:"serviceAccountToken"`
}

// CertificateFiles are a certificate and its key in PEM. Both are read again
// when they change.
type CertificateFiles struct {
	// CertFile is the certificate chain, the client's own first.
	CertFile string `yaml:"certFile"`
	// KeyFile is the certificate's key. Nobody but its owner may read it.
	KeyFile string `yaml:"keyFile"`
}

// ExecConfig runs a credential plugin, without a terminal.
type ExecConfig struct {
	// Command is the program: a path, or a name that is looked up in PATH.
	Command string `yaml:"command"`
	// Args are its arguments.
	Args []string `yaml:"args"`
	// Env is added to the daemon's own environment, without what systemd put
	// there for the daemon alone (LISTEN_…, NOTIFY_SOCKET, WATCHDOG_…,
	// CREDENTIALS_DIRECTORY).
	Env map[string]string `yaml:"env"`
	// Timeout bounds one run, after which the plugin and all that it started
	// are killed. Default 20s.
	Timeout time.Duration `yaml:"timeout"`
}

// KubeconfigRef is a context of a kubeconfig file.
type KubeconfigRef struct {
	// Path is the kubeconfig file.
	Path string `yaml:"path"`
	// Context is the context's name. Default: the file's current-context.
	Context string `yaml:"context"`
}

// ServiceAccountToken is a service account of a cluster, and the credential
// that may create tokens for it (verb create on serviceaccounts/token).
type ServiceAccountToken struct {
	// Credential is the name of the credential that asks.
	Credential string `yaml:"credential"`
	// Cluster is the name of the cluster that is asked.
	Cluster string `yaml:"cluster"`
	// Namespace is the service account's namespace.
	Namespace string `yaml:"namespace"`
	// ServiceAccount is the service account's name.
	ServiceAccount string `yaml:"serviceAccount"`
	// TTL is the lifetime to ask for, at least 10m, the API server's minimum;
	// it may grant another. Default 1h.
	TTL time.Duration `yaml:"ttl"`
	// Audiences are the token's audiences. Default: the API server's own.
	Audiences []string `yaml:"audiences"`
}

// Impersonation is the user as whom the cluster is asked to handle a request.
// The cluster's RBAC must allow the credential to impersonate that user.
type Impersonation struct {
	// User is the user name. The other fields need it.
	User string `yaml:"user"`
	// UID is the user's unique ID.
	UID string `yaml:"uid"`
	// Groups are the user's groups.
	Groups []string `yaml:"groups"`
	// Extra are further attributes of the user.
	Extra map[string][]string `yaml:"extra"`
}

// AllowedImpersonation is what a client itself may ask for with --as and
// --as-group. Default: nothing but itself with fewer of its own groups.
type AllowedImpersonation struct {
	// Users are those that the client may ask to be. As one of them it has the
	// groups that it asks for, and no others.
	Users []string `yaml:"users"`
	// Groups are those that it may ask for as one of Users.
	Groups []string `yaml:"groups"`
}
