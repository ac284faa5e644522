package notify

import (
	"context"
	"time"
)

// statusInterval is how often the sentence for systemctl status is made anew.
const statusInterval = 2 * time.Second

// Watch is what a [Manager] is told again and again.
type Watch struct {
	// Status returns the sentence for systemctl status. It is told when it
	// has changed.
	Status func() string
	// Check returns why the data path does not answer. While it returns an
	// error, the watchdog is not fed, and when its time is up the manager kills
	// the process and starts it again. It is given a third of that time.
	Check func(context.Context) error
	// Failed is called with the error of Check when that begins to fail, and
	// with nil when it is over.
	Failed func(error)
}

// Run tells the manager w until ctx ends. Without a manager it returns at
// once; without a watchdog, Check is not called. Status is called on the same
// goroutine as Check, so what hangs in one of them starves the watchdog, too.
func (m *Manager) Run(ctx context.Context, w Watch) {
	if m == nil {
		return
	}
	status := time.NewTicker(statusInterval)
	defer status.Stop()
	var feed <-chan time.Time
	if m.watchdog > 0 {
		// Two checks may take their whole time before the watchdog's is up.
		ticker := time.NewTicker(m.watchdog / 3)
		defer ticker.Stop()
		feed = ticker.C
	}
	told, failing := m.tell(w, ""), error(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-status.C:
			told = m.tell(w, told)
		case <-feed:
			failing = m.feed(ctx, w, failing)
		}
	}
}

// tell tells the status if it is another than the one told before. A message
// that was lost is followed by the next.
func (m *Manager) tell(w Watch, before string) string {
	now := w.Status()
	if now != before && m.Status(now) != nil {
		return before
	}
	return now
}

// feed feeds the watchdog, unless the check fails; before is how the last
// attempt ended.
func (m *Manager) feed(ctx context.Context, w Watch, before error) error {
	bounded, cancel := context.WithTimeout(ctx, m.watchdog/3)
	defer cancel()
	err := w.Check(bounded)
	if ctx.Err() != nil { // the end of the process has come first
		return before
	}
	if err == nil {
		err = m.send("WATCHDOG=1")
	}
	if (err == nil) != (before == nil) {
		w.Failed(err)
	}
	return err
}
