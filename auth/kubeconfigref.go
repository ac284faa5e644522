package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// elsewhere is the server of a credential, which has none: requests go to the
// cluster that a grant names.
const elsewhere = "https://cluster.invalid"

// errProxyURL stands for clientcmd's error, which quotes the URL and with it
// the password.
var errProxyURL = errors.New("the cluster's proxy-url is not valid: want an http, https or socks5 URL")

// Load reads the file anew and returns what client-go makes of the context.
// Nothing but the file counts: no environment, no service account of the pod
// that the process runs in, no default server. The error names the file and
// what is missing, and quotes nothing of the file but names.
func (c *KubeconfigRef) Load() (*rest.Config, error) {
	k, err := c.open()
	if err != nil {
		return nil, err
	}
	config, err := k.restConfig()
	if err != nil {
		return nil, err
	}
	if config.Host == "" {
		return nil, fmt.Errorf("%s: its cluster has no server", k)
	}
	return config, nil
}

// userConfig is Load for the user alone: another cluster stands in for the
// context's, unless the user's plugin is to be told of that.
func (c *KubeconfigRef) userConfig() (*rest.Config, error) {
	k, err := c.open()
	if err != nil {
		return nil, err
	}
	user := k.file.AuthInfos[k.context.AuthInfo]
	if user == nil {
		return nil, fmt.Errorf("%s: it names no user", k)
	}
	if user.Exec == nil || !user.Exec.ProvideClusterInfo {
		k.context.Cluster = "elsewhere"
		k.file.Clusters[k.context.Cluster] = &clientcmdapi.Cluster{Server: elsewhere}
	}
	return k.restConfig()
}

// kubeconfigContext is a context of a kubeconfig that was read.
type kubeconfigContext struct {
	path, name string
	rules      *clientcmd.ClientConfigLoadingRules
	file       *clientcmdapi.Config
	context    *clientcmdapi.Context
}

func (k *kubeconfigContext) String() string {
	return fmt.Sprintf("kubeconfig %s, context %q", k.path, k.name)
}

// open reads the file and finds the context, and its user if it names one:
// without that, client-go would be anonymous.
func (c *KubeconfigRef) open() (*kubeconfigContext, error) {
	if err := c.readable(); err != nil {
		return nil, err
	}
	// LoadingRules resolve the paths in a kubeconfig against its directory.
	k := &kubeconfigContext{path: c.Path, name: c.Context, rules: &clientcmd.ClientConfigLoadingRules{ExplicitPath: c.Path}}
	var err error
	k.file, err = k.rules.Load()
	if err != nil { // which may quote what is in the file
		return nil, fmt.Errorf("%s is not a valid kubeconfig: check it with kubectl config view --kubeconfig=%[1]s", c.Path)
	}
	if k.name == "" {
		k.name = k.file.CurrentContext
	}
	if k.name == "" {
		return nil, fmt.Errorf("kubeconfig %s has no current-context: name the context to use", c.Path)
	}
	if k.context = k.file.Contexts[k.name]; k.context == nil {
		return nil, fmt.Errorf("kubeconfig %s has no context %q", c.Path, k.name)
	}
	if user := k.context.AuthInfo; user != "" && k.file.AuthInfos[user] == nil {
		return nil, fmt.Errorf("%s: there is no user %q", k, user)
	}
	return k, nil
}

// readable returns why the file cannot be read, if it cannot. client-go's own
// error does not wrap that, and looks like one about the content.
func (c *KubeconfigRef) readable() error {
	_, err := os.ReadFile(c.Path)
	file, ok := errors.AsType[*fs.PathError](err)
	switch {
	case !ok:
		return err
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("kubeconfig %s: %w: user ID %d must be able to read it", c.Path, file.Err, os.Geteuid())
	}
	return fmt.Errorf("kubeconfig %s: %w", c.Path, file.Err)
}

// restConfig returns what client-go makes of the context.
func (k *kubeconfigContext) restConfig() (*rest.Config, error) {
	config, err := clientcmd.NewNonInteractiveClientConfig(*k.file, k.name, &clientcmd.ConfigOverrides{}, k.rules).ClientConfig()
	if err == nil {
		return config, nil
	}
	if strings.Contains(err.Error(), "proxy-url") {
		err = errProxyURL
	}
	if file := pathError(err); file != nil {
		err = file
	}
	return nil, fmt.Errorf("%s: %w", k, err)
}

// pathError returns the file that err is about, nil if it is about none.
// client-go's aggregates do not unwrap.
func pathError(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return file
	}
	if several, ok := errors.AsType[utilerrors.Aggregate](err); ok {
		for _, one := range several.Errors() {
			if file, ok := errors.AsType[*fs.PathError](one); ok {
				return file
			}
		}
	}
	return nil
}
