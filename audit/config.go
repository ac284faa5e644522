package audit

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
	// File is the path of the log, which is appended to and made with mode
	// 0600. After a rotation by rename, SIGHUP or kuberelay reload opens it
	// anew.
	File string `yaml:"file"`
	// Level is Metadata or None. Default Metadata.
	Level string `yaml:"level"`
	// OnFailure is block or ignore. Default block.
	OnFailure string `yaml:"onFailure"`
}

// DefaultConfig returns the audit log's defaults: off, since there is no file.
func DefaultConfig() Config { return Config{Level: LevelMetadata, OnFailure: OnFailureBlock} }
