package auth

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the exec plugin of its own tests.
func TestMain(m *testing.M) {
	if mode := os.Getenv(pluginModeEnv); mode != "" {
		os.Exit(pluginMain(mode))
	}
	goleak.VerifyTestMain(m)
}
