package auth

import (
	"fmt"
	"os/exec"
	"path/filepath"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// permitted applies the credential plugin policy of a kuberc file (KEP-3104):
// a plugin is allowed by the path it resolves to, or by the same entry as in
// the kubeconfig. The policy itself was validated when it was loaded.
func permitted(cmd *exec.Cmd, policy clientcmdapi.PluginPolicy) error {
	switch policy.PolicyType {
	case "", clientcmdapi.PluginPolicyAllowAll:
		return nil
	case clientcmdapi.PluginPolicyDenyAll:
		return fmt.Errorf("it is not allowed: credentialPluginPolicy is %q", policy.PolicyType)
	}
	resolved := cmd.Path
	if cmd.Err == nil {
		if found, err := exec.LookPath(cmd.Path); err == nil {
			resolved = found
		}
	}
	for _, entry := range policy.Allowlist {
		if entry.Command == cmd.Args[0] || entry.Command == resolved {
			cmd.Path = resolved
			return nil
		}
		if filepath.Base(entry.Command) != filepath.Base(resolved) {
			continue
		}
		if found, err := exec.LookPath(entry.Command); err == nil && found == resolved {
			cmd.Path = resolved
			return nil
		}
	}
	return fmt.Errorf("it is not allowed: %q is not in the credentialPluginAllowlist", resolved)
}
