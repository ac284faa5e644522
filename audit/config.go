package audit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Levels of [Config].
const (
	// LevelNone records nothing.
	LevelNone = "None"
	// LevelMetadata records who asked for what, when, and the outcome; no
	// bodies and no headers.
	LevelMetadata = "Metadata"
)

// What happens to requests when an event cannot be written.
const (
	// OnFailureBlock refuses mutating requests and upgrades, with 503, while
	// their events cannot be written. Reading goes on.
	OnFailureBlock = "block"
	// OnFailureIgnore lets all requests pass; the loss is logged and counted.
	OnFailureIgnore = "ignore"
)

// Config is the audit log. It is off while File is empty.
type Config struct {
	// File is the path of the log, which is created with mode 0600 and
	// appended to. After a rotation by rename, SIGHUP or kuberelay reload opens it
	// anew. Its directory has to exist. A file that group or others may write,
	// or that is not a regular file, is refused.
	File string `yaml:"file"`
	// Level is Metadata or None. Default Metadata.
	Level string `yaml:"level"`
	// OnFailure is block or ignore. Default block.
	OnFailure string `yaml:"onFailure"`
}

// DefaultConfig returns the audit log's defaults: off, since there is no file.
func DefaultConfig() Config { return Config{Level: LevelMetadata, OnFailure: OnFailureBlock} }

// Validate reports, joined, the fields that cannot be meant. Empty fields are
// valid. The file is looked at by [Open] alone.
func (c Config) Validate() error {
	var file error
	if c.File == "-" {
		file = errors.New(`"-": want the path of a regular file; standard output cannot be rotated or checked`)
	}
	return errors.Join(
		prefix("file", file),
		prefix("level", oneOf(c.Level, LevelMetadata, LevelNone)),
		prefix("onFailure", oneOf(c.OnFailure, OnFailureBlock, OnFailureIgnore)),
	)
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Level == "" {
		c.Level = d.Level
	}
	if c.OnFailure == "" {
		c.OnFailure = d.OnFailure
	}
	return c
}

func prefix(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", field, err)
}

func oneOf(value string, allowed ...string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%q: want %s", value, strings.Join(allowed, ", "))
}
