package docs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What a command does that does not end by itself. A daemon is left running, and
// ended by Ctrl-C where the reader starts another one; so is, at the end of its
// document, one that is somebody's own. What shows changes is looked at and
// ended.
var (
	daemon = regexp.MustCompile(`^(\S*/)?kuberelay (proxy|serve)\b|^kubectl relay\b`)
	shows  = regexp.MustCompile(` --watch\b`)
	behind = regexp.MustCompile(`&\s*(#.*)?$`) // goes on by itself
)

// status is what the sandbox's curl says after each answer: to curl itself, an
// answer that refuses is a success.
var status = regexp.MustCompile(`(?m)^HTTP ([0-9]{3})$`)

// reader does what the documents say.
type reader struct {
	box       *sandbox
	terminals map[string]*shell // by user; of the document that is read
	daemon    *command
	last      []*command // of the block before
}

func TestDocumentedCommands(t *testing.T) {
	all := documents(t)
	if inside == nil {
		var unread []string
		for _, d := range all {
			for _, b := range d.blocks {
				if b.runs() {
					unread = append(unread, b.String())
				}
			}
		}
		t.Skipf("%s: not run are the commands at %s", whyNot, strings.Join(unread, ", "))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	check(t, inside.start(ctx))
	r := &reader{box: inside}
	for _, d := range all {
		t.Run(strings.NewReplacer("docs/", "", ".md", "").Replace(d.file), func(t *testing.T) { r.read(ctx, t, d) })
		if t.Failed() {
			return // What comes later builds on it.
		}
	}
	if r.daemon == nil || r.daemon.interrupt() != nil {
		t.Error("there is no daemon at the end")
	}
}

// read does all that a document says, in new terminals.
func (r *reader) read(ctx context.Context, t *testing.T, d document) {
	r.terminals = map[string]*shell{}
	for _, b := range d.blocks {
		if t.Failed() {
			break
		}
		if err := r.do(ctx, t, b); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	}
	for user, s := range r.terminals {
		if r.daemon != nil && r.daemon.s == s && strings.Contains(r.daemon.text, "kuberelay serve") {
			continue
		}
		if r.daemon != nil && r.daemon.s == s {
			r.daemon = nil
		}
		if err := s.close(); err != nil {
			t.Errorf("the terminal of %s: %v", user, err)
		}
	}
	check(t, r.box.restore(ctx))
}

// do does what a block is for.
func (r *reader) do(ctx context.Context, t *testing.T, b block) error {
	if _, output := b.marks["output"]; output {
		return compare(b.lines, r.last)
	}
	if path := b.marks["file"]; path != "" {
		return os.WriteFile(path, []byte(strings.Join(b.lines, "\n")+"\n"), 0o644)
	}
	if path := b.marks["append"]; path != "" {
		old, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, append(old, strings.Join(b.lines, "\n")+"\n"...), 0o644)
	}
	if !b.runs() {
		return nil
	}
	user := b.marks["as"]
	if user == "" {
		user = "root"
	}
	s := r.terminals[user]
	if s == nil {
		var err error
		if s, err = r.box.terminal(user, b.file); err != nil {
			return err
		}
		r.terminals[user] = s
	}
	r.last = nil
	for _, text := range b.commands() {
		began := time.Now()
		switch {
		case isAct(text):
			if err := r.act(ctx, text); err != nil {
				return fmt.Errorf("%s: %w", text, err)
			}
			continue
		case b.excepted(text):
			t.Logf("%s: not run: %s", b, text)
			continue
		}
		c, err := r.enter(ctx, s, text)
		if c != nil {
			r.last = append(r.last, c)
		}
		if err != nil {
			return fmt.Errorf("%s typed:\n\t%s\n%w%s", user, text, err, r.after(c))
		}
		t.Logf("%s: %s typed, for %v: %s", b, user, time.Since(began).Round(10*time.Millisecond), text)
		t.Log(c.printed().clipped(200))
	}
	return nil
}

// after is what a command and the daemon have printed, for a failure.
func (r *reader) after(c *command) (text string) {
	if c != nil {
		text += "\n" + c.printed().clipped(2000)
	}
	if r.daemon != nil && r.daemon != c {
		text += "\n" + r.daemon.text + ": " + r.daemon.printed().clipped(2000)
	}
	return text
}

