package gossip

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyFiles(t *testing.T) {
	raw := "\x00\n " + strings.Repeat("k", 28) + "\n"
	encoded := base64.StdEncoding.EncodeToString([]byte(raw))
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		want    string // what the error says; "": none
	}{
		"base64 in a line":             {encoded + "\n", 0o600, ""},
		"base64 without a line's end":  {encoded, 0o400, ""},
		"base64 of Windows":            {" " + encoded + "\r\n", 0o600, ""},
		"32 bytes as they are":         {raw, 0o600, ""},
		"nothing":                      {"", 0o600, "holds no key"},
		"a passphrase":                 {"correct horse battery staple", 0o600, "holds no key"},
		"16 bytes":                     {base64.StdEncoding.EncodeToString([]byte(raw[:16])), 0o600, "holds no key"},
		"33 bytes":                     {raw + "x", 0o600, "holds no key"},
		"two keys":                     {encoded + "\n" + encoded + "\n", 0o600, "holds no key"},
		"the group can read it":        {encoded, 0o640, "can be read or written by others (mode 0640): run chmod 600"},
		"everybody can read it":        {encoded, 0o604, "can be read or written by others"},
		"the group can write into it":  {encoded, 0o620, "can be read or written by others"},
		"much more than a key's bytes": {strings.Repeat(encoded, 1000), 0o600, "holds no key"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "gossip.key")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			keys, err := loadKeys([]string{path})
			if c.want == "" {
				if err != nil || string(keys[0].raw()) != raw {
					t.Errorf("got %v, %v", keys, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "secretKeyFiles[0]: "+path) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && len(c.content) > 20 && strings.Contains(err.Error(), c.content[:20]) {
				t.Errorf("the error tells the key: %v", err)
			}
		})
	}
}

func TestOtherKeyFiles(t *testing.T) {
	if _, err := loadKeys([]string{t.TempDir()}); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("a directory: %v", err)
	}
	one := NewKey()
	a, b := keyFile(t, one), keyFile(t, one)
	if _, err := loadKeys([]string{a, b}); err == nil || !strings.Contains(err.Error(), "the same key as "+a) {
		t.Errorf("one key twice: %v", err)
	}
	// systemd's credentials belong to root, and the service's group may read.
	if err := os.Chmod(a, 0o440); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(a))
	if _, err := loadKeys([]string{a}); err != nil {
		t.Errorf("a systemd credential: %v", err)
	}
	link := filepath.Join(t.TempDir(), "credentials")
	if err := os.Symlink(filepath.Dir(a), link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", link)
	if _, err := loadKeys([]string{a}); err != nil {
		t.Errorf("a systemd credential in a directory that is a symlink: %v", err)
	}
	if err := os.Chmod(b, 0o440); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKeys([]string{b}); err == nil {
		t.Error("another file is taken for a systemd credential")
	}
}

func TestNewKeysAreKeysAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		text := NewKey()
		k, err := parseKey([]byte(text))
		if err != nil || seen[k.id()] || len(k.id()) != 8 {
			t.Fatalf("%v, %v", k, err)
		}
		seen[k.id()] = true
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	secret := strings.Repeat("s3cr3t!!", 3) + "s3cr3t!\x80"
	k, err := parseKey([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	holder := struct {
		k    key
		list []key
	}{k, []key{k}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, out := range []string{fmt.Sprintf(verb, k), fmt.Sprintf(verb, &k), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, &holder)} {
			if strings.Contains(out, "s3cr3t") || strings.Contains(out, fmt.Sprintf("%x", "s3cr3t")) || strings.Contains(out, fmt.Sprintf("%d", []byte("s3c"))[1:9]) {
				t.Errorf("%s prints %s", verb, out)
			}
		}
	}
}
