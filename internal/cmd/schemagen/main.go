// Schemagen prints the JSON Schema (draft 2020-12) of the configuration file.
// Descriptions are the comments at the fields of the Go structs, so it wants the
// source: run it in the module's root.
//
//	go run ./internal/cmd/schemagen > config/schema.json
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := generate(os.Stdout, "."); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}
