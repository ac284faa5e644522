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
	"slices"

	"github.com/kuberelay/kuberelay/internal/secretfile"
)

const (
	// keyBytes is the length of an AES-256 key.
	keyBytes = 32
	// maxKeyFile bounds what is read of a key file, in bytes: a key in base64
	// with white space around it is far shorter.
	maxKeyFile = 1024
)

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
	text, err := secretfile.Read(path, maxKeyFile)
	if err != nil {
		return key{}, err
	}
	k, err := parseKey(text)
	if err != nil {
		return key{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// parseKey reads 32 bytes, or their base64 with white space around it. A
// passphrase is not a key, and none is made of one; one of 32 characters is told
// from a key by that.
func parseKey(text []byte) (key, error) {
	raw := string(text)
	if len(text) == keyBytes && printable(text) {
		return key{}, errors.New("holds 32 printable characters, which is a passphrase and no key: put the output of kuberelay gossip-key there, on every node")
	}
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

// printable reports whether text is printable ASCII alone, as one in 10^13 keys is.
func printable(text []byte) bool {
	return !bytes.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' })
}
