// Package limit bounds how much one client may ask for: requests a second,
// requests, watches and upgrades at a time.
package limit
