package identify

import (
	"container/list"
	"sync"
)

// tokenCache remembers verified ID tokens by their SHA-256, those that were
// used last. It is safe for concurrent use.
type tokenCache struct {
	limit int

	mu     sync.Mutex
	tokens map[digest]*list.Element // guarded by mu
	used   *list.List               // guarded by mu: of cachedToken, used last first
}

type cachedToken struct {
	sum   digest
	token *idToken
}

func newTokenCache(limit int) *tokenCache {
	return &tokenCache{limit: limit, tokens: make(map[digest]*list.Element), used: list.New()}
}

// get returns the token with the digest, nil if it is not there.
func (c *tokenCache) get(sum digest) *idToken {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.tokens[sum]
	if e == nil {
		return nil
	}
	c.used.MoveToFront(e)
	return e.Value.(cachedToken).token
}

// put remembers the token, in the place of the one with the same digest.
func (c *tokenCache) put(sum digest, token *idToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.tokens[sum]; e != nil {
		e.Value = cachedToken{sum, token}
		c.used.MoveToFront(e)
		return
	}
	c.tokens[sum] = c.used.PushFront(cachedToken{sum, token})
	for len(c.tokens) > c.limit {
		oldest := c.used.Back()
		c.used.Remove(oldest)
		delete(c.tokens, oldest.Value.(cachedToken).sum)
	}
}
