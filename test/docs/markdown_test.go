package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// order is that of the documents whose commands build on each other: the daemon
// of serve.md is the one that the later ones operate. All others come after
// them.
var order = []string{"README.md", "docs/start.md", "docs/serve.md", "docs/gossip.md", "docs/operate.md"}

// block is a fenced block of a document.
type block struct {
	file  string
	line  int // of its first line
	kind  string
	lines []string
	marks map[string]string // by key, see doc.go
	only  string            // the word of "not run (WORD)"
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

// runs tells whether some of the block is run.
func (b block) runs() bool {
	_, not := b.marks["not run"]
	return b.kind == "sh" && (!not || b.only != "")
}

// excepted tells whether a command of the block is one that is not run.
func (b block) excepted(command string) bool {
	return b.only != "" && strings.HasPrefix(command, b.only)
}

// commands are the block's lines, those that a backslash continues joined, and
// without comments, but for the reader's acts.
func (b block) commands() (all []string) {
	continued := false
	for _, line := range b.lines {
		switch trimmed := strings.TrimSpace(line); {
		case continued:
			all[len(all)-1] += "\n" + line
		case trimmed == "", strings.HasPrefix(trimmed, "#") && !isAct(trimmed):
			continue
		default:
			all = append(all, trimmed)
		}
		continued = strings.HasSuffix(line, `\`)
	}
	return all
}

// isAct tells whether a line is something that the reader does by other means.
func isAct(command string) bool { return strings.HasPrefix(command, "# …") }

var (
	fence = regexp.MustCompile("^( *)```([a-z]*)$")
	mark  = regexp.MustCompile(`^ *<!-- *(.*?) *-->$`)
	keyed = regexp.MustCompile(`^(not run|as|file|append|output)(?: \(([^)]+)\))?(?:: (.+))?$`)
)

// blocks are the fenced blocks of a document.
func blocks(file, text string) (all []block, err error) {
	marks, only := map[string]string{}, ""
	var open *block
	indent := ""
	for i, line := range strings.Split(text, "\n") {
		found := fence.FindStringSubmatch(line)
		switch {
		case open != nil && strings.TrimSpace(line) == "```":
			all, open = append(all, *open), nil
		case open != nil:
			open.lines = append(open.lines, strings.TrimPrefix(line, indent))
		case found != nil:
			indent = found[1]
			open = &block{file: file, line: i + 2, kind: found[2], marks: marks, only: only}
			marks, only = map[string]string{}, ""
		case mark.MatchString(line):
			key := keyed.FindStringSubmatch(mark.FindStringSubmatch(line)[1])
			if key == nil || (key[3] == "") != (key[1] == "output") || key[2] != "" && key[1] != "not run" {
				return nil, fmt.Errorf("%s:%d: a comment that says nothing to the tests (see test/docs/doc.go): %s", file, i+1, line)
			}
			marks[key[1]], only = key[3], key[2]
		default:
			if len(marks) > 0 {
				return nil, fmt.Errorf("%s:%d: a comment for a block, and there is no block after it", file, i)
			}
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s:%d: the block does not end", file, open.line)
	}
	return all, nil
}

// document is a file with what is to be run of it.
type document struct {
	file   string
	blocks []block
}

// documents are all of them, in order.
func documents(t *testing.T) (all []document) {
	t.Helper()
	found, err := filepath.Glob("../../docs/*.md")
	check(t, err)
	files := slices.Clone(order)
	for _, f := range found {
		if name := "docs/" + filepath.Base(f); !slices.Contains(files, name) {
			files = append(files, name)
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join("../..", file))
		check(t, err)
		bs, err := blocks(file, string(text))
		check(t, err)
		all = append(all, document{file, bs})
	}
	return all
}

// Every block of commands is either run or says why not, and those that are said
// to be run here are.
func TestBlocksOfTheDocuments(t *testing.T) {
	run := map[string]int{}
	for _, d := range documents(t) {
		for i, b := range d.blocks {
			switch b.kind {
			case "bash", "shell", "console", "shell-session", "zsh":
				t.Errorf("%s: write sh in place of %s, which nothing runs", b, b.kind)
			}
			if _, output := b.marks["output"]; output && (i == 0 || !d.blocks[i-1].runs()) {
				t.Errorf("%s: output of nothing that is run", b)
			}
			if b.runs() {
				run[d.file]++
			} else if reason := b.marks["not run"]; reason != "" {
				t.Logf("%s is never run: %s", b, reason)
			}
		}
	}
	for _, file := range order {
		if run[file] == 0 {
			t.Errorf("%s: no block is run", file)
		}
	}
}

func TestBlocks(t *testing.T) {
	text := strings.Join([]string{
		"# Title", "", "```", "plain", "```", "", "<!-- as: alice -->", "```sh", `one \`, "  --more    # why", "", "# nothing",
		"# … somebody does it", "two", "```", "- in a list", "", "  <!-- not run (two): it is late -->", "  ```sh", "  two", "    three", "  ```",
		"<!-- output -->", "```", "x…", "```",
	}, "\n")
	got, err := blocks("a.md", text)
	check(t, err)
	if len(got) != 4 {
		t.Fatalf("%d blocks: %v", len(got), got)
	}
	if got[0].kind != "" || got[0].runs() || got[0].String() != "a.md:4" {
		t.Errorf("the first is %+v", got[0])
	}
	want := []string{"one \\\n  --more    # why", "# … somebody does it", "two"}
	if c := got[1].commands(); !slices.Equal(c, want) || got[1].marks["as"] != "alice" || !got[1].runs() {
		t.Errorf("the second is %+v with the commands %q, want %q", got[1], c, want)
	}
	if c := got[2].commands(); !slices.Equal(c, []string{"two", "three"}) || !got[2].runs() || !got[2].excepted("two") || got[2].excepted("three") {
		t.Errorf("the third is %+v with the commands %q", got[2], c)
	}
	if _, output := got[3].marks["output"]; !output || got[3].runs() {
		t.Errorf("the fourth is %+v", got[3])
	}
}

func TestBlocksThatAreWrong(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no reason":          {"<!-- not run -->\n```sh\nx\n```", "a.md:1: a comment that says nothing"},
		"an empty reason":    {"<!-- not run: -->\n```sh\nx\n```", "a.md:1: a comment that says nothing"},
		"a part, no reason":  {"<!-- not run (x) -->\n```sh\nx\n```", "a.md:1: a comment that says nothing"},
		"an unknown key":     {"<!-- ran: no -->\n```sh\nx\n```", "a.md:1: a comment that says nothing"},
		"no user":            {"<!-- as: -->\n```sh\nx\n```", "a.md:1: a comment that says nothing"},
		"a part of a user":   {"<!-- as (x): alice -->\n```sh\nx\n```", "a.md:1: a comment that says nothing"},
		"no block after it":  {"\n<!-- as: alice -->\n\n```sh\nx\n```", "a.md:2: a comment for a block, and there is no block"},
		"a block at the end": {"text\n```sh\nx", "a.md:3: the block does not end"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := blocks("a.md", c.text); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("blocks() = %v, %v, want an error %q", got, err, c.want)
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
