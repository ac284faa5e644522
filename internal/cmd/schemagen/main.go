// Schemagen prints the JSON Schema (draft 2020-12) of the configuration file, or
// with -markdown the reference for its readers. Descriptions are the comments at
// the fields of the Go structs, so it wants the source: run it in the module's
// root.
//
//	go run ./internal/cmd/schemagen > config/schema.json
//	go run ./internal/cmd/schemagen -markdown > docs/configuration.md
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	markdown := flag.Bool("markdown", false, "print docs/configuration.md instead")
	flag.Parse()
	write := generate
	if *markdown {
		write = document
	}
	if err := write(os.Stdout, "."); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}
