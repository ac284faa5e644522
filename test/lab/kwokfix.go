package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// With kwok 0.8.0, kubectl exec differs from a kubelet's in two ways that
// would be taken for the fault of whatever stands between: the end of standard
// input never reaches the command, so that `kubectl exec -i pod -- cat` hangs,
// and every exit code but 0 becomes an internal error. The lab builds kwok from
// a copy of its module in which both are right.
var kwokFixes = []struct{ file, old, new string }{
	{
		file: "pkg/utils/exec/exec.go",
		old:  "				_, _ = io.Copy(inPipe, opt.In)\n",
		new:  "				_, _ = io.Copy(inPipe, opt.In)\n				_ = inPipe.Close()\n",
	},
	{
		file: "pkg/kwok/server/debugging_exec.go",
		old:  "		return s.execInContainerWithTTY(ctx, cmd, in, stdout, resize)\n",
		new:  "		return withExitCode(s.execInContainerWithTTY(ctx, cmd, in, stdout, resize))\n",
	},
	{
		file: "pkg/kwok/server/debugging_exec.go",
		old:  "	return s.execInContainer(ctx, cmd, in, stdout, stderr)\n}\n",
		new: `	return withExitCode(s.execInContainer(ctx, cmd, in, stdout, stderr))
}

func withExitCode(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return k8sexec.CodeExitError{Err: err, Code: exit.ExitCode()}
	}
	return err
}
`,
	},
	{
		file: "pkg/kwok/server/debugging_exec.go",
		old:  "import (\n",
		new:  "import (\n	\"errors\"\n	\"os/exec\"\n\n	k8sexec \"k8s.io/utils/exec\"\n\n",
	},
}

// fixKwok copies kwok's module to dir and repairs it there.
func fixKwok(module, dir string) error {
	if err := os.CopyFS(dir, os.DirFS(module)); err != nil {
		return err
	}
	for _, fix := range kwokFixes {
		path := filepath.Join(dir, filepath.FromSlash(fix.file))
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if n := strings.Count(string(b), fix.old); n != 1 {
			return fmt.Errorf("repair %s of kwok: found the place %d times, want once: does kwokfix.go fit this version?", fix.file, n)
		}
		// Files of the module cache are read-only, and so are their copies.
		if err := os.Remove(path); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(b), fix.old, fix.new, 1)), 0o600); err != nil {
			return err
		}
	}
	return nil
}