// enter types a command and waits as long as a person would.
func (r *reader) enter(ctx context.Context, s *shell, text string) (*command, error) {
	if daemon.MatchString(text) && r.daemon != nil {
		if err := r.daemon.interrupt(); err != nil {
			return nil, fmt.Errorf("end %s before: %w", r.daemon.text, err)
		}
		r.daemon = nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	switch {
	case behind.MatchString(text):
		return s.run(text)
	case daemon.MatchString(text):
		c, err := s.begin(ctx, text)
		if err == nil {
			r.daemon = c
		}
		return c, err
	case shows.MatchString(text):
		c, err := s.begin(ctx, text)
		if err == nil {
			err = c.interrupt()
		}
		return c, err
	}
	c, err := s.run(text)
	if err != nil {
		return c, err
	}
	return c, errors.Join(answered(text, c.printed().stderr), promised(text, c.printed().stdout))
}

// answered tells whether all that a curl asked was answered with success.
func answered(text, stderr string) error {
	if !strings.HasPrefix(text, "curl ") {
		return nil
	}
	codes := status.FindAllStringSubmatch(stderr, -1)
	if len(codes) == 0 {
		return errors.New("curl does not say how it was answered")
	}
	for _, code := range codes {
		if code[1][0] != '2' {
			return errors.New("it is answered with " + code[0])
		}
	}
	return nil
}

// promised compares what a command prints with what the comment behind it says
// that it will.
func promised(text, stdout string) error {
	for comment, want := range map[string]string{
		"# its state is DOWN": `"DOWN"`,
		"# it is DOWN":        "DOWN",
	} {
		if strings.HasSuffix(text, comment) && !strings.Contains(stdout, want) {
			return fmt.Errorf("there is no %s in what it prints", want)
		}
	}
	return nil
}

// compare looks for lines in what commands have printed; where one ends in …,
// for its beginning.
func compare(lines []string, commands []*command) error {
	var all []string
	for _, c := range commands {
		for line := range strings.Lines(c.printed().stdout) {
			all = append(all, strings.Join(strings.Fields(line), " "))
		}
	}
	for _, want := range lines {
		beginning, open := strings.CutSuffix(strings.Join(strings.Fields(want), " "), "…")
		found := false
		for _, line := range all {
			found = found || line == beginning || open && strings.HasPrefix(line, beginning)
		}
		if !found {
			return fmt.Errorf("the line %q was not printed, but\n%s", want, clip(strings.Join(all, "\n"), 2000))
		}
	}
	return nil
}

// act does in the reader's place what they do by other means than a command.
func (r *reader) act(ctx context.Context, text string) error {
	switch {
	case strings.HasPrefix(text, "# … now kill -9 one of the API servers: the dots go on, without an x."):
		return r.killWhileDotsAreMade(ctx)
	case strings.HasPrefix(text, "# … kill one of the API servers."):
		if err := r.box.kill(0); err != nil {
			return err
		}
		return r.awaitState(ctx, "DOWN")
	}
	return errors.New("the tests do not know how: add it to (*reader).act")
}

// killWhileDotsAreMade kills a server while the command before makes a dot for
// each request that succeeds.
func (r *reader) killWhileDotsAreMade(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	dots := r.last[len(r.last)-1]
	more := func(than string) error {
		return until(ctx, func() error {
			if got := dots.printed().stdout; strings.Count(got, ".") < strings.Count(than, ".")+10 {
				return fmt.Errorf("no dots are made: %q after %q", got, than)
			}
			return nil
		})
	}
	// Requests before kuberelay listens are answered with an x.
	if err := more(""); err != nil {
		return err
	}
	before := dots.printed().stdout
	if err := errors.Join(r.box.kill(0), r.awaitState(ctx, "DOWN"), more(before)); err != nil {
		return err
	}
	if later := strings.TrimPrefix(dots.printed().stdout, before); strings.Contains(later, "x") {
		return fmt.Errorf("requests failed: %s", later)
	}
	return nil
}

// awaitState waits until an API server is in a state.
func (r *reader) awaitState(ctx context.Context, state string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return until(ctx, func() error {
		resp, err := http.Get("http://127.0.0.1:9801/api/v1/status")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && !strings.Contains(string(body), `"`+state+`"`) {
			err = fmt.Errorf("no API server is %s: %s", state, body)
		}
		return err
	})
}
