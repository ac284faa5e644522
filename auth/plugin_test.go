package auth

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// The test binary is its own exec plugin: these tell it what to do.
const (
	pluginModeEnv  = "KUBERELAY_TEST_PLUGIN"
	pluginOutEnv   = "KUBERELAY_TEST_PLUGIN_OUT"   // a file to print
	pluginRunsEnv  = "KUBERELAY_TEST_PLUGIN_RUNS"  // a file that gets KUBERNETES_EXEC_INFO of each run
	pluginLockEnv  = "KUBERELAY_TEST_PLUGIN_LOCK"  // a file that a child locks while it lives
	pluginSeenEnv  = "KUBERELAY_TEST_PLUGIN_SEEN"  // a file that gets what the plugin was given
	pluginReadyEnv = "KUBERELAY_TEST_PLUGIN_READY" // a FIFO that is written when the child has it
)

// pluginUser is a user whose plugin is this test binary.
func pluginUser(mode string, env map[string]string) clientcmdapi.AuthInfo {
	c := &clientcmdapi.ExecConfig{
		Command: os.Args[0], APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		// A binary built with -race sleeps a second before it exits.
		Env: []clientcmdapi.ExecEnvVar{{Name: pluginModeEnv, Value: mode}, {Name: "GORACE", Value: "atexit_sleep_ms=0"}},
	}
	for name, value := range env {
		c.Env = append(c.Env, clientcmdapi.ExecEnvVar{Name: name, Value: value})
	}
	return clientcmdapi.AuthInfo{Exec: c}
}

// pluginMain is the plugin. Errors end it with a code that no test expects.
func pluginMain(mode string) int {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(99)
		}
	}
	if path := os.Getenv(pluginRunsEnv); path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		check(err)
		_, err = fmt.Fprintln(f, strings.TrimSpace(os.Getenv("KUBERNETES_EXEC_INFO")))
		check(err)
	}
	switch mode {
	case "look": // at what it was given
		stdin, err := io.ReadAll(os.Stdin)
		check(err)
		seen := append(os.Environ(), fmt.Sprintf("stdin=%d bytes", len(stdin)))
		check(os.WriteFile(os.Getenv(pluginSeenEnv), []byte(strings.Join(seen, "\n")), 0o600))
		fmt.Fprintln(os.Stderr, "token:", canary)
		fallthrough
	case "print":
		out, err := os.ReadFile(os.Getenv(pluginOutEnv))
		check(err)
		_, err = os.Stdout.Write(out)
		check(err)
	case "fail":
		fmt.Fprintln(os.Stderr, "token:", canary)
		fmt.Println(canary)
		return 3
	case "flood":
		line := strings.Repeat(canary, 1000)
		for {
			if _, err := fmt.Println(line); err != nil {
				return 4
			}
		}
	case "hang", "linger":
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), pluginModeEnv+"=hold")
		child.Stdout = os.Stdout // keeps our output open
		check(child.Start())
		if mode == "hang" {
			check(child.Wait())
		}
		out, err := os.ReadFile(os.Getenv(pluginOutEnv))
		check(err)
		_, err = os.Stdout.Write(out)
		check(err)
	case "hold":
		lock, err := os.Create(os.Getenv(pluginLockEnv))
		check(err)
		check(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
		ready, err := os.OpenFile(os.Getenv(pluginReadyEnv), os.O_RDWR, 0)
		check(err)
		_, err = fmt.Fprintln(ready, "ready")
		check(err)
		// For ever, or until the test writes to the FIFO of its own.
		again, err := os.OpenFile(os.Getenv(pluginReadyEnv)+".end", os.O_RDONLY, 0)
		check(err)
		_, err = bufio.NewReader(again).ReadString('\n')
		check(err)
	}
	return 0
}
