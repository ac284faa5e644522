package daemon

import "time"

// Mint makes a token as kuberelay credential gets it, for another time.
func (d *Daemon) Mint(client string, uid uint32, ttl time.Duration) (token string, expires time.Time) {
	return d.minter.Mint(client, uid, ttl)
}
