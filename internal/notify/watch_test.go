package notify

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/internal/fakemanager"
)

func TestRunFeedsTheWatchdogWhileTheCheckPasses(t *testing.T) {
	socket, next := fakemanager.Listen(t)
	m := &Manager{socket: socket, watchdog: 90 * time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan error) // of the check, in the order it is asked
	failures := make(chan error, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Run(ctx, Watch{
			Status: func() string { return "fine" },
			Check: func(context.Context) error {
				select {
				case err := <-answers:
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
			},
			Failed: func(err error) { failures <- err },
		})
	}()
	var got []string
	got = append(got, next())
	answers <- nil
	got = append(got, next())
	hung := errors.New("hung")
	answers <- hung
	answers <- hung
	answers <- nil
	got = append(got, next()) // had the failed checks fed it, there would be more
	answers <- hung
	answers <- nil
	got = append(got, next())
	cancel()
	<-ended
	if d := cmp.Diff([]string{"STATUS=fine", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"}, got); d != "" {
		t.Error(d)
	}
	close(failures)
	var told []error
	for err := range failures {
		told = append(told, err)
	}
	if want := []error{hung, nil, hung, nil}; len(told) != len(want) || told[0] != hung || told[1] != nil || told[2] != hung || told[3] != nil {
		t.Errorf("told of %v, want %v: each change once, and not the end", told, want)
	}
}

func TestFeedBoundsTheCheck(t *testing.T) {
	socket, _ := fakemanager.Listen(t)
	m := &Manager{socket: socket, watchdog: 30 * time.Millisecond}
	err := m.feed(t.Context(), Watch{
		Check:  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		Failed: func(error) {},
	}, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a check that hangs: %v, want an error when a third of the time is up", err)
	}
}

func TestTellSaysWhatIsNewAlone(t *testing.T) {
	socket, next := fakemanager.Listen(t)
	m := &Manager{socket: socket}
	told := ""
	for _, s := range []string{"1/3", "1/3", "2/3"} {
		told = m.tell(Watch{Status: func() string { return s }}, told)
	}
	if d := cmp.Diff([]string{"STATUS=1/3", "STATUS=2/3"}, []string{next(), next()}); d != "" {
		t.Error(d)
	}
}

func TestRunWithoutAManagerReturns(t *testing.T) {
	var m *Manager
	m.Run(t.Context(), Watch{})
}
