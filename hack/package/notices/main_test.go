package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryModuleComesWithItsLicence(t *testing.T) {
	var b strings.Builder
	if err := run(t.Context(), &b, "../../.."); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"github.com/hashicorp/memberlist v", "Mozilla Public License, version 2.0", "k8s.io/client-go v", "Go's standard library go"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in the notices", want)
		}
	}
}

func TestAModuleWithoutALicenceIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(&strings.Builder{}, module{Path: "example.org/m", Version: "v1", Dir: dir}); err == nil {
		t.Error("want an error")
	}
}
