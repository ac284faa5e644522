package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// What a terminal is told, as of ECMA-48 and xterm.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the other screen, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l" // back, with what was there before
	home        = "\x1b[H"
	clearLine   = "\x1b[K" // what is right of the cursor
	clearBelow  = "\x1b[J"
)

// screen is a terminal that shows one text after the other in the same place.
// The lines are written over, not cleared before, so that nothing flickers.
type screen struct {
	out  io.Writer
	size func() (width, height int)
}

// terminalScreen is the screen of a terminal; nil if f is none.
func terminalScreen(f *os.File) *screen {
	if !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &screen{f, func() (int, int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}}
}

func (s *screen) open() { fmt.Fprint(s.out, enterScreen) }

func (s *screen) close() { fmt.Fprint(s.out, leaveScreen) }

// show shows as much of a text as there is room for, and says so.
func (s *screen) show(text string) error {
	width, height := s.size()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if rest := len(lines) - height + 1; rest > 1 {
		lines = append(lines[:max(height-1, 0)], fmt.Sprintf("(%d more lines: the window is too small)", rest))
	}
	var b strings.Builder
	b.WriteString(home)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(cut(line, width-1) + clearLine) // in the last column it would clear what was just written
	}
	b.WriteString(clearBelow)
	_, err := io.WriteString(s.out, b.String())
	return err
}

// cut shortens a line to a width, and shows that it did.
func cut(line string, width int) string {
	runes := []rune(line)
	if len(runes) <= width || width < 1 {
		return line
	}
	return string(runes[:width-1]) + "…"
}
