package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kuberelay/kuberelay/config"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

func newCompletion(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print shell completion code for bash, zsh, fish or powershell",
		Long: `Prints code that makes a shell complete kuberelay's commands and flags, and the
contexts, clusters and users of the kubeconfig.`,
		Example: `# bash, which needs the package bash-completion: now, and in every new shell
source <(COMMAND bash)
echo 'source <(COMMAND bash)' >> ~/.bashrc

# zsh: in every new shell
COMMAND zsh > "${fpath[1]}/_kuberelay"

# fish: in every new shell
COMMAND fish > ~/.config/fish/completions/kuberelay.fish

# PowerShell: now
COMMAND powershell | Out-String | Invoke-Expression`,
		ValidArgs:             shells,
		Args:                  oneShell,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(s.out, true)
			case "zsh":
				return root.GenZshCompletion(s.out)
			case "fish":
				return root.GenFishCompletion(s.out, true)
			default:
				return root.GenPowerShellCompletionWithDesc(s.out)
			}
		},
	}
}

func oneShell(cmd *cobra.Command, args []string) error {
	if len(args) == 1 && slices.Contains(shells, args[0]) {
		return nil
	}
	return &usageError{cmd, fmt.Errorf("want one shell: %s", strings.Join(shells, ", "))}
}

// completeProxyFlags makes the values of flags complete that have a known set
// of them.
func completeProxyFlags(cmd *cobra.Command, c *connection) {
	complete(cmd, "policy", config.Policies()...)
	complete(cmd, "log-level", config.Levels()...)
	complete(cmd, "log-format", config.Formats()...)
	completeKubeconfigNames(cmd, c)
	for _, name := range []string{"address", "port", "api-prefix", "www-prefix", "accept-hosts", "accept-paths",
		"reject-paths", "reject-methods", "keepalive", "grace-period", "servers", "admin-address", "v"} {
		complete(cmd, name)
	}
	_ = cmd.MarkFlagDirname("www")
}

// complete offers values for a flag, and no file names. The only error that
// registering knows is a misspelt name, which a test finds.
func complete(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// completeKubeconfigNames makes those flags complete that name something in the
// kubeconfig.
func completeKubeconfigNames(cmd *cobra.Command, c *connection) {
	completeFromKubeconfig(cmd, c, "context", func(k *api.Config) []string { return keys(k.Contexts) })
	completeFromKubeconfig(cmd, c, "cluster", func(k *api.Config) []string { return keys(k.Clusters) })
	completeFromKubeconfig(cmd, c, "user", func(k *api.Config) []string { return keys(k.AuthInfos) })
}

func completeFromKubeconfig(cmd *cobra.Command, c *connection, flag string, names func(*api.Config) []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		loaded, err := c.rules().Load()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names(loaded), cobra.ShellCompDirectiveNoFileComp
	})
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
