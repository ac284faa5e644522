package gossip

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// Reload puts the peers, networks and keys of c in force; the key files are
// read again. A change of anything else needs a new mesh, and is refused with
// the field's name. A change of keys that would cut off a live peer is refused
// too, unless force is set. With an error, nothing has changed.
func (m *Mesh) Reload(c Config, force bool) error {
	if err := c.Validate(); err != nil {
		return err
	}
	m.starting.Lock()
	defer m.starting.Unlock()
	if fixed := m.fixed(c); len(fixed) > 0 {
		return fmt.Errorf("gossip: a change of %s needs a restart", strings.Join(fixed, ", "))
	}
	prefixes := c.prefixes()
	list := &allowList{}
	list.set(prefixes)
	if address := m.Addr(); address.IsValid() {
		if err := list.fits(address); err != nil {
			return err
		}
	}
	keys, err := loadKeys(c.SecretKeyFiles)
	if err != nil {
		return err
	}
	if err := m.checkRotation(keys); err != nil && !force {
		return err
	}
	if err := m.rotate(keys); err != nil {
		return fmt.Errorf("secretKeyFiles: %w", err)
	}
	m.allowed.set(prefixes)
	m.config = c
	m.mu.Lock()
	m.seeds = c.seeds()
	m.mu.Unlock()
	select {
	case m.kick <- struct{}{}:
	default:
	}
	return nil
}

// fixed names the fields that c would change and a reload cannot.
func (m *Mesh) fixed(c Config) []string {
	var fields []string
	for name, differs := range map[string]bool{
		"bindAddress":      c.BindAddress != m.config.BindAddress,
		"advertiseAddress": c.AdvertiseAddress != m.config.AdvertiseAddress,
		"nodeName":         c.NodeName != m.config.NodeName && c.NodeName != m.name,
		"label":            c.label() != m.label,
	} {
		if differs {
			fields = append(fields, name)
		}
	}
	slices.Sort(fields)
	return fields
}

// checkRotation refuses to encrypt with a key that a peer does not have, and to
// remove the key that a peer encrypts with.
func (m *Mesh) checkRotation(keys []key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := keyIDs(keys)
	if slices.Equal(next, m.self.keyIDs) {
		return nil
	}
	var lack, use []string
	for name, p := range m.peers {
		if p.state != PeerAlive {
			continue
		}
		facts, ok := m.selfFacts(name)
		if next[0] != m.self.keyIDs[0] && (!ok || !slices.Contains(facts.keyIDs, next[0])) {
			lack = append(lack, name)
		}
		if ok && len(facts.keyIDs) > 0 && !slices.Contains(next, facts.keyIDs[0]) {
			use = append(use, name)
		}
	}
	slices.Sort(lack)
	slices.Sort(use)
	var problems []error
	if len(lack) > 0 {
		problems = append(problems, fmt.Errorf("secretKeyFiles: key %s cannot become the first one: %s would be cut off, not having it; add it there as the last one and reload first",
			next[0], strings.Join(lack, ", ")))
	}
	if len(use) > 0 {
		problems = append(problems, fmt.Errorf("secretKeyFiles: %s still encrypts with a key that this would remove; make %s the first one there and reload first",
			strings.Join(use, ", "), next[0]))
	}
	return errors.Join(problems...)
}

// rotate brings the key ring to keys: it adds, then switches, then removes.
func (m *Mesh) rotate(keys []key) error {
	m.mu.Lock()
	before := m.keys
	m.mu.Unlock()
	for _, k := range keys {
		if err := m.keyring.AddKey(k.raw()); err != nil {
			return err
		}
	}
	if err := m.keyring.UseKey(keys[0].raw()); err != nil {
		return err
	}
	if err := m.removeKeys(keys); err != nil {
		return err
	}
	ids := keyIDs(keys)
	m.mu.Lock()
	m.keys = keys
	changed := !slices.Equal(ids, m.self.keyIDs)
	m.self.keyIDs = ids
	if changed {
		m.publishSelf(true)
	}
	m.mu.Unlock()
	if changed {
		m.log.Info("the gossip keys have changed", zap.Strings("before", keyIDs(before)), zap.Strings("keys", ids))
	}
	return nil
}

// removeKeys removes from the ring what is not in keep, which has the primary
// key. Keyring.RemoveKey shifts the keys after the removed one within an array
// that others may be reading (memberlist v0.7.0), so only the last key is ever
// removed: to remove another, those after it are removed and added again, and
// are missing for a microsecond or so.
func (m *Mesh) removeKeys(keep []key) error {
	kept := func(raw []byte) bool {
		return slices.ContainsFunc(keep, func(k key) bool { return slices.Equal(k.raw(), raw) })
	}
	ring := slices.Clone(m.keyring.GetKeys())
	first := slices.IndexFunc(ring, func(raw []byte) bool { return !kept(raw) })
	if first < 0 {
		return nil
	}
	for _, raw := range slices.Backward(ring[first:]) {
		if err := m.keyring.RemoveKey(raw); err != nil {
			return err
		}
	}
	for _, raw := range ring[first:] {
		if kept(raw) {
			if err := m.keyring.AddKey(raw); err != nil {
				return err
			}
		}
	}
	return nil
}
