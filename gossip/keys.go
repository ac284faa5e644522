package gossip

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// keyBytes is the length of an AES-256 key.
const keyBytes = 32

// key is an encryption key. It prints as its ID.
type key struct {
	// A pointer to a string, because fmt prints the unexported fields of an
	// enclosing struct without asking their methods, and follows pointers to
	// all else.
	secret *string
}

// raw returns the key's bytes.
func (k key) raw() []byte { return []byte(*k.secret) }

// NewKey returns a new key in base64, as a line of a secret key file.
func NewKey() string {
	var raw [keyBytes]byte
	_, _ = rand.Read(raw[:]) // It never returns an error; see crypto/rand.
	return base64.StdEncoding.EncodeToString(raw[:])
}

// id names the key without revealing it: the first 8 hexadecimal digits of its
// SHA-256.
func (k key) id() string {
	sum := sha256.Sum256(k.raw())
	return hex.EncodeToString(sum[:4])
}

// String returns the key's ID.
func (k key) String() string { return "[key " + k.id() + "]" }

// Format writes the key's ID for every verb.
func (k key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

func keyIDs(keys []key) []string {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.id()
	}
	return ids
}

// loadKeys reads the keys, the primary one first.
func loadKeys(files []string) ([]key, error) {
	var keys []key
	for i, file := range files {
		k, err := loadKey(file)
		if err != nil {
			return nil, fmt.Errorf("secretKeyFiles[%d]: %w", i, err)
		}
		if j := slices.IndexFunc(keys, func(other key) bool { return *other.secret == *k.secret }); j >= 0 {
			return nil, fmt.Errorf("secretKeyFiles[%d]: %s holds the same key as %s", i, file, files[j])
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func loadKey(path string) (key, error) {
	f, err := os.Open(path)
	if err != nil {
		return key{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return key{}, err
	}
	if !info.Mode().IsRegular() {
		return key{}, fmt.Errorf("%s is no regular file: name the file that holds the key", path)
	}
	if open := info.Mode().Perm(); open&forbiddenMode(path) != 0 && runtime.GOOS != "windows" {
		return key{}, fmt.Errorf("%s can be read or written by others (mode %04o): run chmod 600 %s", path, open, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return key{}, fmt.Errorf("%s: %w", path, err)
	}
	raw, err := parseKey(text)
	if err != nil {
		return key{}, fmt.Errorf("%s: %w", path, err)
	}
	return raw, nil
}

// forbiddenMode is 066, and in the directory of systemd's credentials
// (systemd.exec(5), LoadCredential=), which is a mount of the service's own,
// a group may read.
func forbiddenMode(path string) fs.FileMode {
	directory := os.Getenv("CREDENTIALS_DIRECTORY")
	if directory == "" {
		return 0o066
	}
	relative, err := filepath.Rel(directory, path)
	if err != nil || relative == ".." || strings.HasPrefix(relative, ".."+string(filepath.Separator)) {
		return 0o066
	}
	return 0o026
}

// parseKey reads 32 bytes, or their base64 with white space around it. A
// passphrase is not a key, and none is made of one.
func parseKey(text []byte) (key, error) {
	raw := string(text)
	if len(text) != keyBytes {
		decoded, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
		if err != nil || len(decoded) != keyBytes {
			return key{}, errors.New("holds no key: want 32 bytes, or their base64 as kuberelay gossip-key prints it")
		}
		raw = string(decoded)
	}
	return key{&raw}, nil
}

func rawKeys(keys []key) [][]byte {
	raw := make([][]byte, len(keys))
	for i, k := range keys {
		raw[i] = k.raw()
	}
	return raw
}
