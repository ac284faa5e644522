package main

import "testing"

const driveHelp = `Drives a car. It's
not a bike.

  KEY=VALUE

Examples:
  # Home
  drive home

  .hidden

Commands:
  fast        Drive fast
  help        Help about any command

Options:
    --gear='1':
        The gear, as in
        a car.

    -r, --reverse=false:
        Back.

Usage:
  drive PLACE [-r]

Use "drive COMMAND --help" for more information about a command.
`

const drivePage = `.TH DRIVE 1 "2026-01-02" "kuberelay 1.0" "User Commands"
.SH NAME
drive \- move
.SH SYNOPSIS
.B drive PLACE [\-r]
.SH DESCRIPTION
Drives a car. It\(aqs
not a bike.
.PP
.nf
  KEY=VALUE
.fi
.SH EXAMPLES
.nf
  # Home
  drive home
.sp
  .hidden
.fi
.SH COMMANDS
.TP
.B fast
Drive fast
.TP
.B help
Help about any command
.SH OPTIONS
.TP
.B \-\-gear=\(aq1\(aq
The gear, as in
a car.
.TP
.B \-r, \-\-reverse=false
Back.
.SH SEE ALSO
.BR walk (1)
`

func TestAPageOfAHelp(t *testing.T) {
	got := page{name: "drive", short: "move", version: "1.0", date: "2026-01-02", text: parse(driveHelp), also: []string{"walk"}}.roff()
	if got != drivePage {
		t.Errorf("got:\n%s\nwant:\n%s", got, drivePage)
	}
}

func TestCommands(t *testing.T) {
	got := parse(driveHelp).commands()
	if len(got) != 1 || got[0] != (command{"fast", "Drive fast"}) {
		t.Errorf("commands %q, want fast alone", got)
	}
}
