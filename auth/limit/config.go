package limit

// Config is one client's limits. 0 means no limit.
type Config struct {
	// RequestsPerSecond is the rate of requests of any kind, on average, those
	// that are then refused among them. Default 50.
	RequestsPerSecond float64 `yaml:"requestsPerSecond"`

	// Burst is how many requests may come at once after a pause. Default 100.
	Burst int `yaml:"burst"`

	// MaxInFlight is how many short requests may be under way. Default 40.
	MaxInFlight int `yaml:"maxInFlight"`

	// MaxWatches is how many watches and followed logs may be open. Default 200.
	MaxWatches int `yaml:"maxWatches"`

	// MaxUpgrades is how many exec, attach, port-forward and other upgraded
	// connections may be open. Default 10.
	MaxUpgrades int `yaml:"maxUpgrades"`
}

// DefaultConfig returns the limits of a client that has none configured.
func DefaultConfig() Config {
	return Config{RequestsPerSecond: 50, Burst: 100, MaxInFlight: 40, MaxWatches: 200, MaxUpgrades: 10}
}
